import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from standardwebhooks import Webhook as Verifier

from chalicelib import items
from chalicelib.callback import ATTEMPTS, LONGEST, Callback, Errand, PastAttempt, State
from chalicelib.callback_url import CallbackRules
from chalicelib.callbacks import GRACE, LEASE
from chalicelib.delivery import Delivery
from chalicelib.errors import ServiceFailed
from chalicelib.exchange import Limits
from chalicelib.receivers import PAUSE, TIMEOUTS, Standing
from chalicelib.services import Services
from chalicelib.signing_secret import SigningSecret
from chalicelib.webhook import Webhook
from local_cloud.clock import ManualClock
from tests.faults import Step, json_error, lose_answer, plan
from tests.log_lines import LogLines, log_lines
from tests.receivers import OK, Visit, answer, receiver, refusing, silent
from tests.receivers import Step as Say

if TYPE_CHECKING:
    pass

KEY, EVENT = "a/é #1.png", "evt_0123456789abcdef0123456789abcdef"
BODY = '{"type":"image.labelled","data":{"source_file":"a/é #1.png"}}'
HASTE = Limits(connect=0.3, total=0.3, courtesy=0.1)
MINUTE = timedelta(minutes=1)
GET_SECRET = "secretsmanager.GetSecretValue"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def delivery(services: Services, clock: ManualClock) -> Delivery:
    webhook = Webhook(CallbackRules(loopback=True), clock.now, ssl.create_default_context(), HASTE)
    return replace(services.delivery, webhook=webhook, now=clock.now)


@pytest.fixture
def lines() -> Iterator[LogLines]:
    with log_lines() as lines:
        yield lines


class Desk:
    """Announces callbacks, hands in their errands, and tells what has become of them."""

    def __init__(self, delivery: Delivery, clock: ManualClock) -> None:
        self.delivery = delivery
        self.clock = clock

    def announce(self, url: str, event: str = EVENT) -> Callback:
        now = self.clock.now()
        host = url.split("/")[2]
        at = now.timestamp()
        callback = Callback(
            KEY, event, "image.labelled", url, host, BODY, items.timestamp(now), at, at, round="first"
        )
        assert self.delivery.callbacks.announce(callback, now)
        return callback

    def deliver(self, event: str = EVENT, exhausted: str | None = None) -> Callback:
        self.delivery.deliver(Errand(KEY, event, exhausted).text)
        return self.callback(event)

    def callback(self, event: str = EVENT) -> Callback:
        found = self.delivery.callbacks.of_image(KEY, self.clock.now())
        return next(callback for callback in found if callback.event_id == event)

    def attempts(self, event: str = EVENT) -> list[str]:
        return [attempt.outcome for attempt in self.callback(event).attempts]

    def wait_until_due(self, event: str = EVENT) -> None:
        self.clock.move_to(datetime.fromtimestamp(self.callback(event).due_at, UTC) + timedelta(seconds=1))


@pytest.fixture
def desk(delivery: Delivery, clock: ManualClock) -> Desk:
    return Desk(delivery, clock)


@pytest.fixture
def dead_letters(services: Services) -> Callable[[], list[Any]]:
    client: Any = boto3.client("sqs")

    def receive() -> list[Any]:
        answer = client.receive_message(
            QueueUrl=services.settings.callbacks_dead_letters_url, MaxNumberOfMessages=10
        )
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    return receive


def keys_of(services: Services) -> str:
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=services.settings.signing_secret_arn)
    return secret["SecretString"]


def test_a_callback_arrives_signed_and_is_delivered(desk: Desk, services: Services) -> None:
    with receiver() as served:
        announced = desk.announce(served.url)
        delivered = desk.deliver()

    [request] = served.requests
    moment = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    assert moment == desk.clock.now()
    assert request.headers["webhook-signature"] == Verifier(keys_of(services)).sign(EVENT, moment, BODY)
    assert request.headers["webhook-id"] == EVENT
    assert request.body.decode() == BODY
    [attempt] = delivered.attempts
    assert delivered == replace(
        announced,
        state=State.DELIVERED,
        attempts=(PastAttempt("2026-01-02T03:04:05Z", "2xx", attempt.milliseconds),),
        due_at=delivered.due_at,
    )


