"""Adapter: the SQS queues, through which functions set off one another."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws_errors import Codes, translated
from chalicelib.errors import AccessLost, MessageGone, Throttled
from chalicelib.notifications import keys_of, notification_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_DELAY = 900  # seconds, SQS's limit

CODES: Codes = {
    "AWS.SimpleQueueService.NonExistentQueue": AccessLost,
    "KmsAccessDenied": AccessLost,
    "KmsDisabled": AccessLost,
    "KmsInvalidState": AccessLost,
    "KmsNotFound": AccessLost,
    "KmsThrottled": Throttled,
    "QueueDoesNotExist": AccessLost,
    "RequestThrottled": Throttled,
}
NO_LONGER_OURS: Codes = {  # its time was up: by now it is another's, or done
    "AWS.SimpleQueueService.MessageNotInflight": MessageGone,
    "MessageNotInflight": MessageGone,
    "InvalidParameterValue": MessageGone,
    "ReceiptHandleIsInvalid": MessageGone,
}


@dataclass(frozen=True)
class Message:
    id: str
    body: str
    receipt_handle: str
    receives: int  # this time included


class Queue:
    """Every method raises AccessLost, Throttled or ServiceFailed when SQS does not do it."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, body: str, delay_seconds: int = 0) -> None:
        """Puts a message on the queue, where nobody gets it before the delay of at most 900 seconds."""
        with translated(CODES):
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_seconds)

    def postpone(self, receipt_handle: str, seconds: int) -> None:
        """Lets a message that was received come again after so many seconds from now, at most twelve hours.

        Raises MessageGone if it has come again already.
        """
        with translated({**CODES, **NO_LONGER_OURS}):
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )


@dataclass(frozen=True)
class LabellingQueue:
    """The queue of keys that are to be looked at; its messages read as S3's notifications do."""

    queue: Queue

    def ask_for(self, key: str, delay_seconds: int = 0) -> None:
        """Raises AccessLost, Throttled or ServiceFailed."""
        self.queue.send(json.dumps(notification_of(key)), delay_seconds)

    def keys(self, message: Message) -> list[str]:
        """What a message asks for; Lambda's record of an event that it gave up asks for the same."""
        try:
            body = json.loads(message.body)
        except ValueError:
            body = None
        return keys_of(body.get("requestPayload", body) if isinstance(body, dict) else None)

    def postpone(self, receipt_handle: str, seconds: int) -> None:
        self.queue.postpone(receipt_handle, seconds)


def queue_name(url: str) -> str:
    return url.rpartition("/")[2]
