import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib.announcement import event_id
from chalicelib.callback import Callback, State
from chalicelib.callbacks import GRACE, HANDOVER
from chalicelib.dispatching import AHEAD, Dispatching
from chalicelib.errors import AccessLost
from chalicelib.model import Status
from chalicelib.services import Services
from chalicelib.settings import Settings
from tests.catalogue import Catalogue
from tests.faults import json_error, plan
from tests.log_lines import log_lines
from tests.pictures import picture
from tests.scripted_rekognition import LABELS, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "a/é #1.png"
STAGES, OWN = "https://stage.example.com/hook", "https://own.example.com/hook"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Row = dict[str, Any]
Label = Callable[..., Row]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, callback_url=STAGES)


@pytest.fixture
def dispatching(services: Services) -> Dispatching:
    return replace(services.dispatching, now=lambda: NOW)


@pytest.fixture
def label(s3: "S3Client", services: Services, catalogue: Catalogue, rekognition: object) -> Label:
    """Uploads a picture, labels it, and returns its row."""

    def label(*labels: str) -> Row:
        s3.put_object(Bucket=services.bucket.name, Key=KEY, Body=picture(*labels or ("Dog 90",)))
        services.labelling.label(KEY)
        return dict(catalogue.rows(KEY)["image"])

    return label


@pytest.fixture
def messages(services: Services) -> Callable[[], list[Any]]:
    client: Any = boto3.client("sqs")

    def receive() -> list[Any]:
        answer = client.receive_message(
            QueueUrl=services.settings.callbacks_queue_url, MaxNumberOfMessages=10
        )
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    return receive


def callbacks(dispatching: Dispatching) -> list[Callback]:
    return dispatching.callbacks.of_image(KEY, NOW)


def test_a_final_answer_becomes_a_callback_and_a_message(
    label: Label, dispatching: Dispatching, messages: Callable[[], list[Any]]
) -> None:
    row = label()

    dispatching.announce(None, row)

    [callback] = callbacks(dispatching)
    event = event_id(KEY, row["committed_run"])
    assert replace(callback, body="", round="") == Callback(
        source_file=KEY,
        event_id=event,
        type="image.labelled",
        url=STAGES,
        host="stage.example.com",
        body="",
        created_at="2026-01-02T03:04:05Z",
        started_at=NOW.timestamp(),
        due_at=NOW.timestamp(),
    )
    assert json.loads(callback.body)["timestamp"] == row["updated_at"].split("~")[0]
    assert messages() == [{"source_file": KEY, "event_id": event, "exhausted": None}]


def test_a_repetition_announces_nothing(
    label: Label, dispatching: Dispatching, messages: Callable[[], list[Any]]
) -> None:
    row = label()

    for _ in range(3):
        dispatching.announce(None, row)

    assert len(callbacks(dispatching)) == len(messages()) == 1


def test_what_was_announced_is_sent_as_it_was_though_the_picture_is_another_by_now(
    label: Label, dispatching: Dispatching
) -> None:
    before = label("Dog 90")
    dispatching.announce(None, before)
    dispatching.announce(before, label("Cat 90"))

    told = [json.loads(callback.body)["data"]["labels"][0]["name"] for callback in callbacks(dispatching)]
    assert sorted(told) == ["Cat", "Dog"]


def test_an_answer_that_was_asked_for_again_is_announced_again(
    label: Label, services: Services, dispatching: Dispatching
) -> None:
    before = label()
    services.claims.ask_again(KEY, "wish", services.now())
    after = label()

    dispatching.announce(None, before)
    dispatching.announce(before, after)

    assert len(callbacks(dispatching)) == 2


def test_a_picture_that_failed_is_announced_with_the_reason(
    label: Label, dispatching: Dispatching, rekognition: ScriptedRekognition
) -> None:
    rekognition.failures[LABELS].append((400, "InvalidParameterException"))

    dispatching.announce(None, label())

    [callback] = callbacks(dispatching)
    assert callback.type == "image.failed"
    assert json.loads(callback.body)["data"]["reason"] == "rejected"


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        pytest.param({}, {"status": Status.QUARANTINING}, [], id="before it is final"),
        pytest.param(
            {"status": Status.QUARANTINING, "committed_run": "old"},
            {"status": Status.QUARANTINED},
            ["image.quarantined"],
            id="when it is final",
        ),
        pytest.param(
            {"status": Status.PROCESSING, "committed_run": "old"}, {}, ["image.labelled"], id="a commit"
        ),
        pytest.param({"status": Status.PROCESSING}, {}, [], id="an old answer that stays"),
        pytest.param({}, {"fence": "a"}, [], id="something else in the row"),
        pytest.param({}, {"status": Status.PROCESSING}, [], id="a claim"),
        pytest.param({}, {"status": Status.REMOVED, "committed_run": "new"}, [], id="a removal"),
        pytest.param({}, {"status": Status.AWAITING_UPLOAD, "committed_run": None}, [], id="an upload"),
        pytest.param({"status": Status.PROCESSING}, {"entry": "label#dog"}, [], id="a row of a label"),
    ],
)
def test_only_a_new_final_answer_is_news(
    before: Row, after: Row, kinds: list[str], label: Label, dispatching: Dispatching
) -> None:
    row = label()
    changed = {name: value for name, value in {**row, **after}.items() if value is not None}

    dispatching.announce({**row, **before}, changed)

    assert [callback.type for callback in callbacks(dispatching)] == kinds


