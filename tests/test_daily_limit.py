import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib.daily_limit import LIFE, DailyLimit
from chalicelib.errors import AccessLost, Deferred, ServiceFailed, Throttled
from chalicelib.labelling import Labelling
from chalicelib.model import Detector, Image, Outcome
from chalicelib.rows import read_claim
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.state import State
from tests.catalogue import Catalogue
from tests.faults import answering, json_error, plan
from tests.lambda_events import received
from tests.log_lines import log_lines
from tests.pictures import ENCODERS, picture, quarters
from tests.scripted_rekognition import LABELS, MODERATION, TEXT, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ALL = {LABELS: 1, MODERATION: 1, TEXT: 1}
DENIED = (400, "AccessDeniedException")
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)

Put = Callable[..., str]


@pytest.fixture
def services(all_detectors: Settings, rekognition: ScriptedRekognition, unhurried: None) -> Services:
    return Services(replace(all_detectors, daily_image_limit=2))


@pytest.fixture
def put(s3: "S3Client", services: Services) -> Put:
    def put(*keys: str, body: bytes = picture("Car 98.5")) -> str:
        for key in keys:
            version = s3.put_object(Bucket=services.settings.images_bucket, Key=key, Body=body)
        return version.get("VersionId", "")

    return put


@pytest.fixture
def at(services: Services) -> Callable[[datetime], DailyLimit]:
    """The limit at a time."""
    state = State(boto3.client("dynamodb"), services.settings.state_table, services.now)
    return lambda now: DailyLimit(state, 2, lambda: now)


def label(services: Services, *keys: str) -> list[str]:
    return [str(services.labelling.label(key)) for key in keys]


def the_next_day(services: Services) -> Labelling:
    limit = replace(services.daily_limit, now=lambda: services.now() + DAY)  # type: ignore[type-var]
    return replace(services.labelling, detection=replace(services.detection, limit=limit))


def left(services: Services) -> int:
    assert services.daily_limit is not None
    return services.daily_limit.left()


def image(services: Services, key: str) -> Image:
    found = services.store.image(key, services.now())
    assert found is not None
    return found


def claim(catalogue: Catalogue, key: str) -> Any:
    return read_claim(catalogue.rows(key)["image"])


# The counter


def test_a_day_has_as_many_pictures_as_it_may(at: Callable[[datetime], DailyLimit]) -> None:
    limit = at(NOON)

    left = [limit.left()]
    for _ in range(2):
        limit.count()
        left.append(limit.left())

    assert left == [2, 1, 0]
    with pytest.raises(Deferred, match=r"^2 pictures were looked at today$"):
        limit.count()
    assert limit.left() == 0


@pytest.mark.parametrize(
    ("moment", "is_another"),
    [
        pytest.param(NOON.replace(hour=0, minute=0), False, id="from midnight"),
        pytest.param(NOON.replace(hour=23, minute=59, second=59), False, id="to midnight"),
        pytest.param(NOON + timedelta(hours=12), True, id="the next"),
        pytest.param(NOON - timedelta(hours=12, seconds=1), True, id="the one before"),
        pytest.param(NOON.astimezone(timezone(timedelta(hours=13))), False, id="tomorrow elsewhere"),
        pytest.param(NOON + 366 * DAY, True, id="another year"),
    ],
)
def test_a_day_is_one_of_utc(
    moment: datetime, is_another: bool, at: Callable[[datetime], DailyLimit]
) -> None:
    for _ in range(2):
        at(NOON).count()

    assert at(moment).left() == (2 if is_another else 0)


def test_a_limit_that_is_lowered_leaves_nothing(at: Callable[[datetime], DailyLimit]) -> None:
    for _ in range(2):
        at(NOON).count()

    assert replace(at(NOON), limit=1).left() == 0
    assert replace(at(NOON), limit=5).left() == 3


def test_a_counter_goes_by_itself_after_its_day(
    at: Callable[[datetime], DailyLimit], services: Services
) -> None:
    at(NOON).count()

    key: Any = {"name": {"S": "daily#2026-11-25"}, "entry": {"S": "images"}}
    row = boto3.client("dynamodb").get_item(TableName=services.settings.state_table, Key=key)["Item"]
    life = float(row["expires_at"]["N"]) - services.now().timestamp()
    assert life == pytest.approx(LIFE.total_seconds(), abs=60)
    assert LIFE > DAY


# Beyond the limit


