import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib import log
from chalicelib.errors import ServiceFailed
from chalicelib.events import Messages
from chalicelib.model import Outcome
from chalicelib.notifications import notification_of
from chalicelib.queue import LONGEST_DELAY, Message
from chalicelib.services import Services
from chalicelib.settings import LAST_CALLS, MIN_LABEL_TIMEOUT
from chalicelib.slow_path import FIRST_DELAY, LONGEST_WAIT, RECEIVES, SlowPath
from tests.catalogue import Catalogue
from tests.faults import answering, json_error, plan, xml_error
from tests.interception import sdk_waiting_by
from tests.lambda_events import received
from tests.log_lines import log_lines
from tests.pictures import picture
from tests.scripted_rekognition import LABELS, MODERATION, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "a b.png"
# For each of the SDK's own attempts:
OUTAGE = [(500, "InternalServerError")] * 3
STORM = [(400, "ProvisionedThroughputExceededException")] * 3

NextMessage = Callable[[], Message]


@pytest.fixture
def slow_path(services: Services) -> SlowPath:
    return services.slow_path


@pytest.fixture
def url(services: Services) -> str:
    return services.settings.labelling_queue_url


@pytest.fixture
def put(s3: "S3Client", services: Services) -> Callable[..., object]:
    def put(key: str = KEY, body: bytes = picture("Dog 90")) -> object:
        return s3.put_object(Bucket=services.settings.images_bucket, Key=key, Body=body)

    return put


@pytest.fixture
def next_message(services: Services, url: str) -> NextMessage:
    """Receives the next message, which was sent without a delay."""

    def receive() -> Message:
        [message] = Messages(received(url), None)
        return message

    return receive


@pytest.fixture
def hasty() -> Iterator[None]:
    """The SDK tries again at once."""
    with sdk_waiting_by(lambda _: None):
        yield


@pytest.fixture
def last_try(
    services: Services, next_message: NextMessage, rekognition: ScriptedRekognition
) -> Callable[[], bool]:
    """What becomes of the next message if it comes for the last time, and Rekognition answers nothing."""

    def last_try() -> bool:
        rekognition.failures[LABELS] += OUTAGE
        return services.slow_path.next_try(on_its_receive(RECEIVES, next_message()), all_the_time)

    return last_try


def all_the_time() -> int:
    return MIN_LABEL_TIMEOUT * 1000


def on_its_receive(number: int, message: Message) -> Message:
    return replace(message, receives=number)


def status_of(services: Services, key: str = KEY) -> tuple[str, str | None]:
    image = services.store.image(key, services.now())
    assert image is not None
    return image.status, image.reason


class NoDelay(Random):
    def random(self) -> float:
        return 0.0


def without_delay(services: Services) -> SlowPath:
    return replace(services.slow_path, random=NoDelay())


def pauses_of(services: Services) -> list[int]:
    """The pauses that messages get from now on."""
    pauses: list[int] = []
    services.session.events.register(
        "provide-client-params.sqs.ChangeMessageVisibility",
        lambda params, **_: pauses.append(params["VisibilityTimeout"]),
    )
    return pauses


def test_what_can_be_labelled_at_once_is_not_queued(
    put: Callable[..., object], slow_path: SlowPath, url: str, services: Services
) -> None:
    put()

    slow_path.first_try([KEY], all_the_time)

    assert received(url) == {"Records": []}
    assert status_of(services) == ("labelled", None)


@pytest.mark.parametrize(
    "failures",
    [STORM, OUTAGE, [(400, "AccessDeniedException")]],
    ids=["throttled", "outage", "no right"],
)
def test_what_a_later_try_can_heal_is_queued_and_the_row_says_so(
    failures: list[tuple[int, str]],
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
) -> None:
    put()
    rekognition.failures[LABELS] += failures
    slow_path = without_delay(services)

    slow_path.first_try([KEY], all_the_time)

    before = status_of(services)
    assert slow_path.next_try(next_message(), all_the_time) is True
    assert before == ("queued", None)
    assert status_of(services) == ("labelled", None)


def test_what_fails_before_there_is_a_row_is_queued_too(
    put: Callable[..., object], services: Services, next_message: NextMessage
) -> None:
    put()
    plan(services.session.events, "s3.GetObject", xml_error(503, "SlowDown"), xml_error(503, "SlowDown"))
    slow_path = without_delay(services)

    slow_path.first_try([KEY], all_the_time)

    assert slow_path.next_try(next_message(), all_the_time) is True
    assert status_of(services) == ("labelled", None)