def test_a_failed_attempt_is_written_down_with_the_time_of_the_next(desk: Desk, clock: ManualClock) -> None:
    with receiver(answer(500, b"the receiver's own words")) as served:
        announced = desk.announce(served.url)
        failed = desk.deliver()

    [attempt] = failed.attempts
    assert failed == replace(
        announced,
        attempts=(PastAttempt("2026-01-02T03:04:05Z", "5xx", attempt.milliseconds),),
        due_at=failed.due_at,
    )
    assert 54 <= failed.due_at - clock.time() <= 66


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        (answer(301, Location="http://127.0.0.1:9/"), "3xx"),
        (answer(404), "4xx"),
        (answer(429, retry_after="7200"), "4xx"),
        (answer(503), "5xx"),
        (silent, "timeout"),
    ],
    ids=["redirect", "not found", "busy", "unavailable", "silent"],
)
def test_an_attempt_is_told_by_its_class_or_by_a_word(step: Say, outcome: str, desk: Desk) -> None:
    with receiver(step) as served:
        desk.announce(served.url)
        callback = desk.deliver()

    assert (desk.attempts(), callback.state) == ([outcome], State.PENDING)


def test_who_is_not_there_is_told_by_a_word(desk: Desk) -> None:
    with refusing() as url:
        desk.announce(url)
        desk.deliver()

    assert desk.attempts() == ["refused"]


def test_an_address_that_is_forbidden_by_now_is_not_called(desk: Desk) -> None:
    with receiver() as served:
        strict = Webhook(CallbackRules(), desk.clock.now, ssl.create_default_context())
        desk.delivery = replace(desk.delivery, webhook=strict)
        desk.announce(served.url)
        callback = desk.deliver()

    assert (desk.attempts(), callback.state, served.connections) == (["blocked"], State.PENDING, 0)


def test_a_busy_receiver_is_asked_again_when_it_said(desk: Desk, clock: ManualClock) -> None:
    with receiver(answer(429, retry_after="7200")) as served:
        desk.announce(served.url)
        callback = desk.deliver()

    assert callback.due_at == clock.time() + 7200


def test_a_message_that_comes_twice_makes_one_attempt(desk: Desk, lines: LogLines) -> None:
    with receiver(answer(500)) as served:
        desk.announce(served.url)
        for _ in range(3):
            desk.deliver()

    assert served.connections == len(desk.attempts()) == 1
    assert [line["outcome"] for line in lines.facts("outcome")] == ["failed", "not_due", "not_due"]


def test_a_message_about_nothing_is_done_with(delivery: Delivery, lines: LogLines) -> None:
    delivery.deliver(Errand(KEY, EVENT).text)

    assert lines.facts("level", "outcome", "image", "event") == [
        {"level": "INFO", "outcome": "not_due", "image": KEY, "event": EVENT}
    ]


def test_what_was_delivered_is_not_sent_again(desk: Desk, clock: ManualClock) -> None:
    with receiver() as served:
        desk.announce(served.url)
        desk.deliver()
        clock.advance(timedelta(days=1))
        desk.deliver()

    assert served.connections == 1


def test_every_attempt_has_the_same_id_and_body_and_a_timestamp_of_its_own(
    desk: Desk, services: Services
) -> None:
    with receiver(answer(500), answer(500), OK) as served:
        desk.announce(served.url)
        for _ in range(3):
            desk.deliver()
            desk.wait_until_due()

    assert {(request.headers["webhook-id"], request.body.decode()) for request in served.requests} == {
        (EVENT, BODY)
    }
    assert len({request.headers["webhook-timestamp"] for request in served.requests}) == 3
    assert desk.attempts() == ["5xx", "5xx", "2xx"]


def test_after_the_last_attempt_it_is_where_an_operator_finds_it(
    desk: Desk, dead_letters: Callable[[], list[Any]], lines: LogLines
) -> None:
    with receiver(answer(500)) as served:
        desk.announce(served.url)
        for _ in range(ATTEMPTS + 2):
            desk.deliver()
            desk.clock.advance(timedelta(hours=30))

    assert served.connections == ATTEMPTS
    assert desk.callback().state is State.EXHAUSTED
    assert desk.attempts() == ATTEMPTS * ["5xx"]
    assert dead_letters() == [{"source_file": KEY, "event_id": EVENT, "exhausted": "first"}]
    assert [line["outcome"] for line in lines.facts("outcome")] == [
        *["failed"] * 9,
        "exhausted",
        "not_due",
        "not_due",
    ]


def test_an_errand_out_of_the_dead_letters_begins_anew_and_once(
    desk: Desk, dead_letters: Callable[[], list[Any]]
) -> None:
    with receiver(*ATTEMPTS * [answer(500)], OK) as served:
        desk.announce(served.url)
        for _ in range(ATTEMPTS):
            desk.deliver()
            desk.wait_until_due()
        [errand] = dead_letters()

        first = desk.deliver(exhausted=errand["exhausted"])
        desk.clock.advance(timedelta(days=1))
        again = desk.deliver(exhausted=errand["exhausted"])

    assert (first.state, len(first.attempts)) == (State.DELIVERED, 1)
    assert again == first
    assert served.connections == ATTEMPTS + 1
    assert {request.headers["webhook-id"] for request in served.requests} == {EVENT}


