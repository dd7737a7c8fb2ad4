"""DynamoDB stream to function: per shard, in order, a batch at a time, until it succeeds or may be given up.

https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
"""

import base64
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import moto.dynamodb.models as dynamodb_models
from chalice.app import DynamoDBEventConfig
from moto.core import DEFAULT_ACCOUNT_ID

from local_cloud.clock import Clock
from local_cloud.event_source_mapping import EventSourceMapping, failed_identifiers
from local_cloud.functions import Event, FailedEvent, Function, Outcome, Task
from local_cloud.moto_patches import STATE

_RETENTION = 24 * 60 * 60
_LONGEST_WAIT = 60
_PER_REQUEST = 1000

Record = dict[str, Any]


@dataclass(frozen=True)
class _Batch:
    records: list[Record]
    attempts: int = 0
    due: float = 0.0


@dataclass
class _Shard:
    checkpoint: str | None = None
    batches: deque[_Batch] = field(default_factory=deque)
    running: bool = False


class StreamPoller:
    """Hands the records of one stream to one function."""

    def __init__(
        self,
        config: DynamoDBEventConfig,
        function: Function,
        mapping: EventSourceMapping,
        client: Any,
        clock: Clock,
        failed_events: list[FailedEvent],
    ) -> None:
        self._config = config
        self._function = function
        self._mapping = mapping
        self._client = client
        self._clock = clock
        self._failed_events = failed_events
        self._shards: dict[str, _Shard] = {}
        self._lock = threading.Lock()
        if config.starting_position == "LATEST":
            self._skip_to_the_end()

    def take(self, capacity: int) -> list[Task]:
        tasks: list[Task] = []
        if not self._may_have_records():
            return tasks
        for shard_id in self._shard_ids()[:capacity]:
            shard = self._shards.setdefault(shard_id, _Shard())
            if not shard.running and (batch := self._next(shard_id, shard)):
                shard.running = True
                tasks.append(partial(self._run, shard, batch))
        return tasks

    def next_due(self) -> float | None:
        with self._lock:
            waiting = [shard.batches[0].due for shard in self._shards.values() if shard.batches]
        return min(waiting, default=None)

    def _may_have_records(self) -> bool:
        """A look into moto's own store, so that asking a stream without news costs next to nothing."""
        if any(shard.batches for shard in self._shards.values()):
            return True
        with STATE:
            tables = dynamodb_models.dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables
            table = tables.get(self._config.stream_arn.split("/")[1])
            if table is None or table.stream_shard is None:
                return True  # and be told what is wrong
            newest = [_sequence_number(each.record) for each in table.stream_shard.items[-1:]]
        return not set(newest) <= {shard.checkpoint for shard in self._shards.values()}

    def _shard_ids(self) -> list[str]:
        described = self._client.describe_stream(StreamArn=self._config.stream_arn)["StreamDescription"]
        return [shard["ShardId"] for shard in described["Shards"]]

    def _skip_to_the_end(self) -> None:
        for shard_id in self._shard_ids():
            shard = self._shards.setdefault(shard_id, _Shard())
            while records := self._read(shard_id, shard.checkpoint, _PER_REQUEST):
                shard.checkpoint = _sequence_number(records[-1])

    def _next(self, shard_id: str, shard: _Shard) -> _Batch | None:
        """The batch that is to be tried now, if any."""
        self._expire(shard)
        while not shard.batches and self._fetch(shard_id, shard):
            self._expire(shard)
        due = shard.batches and shard.batches[0].due <= self._clock.time()
        return shard.batches[0] if due else None

    def _fetch(self, shard_id: str, shard: _Shard) -> bool:
        """Read on, and say whether there was anything; what the filter stops is passed over."""
        records = self._read(shard_id, shard.checkpoint, self._config.batch_size)
        if wanted := [record for record in records if self._mapping.lets_through(record)]:
            shard.batches.append(_Batch(wanted))
        if records:
            shard.checkpoint = _sequence_number(records[-1])
        return bool(records)

    def _read(self, shard_id: str, checkpoint: str | None, limit: int) -> list[Record]:
        # by sequence number at each poll: iterators expire
        position = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": checkpoint}
            if checkpoint
            else {"ShardIteratorType": "TRIM_HORIZON"}
        )
        iterator = self._client.get_shard_iterator(
            StreamArn=self._config.stream_arn, ShardId=shard_id, **position
        )["ShardIterator"]
        records = self._client.get_records(ShardIterator=iterator, Limit=min(limit, _PER_REQUEST))["Records"]
        return [record_of(record, self._config.stream_arn) for record in records]

    def _expire(self, shard: _Shard) -> None:
        """Drop what is older than the stream or the mapping keeps."""
        oldest = self._clock.time() - min(_RETENTION, self._mapping.maximum_age or _RETENTION)
        while shard.batches and _created(shard.batches[0].records[0]) < oldest:
            batch = shard.batches.popleft()
            kept = [record for record in batch.records if _created(record) >= oldest]
            self._give_up(
                [record for record in batch.records if record not in kept], batch, "RecordAgeExceeded"
            )
            if kept:
                shard.batches.appendleft(replace(batch, records=kept))

    def _run(self, shard: _Shard, batch: _Batch) -> None:
        try:
            outcome = self._function.invoke({"Records": batch.records})
            with self._lock:
                shard.batches.popleft()
                shard.batches.extendleft(reversed(self._remaining(batch, outcome)))
        finally:
            shard.running = False

    def _remaining(self, batch: _Batch, outcome: Outcome) -> list[_Batch]:
        """What is left to do of the batch, in order."""
        left = self._failed(batch.records, outcome)
        attempts = batch.attempts + 1
        if not left:
            return []
        if self._mapping.bisects and len(left) == len(batch.records) > 1:
            half = len(left) // 2  # splitting does not count as a retry
            return [_Batch(left[:half], batch.attempts), _Batch(left[half:], batch.attempts)]
        if self._mapping.maximum_retries is not None and attempts > self._mapping.maximum_retries:
            self._give_up(left, replace(batch, attempts=attempts), "RetryAttemptsExhausted", outcome.error)
            return []
        return [_Batch(left, attempts, self._clock.time() + min(2 ** (attempts - 1), _LONGEST_WAIT))]

    def _failed(self, records: list[Record], outcome: Outcome) -> list[Record]:
        """All from the first failure on: a stream goes on where it stopped."""
        if outcome.error is not None:
            return records
        if not self._mapping.reports_item_failures:
            return []
        numbers = [_sequence_number(record) for record in records]
        failed = failed_identifiers(outcome.answer, numbers)
        return records[numbers.index(failed[0]) :] if failed else []

    def _give_up(
        self, records: list[Record], batch: _Batch, condition: str, error: BaseException | None = None
    ) -> None:
        self._failed_events.append(
            FailedEvent(self._function.name, {"Records": records}, condition, batch.attempts, error)
        )


def record_of(record: Record, arn: str) -> Event:
    """GetRecords' record as Lambda shows it: JSON throughout."""
    change = record["dynamodb"]
    created: datetime = change["ApproximateCreationDateTime"]
    shown: Event = _jsonable(record) | {
        "eventVersion": "1.1",
        "eventSourceARN": arn,
        "dynamodb": _jsonable(change) | {"ApproximateCreationDateTime": created.timestamp()},
    }
    if identity := record.get("userIdentity"):
        shown["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
    return shown


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _sequence_number(record: Record) -> str:
    return str(record["dynamodb"]["SequenceNumber"])


def _created(record: Record) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])
