# mypy: disable-error-code="untyped-decorator"
import base64
import hashlib
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import SQSEvent

from local_cloud.clock import ManualClock
from local_cloud.event_source_mapping import EventSourceMapping
from tests.local_cloud.conftest import Follows, MakePump

PARTIAL = EventSourceMapping.of({"FunctionResponseTypes": ["ReportBatchItemFailures"]})


@pytest.fixture
def queue(sqs: Any, name: str) -> str:
    return str(sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "360"})["QueueUrl"])


@pytest.fixture
def dead_letters(sqs: Any, name: str, queue: str) -> str:
    """The queue's dead-letter queue, after two receives."""
    url = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    return str(url)


def left(sqs: Any, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def collect(app: Chalice, name: str, answer: Callable[[list[str]], Any], **settings: Any) -> list[list[str]]:
    """Register a function that keeps the bodies it is given, batch by batch, and answers as told."""
    batches: list[list[str]] = []

    @app.on_sqs_message(queue=name, **settings)
    def receive(event: SQSEvent) -> Any:
        batches.append([record.body for record in event])
        return answer([record.to_dict()["messageId"] for record in event])

    return batches


def test_a_message_is_shown_as_lambda_shows_it_and_is_gone_after_success(
    app: Chalice, make_pump: MakePump, clock: ManualClock, sqs: Any, queue: str, name: str
) -> None:
    events: list[Any] = []

    @app.on_sqs_message(queue=name)
    def receive(event: SQSEvent) -> None:
        events.append(event.to_dict())

    pump = make_pump(clock=clock)
    attributes = {
        "text": {"DataType": "String", "StringValue": "x"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\xff"},
    }
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hällo", MessageAttributes=attributes)
    pump.drain()

    [record] = events[0]["Records"]
    milliseconds = str(int(clock.time() * 1000))
    assert record.pop("receiptHandle")
    assert record.pop("attributes").items() >= {
        ("ApproximateReceiveCount", "1"),
        ("SentTimestamp", milliseconds),
        ("ApproximateFirstReceiveTimestamp", milliseconds),
    }
    assert record == {
        "messageId": sent["MessageId"],
        "body": "hällo",
        "messageAttributes": {
            "text": {
                "dataType": "String", "stringValue": "x", "stringListValues": [], "binaryListValues": [],
            },
            "bytes": {
                "dataType": "Binary", "binaryValue": base64.b64encode(b"\xff").decode(),
                "stringListValues": [], "binaryListValues": [],
            },
        },
        "md5OfBody": hashlib.md5("hällo".encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{name}",
        "awsRegion": "us-east-1",
    }  # fmt: skip
    assert left(sqs, queue) == 0


@pytest.mark.parametrize("by", ["queue", "queue_arn"])
def test_a_queue_is_found_by_name_and_by_arn(
    app: Chalice, make_pump: MakePump, sqs: Any, queue: str, name: str, by: str
) -> None:
    bodies: list[str] = []
    value = {"queue": name, "queue_arn": f"arn:aws:sqs:us-east-1:123456789012:{name}"}[by]

    @app.on_sqs_message(**{by: value})
    def receive(event: SQSEvent) -> None:
        bodies.extend(record.body for record in event)

    pump = make_pump()
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    pump.drain()

    assert bodies == ["hello"]


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 12), (5, [5, 5, 2]), (100, [12])])
def test_batches_are_as_large_as_the_decorator_says(
    app: Chalice, make_pump: MakePump, sqs: Any, queue: str, name: str, batch_size: int, sizes: list[int]
) -> None:
    batches = collect(app, name, lambda _: None, batch_size=batch_size)
    pump = make_pump()
    for number in range(12):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))

    pump.drain()

    assert [len(batch) for batch in batches] == sizes
    assert sorted(body for batch in batches for body in batch) == sorted(str(number) for number in range(12))
    assert left(sqs, queue) == 0


def test_a_failed_message_comes_back_when_its_visibility_ends(
    app: Chalice, make_pump: MakePump, clock: ManualClock, sqs: Any, queue: str, name: str
) -> None:
    attempts: list[timedelta] = []
    start = clock.now()

    @app.on_sqs_message(queue=name)
    def fail_once(event: SQSEvent) -> None:
        attempts.append(clock.now() - start)
        if len(attempts) == 1:
            raise ValueError

    pump = make_pump(clock=clock)
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    pump.drain()
    due = pump.next_due()
    assert due is not None
    clock.move_to(due)
    pump.drain()

    assert [round(after.total_seconds(), 2) for after in attempts] == [0, 360]
    assert (left(sqs, queue), pump.next_due()) == (0, None)


def test_a_function_may_put_its_message_off_and_fail_it(
    app: Chalice, make_pump: MakePump, clock: ManualClock, sqs: Any, queue: str, name: str
) -> None:
    bodies: list[str] = []

    @app.on_sqs_message(queue=name)
    def put_off(event: SQSEvent) -> None:
        for record in event:
            bodies.append(record.body)
            sqs.change_message_visibility(
                QueueUrl=queue, ReceiptHandle=record.receipt_handle, VisibilityTimeout=5
            )
        raise ValueError

    pump = make_pump(clock=clock)
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    pump.drain()
    clock.advance(timedelta(seconds=5.1))
    pump.drain()

    assert bodies == ["hello", "hello"]