def test_pictures_beyond_the_limit_wait_and_cost_nothing(
    put: Put, services: Services, rekognition: ScriptedRekognition, catalogue: Catalogue
) -> None:
    put("1.png", "2.png", "3.png")

    outcomes = label(services, "1.png", "2.png", "3.png", "3.png")

    assert outcomes == ["labelled", "labelled", "deferred", "deferred"]
    assert rekognition.asked == dict.fromkeys(ALL, 2)
    waiting = image(services, "3.png")
    assert (waiting.status, waiting.reason, waiting.labels) == ("deferred", None, ())
    assert not claim(catalogue, "3.png").is_held(waiting.version_id, services.now().timestamp())
    [listed] = services.store.newest(["deferred"], (), 9, services.now())  # type: ignore[list-item]
    assert listed.summary.source_file == "3.png"


def test_it_is_their_turn_the_next_day(
    put: Put, services: Services, rekognition: ScriptedRekognition, catalogue: Catalogue
) -> None:
    put("1.png", "2.png", "3.png")
    label(services, "1.png", "2.png", "3.png")
    rekognition.calls.clear()

    outcome = the_next_day(services).label("3.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == ALL
    assert catalogue.said("3.png") == catalogue.expected("3.png")
    assert left(services) == 0


def test_the_old_answer_stands_while_the_new_picture_waits(
    put: Put, services: Services, catalogue: Catalogue
) -> None:
    put("1.png", "2.png")
    label(services, "1.png", "2.png")
    put("1.png", body=picture("Dog 90"))

    label(services, "1.png")

    waiting = image(services, "1.png")
    assert (waiting.status, [each.name for each in waiting.labels]) == ("deferred", ["Car"])
    assert sorted(catalogue.rows("1.png")) == ["image", "label#car"]


def test_a_picture_that_waits_is_no_failure(put: Put, services: Services) -> None:
    put("1.png", "2.png", "3.png")

    services.slow_path.first_try(["1.png", "2.png", "3.png"], lambda: 900_000)

    assert received(services.settings.labelling_queue_url)["Records"] == []
    assert services.labelling.label("3.png", is_last_try=True) is Outcome.DEFERRED
    assert image(services, "3.png").status == "deferred"


def test_a_picture_that_is_removed_while_it_waits_leaves_nothing(
    put: Put, services: Services, s3: "S3Client", catalogue: Catalogue
) -> None:
    put("1.png", "2.png", "3.png")
    label(services, "1.png", "2.png", "3.png")
    s3.delete_object(Bucket=services.bucket.name, Key="3.png")

    outcomes = label(services, "3.png")

    assert outcomes == ["removed"]
    assert catalogue.said("3.png") == catalogue.expected("3.png")


def test_who_wants_another_answer_waits_for_it_too(
    put: Put, services: Services, catalogue: Catalogue, rekognition: ScriptedRekognition
) -> None:
    put("1.png", "2.png")
    label(services, "1.png", "2.png")
    services.claims.ask_again("1.png", "wish", services.now())

    outcomes = label(services, "1.png")

    assert outcomes == ["deferred"]
    assert catalogue.said("1.png")[2:] == (["Car"], ["Car"])
    assert the_next_day(services).label("1.png") is Outcome.LABELLED
    assert rekognition.asked == dict.fromkeys(ALL, 3)
    assert label(services, "1.png") == ["duplicate"]


def test_many_at_once_stay_within_the_limit(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    keys = [f"{number}.png" for number in range(6)]
    put(*keys)
    _ = services.labelling

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda key: services.labelling.label(key), keys))

    assert sorted(outcomes) == ["deferred"] * 4 + ["labelled"] * 2
    assert rekognition.asked == dict.fromkeys(ALL, 2)


# What counts


def test_only_pictures_that_detectors_are_asked_about_are_counted(
    put: Put, services: Services, s3: "S3Client"
) -> None:
    put("1.png")
    label(services, "1.png", "1.png")
    put("text.png", body=b"no picture")
    put("torn.webp", body=ENCODERS["image/webp"](quarters())[:100])
    s3.delete_object(Bucket=services.bucket.name, Key="gone.png")

    outcomes = label(services, "text.png", "torn.webp", "gone.png", "1.png")

    assert outcomes == ["failed", "failed", "removed", "duplicate"]
    assert left(services) == 1


