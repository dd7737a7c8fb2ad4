"""Where moto differs from AWS in ways that the app would notice, mended; each patch names AWS's rule.

`apply()` mends the moto of this process, once. `STATE` is the lock under which the endpoint runs moto.
"""

import copy
import functools
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import monotonic
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote

import moto.dynamodb.models as dynamodb_models
import moto.dynamodb.models.table as table_models
import moto.dynamodb.responses as dynamodb_responses
import moto.dynamodbstreams.models as stream_models
import moto.moto_server.werkzeug_app as moto_server
import moto.s3.models as s3_models
import moto.s3.responses as s3_responses
import moto.sqs.models as sqs_models
from moto.dynamodb.exceptions import DynamodbException, MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType

from local_cloud.clock import Clock

STATE = threading.Condition()
"""Held while moto runs; notified after each request, so that a long poll looks again."""

_SHARD_ITERATORS = 1000
_LARGEST_BATCH = 25
_TOKEN_LIFETIME = timedelta(minutes=10)

Function = Callable[..., Any]


def apply() -> None:
    """Mend moto; a second call changes nothing."""
    # Of what the template says, a bucket policy is the one thing that has no meaning here.
    warnings.filterwarnings("ignore", "Tried to parse AWS::S3::BucketPolicy", UserWarning)
    logging.getLogger("moto").addFilter(_is_no_bucket_policy)
    moto_server.DISABLE_GLOBAL_CORS = True  # S3 answers CORS by the bucket's own rules only
    dynamodb_models.copy = _CopyExceptTables
    _mend(dynamodb_models.DynamoDBBackend, "transact_write_items", _transact_write_items)
    _mend(dynamodb_models.DynamoDBBackend, "update_item", _update_item)
    _mend(dynamodb_responses.DynamoHandler, "transact_write_items", _answer_transact_write_items)
    _mend(dynamodb_responses.DynamoHandler, "batch_write_item", _answer_batch_write_item)
    _mend(table_models.Table, "query", _query)
    _mend(table_models.StreamShard, "add", _add_stream_record)
    _mend(stream_models.ShardIterator, "get", _get_records)
    _mend(s3_models.S3Backend, "put_object", _put_object)
    _mend(s3_models.S3Backend, "delete_object", _delete_object)
    _mend(s3_responses.S3Response, "delete_object", _answer_delete_object)
    _mend(s3_responses.S3Response, "copy_object", _answer_copy_object)
    _mend(sqs_models.SQSBackend, "receive_message", _receive_message)
    _mend_cloudformation(s3_models.FakeBucket, _configure_bucket)
    _mend_cloudformation(table_models.Table, _configure_table)
    moto_server.BackendRequest.want_form_data_parsed = property(_want_form_data_parsed)


def _is_no_bucket_policy(record: logging.LogRecord) -> bool:
    return "AWS::S3::BucketPolicy" not in record.getMessage()


def _mend(owner: type, name: str, mending: Callable[[Function], Function]) -> None:
    original = getattr(owner, name)
    if not hasattr(original, "__wrapped__"):
        setattr(owner, name, functools.wraps(original)(mending(original)))


def _mend_cloudformation(owner: type, configure: Callable[[Any, dict[str, Any]], None]) -> None:
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        original = getattr(owner, name)
        if not hasattr(original, "__wrapped__"):
            setattr(owner, name, classmethod(_then_configure(original, configure)))