def test_one_line_says_that_a_picture_is_queued(
    put: Callable[..., object], services: Services, rekognition: ScriptedRekognition
) -> None:
    put()
    rekognition.failures[LABELS] += OUTAGE

    with log_lines() as lines:
        without_delay(services).first_try([KEY], all_the_time)

    assert lines.facts("level", "image", "outcome", "delay_seconds") == [
        {"level": "WARNING", "image": KEY, "outcome": "service_failed"},
        {"level": "INFO", "image": KEY, "outcome": "queued", "delay_seconds": 0},
    ]


def test_what_cannot_be_queued_is_tried_again_by_lambda(
    put: Callable[..., object], services: Services, rekognition: ScriptedRekognition
) -> None:
    put()
    rekognition.failures[LABELS] += OUTAGE
    plan(services.session.events, "sqs.SendMessage", *[answering(503, b"")] * 2)

    with pytest.raises(ExceptionGroup) as raised:
        services.slow_path.first_try([KEY], all_the_time)

    assert [type(failure) for failure in raised.value.exceptions] == [ServiceFailed]


def test_a_right_to_the_queue_that_is_lost_is_told_and_counted(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(log, "count_access_lost", lambda: counted.append("once"))
    put()
    rekognition.failures[LABELS] += OUTAGE
    plan(services.session.events, "sqs.SendMessage", json_error(403, "AccessDeniedException"))

    with log_lines() as lines, pytest.raises(ExceptionGroup):
        services.slow_path.first_try([KEY], all_the_time)

    assert counted == ["once"]
    assert [line["outcome"] for line in lines.all] == ["service_failed", "access_lost"]


def test_a_bug_is_lambdas_and_the_alarms_and_costs_its_neighbours_nothing(
    put: Callable[..., object], services: Services, catalogue: Catalogue, url: str
) -> None:
    put("good-1.png")
    put("good-2.png")
    plan(services.session.events, "s3.GetObject", xml_error(400, "SomethingNew"))

    with pytest.raises(ExceptionGroup, match="some records of the event failed"):
        services.slow_path.first_try(["bad.png", "good-1.png", "good-2.png"], all_the_time)

    for key in ("good-1.png", "good-2.png"):
        assert catalogue.said(key) == catalogue.expected(key)
    assert received(url) == {"Records": []}


def test_a_function_short_of_time_hands_over_what_it_has_not_begun(
    put: Callable[..., object], services: Services, next_message: NextMessage
) -> None:
    put("first.png")
    put("second.png")
    slow_path = without_delay(services)

    slow_path.first_try(["first.png", "second.png"], lambda: all_the_time() - 1)

    assert status_of(services, "first.png") == ("labelled", None)
    assert services.store.image("second.png", services.now()) is None
    assert services.labelling_queue.keys(next_message()) == ["second.png"]


def asked_for(services: Services, *keys: str) -> Message:
    """A message that asks for several, as Lambda's record of an event that it gave up may."""
    records = [record for key in keys for record in notification_of(key)["Records"]]
    services.labelling_queue.queue.send(json.dumps({"Records": records}))
    [message] = Messages(received(services.settings.labelling_queue_url), None)
    return message


def test_a_bug_costs_its_neighbours_in_a_message_nothing(
    put: Callable[..., object], services: Services, catalogue: Catalogue
) -> None:
    put("good.png")
    plan(services.session.events, "s3.GetObject", xml_error(400, "SomethingNew"))

    with pytest.raises(ExceptionGroup, match="some records of the message failed"):
        services.slow_path.next_try(asked_for(services, "bad.png", "good.png"), all_the_time)

    assert catalogue.said("good.png") == catalogue.expected("good.png")


def test_who_takes_up_a_message_of_several_hands_over_what_there_is_no_time_left_for(
    put: Callable[..., object], services: Services, next_message: NextMessage
) -> None:
    put("first.png")
    put("second.png")
    slow_path = without_delay(services)
    message = asked_for(services, "first.png", "second.png")

    done = slow_path.next_try(on_its_receive(RECEIVES, message), lambda: all_the_time() - 1)

    assert done is True
    assert status_of(services, "first.png") == ("labelled", None)
    assert services.store.image("second.png", services.now()) is None
    again = next_message()
    assert (services.labelling_queue.keys(again), again.receives) == (["second.png"], 1)


def test_what_cannot_be_handed_over_comes_again_with_its_message(
    put: Callable[..., object], services: Services
) -> None:
    put("first.png")
    put("second.png")
    message = asked_for(services, "first.png", "second.png")
    others = Services(services.settings)
    plan(others.session.events, "sqs.SendMessage", *[answering(503, b"")] * 2)

    with log_lines() as lines:
        done = without_delay(others).next_try(message, lambda: all_the_time() - 1)

    assert done is False
    assert lines.facts("outcome", "image") == [
        {"outcome": "labelled", "image": "first.png"},
        {"outcome": "not_queued", "image": "second.png"},
    ]


def test_who_finds_somebody_else_at_work_leaves_it_to_him(
    put: Callable[..., object], services: Services, url: str
) -> None:
    put()
    found = services.bucket.look(KEY)
    assert found is not None
    services.claims.claim(found, "another run", None, services.now(), 70)

    services.slow_path.first_try([KEY], all_the_time)

    assert received(url) == {"Records": []}


def test_a_message_stays_while_somebody_else_is_at_work(
    put: Callable[..., object], services: Services, next_message: NextMessage
) -> None:
    put()
    found = services.bucket.look(KEY)
    assert found is not None
    services.claims.claim(found, "another run", None, services.now(), 70)
    services.labelling_queue.ask_for(KEY)

    assert services.slow_path.next_try(next_message(), all_the_time) is False


def test_a_message_that_failed_comes_again_and_is_never_sent_again(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
    url: str,
) -> None:
    put()
    rekognition.failures[LABELS] += OUTAGE
    sent: list[str] = []
    services.session.events.register("before-call.sqs", lambda model, **_: sent.append(model.name))
    services.labelling_queue.ask_for(KEY)
    sent.clear()

    message = next_message()
    done = without_delay(services).next_try(message, all_the_time)

    assert (done, sent) == (False, ["ChangeMessageVisibility"])
    again = next_message()
    assert (again.id, again.receives) == (message.id, 2)


@pytest.mark.parametrize("receives", range(1, RECEIVES))
def test_the_pause_is_a_part_of_what_doubles_with_each_receive(receives: int, services: Services) -> None:
    pauses = pauses_of(services)
    services.labelling_queue.queue.send("asks for nothing")
    [message] = Messages(received(services.settings.labelling_queue_url), None)

    for _ in range(50):
        services.slow_path.next_try(replace(message, receives=receives), all_the_time)

    most = min(LONGEST_DELAY, FIRST_DELAY * 2**receives)
    assert 0 <= min(pauses) < 0.2 * most
    assert 0.8 * most < max(pauses) <= most


@pytest.mark.usefixtures("hasty")
def test_the_last_try_that_fails_is_written_on_the_picture(
    put: Callable[..., object], services: Services, last_try: Callable[[], bool]
) -> None:
    put()
    services.labelling_queue.ask_for(KEY)

    assert last_try() is False
    assert status_of(services) == ("failed", "exhausted")


@pytest.mark.usefixtures("hasty")
def test_a_relabelling_that_is_exhausted_leaves_the_answer_that_there_is(
    put: Callable[..., object],
    services: Services,
    last_try: Callable[[], bool],
    catalogue: Catalogue,
    rekognition: ScriptedRekognition,
) -> None:
    put()
    services.labelling.label(KEY)
    services.wishes.relabel(KEY)

    assert last_try() is False
    assert status_of(services) == ("labelled", None)
    assert catalogue.said(KEY) == catalogue.expected(KEY)
    assert services.labelling.label(KEY) is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 1 + len(OUTAGE) + 1}


