import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import moto.dynamodb.models
import moto.s3.models
import pytest

from local_cloud import moto_patches
from local_cloud.clock import ManualClock

Records = Callable[[], list[Any]]


def row(entry: str, **attributes: str) -> dict[str, Any]:
    return {"file": {"S": "car.png"}, "entry": {"S": entry}} | {
        name: {"S": value} for name, value in attributes.items()
    }


def put(table: str, entry: str, **attributes: str) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": row(entry, **attributes)}}


def failing(table: str, entry: str) -> dict[str, Any]:
    return {
        "ConditionCheck": {
            "TableName": table,
            "Key": row(entry),
            "ConditionExpression": "attribute_exists(nothing)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def summary(records: list[Any]) -> list[tuple[str, str]]:
    return [(record["eventName"], record["dynamodb"]["Keys"]["entry"]["S"]) for record in records]


def test_mending_twice_changes_nothing() -> None:
    moto_patches.apply()
    once = moto.dynamodb.models.DynamoDBBackend.transact_write_items, moto.s3.models.S3Backend.put_object

    moto_patches.apply()

    twice = moto.dynamodb.models.DynamoDBBackend.transact_write_items, moto.s3.models.S3Backend.put_object
    assert twice == once


def test_a_transaction_costs_what_its_actions_do_however_full_the_table(dynamodb: Any, table: str) -> None:
    def transact(number: int) -> float:
        started = perf_counter()
        dynamodb.transact_write_items(TransactItems=[put(table, f"{number}-{action}") for action in range(5)])
        return perf_counter() - started

    empty = min(transact(number) for number in range(5))
    backend = moto.dynamodb.models.dynamodb_backends["123456789012"]["us-east-1"]
    for number in range(2000):
        backend.get_table(table).put_item(row(f"filling-{number}"))

    full = min(transact(number) for number in range(5, 10))

    assert full < empty * 3 + 0.01


def test_a_cancelled_transaction_changes_no_row_and_writes_no_record(
    dynamodb: Any, table: str, stream_records: Records
) -> None:
    dynamodb.put_item(TableName=table, Item=row("kept", state="old"))
    dynamodb.put_item(TableName=table, Item=row("deleted", state="old"))
    update = {
        "TableName": table,
        "Key": row("updated"),
        "UpdateExpression": "SET #s = :s",
        "ExpressionAttributeNames": {"#s": "state"},
        "ExpressionAttributeValues": {":s": {"S": "new"}},
    }
    actions = [
        put(table, "kept", state="new"),
        put(table, "created"),
        {"Delete": {"TableName": table, "Key": row("deleted")}},
        {"Update": update},
        failing(table, "checked"),
    ]

    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=actions)

    rows = dynamodb.scan(TableName=table)["Items"]
    assert sorted(found["entry"]["S"] for found in rows) == ["deleted", "kept"]
    assert {found["state"]["S"] for found in rows} == {"old"}
    assert summary(stream_records()) == [("INSERT", "kept"), ("INSERT", "deleted")]


def test_a_cancelled_transaction_changes_nothing_in_a_table_without_a_range_key(
    dynamodb: Any, name: str
) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName=name, Item={"id": {"S": "kept"}})
    check = {"TableName": name, "Key": {"id": {"S": "none"}}, "ConditionExpression": "attribute_exists(id)"}
    actions = [
        {"Put": {"TableName": name, "Item": {"id": {"S": "new"}}}},
        {"Delete": {"TableName": name, "Key": {"id": {"S": "kept"}}}},
        {"ConditionCheck": check},
    ]

    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=actions)

    assert dynamodb.scan(TableName=name)["Items"] == [{"id": {"S": "kept"}}]


def test_the_stream_goes_on_after_a_cancelled_transaction(
    dynamodb: Any, streams: Any, stream_arn: str, table: str
) -> None:
    shard = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"][0]["ShardId"]
    opened_before = streams.get_shard_iterator(
        StreamArn=stream_arn, ShardId=shard, ShardIteratorType="LATEST"
    )["ShardIterator"]
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=[put(table, "a"), failing(table, "b")])

    dynamodb.transact_write_items(TransactItems=[put(table, "c")])

    records = streams.get_records(ShardIterator=opened_before)["Records"]
    assert summary(records) == [("INSERT", "c")]


def test_a_cancelled_transaction_returns_the_row_that_stood_in_the_way(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item=row("a", run="theirs"))

    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(TransactItems=[put(table, "b"), failing(table, "a")])

    reasons = cancelled.value.response["CancellationReasons"]
    assert reasons[0] == {"Code": "None"}
    assert reasons[1]["Code"] == "ConditionalCheckFailed"
    assert reasons[1]["Item"] == row("a", run="theirs")


