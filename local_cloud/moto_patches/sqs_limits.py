"""What SQS refuses and moto lets through.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-quotas.html
"""

import re
from collections.abc import Iterable
from typing import Any

import moto.sqs.models as sqs_models
import moto.sqs.responses as sqs_responses
from moto.sqs.exceptions import (
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    InvalidParameterValue,
    MissingParameter,
    SQSException,
    TooManyEntriesInBatchRequest,
)

from local_cloud.moto_patches.mending import Function, mend

_LARGEST_BATCH = 1024 * 1024
_MOST_ENTRIES = 10
_MOST_ATTRIBUTES = 10
_LONGEST_INVISIBILITY = 12 * 60 * 60
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1024 * 1024),
    "MessageRetentionPeriod": (60, 14 * 24 * 60 * 60),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, _LONGEST_INVISIBILITY),
}

Entry = dict[str, Any]


def apply() -> None:
    answers = sqs_responses.SQSResponse
    mend(answers, "send_message", _checking_message)
    mend(answers, "send_message_batch", _checking_messages)
    for operation in ("send_message_batch", "delete_message_batch", "change_message_visibility_batch"):
        mend(answers, operation, _checking_entries)
    mend(sqs_models.Message, "mark_received", _mark_received)
    mend(sqs_models.SQSBackend, "change_message_visibility", _change_message_visibility)
    mend(sqs_models.Queue, "delete_message", _delete_message)
    mend(sqs_models.Queue, "_set_attributes", _checking_attributes)


def _checking_message(original: Function) -> Function:
    """A message is counted in bytes, with its attributes (moto: in characters, without)."""

    def send_message(self: Any) -> Any:
        _check_message(self.sqs_backend.get_queue(self._get_queue_name()), self.params)
        return original(self)

    return send_message


def _checking_messages(original: Function) -> Function:
    def send_message_batch(self: Any) -> Any:
        entries = self._get_param("Entries", [])
        for entry in entries:
            _check_message(self.sqs_backend.get_queue(self._get_queue_name()), entry)
        if (size := sum(map(_size, entries))) > _LARGEST_BATCH:
            raise BatchRequestTooLong(size)
        return original(self)

    return send_message_batch


def _checking_entries(original: Function) -> Function:
    """A batch has at most ten entries, each with an id of its own (moto: each with a receipt of its own)."""

    def batch(self: Any) -> Any:
        ids = [entry["Id"] for entry in self._get_param("Entries", [])]
        if len(ids) > _MOST_ENTRIES:
            raise TooManyEntriesInBatchRequest(len(ids))
        if repeated := _first_repeated(ids):
            raise BatchEntryIdsNotDistinct(repeated)
        return original(self)

    return batch


def _first_repeated(ids: list[str]) -> str | None:
    return next((each for number, each in enumerate(ids) if each in ids[:number]), None)


def _check_message(queue: Any, message: Entry) -> None:
    body, attributes = message["MessageBody"], message.get("MessageAttributes", {})
    if not body:
        raise MissingParameter("MessageBody")
    if any(_NOT_ALLOWED.search(text) for text in [body, *_texts(attributes)]):
        raise SQSException("InvalidMessageContents", "Invalid characters were found in the message body")
    if len(attributes) > _MOST_ATTRIBUTES:
        raise InvalidParameterValue(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum "
            f"[{_MOST_ATTRIBUTES}]."
        )
    if _size(message) > queue.maximum_message_size:
        raise InvalidParameterValue(
            "One or more parameters are invalid. "
            f"Reason: Message must be shorter than {queue.maximum_message_size} bytes."
        )
    if (delay := message.get("DelaySeconds") or 0) < 0:
        raise InvalidParameterValue(
            f"Value {delay} for parameter DelaySeconds is invalid. "
            "Reason: DelaySeconds must be >= 0 and <= 900."
        )


def _texts(attributes: dict[str, Entry]) -> Iterable[str]:
    return (value["StringValue"] for value in attributes.values() if "StringValue" in value)


def _size(message: Entry) -> int:
    attributes = message.get("MessageAttributes", {})
    parts = [message["MessageBody"], *attributes]
    parts += [
        part for value in attributes.values() for part in value.values() if isinstance(part, str | bytes)
    ]
    return sum(len(part.encode() if isinstance(part, str) else part) for part in parts)


def _mark_received(original: Function) -> Function:
    """Remembers when, for the longest that a message may stay invisible."""

    def mark_received(self: Any, *args: Any, **kwargs: Any) -> None:
        self.received_at = sqs_models.unix_time_millis()
        original(self, *args, **kwargs)

    return mark_received


def _change_message_visibility(original: Function) -> Function:
    """The 12 hours count from the receipt (moto: from when the message was sent, so that none can be changed
    half a day later). Of a message that is visible again nothing is changed, and that is no error:
    https://github.com/localstack/localstack/pull/9632 (moto hides it again)"""

    def change_message_visibility(
        self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int
    ) -> None:
        queue = self.get_queue(queue_name)
        held = [message for message in queue._messages if message.had_receipt_handle(receipt_handle)]
        if receipt_handle in queue.deleted_messages:
            raise InvalidParameterValue(
                f"Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: Message does not "
                "exist or is not available for visibility timeout change."
            )
        if not held:
            original(self, queue_name, receipt_handle, visibility_timeout)
        for message in held:
            if not message.visible:
                _hide(queue, message, int(visibility_timeout))

    return change_message_visibility


def _hide(queue: Any, message: Any, seconds: int) -> None:
    hidden = (sqs_models.unix_time_millis() - message.received_at) / 1000
    if hidden + seconds > _LONGEST_INVISIBILITY:
        raise InvalidParameterValue(
            f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout "
            f"for the message is beyond the limit [{_LONGEST_INVISIBILITY} seconds]"
        )
    message.change_visibility(seconds)
    if message.visible:
        queue.pending_messages.discard(message)


def _delete_message(original: Function) -> Function:
    """Only the newest receipt is sure to delete: with an older one the request succeeds, and the message may
    stay: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html"""

    def delete_message(self: Any, receipt_handle: str) -> None:
        if not any(receipt_handle in message._old_receipt_handles for message in self._messages):
            original(self, receipt_handle)

    return delete_message


def _checking_attributes(original: Function) -> Function:
    def set_attributes(self: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= int(attributes.get(name, least)) <= most:
                raise SQSException("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        original(self, attributes, now)

    return set_attributes