@pytest.mark.usefixtures("hasty")
def test_an_upload_that_is_exhausted_shows_nothing_of_the_one_before(
    put: Callable[..., object], services: Services, last_try: Callable[[], bool], catalogue: Catalogue
) -> None:
    put()
    services.labelling.label(KEY)
    put(KEY, picture("Cat 90"))
    services.labelling_queue.ask_for(KEY)

    assert last_try() is False
    assert status_of(services) == ("failed", "exhausted")
    assert list(catalogue.rows(KEY)) == ["image"]


def test_an_exhausted_picture_heals_when_its_message_comes_back(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
) -> None:
    put()
    rekognition.failures[LABELS] += OUTAGE
    services.labelling_queue.ask_for(KEY)
    services.slow_path.next_try(on_its_receive(RECEIVES, next_message()), all_the_time)

    done = services.slow_path.next_try(next_message(), all_the_time)

    assert done is True
    assert status_of(services) == ("labelled", None)


@pytest.mark.usefixtures("hasty")
def test_what_an_exhausted_picture_has_been_paid_for_is_not_paid_for_again(
    put: Callable[..., object], services: Services, rekognition: ScriptedRekognition
) -> None:
    two = Services(replace(services.settings, detect=("labels", "moderation")))
    put()
    rekognition.failures[LABELS] += OUTAGE
    with pytest.raises(ServiceFailed):
        two.labelling.label(KEY, is_last_try=True)
    assert status_of(two) == ("failed", "exhausted")

    outcome = two.labelling.label(KEY)

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {LABELS: len(OUTAGE) + 1, MODERATION: 1}