def _then_configure(original: Function, configure: Callable[[Any, dict[str, Any]], None]) -> Function:
    @functools.wraps(original)
    def make(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG001 - `original` is bound to it
        made = original(*args, **kwargs) or kwargs["original_resource"]
        properties = next(value for value in [*args, *kwargs.values()] if isinstance(value, dict))
        configure(made, properties.get("Properties", {}))
        return made

    vars(make).pop("__isabstractmethod__", None)  # by which moto knows that a table cannot be updated
    return make


# DynamoDB


_CopyExceptTables = SimpleNamespace(
    copy=copy.copy,
    deepcopy=lambda value: value if isinstance(value, table_models.Table) else copy.deepcopy(value),
)
"""moto backs up the whole table before each action of a transaction (100 ms for five puts beside a hundred
rows), and on rollback the copy replaces the table, with a stream that open shard iterators do not follow."""


def _transact_write_items(original: Function) -> Function:
    """All or nothing, at a cost in proportion to the actions; a cancelled one leaves no stream record."""

    def transact_write_items(self: Any, transact_items: list[dict[str, Any]]) -> Any:
        operations = [operation for item in transact_items for operation in item.values()]
        with _all_or_nothing(self, operations):
            return original(self, transact_items)

    return transact_write_items


def _update_item(original: Function) -> Function:
    """An update that creates its item writes one INSERT (moto: two, the first with bare keys); one that fails
    leaves nothing (moto: the bare keys)."""

    def update_item(self: Any, table_name: str, key: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with _all_or_nothing(self, [{"TableName": table_name, "Key": key}]):
            shard = self.get_table(table_name).stream_shard
            mark = len(shard.items) if shard else 0
            updated = original(self, table_name, key, *args, **kwargs)
            if shard:
                del shard.items[mark:-1]
                _renumber(shard, mark)
            return updated

    return update_item


def _renumber(shard: Any, mark: int) -> None:
    for position, record in enumerate(shard.items[mark:], mark):
        record.record["dynamodb"]["SequenceNumber"] = str(shard.starting_sequence_number + position)


@contextmanager
def _all_or_nothing(backend: Any, operations: list[dict[str, Any]]) -> Iterator[None]:
    rows = [row for row in (_row(backend, operation) for operation in operations) if row]
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


def _row(backend: Any, operation: dict[str, Any]) -> tuple[Any, tuple[Any, Any]] | None:
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
    """moto's CloudFormation passes these over without a word."""
    if ttl := properties.get("TimeToLiveSpecification"):
        table.ttl["TimeToLiveStatus"] = "ENABLED" if _is_true(ttl["Enabled"]) else "DISABLED"
        table.ttl["AttributeName"] = ttl.get("AttributeName", "")
    if recovery := properties.get("PointInTimeRecoverySpecification"):
        status = "ENABLED" if _is_true(recovery["PointInTimeRecoveryEnabled"]) else "DISABLED"
        table.continuous_backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] = status


# S3


def _put_object(original: Function) -> Function:
    """On a bucket with suspended versioning a put replaces the null version only (moto: all versions)."""

    def put_object(self: Any, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> Any:
        bucket = self.get_bucket(bucket_name)
        kept = _versions(bucket, key_name) if bucket.versioning_status == "Suspended" else []
        dict.__setitem__(bucket.keys, key_name, [version for version in kept if _is_null(version)])
        try:
            return original(self, bucket_name, key_name, *args, **kwargs)
        finally:
            numbered = [version for version in kept if not _is_null(version)]
            dict.__setitem__(bucket.keys, key_name, numbered + bucket.keys.getlist(key_name))

    def put_object_unless_suspended(self: Any, bucket_name: str, *args: Any, **kwargs: Any) -> Any:
        suspended = self.get_bucket(bucket_name).versioning_status == "Suspended"
        return (put_object if suspended else original)(self, bucket_name, *args, **kwargs)

    return put_object_unless_suspended


def _delete_object(original: Function) -> Function:
    """Once a bucket has had versioning, deleting a key adds a delete marker, also when there is no such key
    (moto: does nothing then, and forgets all versions when versioning is suspended)."""

    def delete_object(
        self: Any, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> tuple[bool, dict[str, Any]]:
        bucket = self.get_bucket(bucket_name)
        if bucket.versioning_status and version_id is None:
            marker = _mark_deleted(self, bucket, key_name)
            return True, {"version-id": marker.version_id, "delete-marker": "true"}
        with _versioned(bucket):
            deleted: tuple[bool, dict[str, Any]] = original(self, bucket_name, key_name, version_id, bypass)
            return deleted

    return delete_object


@contextmanager
def _versioned(bucket: Any) -> Iterator[None]:
    """moto looks for the version only where versioning is on at the moment."""
    status = bucket.versioning_status
    bucket.versioning_status = "Enabled" if status else status
    try:
        yield
    finally:
        bucket.versioning_status = status


def _mark_deleted(backend: Any, bucket: Any, key_name: str) -> Any:
    versions = _versions(bucket, key_name)
    region = backend.region_name
    stand_in = s3_models.FakeKey(key_name, b"", account_id=backend.account_id, region_name=region)
    marker = s3_models.FakeDeleteMarker(key=versions[-1] if versions else stand_in)
    if bucket.versioning_status == "Suspended":
        marker._version_id = "null"
        versions = [version for version in versions if not _is_null(version)]
    dict.__setitem__(bucket.keys, key_name, [*versions, marker])
    return marker


def _versions(bucket: Any, key_name: str) -> list[Any]:
    return list(bucket.keys.getlist(key_name, []))


def _is_null(version: Any) -> bool:
    return str(version.version_id) == "null"


def _answer_delete_object(original: Function) -> Function:
    """If-Match: `*` means any object that is there; none there fails the condition, as every mismatch does:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html"""

    def delete_object(self: Any) -> Any:
        if condition := self.headers.get("If-Match"):
            current = self.backend.get_object(self.bucket_name, self.parse_key_name())
            if current is None:
                raise s3_responses.PreconditionFailed("If-Match")
            if condition == "*":
                self.headers = {
                    name: value for name, value in self.headers.items() if name.lower() != "if-match"
                }
        return original(self)

    return delete_object


def _answer_copy_object(original: Function) -> Function:
    """A copy may ask for the source to be what it was looked at (moto knows only the opposite)."""

    def copy_object(self: Any) -> Any:
        if condition := self.headers.get("x-amz-copy-source-if-match"):
            path, _, query = self.headers["x-amz-copy-source"].partition("?")
            bucket, _, key = unquote(path).lstrip("/").partition("/")
            version_id = dict(parse_qsl(query)).get("versionId")
            source = self.backend.get_object(bucket, key, version_id=version_id)
            if source and condition != "*" and condition.strip('"') != source.etag.strip('"'):
                raise s3_responses.PreconditionFailed("x-amz-copy-source-If-Match")
        return original(self)

    return copy_object


def _configure_bucket(bucket: Any, properties: dict[str, Any]) -> None:
    """moto's CloudFormation passes these over without a word."""
    if versioning := properties.get("VersioningConfiguration"):
        bucket.versioning_status = versioning["Status"]
    if cors := properties.get("CorsConfiguration"):
        bucket.set_cors([_cors_rule(rule) for rule in cors["CorsRules"]])
    if block := properties.get("PublicAccessBlockConfiguration"):
        bucket.public_access_block = s3_models.PublicAccessBlock(
            *(str(_is_true(block.get(name, False))).lower() for name in _PUBLIC_ACCESS)
        )


_PUBLIC_ACCESS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_CORS_NAMES = {
    "AllowedMethods": "AllowedMethod",
    "AllowedOrigins": "AllowedOrigin",
    "AllowedHeaders": "AllowedHeader",
    "ExposedHeaders": "ExposeHeader",
    "MaxAge": "MaxAgeSeconds",
    "Id": "ID",
}


def _cors_rule(rule: dict[str, Any]) -> dict[str, Any]:
    named = {_CORS_NAMES[name]: value for name, value in rule.items()}
    return named | ({"MaxAgeSeconds": str(named["MaxAgeSeconds"])} if "MaxAgeSeconds" in named else {})


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _want_form_data_parsed(self: Any) -> bool:
    """The body of a PUT is the object, whatever its type says; curl calls every body a form."""
    return bool(self.environ.get("CONTENT_TYPE")) and self.method != "PUT"


# SQS


def _receive_message(original: Function) -> Function:
    """A long poll waits without the lock, so that somebody can send the message it waits for."""

    def receive_message(self: Any, queue_name: str, count: int, wait: int, *args: Any) -> list[Any]:
        end = monotonic() + wait
        while True:
            messages: list[Any] = original(self, queue_name, count, 0, *args)
            if messages or monotonic() >= end:
                return messages
            with STATE:
                STATE.wait(min(1, end - monotonic()))

    return receive_message


# Time


@contextmanager
def follow(clock: Clock) -> Iterator[None]:
    """Let moto's visibility timeouts, delays, stream records and object times go by this clock."""

    def utcnow() -> datetime:
        return clock.now().replace(tzinfo=None)

    def unix_time_millis(moment: datetime | None = None) -> float:
        return (moment.replace(tzinfo=UTC).timestamp() if moment else clock.time()) * 1000

    replaced: list[tuple[ModuleType, str, Any]] = [
        (sqs_models, "unix_time", clock.time),
        (sqs_models, "unix_time_millis", unix_time_millis),
        (table_models, "utcnow", utcnow),
        (s3_models, "utcnow", _ticking(utcnow)),
    ]
    originals = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    _set(replaced)
    try:
        yield
    finally:
        _set(originals)


def _set(values: list[tuple[ModuleType, str, Any]]) -> None:
    for module, name, value in values:
        setattr(module, name, value)


def _ticking(utcnow: Callable[[], datetime]) -> Callable[[], datetime]:
    """moto tells the latest version by its time, so no two may be equal, however still the clock stands."""
    last = datetime.min  # noqa: DTZ901 - moto's times are naive

    def tick() -> datetime:
        nonlocal last
        last = max(last + timedelta(microseconds=1), utcnow())
        return last

    return tick
