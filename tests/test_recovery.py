from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from chalicelib import recovery
from chalicelib.errors import AccessLost
from chalicelib.events import Messages
from chalicelib.model import Outcome, Upload
from chalicelib.services import Services
from chalicelib.settings import Settings
from ops.configuration import SIZES
from tests.catalogue import Catalogue
from tests.faults import answering, json_error, plan, xml_error
from tests.lambda_events import SCHEDULED, context, received
from tests.log_lines import log_lines
from tests.pictures import picture
from tests.scripted_rekognition import LABELS, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "a b.png"
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TIMEOUT = SIZES["recover"].timeout * 1000


@dataclass
class Stage:
    """A stage whose time a test moves on, while S3 and Rekognition stay where they are."""

    services: Services
    s3: "S3Client"
    passed: timedelta = timedelta(0)
    left: int = TIMEOUT  # milliseconds of a run

    def put(self, *keys: str) -> None:
        for key in keys:
            self.s3.put_object(Bucket=self.services.bucket.name, Key=key, Body=picture("Dog 90"))

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.services.bucket.name, Key=key)

    def label(self, *keys: str) -> None:
        for key in keys:
            self.services.labelling.label(key)

    def now(self) -> datetime:
        return self.services.now() + self.passed

    def recover(self, after: timedelta = timedelta(0)) -> list[str]:
        """The keys that a run finds so much later, each as often as it asks for it."""
        self.passed += after
        recovery = self.services.recovery
        limit = recovery.limit and replace(recovery.limit, now=self.now)
        replace(recovery, now=self.now, limit=limit).run(lambda: self.left)
        return sorted(self._asked_for())

    def _asked_for(self) -> Iterable[str]:
        client: Any = boto3.client("sqs")
        url = self.services.settings.labelling_queue_url
        while records := received(url)["Records"]:
            for message in Messages({"Records": records}, None):
                yield from self.services.labelling_queue.keys(message)
                client.delete_message(QueueUrl=url, ReceiptHandle=message.receipt_handle)

    def status(self, key: str = KEY) -> str:
        image = self.services.store.image(key, self.services.now())
        assert image is not None
        return image.status


@pytest.fixture
def stage(services: Services, s3: "S3Client") -> Stage:
    return Stage(services, s3)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "SWEPT_KEYS", 2)
    monkeypatch.setattr(recovery, "SWEPT_ROWS", 2)


def claim(stage: Stage, key: str = KEY) -> None:
    """As a function does that dies then."""
    found = stage.services.bucket.look(key)
    assert found is not None
    services = stage.services
    services.claims.claim(found, "dead run", None, services.now(), services.settings.lease_seconds)


def test_where_nothing_is_amiss_nothing_is_found(stage: Stage) -> None:
    stage.put("a.png", "b.png")
    stage.label("a.png", "b.png")

    assert [stage.recover(DAY) for _ in range(3)] == [[], [], []]


def test_a_picture_whose_function_died_is_found_when_its_lease_is_over(stage: Stage) -> None:
    stage.put(KEY)
    claim(stage)

    lease = timedelta(seconds=stage.services.settings.lease_seconds)
    found = [
        stage.recover(),
        stage.recover(lease - timedelta(seconds=5)),
        stage.recover(timedelta(seconds=10)),
    ]

    assert found == [[], [], [KEY]]
    assert stage.status() == "queued"


def test_what_was_found_is_not_found_again_by_the_next_run(stage: Stage) -> None:
    stage.put(KEY)
    claim(stage)

    assert [
        stage.recover(timedelta(minutes=3)),
        *[stage.recover(timedelta(minutes=1)) for _ in range(3)],
    ] == [
        [KEY],
        [],
        [],
        [],
    ]


def test_a_picture_whose_message_got_lost_is_found_after_hours(
    stage: Stage, rekognition: ScriptedRekognition
) -> None:
    stage.put(KEY)
    rekognition.failures[LABELS].append((400, "AccessDeniedException"))
    with pytest.raises(AccessLost):
        stage.label(KEY)

    found = [stage.recover(timedelta(minutes=30)), stage.recover(timedelta(hours=2))]

    assert found == [[], [KEY]]
    assert stage.status() == "queued"


@pytest.fixture
def limited(settings: Settings, s3: "S3Client", rekognition: ScriptedRekognition, unhurried: None) -> Stage:
    """A stage on which two pictures a day are looked at."""
    return Stage(Services(replace(settings, daily_image_limit=2)), s3)


def test_pictures_that_wait_for_another_day_are_found_on_that_day_as_far_as_it_has_room(
    limited: Stage,
) -> None:
    keys = [f"{number}.png" for number in range(6)]
    limited.put(*keys)
    limited.label(*keys)
    today = [limited.recover(), limited.recover(timedelta(minutes=1))]

    tomorrow = limited.recover(DAY)

    assert today == [[], []]
    assert tomorrow == ["2.png", "3.png"]
    assert [limited.status(key) for key in keys] == ["labelled"] * 2 + ["queued"] * 2 + ["deferred"] * 2