def test_what_has_been_waiting_for_weeks_is_given_up(
    desk: Desk, dead_letters: Callable[[], list[Any]]
) -> None:
    with receiver() as served:
        desk.announce(served.url)
        desk.clock.advance(LONGEST)
        callback = desk.deliver()

    assert (served.connections, callback.state) == (0, State.EXHAUSTED)
    assert len(dead_letters()) == 1


def test_whoever_wants_no_more_gets_no_more(desk: Desk) -> None:
    with receiver(answer(410)) as served:
        desk.announce(served.url)
        desk.announce(served.url, "evt_2")
        desk.announce(f"{served.url}/another", "evt_3")
        first, second, third = desk.deliver(), desk.deliver("evt_2"), desk.deliver("evt_3")

    assert [callback.state for callback in (first, second, third)] == 3 * [State.GONE]
    assert [desk.attempts(event) for event in (EVENT, "evt_2", "evt_3")] == [["4xx"], [], ["4xx"]]
    assert [request.path for request in served.requests] == ["/hook", "/hook/another"]
    assert desk.delivery.callbacks.due(desk.clock.now() + LONGEST, 10) == []


def hang(desk: Desk, url: str) -> None:
    for number in range(TIMEOUTS):
        desk.announce(url, f"evt_hung{number}")
        desk.deliver(f"evt_hung{number}")


def test_a_host_that_hangs_is_put_off_without_a_socket(desk: Desk, lines: LogLines) -> None:
    with receiver(silent) as hung, receiver() as healthy:
        hang(desk, hung.url)
        desk.announce(hung.url)
        desk.announce(healthy.url, "evt_healthy")
        put_off, delivered = desk.deliver(), desk.deliver("evt_healthy")

    assert hung.connections == TIMEOUTS
    assert (put_off.state, put_off.attempts) == (State.PENDING, ())
    assert delivered.state is State.DELIVERED
    told = [line["outcome"] for line in lines.facts("outcome")]
    assert told == [*TIMEOUTS * ["failed"], "put_off", "delivered"]
    found = desk.delivery.callbacks.due(desk.clock.now() + 2 * MINUTE, 50)
    [due] = [due for due in found if due.event_id == EVENT]
    assert due.moment == desk.clock.now() + MINUTE


def test_then_one_attempt_at_a_time_finds_out_whether_it_still_hangs(desk: Desk) -> None:
    with receiver(*TIMEOUTS * [silent], silent, OK) as served:
        hang(desk, served.url)
        desk.announce(served.url)
        desk.announce(served.url, "evt_2")
        desk.clock.advance(PAUSE)
        first = desk.deliver().attempts, desk.deliver("evt_2").attempts
        desk.clock.advance(2 * PAUSE + timedelta(seconds=10))
        states = desk.deliver().state, desk.deliver("evt_2").state

    assert [len(attempts) for attempts in first] == [1, 0]
    assert states == (State.DELIVERED, State.DELIVERED)
    assert served.connections == TIMEOUTS + 3


@pytest.mark.parametrize(
    ("step", "timeouts", "operation", "outcome"),
    [
        pytest.param(OK, 0, "GetItem", "delivered", id="how it stands, of one that answers"),
        pytest.param(silent, 0, "GetItem", "failed", id="how it stands, of one that hangs"),
        pytest.param(answer(410), 0, "GetItem", "gone", id="how it stands, of one that is gone"),
        pytest.param(OK, 1, "DeleteItem", "delivered", id="that it answers again"),
        pytest.param(silent, 0, "UpdateItem", "failed", id="that it has timed out"),
        pytest.param(answer(410), 1, "DeleteItem", "gone", id="that one answers that is gone"),
        pytest.param(answer(410), 0, "PutItem", "gone", id="that it is gone"),
        pytest.param(OK, TIMEOUTS, "UpdateItem", "delivered", id="whose turn it is"),
    ],
)
def test_no_attempt_fails_for_want_of_what_is_remembered(
    step: Say, timeouts: int, operation: str, outcome: str, desk: Desk, services: Services, lines: LogLines
) -> None:
    with receiver(step) as served:
        callback = desk.announce(served.url)
        for _ in range(timeouts):
            services.receivers.timed_out(Standing(callback.host), desk.clock.now() - PAUSE)
        down = 3 * [json_error(500, "InternalServerError")]
        plan(services.receivers._client.meta.events, f"dynamodb.{operation}", *down)
        desk.deliver()

    assert served.connections == len(desk.attempts()) == 1
    told = [line["outcome"] for line in lines.facts("outcome")]
    assert set(told) == {"not_remembered", outcome}
    assert told[-1] == outcome


