"""Adapter: the rows of an image in the DynamoDB table `images`, as whoever is at work on it writes them."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib import items, rows
from chalicelib.aws_errors import error_code
from chalicelib.claim import EXHAUSTED, UNCLAIMED, Claim, Partial, Secluded
from chalicelib.dynamodb import is_done, patiently, transact
from chalicelib.errors import Contended
from chalicelib.model import Answer, Findings, Status, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TOMBSTONE_LIFE = timedelta(days=1)
LONG_OVER = 1  # since 1970, of a lease that nobody ended
EMPTY: items.Row = {}

Expected = Mapping[str, str | EllipsisType | None]  # what attributes must be; None: absent; ...: present


@dataclass(frozen=True)
class Attempt:
    """Whether the row is ours now; and the row as it was before, or as it stands in the way."""

    won: bool
    row: Claim


class Claims:
    """Every method raises AccessLost, Throttled, ServiceFailed or Contended when DynamoDB gives no answer."""

    def __init__(
        self, client: "DynamoDBClient", table: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def claim(
        self, found: StoredObject, run: str, row: Claim | None, now: datetime, lease_seconds: int
    ) -> Attempt:
        """Makes the row ours, if it still is as it was read (row None: if nobody ever claimed it)."""
        change = {
            **rows.status_fields(found.key, Status.PROCESSING, now),
            "run": run,
            "run_version": found.version,
            "lease_until": now.timestamp() + lease_seconds,
            "reason": None,
            "expires_at": None,
        }
        return self._change(found.key, change, _as_read(row or UNCLAIMED), mark="run")

    def resume(self, source_file: str, run: str, row: Claim, now: datetime, lease_seconds: int) -> Attempt:
        """Makes ours the row of a picture in quarantine, or half-way there or back, as `claim` does."""
        change = {
            **rows.status_fields(source_file, Status.PROCESSING if row.release else Status.QUARANTINING, now),
            "run": run,
            "lease_until": now.timestamp() + lease_seconds,
        }
        return self._change(source_file, change, _as_read(row), mark="run")

    def fence(self, source_file: str, token: str, row: Claim) -> Attempt:
        """Marks the row, if it still is as it was read, so that whoever read it before has to look again."""
        return self._change(source_file, {"fence": token}, _as_read(row), mark="fence")

    def leave(
        self,
        source_file: str,
        run: str,
        row: Claim,
        partial: Partial,
        now: datetime,
        status: Status = Status.QUEUED,
        *,
        is_suspect: bool = False,
    ) -> None:
        """Ends our lease, so that the next try need not wait for it, and keeps what need not be asked again.

        The row is as it was before we claimed it. One that is another run's by now stays as it is, and so
        does what we have committed without hearing of it. A picture that is suspect stays so, as if we had
        died of it too.
        """
        change = {
            **rows.status_fields(source_file, status, now),
            "run": run,
            "lease_until": LONG_OVER if is_suspect else 0,
            **rows.partial_fields(partial),
        }
        self._change(source_file, change, {"run": run, "committed_run": row.committed_run}, mark="run")

    def commit(self, found: StoredObject, run: str, answer: Answer, row: Claim, now: datetime) -> Attempt:
        """Writes the answer and its label rows, and deletes those that vanished.

        The row is as it was before we claimed it. Lost if it is another's by now, or if somebody has wanted
        the picture gone since.
        """
        fields = rows.answer_fields(found, run, answer, now)
        change = {
            **fields,
            "lease_until": None,
            "expires_at": None,
            "partial": None,
            **rows.seclusion_fields(exempt=row.exemption(found)),
        }
        change |= {"relabelled": row.relabel} if row.relabel else {}
        vanished = [key for key in row.label_keys if key not in fields["label_keys"]]
        in_the_way = self._transact(
            [
                {"Update": self._update(found.key, change, {"run": run, "purge": row.purge})},
                *({"Put": self._put(label)} for label in rows.label_rows(found, answer, now)),
                *self._deletions(found.key, vanished),
            ]
        )
        return Attempt(in_the_way is None or in_the_way.committed_run == run, in_the_way or row)

    def exhaust(self, found: StoredObject, run: str, row: Claim, partial: Partial, now: datetime) -> None:
        """Says that the picture got no answer, where it has none; what the next try must know stays.

        The row is as it was before we claimed it. One that is another run's by now stays as it is, and so
        does what we have committed without hearing of it.
        """
        if row.labelled == found.version:
            self.leave(found.key, run, row, partial, now, Status.LABELLED, is_suspect=True)
            return
        answer = Answer(Status.FAILED, EXHAUSTED, found.content_type)
        change = {
            **rows.answer_fields(found, run, answer, now),
            "lease_until": None,
            "expires_at": None,
            **rows.partial_fields(partial),
        }
        ours: Expected = {"run": run, "committed_run": row.committed_run}
        update = {"Update": self._update(found.key, change, ours)}
        self._transact([update, *self._deletions(found.key, row.label_keys)])

    def seclude(
        self,
        found: StoredObject,
        run: str,
        secluded: Secluded,
        partial: Partial,
        row: Claim,
        now: datetime,
        lease_seconds: int,
    ) -> Attempt:
        """Deletes the label rows, and says where the picture is going.

        Lost if the row is not ours, or if somebody has wanted the picture gone since we claimed it, before
        which the row was as it is given. Of what detectors have told, it shows moderation only from now on,
        and it has no last word until `conclude` has said so.
        """
        answer = Answer(Status.QUARANTINING, findings=Findings(moderation=secluded.moderation))
        change = {
            **rows.answer_fields(found, run, answer, now),
            "lease_until": now.timestamp() + lease_seconds,
            "expires_at": None,
            **rows.partial_fields(partial),
            **rows.seclusion_fields(secluded),
            **({"relabelled": row.relabel} if row.relabel else {}),
        }
        del change["committed_run"]
        in_the_way = self._transact(
            [
                {"Update": self._update(found.key, change, {"run": run, "purge": row.purge})},
                *self._deletions(found.key, row.label_keys),
            ]
        )
        return Attempt(in_the_way is None, in_the_way or row)

    def conclude(self, source_file: str, run: str, now: datetime) -> Attempt:
        """Says that the picture is in quarantine, if the row is still ours and nobody wants it gone."""
        change = {
            **rows.status_fields(source_file, Status.QUARANTINED, now),
            "run": run,
            "committed_run": run,
            "lease_until": None,
        }
        return self._change(source_file, change, {"run": run, "purge": None}, mark="committed_run")

    def let_go(self, source_file: str, run: str) -> None:
        """Ends our lease on a picture half-way to quarantine or back, so that the next try need not wait."""
        self._change(source_file, {"run": run, "lease_until": 0}, {"run": run}, mark="run")

    def bury(self, source_file: str, run: str, row: Claim | None, now: datetime) -> Attempt:
        """Removes the image's rows, if they still are as they were read, and leaves a tombstone."""
        before = row or UNCLAIMED
        stone = rows.tombstone(source_file, run, int((now + TOMBSTONE_LIFE).timestamp()))
        put = {**self._put(stone), **_conditional(_as_read(before))}
        in_the_way = self._transact([{"Put": put}, *self._deletions(source_file, before.label_keys)])
        return Attempt(True, before) if in_the_way is None else Attempt(in_the_way.run == run, in_the_way)

    def touch(self, source_file: str, updated_at: str, status: Status, now: datetime) -> None:
        """Moves an image that still stands there to the end of the list of a status."""
        update = self._update(
            source_file, rows.status_fields(source_file, status, now), {"updated_at": updated_at}
        )
        is_done(lambda: patiently(lambda: self._client.update_item(**update), self._sleep, Contended))

    def ask_again(self, source_file: str, token: str, now: datetime) -> bool:
        """Lets the row answer for no version until a commit of who claims after this, and forgets what
        detectors told before; False if it answers for no picture."""
        change = {
            **rows.status_fields(source_file, Status.QUEUED, now),
            "relabel": token,
            "partial": None,
            "reason": None,
        }
        # Neither an expected upload nor a tombstone, nor a picture in quarantine, unless it has come out and
        # then failed.
        live: Expected = {"run": ..., "expires_at": None, "secluded": None}
        failed: Expected = {"run": ..., "secluded": ..., "status": str(Status.FAILED)}
        attempt = self._change(source_file, change, live, mark="relabel")
        if not attempt.won and attempt.row.secluded:
            attempt = self._change(source_file, change, failed, mark="relabel")
        return attempt.won

    def ask_for_release(self, source_file: str, nonce: str, now: datetime) -> bool:
        """False if the picture is not in quarantine, or is to be removed from there."""
        change = {**rows.status_fields(source_file, Status.QUARANTINING, now), "release": nonce}
        there: Expected = {"status": str(Status.QUARANTINED), "secluded": ..., "purge": None}
        attempt = self._change(source_file, change, there, mark="release")
        return attempt.won or attempt.row.is_to_be_released

    def ask_for_purge(self, source_file: str, token: str, now: datetime) -> bool:
        """Also of a picture that may be on its way to quarantine; whether it is there, or half-way there or
        back."""
        change = {"purge": token}
        attempt = self._change(source_file, change, {"run": ..., "expires_at": None}, mark="purge")
        if not attempt.won or attempt.row.secluded is None:
            return False
        moved = {**change, **rows.status_fields(source_file, Status.QUARANTINING, now)}
        self._change(source_file, moved, change, mark="purge")
        return True

    def _change(self, source_file: str, change: items.Row, expected: Expected, mark: str) -> Attempt:
        """Updates the image row. A lost answer of our own looks like another's write: compare the mark."""
        update = self._update(source_file, change, expected)
        try:
            response = patiently(
                lambda: self._client.update_item(**update, ReturnValues="ALL_OLD"), self._sleep, Contended
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            row = _read(error.response.get("Item"))
            return Attempt(getattr(row, mark) == change[mark], row)
        return Attempt(True, _read(response.get("Attributes")))

    def _update(self, source_file: str, change: items.Row, expected: Expected) -> dict[str, Any]:
        """An update of the image row that drops what is None, on condition of what is expected there."""
        kept = {name: value for name, value in change.items() if value is not None}
        dropped = [f"#{name}" for name in change if name not in kept]
        update = "SET " + ", ".join(f"#{name} = :{name}" for name in kept)
        return {
            "TableName": self._table,
            "Key": items.marshal(rows.image_key(source_file)),
            "UpdateExpression": update + (f" REMOVE {', '.join(dropped)}" if dropped else ""),
            **_conditional(
                expected,
                names={f"#{name}": name for name in change},
                values={f":{name}": value for name, value in kept.items()},
            ),
        }

    def _put(self, row: items.Row) -> dict[str, Any]:
        return {"TableName": self._table, "Item": items.marshal(row)}

    def _deletions(self, source_file: str, label_keys: Iterable[str]) -> list[Any]:
        keys = (rows.label_entry_key(source_file, key) for key in label_keys)
        return [{"Delete": {"TableName": self._table, "Key": items.marshal(key)}} for key in keys]

    def _transact(self, actions: list[Any]) -> Claim | None:
        """Runs the actions, the first on the image row, and returns that row if it fails the condition."""
        in_the_way = transact(self._client, actions, self._sleep)
        return None if in_the_way is None else _read(in_the_way)


def _as_read(row: Claim) -> Expected:
    """The run alone would not do: a commit leaves it as it is, and so does who only saw the row."""
    return {"run": row.run, "committed_run": row.committed_run, "fence": row.fence}


def _conditional(expected: Expected, names: items.Row = EMPTY, values: items.Row = EMPTY) -> dict[str, Any]:
    texts = {f":expected_{name}": value for name, value in expected.items() if isinstance(value, str)}
    marshalled = items.marshal({**values, **texts})
    return {
        "ConditionExpression": " AND ".join(_test(name, value) for name, value in expected.items()),
        "ExpressionAttributeNames": {**names, **{f"#{name}": name for name in expected}},
        **({"ExpressionAttributeValues": marshalled} if marshalled else {}),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _test(name: str, value: str | EllipsisType | None) -> str:
    if value is None:
        return f"attribute_not_exists(#{name})"
    return f"attribute_exists(#{name})" if value is ... else f"#{name} = :expected_{name}"


def _read(item: Any) -> Claim:
    return rows.read_claim(items.unmarshal(item)) if item else UNCLAIMED
