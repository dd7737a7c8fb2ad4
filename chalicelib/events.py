"""What S3 and the queues tell the functions that they invoke."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from chalice.app import S3Event, SQSEvent

from chalicelib.notifications import keys_of
from chalicelib.queue import Message


class ObjectsChanged(S3Event):  # type: ignore[misc]
    """All records of an S3 event; Chalice's own class reads the first, and fails where there is none."""

    def _extract_attributes(self, event_dict: Any) -> None:
        """Nothing yet: no middleware has told the log of whose request it is."""

    @cached_property
    def keys(self) -> list[str]:
        """Each object key once."""
        return keys_of(self.to_dict())


class Messages(SQSEvent):  # type: ignore[misc]
    """The messages of a queue with what Chalice's own records leave out."""

    def __iter__(self) -> Iterator[Message]:
        for record in self.to_dict()["Records"]:
            receives = int(record["attributes"]["ApproximateReceiveCount"])
            yield Message(record["messageId"], record["body"], record["receiptHandle"], receives)

    def handled(self, handle: Callable[[Message], bool]) -> dict[str, Any]:
        """What Lambda is to be told: which messages are not done with, and come again."""
        return item_failures(message.id for message in self if not handle(message))


def item_failures(identifiers: Iterable[str]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html"""
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}
