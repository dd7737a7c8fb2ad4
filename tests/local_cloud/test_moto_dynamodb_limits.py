from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_cloud.endpoint import Endpoint
from tests.local_cloud.conftest import CONFIG

ITEM = 400 * 1024
TRANSACTION = 4 * 1024 * 1024

Item = dict[str, Any]
Act = Callable[[Any, str, Item], Any]


@pytest.fixture
def dynamodb(endpoint: Endpoint, session: boto3.Session) -> Any:
    """A client that leaves it to the service to refuse."""
    config = CONFIG.merge(Config(parameter_validation=False))
    return session.client("dynamodb", endpoint_url=endpoint.url, config=config)


@pytest.fixture
def indexed(dynamodb: Any, name: str) -> str:
    """A table as `table` is, with an index by `state`."""
    dynamodb.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "file", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "file", "AttributeType": "S"},
            {"AttributeName": "entry", "AttributeType": "S"},
            {"AttributeName": "state", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_state",
                "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def key(file: str = "f", entry: str = "e", **attributes: Any) -> Item:
    return {"file": {"S": file}, "entry": {"S": entry}, **attributes}


def text(size: int) -> Item:
    return {"S": "x" * size}


def filled(size: int, entry: str = "e") -> Item:
    """An item of this size."""
    return key(entry=entry, x=text(size - len("file" + "f" + "entry" + entry + "x")))


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as refused:
        act()
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(refused.value.response["Error"]["Message"])


def update(table: str, item: Item) -> dict[str, Any]:
    """What makes this item of whatever is there."""
    rest = {name: value for name, value in item.items() if name not in ("file", "entry")}
    return {
        "TableName": table,
        "Key": {name: item[name] for name in ("file", "entry")},
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in rest),
        "ExpressionAttributeNames": {f"#{name}": name for name in rest},
        "ExpressionAttributeValues": {f":{name}": value for name, value in rest.items()},
    }


def put_in_transaction(client: Any, table: str, item: Item) -> Any:
    return client.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": item}}])


def update_in_transaction(client: Any, table: str, item: Item) -> Any:
    return client.transact_write_items(TransactItems=[{"Update": update(table, item)}])


WRITES: dict[str, Act] = {
    "put": lambda client, table, item: client.put_item(TableName=table, Item=item),
    "update": lambda client, table, item: client.update_item(**update(table, item)),
    "batch": lambda client, table, item: client.batch_write_item(
        RequestItems={table: [{"PutRequest": {"Item": item}}]}
    ),
    "transact-put": put_in_transaction,
    "transact-update": update_in_transaction,
}
write = pytest.mark.parametrize("act", WRITES.values(), ids=WRITES)


@write
def test_an_item_has_at_most_400_kilobytes(dynamodb: Any, indexed: str, act: Act) -> None:
    act(dynamodb, indexed, filled(ITEM))

    assert "exceeded the maximum allowed size" in refusal(lambda: act(dynamodb, indexed, filled(ITEM + 1)))
    [kept] = dynamodb.scan(TableName=indexed)["Items"]
    assert kept == filled(ITEM)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        pytest.param({"S": "\N{DOG FACE}"}, 4, id="text"),
        pytest.param({"B": b"\xff" * 5}, 5, id="bytes"),
        pytest.param({"N": "1"}, 2, id="one-digit"),
        pytest.param({"N": "98.7100"}, 3, id="four-digits"),
        pytest.param({"N": "12345e20"}, 4, id="five-digits"),
        pytest.param({"BOOL": False}, 1, id="bool"),
        pytest.param({"NULL": True}, 1, id="null"),
        pytest.param({"SS": ["ab", "c"]}, 3, id="texts"),
        pytest.param({"NS": ["1", "22", "333"]}, 2 + 2 + 3, id="numbers"),
        pytest.param({"L": []}, 3, id="empty-list"),
        pytest.param({"L": [{"S": "ab"}, {"N": "1"}]}, 3 + 1 + 2 + 1 + 2, id="list"),
        pytest.param({"M": {"k": {"S": "ab"}}}, 3 + 1 + 1 + 2, id="map"),
        pytest.param({"M": {"k": {"L": [{"M": {}}]}}}, 3 + 1 + 1 + (3 + 1 + 3), id="nested"),
    ],
)
def test_the_size_of_an_item_is_counted_as_dynamodb_counts(
    dynamodb: Any, indexed: str, value: Item, size: int
) -> None:
    def put(more: int) -> None:
        dynamodb.put_item(TableName=indexed, Item=filled(ITEM - len("v") - size + more) | {"v": value})

    put(0)
    assert "exceeded" in refusal(lambda: put(1))


