from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.errors import ServiceFailed
from chalicelib.model import StoredObject, Upload
from chalicelib.services import PATIENCE, REKOGNITION_PATIENCE, Services
from chalicelib.settings import Settings
from tests import faults

SETTINGS = Settings("local", "pictures", "images", min_confidence=60.0, max_labels=7, upload_url_seconds=300)
FOUND = StoredObject("car.png", "v1", "etag", 1, None, datetime(2026, 1, 2, tzinfo=UTC), {}, b"")

LEAST_TIMEOUT = 60  # seconds, of the labelling function
API_GATEWAY_TIMEOUT = 29

OUTAGE = [faults.answering(503, b"")] * 9


def test_nothing_is_made_before_it_is_needed() -> None:
    services = Services(SETTINGS)

    assert vars(services) == {"settings": SETTINGS}


def test_a_use_case_makes_what_it_needs_and_no_more(endpoint: object) -> None:
    services = Services(SETTINGS)

    _ = services.uploads

    assert set(vars(services)) == {"settings", "session", "s3", "bucket", "store", "uploads"}


@pytest.mark.parametrize("name", ["session", "s3", "bucket", "store", "rekognition", "uploads", "labelling"])
def test_what_was_made_is_used_again(endpoint: object, name: str) -> None:
    services = Services(SETTINGS)

    assert getattr(services, name) is getattr(services, name)


def test_use_cases_share_their_adapters_and_follow_the_settings(endpoint: object) -> None:
    services = Services(SETTINGS)

    labelling, uploads = services.labelling, services.uploads

    assert (labelling.bucket, labelling.store) == (uploads.bucket, uploads.store)
    assert (labelling.lease_seconds, labelling.min_confidence, labelling.max_labels) == (70, 60.0, 7)
    assert uploads.url_seconds == 300
    assert services.bucket.name == "pictures"


def test_time_is_told_in_utc() -> None:
    now = Services(SETTINGS).now()

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("operation", "attempts", "call"),
    [
        ("s3.GetObject", 2, lambda services: services.bucket.look("car.png")),
        ("dynamodb.GetItem", 2, lambda services: services.store.image("car.png", services.now())),
        (
            "rekognition.DetectLabels",
            3,
            lambda services: services.rekognition.detect_labels("pictures", FOUND, 50.0, 30),
        ),
    ],
    ids=["s3", "dynamodb", "rekognition"],
)
def test_an_outage_is_met_with_a_few_attempts(
    endpoint: object, operation: str, attempts: int, call: Any
) -> None:
    services = Services(SETTINGS)
    sent = faults.plan(services.session.events, operation, *OUTAGE)

    with pytest.raises(ServiceFailed):
        call(services)

    assert len(sent) == attempts


def test_a_labelling_whose_every_call_hangs_ends_before_its_time_out() -> None:
    look = claim = commit = worst_case(PATIENCE)

    assert look + claim + worst_case(REKOGNITION_PATIENCE) + commit < LEAST_TIMEOUT


def test_a_route_whose_every_call_hangs_ends_before_api_gateway_gives_up() -> None:
    most_calls_of_a_route = 3  # DELETE: the row, a look, the deletion

    assert most_calls_of_a_route * worst_case(PATIENCE) < API_GATEWAY_TIMEOUT


def test_every_client_has_its_patience(endpoint: object) -> None:
    services = Services(SETTINGS)

    _ = services.labelling

    adapters: Any = (services.bucket, services.store, services.rekognition)
    configs = [adapter._client.meta.config for adapter in adapters]
    assert [(config.connect_timeout, config.read_timeout) for config in configs] == [(1, 3), (1, 3), (1, 9)]


def worst_case(patience: Any) -> float:
    """Seconds, without the pauses between attempts."""
    worst: float = patience.retries["total_max_attempts"] * (patience.connect_timeout + patience.read_timeout)
    return worst


def test_a_client_signs_for_the_buckets_regional_host(
    endpoint: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")

    url = Services(SETTINGS).bucket.presign_upload("car.png", Upload(), 60).url

    assert url.startswith(
        "https://pictures.s3.us-east-1.amazonaws.com/car.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&"
    )