def test_a_delayed_message_waits(
    app: Chalice, make_pump: MakePump, clock: ManualClock, sqs: Any, queue: str, name: str
) -> None:
    batches = collect(app, name, lambda _: None)
    pump = make_pump(clock=clock)
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=30)

    early = pump.drain()
    clock.advance(timedelta(seconds=30.1))
    late = pump.drain()

    assert (early, late, batches) == (0, 1, [["later"]])


def test_a_message_received_too_often_goes_to_the_dead_letter_queue(
    app: Chalice, make_pump: MakePump, clock: ManualClock, sqs: Any, queue: str, dead_letters: str, name: str
) -> None:
    attempts: list[int] = []

    @app.on_sqs_message(queue=name)
    def fail(event: SQSEvent) -> None:
        attempts.append(1)
        raise ValueError

    pump = make_pump(clock=clock)
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    for _ in range(4):
        pump.drain()
        clock.advance(timedelta(seconds=361))

    [dead] = sqs.receive_message(QueueUrl=dead_letters)["Messages"]
    assert len(attempts) == 2
    assert dead["Body"] == "poison"
    assert left(sqs, queue) == 0


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        pytest.param(lambda ids: {"batchItemFailures": [{"itemIdentifier": ids[1]}]}, 1, id="one"),
        pytest.param(
            lambda ids: {"batchItemFailures": [{"itemIdentifier": each} for each in ids]}, 3, id="all"
        ),
        pytest.param(lambda _: {"batchItemFailures": []}, 0, id="empty-list"),
        pytest.param(lambda _: {"batchItemFailures": None}, 0, id="null"),
        pytest.param(lambda _: {}, 0, id="nothing-said"),
        pytest.param(lambda _: None, 0, id="no-answer"),
        pytest.param(lambda _: "done", 0, id="a-string"),
        pytest.param(lambda _: {"batchItemFailures": [{"itemIdentifier": ""}]}, 3, id="empty-identifier"),
        pytest.param(lambda _: {"batchItemFailures": [{"itemIdentifier": None}]}, 3, id="null-identifier"),
        pytest.param(lambda _: {"batchItemFailures": [{"itemIdentifier": "?"}]}, 3, id="unknown-identifier"),
        pytest.param(lambda _: {"batchItemFailures": [{"wrong": "key"}]}, 3, id="wrong-key"),
        pytest.param(lambda _: {"batchItemFailures": ["text"]}, 3, id="no-object"),
    ],
)
def test_a_partial_answer_keeps_what_it_calls_failed(
    app: Chalice,
    make_pump: MakePump,
    sqs: Any,
    queue: str,
    name: str,
    answer: Callable[[list[str]], Any],
    kept: int,
) -> None:
    collect(app, name, answer, batch_size=3)
    pump = make_pump(mappings={"receive": PARTIAL})
    for number in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))

    pump.drain()

    assert left(sqs, queue) == kept


def test_a_partial_answer_is_ignored_unless_the_mapping_says_otherwise(
    app: Chalice, make_pump: MakePump, sqs: Any, queue: str, name: str
) -> None:
    collect(app, name, lambda ids: {"batchItemFailures": [{"itemIdentifier": ids[0]}]})
    pump = make_pump()
    sqs.send_message(QueueUrl=queue, MessageBody="x")

    pump.drain()

    assert left(sqs, queue) == 0


def test_what_the_filter_stops_is_deleted_unseen(
    app: Chalice, make_pump: MakePump, sqs: Any, queue: str, name: str
) -> None:
    batches = collect(app, name, lambda _: None, batch_size=10)
    pattern = json.dumps({"body": {"kind": ["wanted"]}})
    mapping = EventSourceMapping.of({"FilterCriteria": {"Filters": [{"Pattern": pattern}]}})
    pump = make_pump(mappings={"receive": mapping})
    bodies = ['{"kind": "wanted"}', '{"kind": "other"}', "no json"]
    for body in bodies:
        sqs.send_message(QueueUrl=queue, MessageBody=body)

    pump.drain()

    assert batches == [bodies[:1]]
    assert left(sqs, queue) == 0


def test_no_more_run_at_once_than_the_decorator_says(
    app: Chalice, make_pump: MakePump, sqs: Any, queue: str, name: str
) -> None:
    most: list[int] = []
    running: list[int] = []
    done = threading.Semaphore(0)

    @app.on_sqs_message(queue=name, maximum_concurrency=2)
    def receive(event: SQSEvent) -> None:
        running.append(1)
        most.append(len(running))
        threading.Event().wait(0.03)
        running.pop()
        done.release()

    for number in range(6):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    pump = make_pump()
    pump.start()
    try:
        assert all(done.acquire(timeout=5) for _ in range(6))
    finally:
        pump.stop()

    assert max(most) == 2
    assert left(sqs, queue) == 0


def test_in_the_background_a_message_is_delivered_at_once(
    app: Chalice, make_pump: MakePump, sqs: Any, queue: str, name: str, follows: Follows
) -> None:
    arrived = threading.Event()

    @app.on_sqs_message(queue=name)
    def receive(event: SQSEvent) -> None:
        arrived.set()

    pump = make_pump()
    pump.start()
    try:
        assert follows(lambda: sqs.send_message(QueueUrl=queue, MessageBody="x"), arrived)
    finally:
        pump.stop()
