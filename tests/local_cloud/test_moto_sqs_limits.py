from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_cloud.clock import ManualClock
from local_cloud.endpoint import Endpoint
from tests.local_cloud.conftest import CONFIG

MEGABYTE = 1024 * 1024
HALF_A_DAY = 12 * 60 * 60


@pytest.fixture
def sqs(endpoint: Endpoint, session: boto3.Session) -> Any:
    """A client that leaves it to the service to refuse."""
    config = CONFIG.merge(Config(parameter_validation=False))
    return session.client("sqs", endpoint_url=endpoint.url, config=config)


@pytest.fixture
def queue(clock: ManualClock, sqs: Any, name: str) -> str:
    assert clock.time() > 0
    return str(sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "60"})["QueueUrl"])


def refused(act: Callable[..., Any], **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        act(**request)
    found = error.value.response["Error"]
    return str(found["Code"]), str(found["Message"])


def receive(sqs: Any, queue: str) -> list[Any]:
    return list(sqs.receive_message(QueueUrl=queue).get("Messages", []))


def handle(sqs: Any, queue: str) -> str:
    """The receipt of a message that was just sent and received."""
    sqs.send_message(QueueUrl=queue, MessageBody="m")
    [message] = receive(sqs, queue)
    return str(message["ReceiptHandle"])


def attribute(size: int) -> dict[str, Any]:
    """An attribute that counts this much."""
    return {"name": {"DataType": "String", "StringValue": "x" * (size - len("name" + "String"))}}


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        pytest.param("x" * MEGABYTE, {}, id="ascii"),
        pytest.param("\N{DOG FACE}" * (MEGABYTE // 4), {}, id="emoji"),
        pytest.param("x" * (MEGABYTE - 100), attribute(100), id="with-attributes"),
        pytest.param(
            "x" * (MEGABYTE - 10), {"n": {"DataType": "Binary", "BinaryValue": b"\xff" * 3}}, id="with-bytes"
        ),
    ],
)
def test_a_message_has_at_most_a_megabyte(sqs: Any, queue: str, body: str, attributes: Any) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=attributes)

    code, message = refused(
        sqs.send_message, QueueUrl=queue, MessageBody=body + "x", MessageAttributes=attributes
    )
    assert (code, message.endswith("shorter than 1048576 bytes.")) == ("InvalidParameterValue", True)


def test_a_batch_has_at_most_a_megabyte_and_ten_messages(sqs: Any, queue: str) -> None:
    def send(count: int, size: int, **more: Any) -> Any:
        entries = [{"Id": str(number), "MessageBody": "x" * size, **more} for number in range(count)]
        return lambda: sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    send(8, MEGABYTE // 8)()

    assert refused(send(8, MEGABYTE // 8 + 1))[0] == "AWS.SimpleQueueService.BatchRequestTooLong"
    assert (
        refused(send(8, MEGABYTE // 8, MessageAttributes=attribute(20)))[0]
        == "AWS.SimpleQueueService.BatchRequestTooLong"
    )
    assert refused(send(11, 1))[0] == "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param({"DelaySeconds": 901}, "InvalidParameterValue", id="delay-over-15-minutes"),
        pytest.param({"DelaySeconds": -1}, "InvalidParameterValue", id="negative-delay"),
        pytest.param({"MessageBody": ""}, "MissingParameter", id="empty"),
        pytest.param({"MessageBody": "\x01"}, "InvalidMessageContents", id="control-character"),
        pytest.param({"MessageBody": "\uffff"}, "InvalidMessageContents", id="no-character"),
        pytest.param(
            {"MessageAttributes": {"a": {"DataType": "String", "StringValue": "\x01"}}},
            "InvalidMessageContents",
            id="control-character-in-attribute",
        ),
        pytest.param(
            {"MessageAttributes": {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}},
            "InvalidParameterValue",
            id="11-attributes",
        ),
    ],
)
def test_a_message_that_is_none_is_not_taken(sqs: Any, queue: str, message: Any, code: str) -> None:
    whole = {"MessageBody": "x"} | message

    assert refused(sqs.send_message, QueueUrl=queue, **whole)[0] == code
    if whole.get("DelaySeconds") == 901:
        batch = sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "1", **whole}])
        assert [entry["Code"] for entry in batch["Failed"]] == [code]
    else:
        assert refused(sqs.send_message_batch, QueueUrl=queue, Entries=[{"Id": "1", **whole}])[0] == code
    assert receive(sqs, queue) == []


