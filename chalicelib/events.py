"""What S3, the queues and the table's stream tell the functions that they invoke."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

from chalice.app import DynamoDBEvent, S3Event, SQSEvent

from chalicelib import items, log
from chalicelib.deaths import SUSPECT, Deaths
from chalicelib.errors import Retryable
from chalicelib.notifications import keys_of
from chalicelib.queue import Message
from chalicelib.state import State

LONGEST_MESSAGE = 1_000_000  # characters, all of them ASCII, and so bytes; SQS takes 1 MiB

Handle = Callable[[items.Row | None, items.Row | None], None]  # of a row as it was, and as it is


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


class RowsChanged(DynamoDBEvent):  # type: ignore[misc]
    """Changes of the table's rows, those of each in the order in which they happened."""

    def handled(self, handle: Handle, put_aside: Callable[[str], object], state: State) -> dict[str, Any]:
        """Hands over each change by itself, and tells Lambda the first that failed: there it goes on.

        What no later try can heal, and what functions die of, is put aside as JSON, so that it holds up
        nothing that comes after it.
        """
        changes = [record["dynamodb"] for record in self.to_dict()["Records"]]
        risk = self._risk(changes, state)
        failed = [
            change["SequenceNumber"] for change in changes if not _is_handled(change, handle, put_aside, risk)
        ]
        return item_failures(failed[:1])

    def _risk(self, changes: list[Any], state: State) -> AbstractContextManager[None]:
        """Of a change that comes late and alone others may have died."""
        if len(changes) != 1:
            return nullcontext()
        [change] = changes
        age = state.now().timestamp() - change.get("ApproximateCreationDateTime", 0)
        if age < SUSPECT.total_seconds():
            return nullcontext()
        return Deaths(state, self.context.function_name).risked(change["SequenceNumber"])


def item_failures(identifiers: Iterable[str]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html

    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


def _is_handled(
    change: Any, handle: Handle, put_aside: Callable[[str], object], risk: AbstractContextManager[None]
) -> bool:
    facts = {"record": change["SequenceNumber"], "image": change["Keys"]["source_file"]["S"]}
    try:
        try:
            with risk:
                handle(_row(change.get("OldImage")), _row(change.get("NewImage")))
        except Retryable:
            raise
        except Exception as bug:  # noqa: BLE001 - one record must not cost its neighbours their turn
            log.failed(bug, **facts)
            put_aside(_in_short(change))
    except Retryable as failure:
        log.failed(failure, **facts)
        return False
    return True


def _in_short(change: Any) -> str:
    """A change as JSON, without the rows where they would not fit into a message."""
    text = json.dumps(change)
    if len(text) <= LONGEST_MESSAGE:
        return text
    return json.dumps({name: change[name] for name in ("Keys", "SequenceNumber")})


def _row(item: Any) -> items.Row | None:
    return None if item is None else items.unmarshal(item)