def test_a_limit_that_is_raised_makes_room_the_same_day(limited: Stage) -> None:
    limited.put("1.png", "2.png", "3.png", "4.png")
    limited.label("1.png", "2.png", "3.png", "4.png")
    raised = replace(limited, services=Services(replace(limited.services.settings, daily_image_limit=3)))

    found = raised.recover()
    raised.label(*found)

    assert found == ["3.png"]
    assert raised.recover() == []
    assert [raised.status(key) for key in ("3.png", "4.png")] == ["labelled", "deferred"]


def test_what_was_found_and_has_no_room_after_all_waits_again(limited: Stage) -> None:
    limited.put("1.png", "2.png", "3.png", "late.png")
    limited.label("1.png", "2.png", "3.png")
    raised = replace(limited, services=Services(replace(limited.services.settings, daily_image_limit=3)))
    found = raised.recover()

    raised.label("late.png", *found)

    assert found == ["3.png"]
    assert [raised.status(key) for key in ("late.png", "3.png")] == ["labelled", "deferred"]


def test_without_a_limit_nothing_waits_any_longer(limited: Stage, services: Services) -> None:
    limited.put("1.png", "2.png", "3.png", "4.png")
    limited.label("1.png", "2.png", "3.png", "4.png")

    assert replace(limited, services=services).recover() == ["3.png", "4.png"]


def test_an_object_whose_event_never_came_is_found(stage: Stage) -> None:
    stage.put("labelled.png", KEY)
    stage.label("labelled.png")

    assert [stage.recover(), stage.recover(timedelta(hours=2))] == [[], [KEY]]


def test_an_object_that_was_just_put_may_yet_have_its_event(stage: Stage) -> None:
    stage.put(KEY)

    assert stage.recover(recovery.GRACE - timedelta(seconds=30)) == []


def test_an_announced_upload_whose_event_never_came_is_found(stage: Stage) -> None:
    expected = stage.services.uploads.expect("cup.png", Upload())
    stage.put(expected.source_file)

    assert stage.recover(timedelta(hours=1)) == [expected.source_file]


@pytest.mark.parametrize("labels", [("Cat 90",), ("Dog 90",)], ids=["other bytes", "the same bytes"])
def test_a_new_version_whose_event_never_came_is_found(
    labels: tuple[str, ...], stage: Stage, catalogue: Catalogue
) -> None:
    stage.put(KEY)
    stage.label(KEY)
    stored = catalogue.rows(KEY)["image"]
    earlier = datetime.fromisoformat(stored["uploaded_at"]) - timedelta(hours=1)
    set_uploaded_at(catalogue, earlier)  # S3's time cannot be moved on, so the first upload is moved back
    stage.s3.put_object(Bucket=stage.services.bucket.name, Key=KEY, Body=picture(*labels))

    assert stage.recover(timedelta(hours=1)) == [KEY]


def set_uploaded_at(catalogue: Catalogue, moment: datetime) -> None:
    catalogue.dynamodb.update_item(
        TableName=catalogue.services.settings.images_table,
        Key={"source_file": {"S": KEY}, "entry": {"S": "image"}},
        UpdateExpression="SET uploaded_at = :moment",
        ExpressionAttributeValues={":moment": {"S": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}},
    )


def test_a_picture_that_came_back_is_found_behind_its_tombstone(stage: Stage) -> None:
    stage.put(KEY)
    stage.label(KEY)
    stage.delete(KEY)
    stage.label(KEY)
    stage.put(KEY)

    assert stage.recover(timedelta(hours=1)) == [KEY]


@pytest.mark.parametrize("body", [picture("Dog 90"), b"unfit"], ids=["labelled", "failed"])
def test_a_row_whose_object_is_gone_is_found(body: bytes, stage: Stage) -> None:
    stage.put("there.png")
    stage.s3.put_object(Bucket=stage.services.bucket.name, Key=KEY, Body=body)
    stage.label(KEY, "there.png")
    stage.delete(KEY)

    assert stage.recover() == [KEY]
    assert stage.services.labelling.label(KEY) is Outcome.REMOVED


@pytest.mark.usefixtures("small_steps")
def test_a_bucket_is_compared_in_steps_and_every_lost_event_found_in_one_round(stage: Stage) -> None:
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label("1.png")

    found = [stage.recover(timedelta(minutes=11)), *[stage.recover(timedelta(minutes=1)) for _ in range(3)]]

    assert found == [["0.png"], ["2.png", "3.png"], ["4.png"], []]


