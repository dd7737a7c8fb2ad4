from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import pytest

from chalicelib.bucket import DOWNLOAD_SECONDS
from chalicelib.callback_url import CallbackRules
from chalicelib.callbacks import LEASE
from chalicelib.daily_limit import DailyLimit
from chalicelib.deny_list import DenyList
from chalicelib.dynamodb import MOST_KEYS
from chalicelib.errors import ServiceFailed
from chalicelib.exchange import LIMITS
from chalicelib.model import Detector, Recipe, Upload
from chalicelib.recovery import RESERVE, SWEPT_KEYS
from chalicelib.reuse import Reuse
from chalicelib.services import (
    CONVERSION_SECONDS,
    COPYING,
    PATIENCE,
    REKOGNITION_PATIENCE,
    STATE_PATIENCE,
    Services,
)
from chalicelib.settings import LAST_CALLS, MIN_LABEL_TIMEOUT, PUTTING_AWAY, Settings
from ops.configuration import AUTHORIZER, LABELLER, SIZES
from tests import faults
from tests.conftest import LOCAL

SETTINGS = replace(
    Settings.from_env(LOCAL),
    detect=("labels", "properties"),
    min_confidence=60.5,
    max_labels=7,
    include_labels=("Dog",),
    exclude_labels=("Cat",),
    include_categories=("Animals and Pets",),
    exclude_categories=("Sports",),
    min_moderation_confidence=61.5,
    min_text_confidence=62.5,
    max_colors=5,
    moderation_labels=(("Violence", 63.5),),
    reuse="on",
    daily_image_limit=5000,
    max_upload_bytes=2_000_000,
    max_pixels=3_000_000,
    upload_url_seconds=300,
    aws_lambda_function_memory_size=1024,
)
IMAGE: Any = {"Bytes": b"picture"}

API_GATEWAY_TIMEOUT = 29
ANY_PICTURE = 1792 * 2**20  # bytes: enough for 100 million pixels in any format, by bench/conversion.md


def worst_case(patience: Any) -> float:
    """Seconds, without the pauses between attempts."""
    worst: float = patience.retries["total_max_attempts"] * (patience.connect_timeout + patience.read_timeout)
    return worst


CALL, MEMORY, DETECTORS = map(worst_case, (PATIENCE, STATE_PATIENCE, REKOGNITION_PATIENCE))
S3: Any = PATIENCE
DOWNLOADING = CALL + DOWNLOAD_SECONDS + S3.read_timeout  # of a body that then says nothing any more
# Look, claim, checksum, bytes; two reads and a count.
PREPARING = 3 * CALL + DOWNLOADING + CONVERSION_SECONDS + 3 * MEMORY
# The detectors side by side, a read and two writes; then two looks and a release,
FAILING = DETECTORS + 3 * MEMORY + 3 * CALL
# or what was there before goes for good, in two calls, and then a commit that fails, and a release,
RELEASED = DETECTORS + 3 * MEMORY + 4 * CALL
# or a look as well.
PUTTING_OUT_OF_SIGHT = RELEASED + CALL

OUTAGE = [faults.answering(503, b"")] * 9


def test_nothing_is_made_before_it_is_needed() -> None:
    services = Services(SETTINGS)

    assert vars(services) == {"settings": SETTINGS}


def test_a_use_case_makes_what_it_needs_and_no_more(endpoint: object) -> None:
    services = Services(SETTINGS)

    _ = services.uploads

    made = {"session", "s3", "bucket", "dynamodb", "deny_list", "store", "callback_rules", "uploads"}
    assert set(vars(services)) == {"settings", *made}


@pytest.mark.parametrize(
    "name",
    [
        "session",
        "s3",
        "bucket",
        "store",
        "tokens",
        "rekognition",
        "detection",
        "uploads",
        "labelling",
        "wishes",
        "quarantining",
        "slow_path",
        "recovery",
        "terms",
        "indexing",
        "search",
    ],
)
def test_what_was_made_is_used_again(endpoint: object, name: str) -> None:
    services = Services(SETTINGS)

    assert getattr(services, name) is getattr(services, name)