def test_a_failed_condition_of_an_update_returns_the_row(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item=row("a", run="theirs"))

    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as failed:
        dynamodb.update_item(
            TableName=table,
            Key=row("a"),
            UpdateExpression="SET claimed = :c",
            ConditionExpression="attribute_not_exists(run)",
            ExpressionAttributeValues={":c": {"S": "x"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    assert failed.value.response["Item"] == row("a", run="theirs")


def test_a_transaction_repeated_with_its_token_is_done_once(
    dynamodb: Any, table: str, name: str, stream_records: Records
) -> None:
    first = put(table, "a")
    first["Put"]["ConditionExpression"] = "attribute_not_exists(entry)"

    for _ in range(2):
        dynamodb.transact_write_items(TransactItems=[first], ClientRequestToken=name)

    assert summary(stream_records()) == [("INSERT", "a")]
    with pytest.raises(dynamodb.exceptions.IdempotentParameterMismatchException):
        dynamodb.transact_write_items(TransactItems=[put(table, "b")], ClientRequestToken=name)


def test_an_update_that_creates_a_row_writes_one_record(
    dynamodb: Any, table: str, stream_records: Records
) -> None:
    for entry in ("a", "b"):
        dynamodb.update_item(
            TableName=table,
            Key=row(entry),
            UpdateExpression="SET run = :r",
            ExpressionAttributeValues={":r": {"S": "1"}},
        )

    records = stream_records()
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
    assert [record["dynamodb"]["NewImage"] for record in records] == [row("a", run="1"), row("b", run="1")]
    assert summary(records) == [("INSERT", "a"), ("INSERT", "b")]
    assert numbers[1] == numbers[0] + 1


def test_an_update_that_fails_leaves_no_half_made_row(
    dynamodb: Any, table: str, stream_records: Records
) -> None:
    with pytest.raises(dynamodb.exceptions.ClientError):
        dynamodb.update_item(
            TableName=table,
            Key=row("a"),
            UpdateExpression="SET size = missing + :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    assert dynamodb.scan(TableName=table)["Items"] == []
    assert stream_records() == []


def test_a_write_that_changes_nothing_writes_no_record(
    dynamodb: Any, table: str, stream_records: Records
) -> None:
    for _ in range(3):
        dynamodb.put_item(TableName=table, Item=row("a", state="same"))
    for _ in range(2):
        dynamodb.delete_item(TableName=table, Key=row("a"))

    assert summary(stream_records()) == [("INSERT", "a"), ("REMOVE", "a")]


def test_a_batch_of_more_than_25_is_refused(dynamodb: Any, table: str) -> None:
    requests = [{"PutRequest": {"Item": row(str(number))}} for number in range(26)]

    dynamodb.batch_write_item(RequestItems={table: requests[:25]})
    with pytest.raises(dynamodb.exceptions.ClientError, match="Too many items"):
        dynamodb.batch_write_item(RequestItems={table: requests})


@pytest.mark.parametrize(
    ("start", "message"),
    [
        pytest.param(
            {"file": {"S": "dog.png"}, "entry": {"S": "a"}}, "outside query boundaries", id="other-hash"
        ),
        pytest.param({"file": {"S": "car.png"}}, "starting key is invalid", id="too-little"),
        pytest.param(row("a", more="x"), "starting key is invalid", id="too-much"),
    ],
)
def test_a_start_key_of_another_query_is_refused(
    dynamodb: Any, table: str, start: dict[str, Any], message: str
) -> None:
    for entry in ("a", "b"):
        dynamodb.put_item(TableName=table, Item=row(entry))
    query = {
        "TableName": table,
        "KeyConditionExpression": "file = :f",
        "ExpressionAttributeValues": {":f": {"S": "car.png"}},
    }

    rest = dynamodb.query(**query, ExclusiveStartKey=row("a"))["Items"]
    with pytest.raises(dynamodb.exceptions.ClientError, match=message):
        dynamodb.query(**query, ExclusiveStartKey=start)

    assert rest == [row("b")]


def test_polling_a_stream_does_not_fill_the_memory(stream_arn: str) -> None:
    backend = moto.dynamodbstreams.models.dynamodbstreams_backends["123456789012"]["us-east-1"]
    shard = backend.describe_stream(stream_arn)["Shards"][0]["ShardId"]

    for _ in range(1100):
        backend.get_records(backend.get_shard_iterator(stream_arn, shard, "TRIM_HORIZON").arn, 10)

    assert len(backend.shard_iterators) <= 1000


def test_a_key_that_was_never_there_gets_a_delete_marker(s3: Any, versioned: str) -> None:
    deleted = s3.delete_object(Bucket=versioned, Key="never")

    [marker] = s3.list_object_versions(Bucket=versioned)["DeleteMarkers"]
    assert (marker["Key"], marker["VersionId"], marker["IsLatest"]) == ("never", deleted["VersionId"], True)
    with pytest.raises(s3.exceptions.ClientError, match="404"):
        s3.head_object(Bucket=versioned, Key="never")


def test_deleting_the_only_delete_marker_leaves_nothing(s3: Any, versioned: str) -> None:
    marker = s3.delete_object(Bucket=versioned, Key="never")["VersionId"]
    s3.delete_object(Bucket=versioned, Key="never", VersionId=marker)

    listed = s3.list_object_versions(Bucket=versioned)
    assert "DeleteMarkers" not in listed
    assert "Versions" not in listed


@pytest.fixture
def suspended(s3: Any, versioned: str) -> str:
    """Holds `a` in one numbered version, `numbered`, and then in the null version, `null`."""
    s3.put_object(Bucket=versioned, Key="a", Body=b"numbered")
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=versioned, Key="a", Body=b"null")
    return versioned


def contents(s3: Any, bucket: str) -> list[bytes]:
    listed = s3.list_object_versions(Bucket=bucket).get("Versions", [])
    return [
        s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
        for version in listed
    ]


def test_a_put_while_versioning_is_suspended_replaces_the_null_version_only(s3: Any, suspended: str) -> None:
    s3.put_object(Bucket=suspended, Key="a", Body=b"null again")

    assert contents(s3, suspended) == [b"null again", b"numbered"]


def test_a_delete_while_versioning_is_suspended_replaces_the_null_version_by_a_marker(
    s3: Any, suspended: str
) -> None:
    s3.delete_object(Bucket=suspended, Key="a")
    s3.delete_object(Bucket=suspended, Key="a")

    [marker] = s3.list_object_versions(Bucket=suspended)["DeleteMarkers"]
    assert (marker["VersionId"], marker["IsLatest"]) == ("null", True)
    assert contents(s3, suspended) == [b"numbered"]


def test_one_version_can_be_deleted_while_versioning_is_suspended(s3: Any, suspended: str) -> None:
    s3.delete_object(Bucket=suspended, Key="a", VersionId="null")

    assert s3.get_object(Bucket=suspended, Key="a")["Body"].read() == b"numbered"
    assert contents(s3, suspended) == [b"numbered"]


@pytest.mark.parametrize(("condition", "copied"), [("ours", True), ("another", False)])
def test_a_copy_with_if_match_holds_to_it(s3: Any, versioned: str, condition: str, copied: bool) -> None:
    old = s3.put_object(Bucket=versioned, Key="a b", Body=b"1")
    s3.put_object(Bucket=versioned, Key="a b", Body=b"2")
    source = {"Bucket": versioned, "Key": "a b", "VersionId": old["VersionId"]}
    request = {"Bucket": versioned, "Key": "c", "CopySource": source}

    if copied:
        s3.copy_object(**request, CopySourceIfMatch=old["ETag"])
    else:
        with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
            s3.copy_object(**request, CopySourceIfMatch=condition)

    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=versioned)["Contents"]]
    assert ("c" in keys) is copied


ENCRYPTED_ONLY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": "*",
    "Condition": {"Bool": {"aws:SecureTransport": False}},
}
NOBODY_PUTS = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([ENCRYPTED_ONLY], True),
        (ENCRYPTED_ONLY, True),
        ([NOBODY_PUTS], False),
        ([ENCRYPTED_ONLY, NOBODY_PUTS], False),
    ],
    ids=["encrypted-only", "not-in-a-list", "nobody", "both"],
)
def test_the_loopback_counts_as_encrypted_and_a_policy_is_kept_to(
    s3: Any, bucket: str, statements: Any, allowed: bool
) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)

    if allowed:
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    else:
        with pytest.raises(s3.exceptions.ClientError, match="403"):
            s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"] == statements