def test_who_is_throttled_on_the_queue_waits_as_long_as_there_is_time(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
    hasty: None,
) -> None:
    put()
    rekognition.failures[LABELS] += 3 * STORM
    services.labelling_queue.ask_for(KEY)
    pauses: list[float] = []
    slow_path = replace(services.slow_path, sleep=pauses.append)

    done = slow_path.next_try(next_message(), lambda: (LAST_CALLS + ceil(LONGEST_WAIT)) * 1000)

    assert (done, len(pauses)) == (True, 3)
    assert status_of(services) == ("labelled", None)
    assert all(0 < pause < LONGEST_WAIT for pause in pauses)


def test_who_is_throttled_and_has_no_time_left_lets_the_message_come_back(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
    url: str,
    hasty: None,
) -> None:
    put()
    rekognition.failures[LABELS] += STORM
    services.labelling_queue.ask_for(KEY)
    pauses: list[float] = []
    slow_path = replace(services.slow_path, sleep=pauses.append)

    done = slow_path.next_try(next_message(), lambda: LAST_CALLS * 1000)

    assert (done, pauses) == (False, [])
    assert status_of(services) == ("queued", None)


def test_a_first_try_does_not_wait(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    hasty: None,
) -> None:
    put()
    rekognition.failures[LABELS] += STORM
    pauses: list[float] = []

    replace(services.slow_path, sleep=pauses.append).first_try([KEY], all_the_time)

    assert pauses == []
    assert status_of(services) == ("queued", None)


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidS3ObjectException"])
def test_lost_access_is_never_written_on_the_picture(
    code: str,
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
) -> None:
    put()
    rekognition.failures[LABELS] += [(400, code)]
    services.labelling_queue.ask_for(KEY)

    done = services.slow_path.next_try(on_its_receive(RECEIVES, next_message()), all_the_time)

    assert done is False
    assert status_of(services) == ("queued", None)


def test_a_bug_of_the_last_try_is_written_on_the_picture_and_told(
    put: Callable[..., object], services: Services, next_message: NextMessage
) -> None:
    put()
    services.labelling_queue.ask_for(KEY)
    plan(services.session.events, "rekognition.DetectLabels", json_error(400, "SomethingNew"))

    with pytest.raises(ExceptionGroup) as raised:
        services.slow_path.next_try(on_its_receive(RECEIVES, next_message()), all_the_time)

    assert "SomethingNew" in str(raised.value.exceptions)
    assert status_of(services) == ("failed", "exhausted")


def test_of_a_picture_that_cannot_even_be_looked_at_nothing_is_written(
    put: Callable[..., object], services: Services, next_message: NextMessage
) -> None:
    put()
    services.labelling_queue.ask_for(KEY)
    plan(services.session.events, "s3.GetObject", *[answering(503, b"")] * 2)

    done = services.slow_path.next_try(on_its_receive(RECEIVES, next_message()), all_the_time)

    assert done is False
    assert services.store.image(KEY, services.now()) is None


def test_after_so_many_receives_the_queue_lets_a_message_go(services: Services, url: str) -> None:
    client: Any = boto3.client("sqs")
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]

    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == RECEIVES


@pytest.mark.parametrize("body", ["junk", "{}"])
def test_a_message_that_asks_for_nothing_ends_in_the_dead_letter_queue(
    body: str, services: Services, next_message: NextMessage
) -> None:
    services.labelling_queue.queue.send(body)

    assert services.slow_path.next_try(next_message(), all_the_time) is False


def test_a_message_that_cannot_be_postponed_comes_when_its_time_is_up(
    put: Callable[..., object],
    services: Services,
    rekognition: ScriptedRekognition,
    next_message: NextMessage,
) -> None:
    put()
    rekognition.failures[LABELS] += OUTAGE
    plan(services.session.events, "sqs.ChangeMessageVisibility", *[answering(503, b"")] * 2)
    services.labelling_queue.ask_for(KEY)
    message = next_message()

    with log_lines() as lines:
        done = services.slow_path.next_try(message, all_the_time)

    assert done is False
    assert [line["outcome"] for line in lines.all] == ["service_failed", "not_postponed"]


def test_the_picture_was_removed_meanwhile(services: Services, next_message: NextMessage) -> None:
    services.labelling_queue.ask_for(KEY)

    assert services.slow_path.next_try(next_message(), all_the_time) is True
    assert services.labelling.label(KEY) is Outcome.DUPLICATE