def test_a_delay_of_15_minutes_and_any_other_character_are_fine(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="\t\r\n\x20\ud7ff\ue000\ufffd\U0010ffff", DelaySeconds=900)


@pytest.mark.parametrize(
    ("operation", "settings"),
    [("delete_message_batch", {}), ("change_message_visibility_batch", {"VisibilityTimeout": 10})],
)
def test_a_batch_has_at_most_ten_entries_of_different_names(
    sqs: Any, queue: str, operation: str, settings: dict[str, Any]
) -> None:
    receipt = handle(sqs, queue)

    def entries(*names: object) -> dict[str, Any]:
        entry = {"ReceiptHandle": receipt, **settings}
        return {"QueueUrl": queue, "Entries": [{"Id": str(name), **entry} for name in names]}

    act = getattr(sqs, operation)
    assert refused(act, **entries(*range(11)))[0] == "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
    assert refused(act, **entries(1, 2, 1))[0] == "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
    assert len(act(**entries(1))["Successful"]) == 1


def test_a_message_is_hidden_for_at_most_12_hours_from_its_receipt(
    clock: ManualClock, sqs: Any, queue: str
) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="m")
    clock.advance(timedelta(days=3))
    [message] = receive(sqs, queue)
    change = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}

    sqs.change_message_visibility(**change, VisibilityTimeout=HALF_A_DAY)
    clock.advance(timedelta(hours=1))
    total = refused(sqs.change_message_visibility, **change, VisibilityTimeout=HALF_A_DAY - 3599)
    sqs.change_message_visibility(**change, VisibilityTimeout=HALF_A_DAY - 3600)
    too_long = refused(sqs.change_message_visibility, **change, VisibilityTimeout=HALF_A_DAY + 1)

    assert (total[0], "Total VisibilityTimeout" in total[1]) == ("InvalidParameterValue", True)
    assert too_long[0] == "InvalidParameterValue"
    clock.advance(timedelta(hours=11))
    assert receive(sqs, queue) == []
    clock.advance(timedelta(seconds=1))
    assert len(receive(sqs, queue)) == 1


def test_a_receipt_changes_nothing_once_its_message_is_visible_again(
    clock: ManualClock, sqs: Any, queue: str
) -> None:
    receipt = handle(sqs, queue)
    clock.advance(timedelta(seconds=61))

    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=600)

    assert len(receive(sqs, queue)) == 1


def test_a_receipt_deletes_after_its_time_unless_another_has_taken_the_message(
    clock: ManualClock, sqs: Any, queue: str
) -> None:
    stale = handle(sqs, queue)
    clock.advance(timedelta(seconds=61))
    [again] = receive(sqs, queue)

    sqs.delete_message(QueueUrl=queue, ReceiptHandle=stale)
    clock.advance(timedelta(seconds=61))
    still_there = receive(sqs, queue)
    clock.advance(timedelta(seconds=61))
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=still_there[0]["ReceiptHandle"])

    assert [message["MessageId"] for message in still_there] == [again["MessageId"]]
    assert receive(sqs, queue) == []


def test_what_is_deleted_can_be_deleted_again_and_not_hidden(sqs: Any, queue: str) -> None:
    receipt = handle(sqs, queue)

    for _ in range(2):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)

    hide = {"QueueUrl": queue, "VisibilityTimeout": 10}
    gone = refused(sqs.change_message_visibility, **hide, ReceiptHandle=receipt)
    assert (gone[0], "does not exist" in gone[1]) == ("InvalidParameterValue", True)
    assert refused(sqs.change_message_visibility, **hide, ReceiptHandle="none")[0] == "ReceiptHandleIsInvalid"


@pytest.mark.parametrize(
    ("name_of", "least", "most"),
    [
        ("DelaySeconds", 0, 900),
        ("MaximumMessageSize", 1024, MEGABYTE),
        ("MessageRetentionPeriod", 60, 14 * 24 * 60 * 60),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("VisibilityTimeout", 0, HALF_A_DAY),
    ],
)
def test_the_attributes_of_a_queue_have_their_ranges(
    sqs: Any, queue: str, name_of: str, least: int, most: int
) -> None:
    for value in (least, most):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={name_of: str(value)})
    for value in (least - 1, most + 1):
        code, _ = refused(sqs.set_queue_attributes, QueueUrl=queue, Attributes={name_of: str(value)})
        assert code == "InvalidAttributeValue"

    kept = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name_of])["Attributes"]
    assert kept == {name_of: str(most)}