def test_use_cases_share_their_adapters_and_follow_the_settings(endpoint: object) -> None:
    services = Services(SETTINGS)

    labelling, uploads = services.labelling, services.uploads

    detection = labelling.detection
    assert (labelling.bucket, labelling.claims) == (uploads.bucket, services.wishes.claims)
    assert detection.bucket is labelling.bucket
    assert (labelling.lease_seconds, uploads.url_seconds) == (150, 300)
    assert (detection.max_bytes, detection.max_pixels) == (2_000_000, 3_000_000)
    assert (detection.converter.max_pixels, detection.converter.max_memory) == (3_000_000, 768 * 2**20)
    assert detection.flagging == {"Violence": 63.5}
    assert detection.reuse == Reuse(services.state)
    assert detection.limit is services.recovery.limit
    assert detection.limit == DailyLimit(services.state, 5000, services.now)
    assert services.bucket.name == SETTINGS.images_bucket


def test_what_is_neither_reused_nor_limited_takes_no_state(endpoint: object) -> None:
    services = Services(replace(SETTINGS, reuse="off", daily_image_limit=0))

    assert services.labelling.detection.reuse is None
    assert "state" not in vars(services)
    assert services.recovery.limit is None


def test_the_recipe_is_what_the_settings_say(endpoint: object) -> None:
    assert Services(SETTINGS).detection.recipe == Recipe(
        detectors=frozenset({Detector.LABELS, Detector.PROPERTIES}),
        min_confidence=60.5,
        max_labels=7,
        include_labels=("Dog",),
        exclude_labels=("Cat",),
        include_categories=("Animals and Pets",),
        exclude_categories=("Sports",),
        min_moderation_confidence=61.5,
        min_text_confidence=62.5,
        max_colors=5,
    )


def test_what_is_asked_unless_told_otherwise_is_the_same_in_settings_and_model(endpoint: object) -> None:
    assert Services(Settings.from_env(LOCAL)).recipe == Recipe()


def test_time_is_told_in_utc() -> None:
    now = Services(SETTINGS).now()

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("operation", "attempts", "call"),
    [
        ("s3.GetObject", 2, lambda services: services.bucket.look("car.png")),
        ("dynamodb.GetItem", 2, lambda services: services.store.image("car.png", services.now())),
        ("dynamodb.GetItem", 2, lambda services: services.tokens.find(f"ilt_{12 * '0'}_{64 * '0'}")),
        ("dynamodb.PutItem", 1, lambda services: services.state.put("n", "e", Recipe(), timedelta(1))),
        (
            "rekognition.DetectLabels",
            3,
            lambda services: services.rekognition.detect((Detector.LABELS,), IMAGE),
        ),
    ],
    ids=["s3", "dynamodb", "tokens", "state", "rekognition"],
)
def test_an_outage_is_met_with_a_few_attempts(
    endpoint: object, operation: str, attempts: int, call: Any
) -> None:
    services = Services(SETTINGS)
    sent = faults.plan(services.session.events, operation, *OUTAGE)

    with pytest.raises(ServiceFailed):
        call(services)

    assert len(sent) == attempts


def test_a_labelling_whose_every_step_takes_its_time_ends_before_its_time_out() -> None:
    assert max(FAILING, PUTTING_OUT_OF_SIGHT) < LAST_CALLS
    assert PREPARING + max(FAILING, PUTTING_OUT_OF_SIGHT) < MIN_LABEL_TIMEOUT


def test_a_way_into_quarantine_whose_every_step_takes_its_time_ends_before_the_time_out() -> None:
    look = resume = version = checksum = hide = delete = conclude = let_go = worst_case(PATIENCE)
    copy = worst_case(PATIENCE) + worst_case(COPYING) + worst_case(PATIENCE)  # between two looks at it
    isolate = version + checksum + DOWNLOADING + copy + hide + delete + max(conclude, let_go)

    assert isolate < PUTTING_AWAY
    assert look + resume < MIN_LABEL_TIMEOUT - PUTTING_AWAY