def test_what_is_reused_is_not_counted(put: Put, services: Services) -> None:
    thrifty = Services(replace(services.settings, reuse="on"))
    put("1.png", "2.png", "3.png")

    outcomes = label(thrifty, "1.png", "2.png", "3.png")

    assert outcomes == ["labelled"] * 3
    assert left(thrifty) == 1


@pytest.mark.parametrize("failing", [(TEXT,), (LABELS, MODERATION, TEXT)], ids=["one", "all"])
def test_a_picture_whose_detectors_failed_is_counted_once(
    failing: tuple[str, ...], put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png")
    rekognition.failures |= {operation: [DENIED] * 2 for operation in failing}

    for _ in range(2):
        with pytest.raises(AccessLost):
            label(services, "1.png")
    outcomes = label(services, "1.png")

    assert outcomes == ["labelled"]
    assert left(services) == 1


def test_nor_is_it_counted_again_by_other_settings_or_on_another_day(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", "2.png", "3.png")
    rekognition.failures[TEXT].append(DENIED)
    with pytest.raises(AccessLost):
        label(services, "1.png")
    label(services, "2.png")
    stricter = Services(replace(services.settings, min_confidence=60.0))
    tomorrow = the_next_day(stricter)

    outcomes = [tomorrow.label("1.png"), tomorrow.label("3.png"), tomorrow.label("2.png")]

    assert outcomes == [Outcome.LABELLED, Outcome.LABELLED, Outcome.DUPLICATE]
    assert tomorrow.detection.limit is not None
    assert tomorrow.detection.limit.left() == 1


def test_another_picture_under_the_key_is_counted_by_itself(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png")
    rekognition.failures[TEXT].append(DENIED)
    with pytest.raises(AccessLost):
        label(services, "1.png")
    put("1.png", body=picture("Dog 90"))

    label(services, "1.png")

    assert left(services) == 0


def test_what_was_answered_before_is_kept_while_the_rest_waits(
    put: Put, services: Services, rekognition: ScriptedRekognition, catalogue: Catalogue
) -> None:
    unlimited = Services(replace(services.settings, daily_image_limit=0))
    put("1.png", "2.png", "3.png")
    rekognition.failures[TEXT].append(DENIED)
    with pytest.raises(AccessLost):
        label(unlimited, "3.png")
    label(services, "1.png", "2.png")

    outcomes = label(services, "3.png")

    assert outcomes == ["deferred"]
    assert claim(catalogue, "3.png").partial.findings.told == {*Detector} - {Detector.TEXT}
    rekognition.calls.clear()
    assert the_next_day(services).label("3.png") is Outcome.LABELLED
    assert rekognition.asked == {TEXT: 1}


# When the counter fails


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (json_error(400, "ThrottlingException"), Throttled),
        (json_error(400, "AccessDeniedException"), AccessLost),
        (answering(500, b""), ServiceFailed),
    ],
    ids=["throttled", "access", "500"],
)
def test_what_cannot_be_counted_is_not_asked_and_tried_again(
    fault: Any, failure: type[Exception], put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png")
    _ = services.labelling
    plan(services.state._client.meta.events, "dynamodb.UpdateItem", fault)

    with pytest.raises(failure):
        label(services, "1.png")

    assert rekognition.asked == {}
    assert image(services, "1.png").status == "queued"
    assert label(services, "1.png") == ["labelled"]


def test_a_row_that_cannot_be_let_go_is_tried_again(put: Put, services: Services) -> None:
    put("1.png", "2.png", "3.png")
    label(services, "1.png", "2.png")
    throttled = json_error(400, "ThrottlingException")
    failing = Services(services.settings)
    plan(failing.session.events, "dynamodb.UpdateItem", lambda _: None, lambda _: None, *[throttled] * 5)

    with pytest.raises(Throttled):
        label(failing, "3.png")

    later = services.now() + timedelta(seconds=services.settings.lease_seconds + 1)
    assert replace(services.labelling, now=lambda: later).label("3.png") is Outcome.DEFERRED


# What is told


def test_a_picture_that_waits_is_one_line_and_one_count(
    put: Put,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("1.png", "2.png", "3.png")
    label(services, "1.png", "2.png")
    capsys.readouterr()
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")

    with log_lines() as lines:
        label(services, "3.png")

    facts = lines.facts("level", "message", "image", "outcome", "detectors")
    assert facts == [{"level": "INFO", "message": "deferred", "image": "3.png", "outcome": "deferred"}]
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["outcome"], line["Images"]) for line in counted if "Images" in line] == [
        ("deferred", [1.0])
    ]
