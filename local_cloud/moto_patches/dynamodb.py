"""DynamoDB and its streams."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import SimpleNamespace
from typing import Any

import moto.dynamodb.models as dynamodb_models
import moto.dynamodb.models.table as table_models
import moto.dynamodb.responses as dynamodb_responses
import moto.dynamodbstreams.models as stream_models
from moto.dynamodb.exceptions import DynamodbException, MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType

from local_cloud.moto_patches.dynamodb_limits import Row, as_sent, check_index_keys, limited_transaction
from local_cloud.moto_patches.mending import Function, is_true, mend, mend_cloudformation

_SHARD_ITERATORS = 1000
_LARGEST_BATCH = 25
_TOKEN_LIFETIME = timedelta(minutes=10)


def apply() -> None:
    dynamodb_models.copy = _CopyExceptTables
    mend(dynamodb_models.DynamoDBBackend, "transact_write_items", _transact_write_items)
    mend(dynamodb_models.DynamoDBBackend, "update_item", _update_item)
    mend(dynamodb_responses.DynamoHandler, "transact_write_items", _answer_transact_write_items)
    mend(dynamodb_responses.DynamoHandler, "batch_write_item", _answer_batch_write_item)
    mend(table_models.Table, "query", _query)
    mend(table_models.StreamShard, "add", _add_stream_record)
    mend(stream_models.ShardIterator, "get", _get_records)
    mend_cloudformation(table_models.Table, _configure_table)


_CopyExceptTables = SimpleNamespace(
    copy=copy.copy,
    deepcopy=lambda value: value if isinstance(value, table_models.Table) else copy.deepcopy(value),
)
"""moto backs up the whole table before each action of a transaction (100 ms for five puts beside a hundred
rows), and on rollback the copy replaces the table, with a stream that open shard iterators do not follow."""


def _transact_write_items(original: Function) -> Function:
    """All or nothing, at a cost in proportion to the actions; a cancelled one leaves no stream record."""

    def transact_write_items(self: Any, transact_items: list[dict[str, Any]]) -> Any:
        rows = _rows(self, [operation for item in transact_items for operation in item.values()])
        with _all_or_nothing(rows), limited_transaction(rows):
            return original(self, transact_items)

    return transact_write_items


def _update_item(original: Function) -> Function:
    """An update that creates its item writes one INSERT (moto: two, the first with bare keys); one that fails
    leaves nothing (moto: the bare keys)."""

    def update_item(self: Any, table_name: str, key: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with _all_or_nothing(_rows(self, [{"TableName": table_name, "Key": key}])):
            shard = self.get_table(table_name).stream_shard
            mark = len(shard.items) if shard else 0
            updated = original(self, table_name, key, *args, **kwargs)
            check_index_keys(self.get_table(table_name), as_sent(updated))
            if shard:
                del shard.items[mark:-1]
                _renumber(shard, mark)
            return updated

    return update_item


def _renumber(shard: Any, mark: int) -> None:
    for position, record in enumerate(shard.items[mark:], mark):
        record.record["dynamodb"]["SequenceNumber"] = str(shard.starting_sequence_number + position)


@contextmanager
def _all_or_nothing(rows: list[Row]) -> Iterator[None]:
    items = [copy.deepcopy(table.get_item(*key)) for table, key in rows]
    marks = [(table.stream_shard, len(table.stream_shard.items)) for table, _ in rows if table.stream_shard]
    try:
        yield
    except BaseException:
        for (table, key), item in zip(rows, items, strict=True):
            _restore(table, key, item)
        for shard, mark in marks:
            del shard.items[mark:]
        raise


def _rows(backend: Any, operations: list[dict[str, Any]]) -> list[Row]:
    return [row for row in (_row(backend, operation) for operation in operations) if row]


def _row(backend: Any, operation: dict[str, Any]) -> Row | None:
    """The row that an operation means; None for one that moto is about to refuse."""
    try:
        table = backend.get_table(operation["TableName"])
        return table, backend.get_keys_value(table, operation.get("Key") or operation["Item"])
    except Exception:  # noqa: BLE001 - moto then says itself what is wrong with the operation
        return None


def _restore(table: Any, key: tuple[Any, Any], item: Any) -> None:
    hash_key, range_key = key
    rows, name = (table.items[hash_key], range_key) if range_key else (table.items, hash_key)
    rows.pop(name, None)
    if item is not None:
        rows[name] = item


def _answer_transact_write_items(original: Function) -> Function:
    """For ten minutes a repeated ClientRequestToken is answered without a second transaction: an SDK that
    repeats a request whose answer was lost must not find its own write in the way."""
    done: dict[tuple[str, str], tuple[datetime, Any, Any]] = {}

    def transact_write_items(self: Any) -> Any:
        token = (self.current_account, str(self.body.get("ClientRequestToken") or ""))
        now = datetime.now(UTC)
        for old in [name for name, (at, _, _) in done.items() if now - at > _TOKEN_LIFETIME]:
            del done[old]
        if token in done:
            _, items, answer = done[token]
            if items != self.body["TransactItems"]:
                raise DynamodbException(_IDEMPOTENCY, "The token was used with other items.")
            return answer
        items = copy.deepcopy(self.body["TransactItems"])
        answer = original(self)
        if token[1]:
            done[token] = (now, items, answer)
        return answer

    return transact_write_items


_IDEMPOTENCY = "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException"


def _answer_batch_write_item(original: Function) -> Function:
    """A batch has at most 25 requests."""

    def batch_write_item(self: Any) -> Any:
        if sum(map(len, self.body["RequestItems"].values())) > _LARGEST_BATCH:
            raise MockValidationException("Too many items requested for the BatchWriteItem call")
        return original(self)

    return batch_write_item


def _query(original: Function) -> Function:
    """A start key has just the keys of table and index, and lies in what is asked for (moto takes any)."""

    def query(
        self: Any,
        hash_key: Any,
        comparison: Any,
        range_values: Any,
        limit: int,
        start: Any,
        *args: Any,
        **more: Any,
    ) -> Any:
        if start:
            index_name = more.get("index_name") or args[2]
            schema = self.get_index(index_name, error_if_not=True).schema if index_name else self.schema
            names = {key["AttributeName"] for key in [*schema, *self.schema]}
            [hash_name] = [key["AttributeName"] for key in schema if key["KeyType"] == "HASH"]
            if set(start) != names:
                raise MockValidationException("The provided starting key is invalid")
            if DynamoType(start[hash_name]) != hash_key:
                raise MockValidationException(
                    "The provided starting key is outside query boundaries based on provided conditions"
                )
        return original(self, hash_key, comparison, range_values, limit, start, *args, **more)

    return query


def _add_stream_record(original: Function) -> Function:
    """A write that changes nothing writes no stream record:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html"""

    def add(self: Any, old: Any, new: Any) -> None:
        if old is None or new is None or old.to_json() != new.to_json():
            original(self, old, new)

    return add


def _get_records(original: Function) -> Function:
    """Shard iterators expire (on AWS after 15 minutes); moto keeps each for ever, and a poll makes two."""

    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        iterators = self.streams_backend.shard_iterators
        for name in list(islice(iterators, max(0, len(iterators) - _SHARD_ITERATORS))):
            del iterators[name]
        return answer

    return get


def _configure_table(table: Any, properties: dict[str, Any]) -> None:
    """moto's CloudFormation passes these over without a word, and updates nothing of a table."""
    indexes = {index["IndexName"] for index in properties.get("GlobalSecondaryIndexes", [])}
    stream = properties.get("StreamSpecification", {}).get("StreamViewType")
    if (
        properties["KeySchema"] != table.schema
        or indexes != {index.name for index in table.global_indexes}
        or stream != table.stream_specification.get("StreamViewType")
    ):
        raise NotImplementedError("No table gets other keys, indexes or another stream here")
    if ttl := properties.get("TimeToLiveSpecification"):
        table.ttl["TimeToLiveStatus"] = "ENABLED" if is_true(ttl["Enabled"]) else "DISABLED"
        table.ttl["AttributeName"] = ttl.get("AttributeName", "")
    if recovery := properties.get("PointInTimeRecoverySpecification"):
        status = "ENABLED" if is_true(recovery["PointInTimeRecoveryEnabled"]) else "DISABLED"
        table.continuous_backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] = status