@pytest.fixture
def without_secret(services: Services) -> Callable[..., None]:
    """Has Secrets Manager fail so once, whoever asks."""

    def fail(status: int, code: str) -> None:
        fault = json_error(status, code)
        attempts = 1 if code == "AccessDeniedException" else 2
        plan(services.delivery.secret._client.meta.events, GET_SECRET, *attempts * [fault])

    return fail


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "AccessDeniedException", "access_lost"),
        (400, "ThrottlingException", "throttled"),
        (500, "InternalServiceError", "service_failed"),
    ],
)
def test_without_its_secret_it_waits_for_the_next_look_and_is_not_sent_unsigned(
    status: int, code: str, outcome: str, desk: Desk, without_secret: Callable[..., None], lines: LogLines
) -> None:
    without_secret(status, code)
    with receiver() as served:
        announced = desk.announce(served.url)
        waiting, connections = desk.deliver(), served.connections
        [due] = desk.delivery.callbacks.due(desk.clock.now() + 2 * MINUTE, 10)
        delivered = desk.deliver()

    assert (waiting, connections) == (announced, 0)
    assert due.moment == desk.clock.now() + GRACE
    assert (delivered.state, served.connections) == (State.DELIVERED, 1)
    assert [line["outcome"] for line in lines.facts("outcome")] == [outcome, "put_off", "delivered"]


def test_an_errand_out_of_the_dead_letters_is_not_lost_without_the_secret(
    desk: Desk, without_secret: Callable[..., None]
) -> None:
    with receiver(*ATTEMPTS * [answer(500)]) as served:
        desk.announce(served.url)
        for _ in range(ATTEMPTS):
            desk.deliver()
            desk.wait_until_due()
        secret = desk.delivery.secret
        desk.delivery = replace(desk.delivery, secret=SigningSecret(secret._client, secret._arn))
        without_secret(400, "AccessDeniedException")
        again = desk.deliver(exhausted="first")

    assert (again.state, again.attempts) == (State.PENDING, ())
    [due] = desk.delivery.callbacks.due(desk.clock.now() + 2 * MINUTE, 10)
    assert (due.event_id, due.moment) == (EVENT, desk.clock.now() + GRACE)


def test_both_secrets_sign_after_a_rotation(desk: Desk, services: Services) -> None:
    client: Any = boto3.client("secretsmanager")
    before, after = keys_of(services), "A" * 64
    client.put_secret_value(SecretId=services.settings.signing_secret_arn, SecretString=after)
    with receiver() as served:
        desk.announce(served.url)
        desk.deliver()

    [request] = served.requests
    signatures = request.headers["webhook-signature"].split(" ")
    assert len(signatures) == 2
    moment = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    assert signatures == [Verifier(key).sign(EVENT, moment, BODY) for key in (after, before)]


@pytest.mark.parametrize(
    "fault", [json_error(500, "InternalServerError"), lose_answer], ids=["outage", "lost answers"]
)
def test_an_attempt_that_cannot_be_recorded_is_made_again_with_the_same_id(
    fault: Step, desk: Desk, services: Services
) -> None:
    def answer_before_it(visit: Visit) -> None:
        plan(services.dynamodb.meta.events, "dynamodb.UpdateItem", fault, fault)
        OK(visit)

    with receiver(answer_before_it, OK) as served:
        desk.announce(served.url)
        with pytest.raises(ServiceFailed):
            desk.deliver()
        desk.clock.advance(LEASE)
        delivered = desk.deliver()

    assert delivered.state is State.DELIVERED
    assert {request.headers["webhook-id"] for request in served.requests} == {EVENT}
    assert served.connections == (1 if fault is lose_answer else 2)


def test_who_took_too_long_has_nothing_to_record(desk: Desk, lines: LogLines) -> None:
    def answer_when_it_is_late(visit: Visit) -> None:
        desk.clock.advance(LEASE)
        assert desk.delivery.callbacks.claim(KEY, EVENT, "another's", desk.clock.now())
        answer(500)(visit)

    with receiver(answer_when_it_is_late) as served:
        desk.announce(served.url)
        callback = desk.deliver()

    assert callback.attempts == ()
    assert lines.facts("outcome") == [{"outcome": "superseded"}]


@pytest.mark.parametrize("text", ["", "junk", "[]", '{"source_file": "a"}'])
def test_what_is_no_errand_fails_so_that_it_is_kept(text: str, delivery: Delivery, lines: LogLines) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        delivery.deliver(text)

    assert lines.facts("level", "outcome") == [{"level": "ERROR", "outcome": "crashed"}]


def test_nothing_of_a_url_but_its_host_is_logged(desk: Desk, lines: LogLines) -> None:
    with receiver(answer(500), answer(410)) as served:
        desk.announce(f"{served.url}?token=5ec2e7")
        desk.deliver()
        desk.wait_until_due()
        desk.deliver()

    assert len(lines.all) == 2
    assert "5ec2e7" not in lines.text
    assert "/hook" not in lines.text