def test_an_update_may_not_let_an_item_grow_beyond_its_limit(dynamodb: Any, indexed: str) -> None:
    dynamodb.put_item(TableName=indexed, Item=filled(ITEM - 10))
    growing = {
        "TableName": indexed,
        "Key": key(),
        "UpdateExpression": "SET y = :y",
    }

    message = refusal(lambda: dynamodb.update_item(**growing, ExpressionAttributeValues={":y": text(10)}))
    dynamodb.update_item(**growing, ExpressionAttributeValues={":y": text(9)})

    assert message == "Item size to update has exceeded the maximum allowed size"


def test_a_transaction_has_at_most_4_megabytes(dynamodb: Any, indexed: str) -> None:
    dynamodb.put_item(TableName=indexed, Item=filled(TRANSACTION - 10 * ITEM + 1, "kept"))

    def transact(size: int) -> None:
        puts = [{"Put": {"TableName": indexed, "Item": filled(ITEM, str(number))}} for number in range(9)]
        deletion = {"Delete": {"TableName": indexed, "Key": key(entry="kept")}}
        updated = {"Update": update(indexed, filled(size, "more"))}
        dynamodb.transact_write_items(TransactItems=[*puts, deletion, updated])

    message = refusal(lambda: transact(ITEM))
    left = dynamodb.scan(TableName=indexed, ProjectionExpression="entry")["Items"]
    transact(ITEM - 1)

    assert message == "The aggregate size of the items in the transaction exceeds 4 MB"
    assert left == [{"entry": {"S": "kept"}}]


def test_a_transaction_has_at_most_100_actions_and_one_for_each_item(dynamodb: Any, indexed: str) -> None:
    def puts(count: int) -> list[Item]:
        return [{"Put": {"TableName": indexed, "Item": key(entry=str(number))}} for number in range(count)]

    check = {
        "ConditionCheck": {
            "TableName": indexed,
            "Key": key(entry="0"),
            "ConditionExpression": "attribute_not_exists(x)",
        }
    }

    dynamodb.transact_write_items(TransactItems=puts(100))
    too_many = refusal(lambda: dynamodb.transact_write_items(TransactItems=puts(101)))
    twice = refusal(lambda: dynamodb.transact_write_items(TransactItems=[*puts(1), check]))

    assert "less than or equal to 100" in too_many
    assert twice == "Transaction request cannot include multiple operations on one item"


@pytest.mark.parametrize("request_of", ["delete", "put"])
def test_a_batch_names_no_item_twice(dynamodb: Any, indexed: str, request_of: str) -> None:
    request = {
        "delete": {"DeleteRequest": {"Key": key()}},
        "put": {"PutRequest": {"Item": key()}},
    }[request_of]

    message = refusal(lambda: dynamodb.batch_write_item(RequestItems={indexed: [request, request]}))

    assert message == "Provided list of item keys contains duplicates"


def test_a_batch_reads_at_most_100_items(dynamodb: Any, indexed: str) -> None:
    keys = [key(entry=str(number)) for number in range(101)]

    dynamodb.batch_get_item(RequestItems={indexed: {"Keys": keys[:100]}})
    message = refusal(lambda: dynamodb.batch_get_item(RequestItems={indexed: {"Keys": keys}}))

    assert "less than or equal to 100" in message


