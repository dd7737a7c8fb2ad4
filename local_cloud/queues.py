"""SQS to function: receives, invokes, deletes on success; what failed comes back when it is visible again.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import base64
import json
import threading
from functools import cached_property, partial
from typing import Any

import moto.sqs.models as sqs_models
from chalice.app import SQSEventConfig
from moto.core import DEFAULT_ACCOUNT_ID

from local_cloud.event_source_mapping import EventSourceMapping, failed_identifiers
from local_cloud.functions import Event, Function, Task
from local_cloud.moto_patches import STATE

_PER_REQUEST = 10

Message = dict[str, Any]


class QueuePoller:
    """Hands the messages of one queue to one function."""

    def __init__(
        self, config: SQSEventConfig, function: Function, mapping: EventSourceMapping, client: Any
    ) -> None:
        self._arn = config.queue_arn or f"arn:aws:sqs:us-east-1:{DEFAULT_ACCOUNT_ID}:{config.queue}"
        self._config = config
        self._function = function
        self._mapping = mapping
        self._client = client
        self._running = 0
        self._lock = threading.Lock()

    @property
    def _queue(self) -> str:
        return self._arn.rpartition(":")[2]

    def take(self, capacity: int) -> list[Task]:
        tasks: list[Task] = []
        if not self._may_have_messages():
            return tasks
        while len(tasks) < min(capacity, self._free()) and (messages := self._receive()):
            tasks.append(partial(self._run, messages))
        with self._lock:
            self._running += len(tasks)
        return tasks

    def next_due(self) -> float | None:
        """When the next message becomes visible; moto counts in milliseconds and wants them to be over."""
        with STATE:
            messages = queue._messages if (queue := self._in_moto()) else []
            visible = [max(message.visible_at, message.delayed_until) for message in messages]
        return (min(visible) + 1) / 1000 if visible else None

    def _may_have_messages(self) -> bool:
        """A look into moto's own store, so that asking an empty queue costs next to nothing."""
        with STATE:
            queue = self._in_moto()
            return queue is None or bool(queue.messages)

    def _in_moto(self) -> Any:
        return sqs_models.sqs_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].queues.get(self._queue)

    def _free(self) -> int:
        with self._lock:
            return (self._config.maximum_concurrency or 1000) - self._running

    @cached_property
    def _url(self) -> str:
        return str(self._client.get_queue_url(QueueName=self._queue)["QueueUrl"])

    def _receive(self) -> list[Message]:
        messages: list[Message] = []
        while (left := self._config.batch_size - len(messages)) > 0:
            received = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(left, _PER_REQUEST),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=0,
            )
            if "Messages" not in received:
                break
            messages += received["Messages"]
        return messages

    def _run(self, messages: list[Message]) -> None:
        try:
            failed = self._failed(messages)
            done = [message for message in messages if message["MessageId"] not in failed]
            self._delete(done)
        finally:
            with self._lock:
                self._running -= 1

    def _failed(self, messages: list[Message]) -> list[str]:
        """The ids of what is to come back. What the filter stops is not invoked for, and deleted."""
        records = [record_of(message, self._arn) for message in messages]
        wanted = [record for record in records if self._mapping.lets_through(_for_filter(record))]
        if not wanted:
            return []
        outcome = self._function.invoke({"Records": wanted})
        identifiers = [str(record["messageId"]) for record in wanted]
        if outcome.error is not None:
            return identifiers
        return failed_identifiers(outcome.answer, identifiers) if self._mapping.reports_item_failures else []

    def _delete(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), _PER_REQUEST):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[start : start + _PER_REQUEST])
            ]
            self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)


def record_of(message: Message, arn: str) -> Event:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "us-east-1",
    }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        shown["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        shown["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shown


def _for_filter(record: Event) -> Event:
    """Patterns look into a body that is JSON."""
    try:
        return record | {"body": json.loads(record["body"])}
    except ValueError:
        return record
