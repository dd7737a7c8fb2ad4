import json
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from chalicelib.errors import AccessLost, MessageGone, Retryable, ServiceFailed, Throttled
from chalicelib.queue import LabellingQueue, Message, Queue, queue_name
from tests import faults


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def url(client: Any) -> str:
    return str(client.create_queue(QueueName=f"test-{uuid4().hex}")["QueueUrl"])


@pytest.fixture
def queue(client: Any, url: str) -> Queue:
    return Queue(client, url)


def receive(client: Any, url: str) -> list[Any]:
    return list(client.receive_message(QueueUrl=url).get("Messages", []))


def asking(body: str) -> Message:
    return Message("m1", body, "handle", 1)


def test_a_message_is_received_as_it_was_sent(queue: Queue, client: Any, url: str) -> None:
    queue.send('{"a": 1}')

    assert [message["Body"] for message in receive(client, url)] == ['{"a": 1}']


def test_a_delayed_message_is_not_received_yet(queue: Queue, client: Any, url: str) -> None:
    queue.send("later", delay_seconds=900)

    assert receive(client, url) == []


def test_a_postponed_message_comes_when_it_is_told_to(queue: Queue, client: Any, url: str) -> None:
    queue.send("again")
    [message] = receive(client, url)
    hidden = receive(client, url)

    queue.postpone(message["ReceiptHandle"], 0)

    assert hidden == []
    assert [message["Body"] for message in receive(client, url)] == ["again"]


def test_a_message_that_is_done_cannot_be_postponed(queue: Queue, client: Any, url: str) -> None:
    queue.send("done")
    [message] = receive(client, url)
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    with pytest.raises(MessageGone):
        queue.postpone(message["ReceiptHandle"], 60)


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        pytest.param(
            faults.json_error(400, "AWS.SimpleQueueService.NonExistentQueue"), AccessLost, id="no queue"
        ),
        pytest.param(faults.json_error(400, "QueueDoesNotExist"), AccessLost, id="no queue, in other words"),
        pytest.param(faults.json_error(403, "AccessDenied"), AccessLost, id="no right"),
        pytest.param(faults.json_error(400, "KmsAccessDenied"), AccessLost, id="no right to the key"),
        pytest.param(faults.json_error(400, "RequestThrottled"), Throttled, id="throttled"),
        pytest.param(faults.json_error(500, "InternalError"), ServiceFailed, id="outage"),
        pytest.param(
            faults.raising(ReadTimeoutError(endpoint_url="https://sqs.example")),
            ServiceFailed,
            id="no answer",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["send", "postpone"])
def test_a_failure_is_told_by_its_class(
    verb: str, step: faults.Step, failure: type[Retryable], queue: Queue, client: Any
) -> None:
    operation = {"send": "SendMessage", "postpone": "ChangeMessageVisibility"}[verb]
    faults.plan(client.meta.events, f"sqs.{operation}", step)

    with pytest.raises(Retryable) as raised:
        queue.send("body") if verb == "send" else queue.postpone("handle", 1)

    assert type(raised.value) is failure


def test_a_queue_that_is_not_there_is_lost_access(client: Any, url: str) -> None:
    with pytest.raises(AccessLost):
        Queue(client, f"{url}-of-nobody").send("body")


def test_a_key_is_read_as_it_was_asked_for(queue: Queue, client: Any, url: str) -> None:
    key = "a b+c%2F#d?.png \n\0\N{DOG FACE}"

    LabellingQueue(queue).ask_for(key)

    [message] = receive(client, url)
    assert LabellingQueue(queue).keys(asking(message["Body"])) == [key]


def test_lambdas_record_of_a_failed_event_asks_for_its_keys(queue: Queue) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    event = {"Records": [{"s3": {"object": {"key": key}}} for key in ("a+b.png", "c.png", "a+b.png")]}
    record = {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "..."},
    }

    assert LabellingQueue(queue).keys(asking(json.dumps(record))) == ["a b.png", "c.png"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "car.png",
        "null",
        "[]",
        "{}",
        '{"Records": 5}',
        '{"requestPayload": null}',
        '{"requestPayload": [1]}',
    ],
)
def test_junk_asks_for_nothing(body: str, queue: Queue) -> None:
    assert LabellingQueue(queue).keys(asking(body)) == []


def test_a_queues_name_ends_its_url() -> None:
    assert queue_name("https://sqs.eu-west-1.amazonaws.com/123456789012/image-labeller-dev-labelling") == (
        "image-labeller-dev-labelling"
    )