def check_in_transaction(client: Any, table: str, item: Item) -> Any:
    check = {"TableName": table, "Key": item, "ConditionExpression": "attribute_not_exists(x)"}
    return client.transact_write_items(TransactItems=[{"ConditionCheck": check}])


BY_KEY: dict[str, Act] = {
    **{name: act for name, act in WRITES.items() if "update" not in name},
    "update": lambda client, table, item: client.update_item(**update(table, item | {"x": text(1)})),
    "transact-update": lambda client, table, item: update_in_transaction(
        client, table, item | {"x": text(1)}
    ),
    "get": lambda client, table, item: client.get_item(TableName=table, Key=item),
    "delete": lambda client, table, item: client.delete_item(TableName=table, Key=item),
    "batch-get": lambda client, table, item: client.batch_get_item(RequestItems={table: {"Keys": [item]}}),
    "batch-delete": lambda client, table, item: client.batch_write_item(
        RequestItems={table: [{"DeleteRequest": {"Key": item}}]}
    ),
    "transact-get": lambda client, table, item: client.transact_get_items(
        TransactItems=[{"Get": {"TableName": table, "Key": item}}]
    ),
    "transact-delete": lambda client, table, item: client.transact_write_items(
        TransactItems=[{"Delete": {"TableName": table, "Key": item}}]
    ),
    "transact-check": check_in_transaction,
}


@pytest.mark.parametrize("act", BY_KEY.values(), ids=BY_KEY)
def test_a_key_is_neither_empty_nor_long_nor_of_another_type(dynamodb: Any, indexed: str, act: Act) -> None:
    act(dynamodb, indexed, key("x" * 2048, "y" * 1024))

    messages = [
        refusal(lambda item=item: act(dynamodb, indexed, item))  # type: ignore[misc]
        for item in (
            key(""),
            key(entry=""),
            key("x" * 2049),
            key("\N{DOG FACE}" * 513),
            key(entry="y" * 1025),
            {"file": {"N": "1"}, "entry": {"S": "e"}},
        )
    ]

    assert ["empty" in message for message in messages] == [True, True, False, False, False, False]
    assert ["hashkey" in message for message in messages] == [False, False, True, True, False, False]
    assert "1024 bytes" in messages[4]
    assert "schema" in messages[5] or "Type mismatch for key file" in messages[5]


def test_a_key_has_all_that_is_a_key_and_nothing_else(dynamodb: Any, indexed: str) -> None:
    messages = [
        refusal(lambda item=item: dynamodb.get_item(TableName=indexed, Key=item))  # type: ignore[misc]
        for item in ({"file": {"S": "f"}}, key(more={"S": "x"}))
    ]

    assert messages == ["The provided key element does not match the schema"] * 2


@write
@pytest.mark.parametrize("state", [{"S": ""}, {"N": "1"}, {"S": "x" * 2049}], ids=["empty", "type", "long"])
def test_the_key_of_an_index_is_a_key_too(dynamodb: Any, indexed: str, act: Act, state: Item) -> None:
    refusal(lambda: act(dynamodb, indexed, key(state=state)))

    assert dynamodb.scan(TableName=indexed)["Items"] == []


@write
@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"SS": ["a", "a"]}, id="twice-in-a-set"),
        pytest.param({"SS": []}, id="empty-set"),
        pytest.param({"N": "1" * 39}, id="39-digits"),
        pytest.param({"N": "many"}, id="no-number"),
        pytest.param({"M": {"deep": {"L": [{"N": "0." + "1" * 39}]}}}, id="39-digits-within"),
    ],
)
def test_a_value_that_is_none_is_refused(dynamodb: Any, indexed: str, act: Act, value: Item) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        act(dynamodb, indexed, key(x=value))

    assert dynamodb.scan(TableName=indexed)["Items"] == []