def test_a_way_back_whose_every_step_takes_its_time_ends_before_the_time_out() -> None:
    look = resume = kept = worst_case(PATIENCE)

    assert look + resume + kept + worst_case(COPYING) + PREPARING + RELEASED < MIN_LABEL_TIMEOUT


def test_an_attempt_whose_every_step_takes_its_time_ends_before_its_time_out_and_its_lease() -> None:
    claim = record = secret = previous_secret = worst_case(PATIENCE)
    remembered = 4 * worst_case(STATE_PATIENCE)
    attempt = LIMITS.total + LIMITS.courtesy
    timeout = SIZES["deliver_callback"].timeout

    assert claim + secret + previous_secret + remembered + attempt + record < timeout
    assert timeout < LEASE.total_seconds()


def test_a_part_of_the_recovery_whose_every_step_takes_its_time_ends_before_its_time_out() -> None:
    pages = ceil(SWEPT_KEYS / MOST_KEYS)
    listing = worst_case(PATIENCE)
    begin = worst_case(STATE_PATIENCE) + listing + pages * worst_case(PATIENCE)
    look = ask = worst_case(PATIENCE)
    go_on = worst_case(STATE_PATIENCE)

    assert begin + look + ask + go_on < RESERVE / 1000 < SIZES["recover"].timeout


def test_callbacks_follow_the_settings(endpoint: object) -> None:
    settings = replace(
        SETTINGS, stage="dev", callback_url="https://a.example.com", callback_hosts=("b.example.com",)
    )
    services = Services(settings)

    delivery, dispatching = services.delivery, services.dispatching

    assert dispatching.url == "https://a.example.com"
    assert services.callback_rules == CallbackRules(("b.example.com",))
    assert delivery.callbacks is dispatching.callbacks is services.recovery.dispatching.callbacks
    assert delivery.receivers is dispatching.receivers


def test_readers_are_shown_less_than_is_indexed(endpoint: object) -> None:
    services = Services(replace(SETTINGS, hidden_labels=("Man",)))

    assert services.indexing.terms is services.search.terms is services.terms
    assert services.store._hidden is services.search.hidden is services.dispatching.deny_list
    assert services.search.hidden == DenyList(("Man",))
    assert services.indexing.store._hidden == DenyList()


def test_the_function_has_the_time_and_the_memory_that_it_may_take() -> None:
    size = SIZES[LABELLER]
    settings = replace(Settings.from_env(LOCAL), aws_lambda_function_memory_size=size.memory)

    assert size.timeout >= MIN_LABEL_TIMEOUT
    assert settings.conversion_bytes >= ANY_PICTURE


def test_a_route_gives_up_a_silent_service_within_five_seconds() -> None:
    longest_pause = 1.0  # of the SDK's, between the first attempt and the second

    assert worst_case(PATIENCE) + longest_pause < 5


def test_a_token_is_checked_before_api_gateway_gives_up() -> None:
    find, note = worst_case(PATIENCE), worst_case(PATIENCE)

    assert find + note < SIZES[AUTHORIZER].timeout <= API_GATEWAY_TIMEOUT


def test_every_client_has_its_patience(endpoint: object) -> None:
    services = Services(SETTINGS)

    _ = services.labelling

    adapters: Any = (services.bucket, services.store, services.rekognition, services.state)
    clients = [*(adapter._client for adapter in adapters), services.quarantining.quarantine._copying]
    configs: Any = [client.meta.config for client in clients]
    patiences = [(config.connect_timeout, config.read_timeout) for config in configs]
    assert patiences == [(0.5, 1.3), (0.5, 1.3), (1, 9), (1, 1), (1, 15)]


def test_a_client_signs_for_the_buckets_regional_host(
    endpoint: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")

    url = Services(SETTINGS).bucket.presign_upload("car.png", Upload(), 60).url

    assert url.startswith(
        f"https://{SETTINGS.images_bucket}.s3.us-east-1.amazonaws.com/car.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&"
    )