@pytest.mark.usefixtures("small_steps")
def test_rows_are_compared_in_steps_and_every_lost_removal_found_in_one_round(stage: Stage) -> None:
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label(*keys)
    for key in ("0.png", "3.png", "4.png"):
        stage.delete(key)

    found = [stage.recover() for _ in range(4)]

    assert found == [["0.png"], ["3.png"], ["4.png"], []]


@pytest.mark.usefixtures("small_steps")
def test_a_round_of_rows_ends_however_many_are_labelled_meanwhile(stage: Stage) -> None:
    stage.put("early.png", "2.png")
    stage.label("early.png", "2.png")
    stage.recover()
    stage.delete("early.png")

    for run in range(4):
        later = [f"later {run} {number}.png" for number in range(3)]
        stage.put(*later)
        stage.label(*later)
        assert stage.recover() == []

    assert stage.recover(DAY) == ["early.png"]


@dataclass(frozen=True)
class OlderCursor:
    """As it was before it said when its round began."""

    after: str
    rests_until: float


@pytest.mark.usefixtures("small_steps")
def test_a_round_from_before_an_update_goes_on_where_it_was(stage: Stage, catalogue: Catalogue) -> None:
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label(*keys)
    after = catalogue.rows("1.png")["image"]["updated_at"]
    stage.services.state.put("sweep", "rows labelled", OlderCursor(after, 0), DAY)
    for key in ("0.png", "2.png", "4.png"):
        stage.delete(key)

    assert [stage.recover() for _ in range(2)] == [["2.png"], ["4.png"]]
    assert stage.recover(DAY) == ["0.png"]


def refuse(stage: Stage, key: str, status: int) -> None:
    """Lets S3 answer so whoever asks for that object."""
    events: Any = stage.services.s3.meta.events
    refusal = answering(status, b"")

    def handle(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        return refusal(request) if urlsplit(request.url).path.endswith(f"/{key}") else None

    events.register_first("before-send.s3.HeadObject", handle)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("status", [400, 403])
def test_an_object_that_nobody_may_look_at_holds_up_no_row_behind_it(status: int, stage: Stage) -> None:
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label(*keys)
    stage.delete("4.png")
    refuse(stage, "1.png", status)

    with log_lines() as lines:
        found = [stage.recover() for _ in range(3)]

    assert found == [[], [], ["4.png"]]
    told = [line for line in lines.facts("level", "outcome", "image") if "image" in line]
    assert told == [{"level": "WARNING", "outcome": "access_lost", "image": "1.png"}]


@pytest.mark.usefixtures("small_steps")
def test_while_s3_fails_no_row_is_taken_for_looked_at(stage: Stage) -> None:
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label(*keys)
    stage.delete("1.png")
    plan(stage.services.s3.meta.events, "s3.HeadObject", *[answering(503, b"")] * 2)

    assert [stage.recover() for _ in range(2)] == [[], ["1.png"]]


def short_pages(stage: Stage, operation: str, size: str) -> None:
    """Both services may answer with fewer than were asked for, and say that there are more."""
    stage.services.session.events.register(
        f"provide-client-params.{operation}", lambda params, **_: params.update({size: min(params[size], 2)})
    )


def test_a_short_page_is_not_the_end_of_the_bucket(stage: Stage) -> None:
    short_pages(stage, "s3.ListObjectsV2", "MaxKeys")
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label(*keys[:4])

    assert stage.recover(timedelta(minutes=11)) == ["4.png"]


def test_a_short_page_is_not_the_end_of_the_rows(stage: Stage) -> None:
    short_pages(stage, "dynamodb.Query", "Limit")
    keys = [f"{number}.png" for number in range(5)]
    stage.put(*keys)
    stage.label(*keys)
    stage.delete("4.png")

    assert stage.recover() == ["4.png"]


def test_after_a_round_a_sweep_rests(stage: Stage) -> None:
    stage.recover()
    stage.put(KEY)

    found = [stage.recover(timedelta(minutes=30)), stage.recover(timedelta(minutes=31))]

    assert found == [[], [KEY]]


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("s3.ListObjectsV2", xml_error(403, "AccessDenied")),
        ("dynamodb.BatchGetItem", json_error(400, "AccessDeniedException")),
        ("dynamodb.GetItem", json_error(400, "AccessDeniedException")),
    ],
)
def test_a_part_that_fails_costs_the_others_nothing_and_goes_on_in_the_next_run(
    operation: str, fault: Any, stage: Stage
) -> None:
    plan(stage.services.session.events, operation, fault)
    stage.put(KEY, "unheard-of.png")
    claim(stage)

    with log_lines() as lines:
        first = stage.recover(timedelta(minutes=11))

    assert first == [KEY]
    assert lines.facts("level", "outcome", "part")[0]["outcome"] == "access_lost"
    assert stage.recover(timedelta(minutes=1)) == ["unheard-of.png"]