def test_values_nest_32_deep(dynamodb: Any, indexed: str) -> None:
    def nested(depth: int) -> Item:
        return {"L": [nested(depth - 1)]} if depth else {"S": "x"}

    dynamodb.put_item(TableName=indexed, Item=key(x=nested(32)))
    message = refusal(lambda: dynamodb.put_item(TableName=indexed, Item=key(x=nested(33))))

    assert message == "Nesting Levels have exceeded supported limits"


def test_numbers_of_38_digits_are_kept(dynamodb: Any, indexed: str) -> None:
    number = "0." + "1" * 38

    dynamodb.put_item(TableName=indexed, Item=key(x={"N": number}))

    assert dynamodb.get_item(TableName=indexed, Key=key())["Item"]["x"] == {"N": number}


def test_a_page_has_at_most_a_megabyte_before_it_is_filtered(dynamodb: Any, indexed: str) -> None:
    for number in range(8):
        dynamodb.put_item(TableName=indexed, Item=filled(256 * 1024, str(number)))
    query = {
        "TableName": indexed,
        "KeyConditionExpression": "#f = :f",
        "ExpressionAttributeNames": {"#f": "file"},
        "ExpressionAttributeValues": {":f": {"S": "f"}},
    }
    nothing = query | {
        "FilterExpression": "x = :n",
        "ExpressionAttributeValues": {":f": {"S": "f"}, ":n": {"S": ""}},
    }

    pages = [
        dynamodb.query(**query),
        dynamodb.query(**query, Limit=3),
        dynamodb.query(**nothing),
        dynamodb.scan(TableName=indexed),
    ]

    assert [(page["Count"], page["ScannedCount"]) for page in pages] == [(4, 4), (3, 3), (0, 4), (4, 4)]
    assert [page["LastEvaluatedKey"]["entry"]["S"] for page in pages] == ["3", "2", "3", "3"]


@pytest.mark.parametrize("expression", ["entry = :e", "#n = :e", "x = :e AND begins_with(entry, :e)"])
def test_a_query_is_not_filtered_by_its_key(dynamodb: Any, indexed: str, expression: str) -> None:
    values = {":f": {"S": "f"}, ":e": {"S": "e"}}
    query = {
        "TableName": indexed,
        "KeyConditionExpression": "#f = :f",
        "ExpressionAttributeNames": {"#f": "file"} | ({"#n": "entry"} if "#n" in expression else {}),
        "ExpressionAttributeValues": values,
    }

    message = refusal(lambda: dynamodb.query(**query, FilterExpression=expression))

    assert message.endswith("Primary key attribute: entry")


def test_a_query_is_filtered_by_what_only_sounds_like_its_key(dynamodb: Any, indexed: str) -> None:
    for entry in ("a", "b"):
        item = key(entry=entry, state={"S": "s"}, x={"M": {"entry": {"S": entry}}})
        dynamodb.put_item(TableName=indexed, Item=item)
    entry_b = {":entry": {"S": "b"}}

    by_table = dynamodb.query(
        TableName=indexed,
        ExpressionAttributeValues={":k": {"S": "f"}, **entry_b},
        KeyConditionExpression="#f = :k",
        ExpressionAttributeNames={"#f": "file"},
        FilterExpression="x.entry = :entry",
    )
    by_index = dynamodb.query(
        TableName=indexed,
        ExpressionAttributeValues={":k": {"S": "s"}, **entry_b},
        IndexName="by_state",
        KeyConditionExpression="#s = :k",
        ExpressionAttributeNames={"#s": "state"},
        FilterExpression="entry = :entry",
    )

    assert [[item["entry"]["S"] for item in found["Items"]] for found in (by_table, by_index)] == [
        ["b"],
        ["b"],
    ]


def test_an_expression_has_at_most_4_kilobytes(dynamodb: Any, indexed: str) -> None:
    def scan(size: int) -> Any:
        condition = "x = :x" + " OR x = :x" * 409
        return dynamodb.scan(
            TableName=indexed,
            FilterExpression=condition.ljust(size),
            ExpressionAttributeValues={":x": {"S": "x"}},
        )

    scan(4096)

    assert refusal(lambda: scan(4097)).endswith("expression size: 4097")