def test_an_attribute_of_a_queue_that_is_not_set_stays(sqs: Any, name: str) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": "Ours"}]})
    allowed = json.dumps({"redrivePermission": "denyAll"})
    url = sqs.create_queue(QueueName=name, Attributes={"Policy": policy, "RedriveAllowPolicy": allowed})[
        "QueueUrl"
    ]

    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "90"})

    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert json.loads(attributes["Policy"])["Statement"] == [{"Sid": "Ours"}]
    assert (attributes["RedriveAllowPolicy"], attributes["VisibilityTimeout"]) == (allowed, "90")


def test_motos_time_can_follow_a_clock(s3: Any, sqs: Any, versioned: str, name: str) -> None:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    with moto_patches.follow(clock):
        versions = [s3.put_object(Bucket=versioned, Key="a", Body=b"x")["VersionId"] for _ in range(3)]
        stored = s3.head_object(Bucket=versioned, Key="a")["LastModified"]
        listed = s3.list_object_versions(Bucket=versioned)["Versions"]
        sqs.send_message(QueueUrl=queue, MessageBody="hello")
        received = [len(sqs.receive_message(QueueUrl=queue).get("Messages", [])) for _ in range(2)]
        clock.advance(timedelta(seconds=601))
        later = len(sqs.receive_message(QueueUrl=queue).get("Messages", []))

    assert stored == clock.now() - timedelta(seconds=601)
    assert [version["VersionId"] for version in listed if version["IsLatest"]] == versions[-1:]
    assert (received, later) == ([1, 0], 1)