def test_a_queue_that_cannot_be_reached_loses_nothing(stage: Stage) -> None:
    stage.put(KEY, "unheard-of.png")
    claim(stage)
    plan(stage.services.session.events, "sqs.SendMessage", *[json_error(403, "AccessDenied")] * 2)

    first = stage.recover(timedelta(minutes=11))

    assert first == []
    assert stage.recover(timedelta(minutes=1)) == [KEY, "unheard-of.png"]


def test_a_bug_in_one_part_is_told_after_the_others_are_done(stage: Stage) -> None:
    plan(stage.services.session.events, "s3.ListObjectsV2", xml_error(400, "SomethingNew"))
    stage.put(KEY)
    claim(stage)
    stage.passed = timedelta(minutes=3)

    with pytest.raises(ExceptionGroup, match="some parts of the recovery failed"):
        stage.recover()

    assert list(stage._asked_for()) == [KEY]


def test_a_callback_that_is_due_is_sent(stage: Stage, catalogue: Catalogue) -> None:
    dispatching = replace(stage.services.dispatching, url="https://example.com/hook")
    stage.put(KEY)
    stage.label(KEY)
    dispatching.announce(None, catalogue.rows(KEY)["image"])

    with log_lines() as lines:
        stage.recover()

    assert [line["callbacks_due"] for line in lines.all if line["message"] == "recovered"] == [1]


def test_one_line_says_what_a_run_has_found(stage: Stage) -> None:
    stage.put(KEY, "unheard-of.png")
    claim(stage)

    with log_lines() as lines:
        stage.recover(timedelta(minutes=11))

    [line] = [line for line in lines.all if line["message"] == "recovered"]
    parts = [*stage.services.recovery._parts]
    assert "deferred" in parts
    assert {name: line[name] for name in parts} == {
        **dict.fromkeys(parts, 0),
        "died_at_work": 1,
        "unheard_of": 1,
    }


@pytest.fixture
def slow(stage: Stage) -> Stage:
    """A stage where each call to AWS takes a second of a run."""

    def pass_by(**_: Any) -> None:
        stage.left -= 1000

    stage.services.session.events.register("before-call", pass_by)
    return stage


def recover_in_time(stage: Stage, after: timedelta) -> list[str]:
    """What a run finds, whose time begins anew."""
    stage.left = TIMEOUT
    found = stage.recover(after)
    stage.left += 1000 * (len(found) + 1)  # in which the test has received it
    assert stage.left >= 0
    return found


def test_a_bucket_for_which_a_run_has_too_little_time_is_gone_on_with_by_the_next(slow: Stage) -> None:
    keys = [f"{number:02}.png" for number in range(40)]
    slow.put(*keys)

    found = [recover_in_time(slow, after) for after in (timedelta(minutes=11), *[MINUTE] * 19)]

    assert 0 < len(found[0]) < len(keys)
    assert [key for each in found for key in each] == keys


def test_rows_for_which_a_run_has_too_little_time_are_gone_on_with_by_the_next(slow: Stage) -> None:
    keys = [f"{number}.png" for number in range(10)]
    slow.put(*keys)
    slow.label(*keys)
    for key in keys:
        slow.delete(key)

    found = [recover_in_time(slow, MINUTE) for _ in range(10)]

    assert 0 < len(found[0]) < len(keys)
    assert [key for each in found for key in each] == keys


def test_a_part_with_much_to_do_leaves_the_others_their_time(slow: Stage) -> None:
    slow.put("unheard-of.png", *[f"{number:02}.png" for number in range(20)])
    for number in range(20):
        claim(slow, f"{number:02}.png")

    found = [recover_in_time(slow, after) for after in (timedelta(minutes=11), *[MINUTE] * 19)]

    assert "unheard-of.png" in found[0]
    assert sorted(key for each in found for key in each) == [
        *[f"{number:02}.png" for number in range(20)],
        "unheard-of.png",
    ]


def test_a_run_without_time_begins_nothing(stage: Stage) -> None:
    stage.put(KEY)
    claim(stage)
    stage.left = recovery.RESERVE - 1

    assert stage.recover(timedelta(minutes=11)) == []

    stage.left = recovery.RESERVE
    assert stage.recover() == [KEY]


def test_the_schedule_runs_it(stage: Stage, app_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "services", stage.services)
    stage.put(KEY)
    claim(stage)
    stage.passed = timedelta(minutes=3)
    vars(stage.services)["recovery"] = replace(stage.services.recovery, now=stage.now)

    with log_lines() as lines:
        app_module.recover(SCHEDULED, context(seconds=60))

    assert lines.facts("outcome", "died_at_work") == [{"outcome": "recovered", "died_at_work": 1}]