def test_what_is_deleted_is_no_news(label: Label, dispatching: Dispatching) -> None:
    dispatching.announce(label(), None)

    assert callbacks(dispatching) == []


def test_what_becomes_of_a_callback_is_no_news(
    label: Label, dispatching: Dispatching, catalogue: Catalogue
) -> None:
    dispatching.announce(None, label())
    [entry] = [entry for entry in catalogue.rows(KEY) if entry.startswith("delivery#")]
    row = dict(catalogue.rows(KEY)[entry])

    dispatching.announce(None, row)
    dispatching.announce(row, {**row, "state": "delivered"})

    assert len(callbacks(dispatching)) == 1


@pytest.mark.parametrize(
    ("of_stage", "of_picture", "hosts"),
    [
        (STAGES, OWN, ["own.example.com"]),
        ("", OWN, ["own.example.com"]),
        (STAGES, None, ["stage.example.com"]),
        ("", None, []),
    ],
)
def test_a_picture_s_own_url_goes_before_the_stage_s(
    of_stage: str, of_picture: str | None, hosts: list[str], label: Label, dispatching: Dispatching
) -> None:
    row = label()
    own = {"callback_url": of_picture} if of_picture else {}

    replace(dispatching, url=of_stage).announce(None, {**row, **own})

    assert [callback.host for callback in callbacks(dispatching)] == hosts


def test_a_message_that_does_not_get_through_is_made_up_for(
    label: Label, services: Services, dispatching: Dispatching, messages: Callable[[], list[Any]]
) -> None:
    row = label()
    plan(services.sqs.meta.events, "sqs.SendMessage", json_error(400, "AccessDeniedException"))

    with log_lines() as lines:
        dispatching.announce(None, row)

    [callback] = callbacks(dispatching)
    assert messages() == []
    assert lines.facts("level", "outcome", "event")[-1] == {
        "level": "WARNING",
        "outcome": "not_hurried",
        "event": callback.event_id,
    }
    later = replace(dispatching, now=lambda: NOW + GRACE)
    assert later.enqueue_due() == 1
    assert [message["event_id"] for message in messages()] == [callback.event_id]


def test_what_comes_due_before_long_is_sent_in_time(
    label: Label, services: Services, dispatching: Dispatching
) -> None:
    dispatching.announce(None, label())
    delays: list[int] = []
    services.sqs.meta.events.register(
        "provide-client-params.sqs.SendMessage", lambda params, **_: delays.append(params["DelaySeconds"])
    )

    sent = [
        replace(dispatching, now=lambda now=now: now).enqueue_due()  # type: ignore[misc]
        for now in (NOW + GRACE - AHEAD - timedelta(seconds=1), NOW + GRACE - timedelta(seconds=50.5), NOW)
    ]

    assert (sent, delays) == ([0, 1, 0], [51])


def test_what_was_sent_and_came_to_nothing_is_sent_again(label: Label, dispatching: Dispatching) -> None:
    dispatching.announce(None, label())

    sent = [
        replace(dispatching, now=lambda now=now: now).enqueue_due()  # type: ignore[misc]
        for now in (NOW + GRACE, NOW + GRACE + HANDOVER / 2, NOW + GRACE + HANDOVER)
    ]

    assert sent == [1, 0, 1]


def test_what_cannot_be_sent_is_not_taken_for_sent_for_long(
    label: Label, services: Services, dispatching: Dispatching
) -> None:
    dispatching.announce(None, label())
    plan(services.sqs.meta.events, "sqs.SendMessage", json_error(400, "AccessDeniedException"))

    with pytest.raises(AccessLost):
        replace(dispatching, now=lambda: NOW + GRACE).enqueue_due()

    assert replace(dispatching, now=lambda: NOW + GRACE + HANDOVER).enqueue_due() == 1


def test_a_callback_is_sent_again_when_somebody_wants_it(
    label: Label, dispatching: Dispatching, messages: Callable[[], list[Any]]
) -> None:
    dispatching.announce(None, label())
    [callback] = callbacks(dispatching)
    messages()
    claimed = dispatching.callbacks.claim(KEY, callback.event_id, "mine", NOW)
    assert claimed is not None
    dispatching.callbacks.record(replace(claimed, state=State.GONE), "mine", None)
    dispatching.receivers.note_gone(callback.url, NOW)

    renewed = dispatching.replay(KEY, callback.event_id)

    assert renewed is not None
    assert renewed == replace(callback, round=renewed.round)
    assert renewed.round != callback.round
    assert not dispatching.receivers.is_gone(callback.url, NOW)
    assert [message["event_id"] for message in messages()] == [callback.event_id]


def test_nothing_is_sent_again_that_is_unknown(
    dispatching: Dispatching, messages: Callable[[], list[Any]]
) -> None:
    assert dispatching.replay(KEY, "evt_1") is None
    assert messages() == []


def test_what_there_is_no_time_to_send_stays_as_it_is(label: Label, dispatching: Dispatching) -> None:
    dispatching.announce(None, label())
    later = replace(dispatching, now=lambda: NOW + GRACE)

    assert later.enqueue_due(lambda _: []) == 0
    assert later.enqueue_due() == 1
