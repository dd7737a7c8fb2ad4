"""What DynamoDB refuses and moto lets through, and its arithmetic of sizes.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any

import moto.dynamodb.models.dynamo_type as type_models
import moto.dynamodb.models.table as table_models
import moto.dynamodb.responses as dynamodb_responses
from moto.dynamodb.exceptions import (
    HashKeyTooLong,
    ItemSizeTooLarge,
    MockValidationException,
    ProvidedKeyDoesNotExist,
    RangeKeyTooLong,
)
from moto.dynamodb.limits import HASH_KEY_MAX_LENGTH, RANGE_KEY_MAX_LENGTH
from moto.dynamodb.models.utilities import bytesize

from local_cloud.moto_patches.mending import Function, mend

_LARGEST_ITEM = 400 * 1024
_LARGEST_TRANSACTION = 4 * 1024 * 1024
_LARGEST_EXPRESSION = 4096
_MOST_DIGITS = 38
_DEEPEST = 32
_OPERATIONS = (
    "get_item",
    "put_item",
    "update_item",
    "delete_item",
    "query",
    "scan",
    "batch_get_item",
    "batch_write_item",
    "transact_get_items",
    "transact_write_items",
)
_EXPRESSIONS = (
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
)
_TOP_LEVEL_NAME = re.compile(r"(?<![\w.:#])[#A-Za-z_]\w*")

Value = dict[str, Any]
"""As it is sent: `{"S": "text"}`."""

Request = dict[str, Any]

Row = tuple[Any, tuple[Any, Any]]
"""moto's table, and the row's hash and range key."""


def apply() -> None:
    table_models.RESULT_SIZE_LIMIT = 1024 * 1024
    mend(type_models.DynamoType, "size", _size)
    mend(type_models.LimitedSizeDict, "__setitem__", _set_attribute)
    for operation in _OPERATIONS:
        mend(dynamodb_responses.DynamoHandler, operation, _checked)


def _size(original: Function) -> Function:
    """Two digits of a number are a byte; lists and maps take 3 bytes and 1 more for each thing in them."""

    def size(self: Any) -> int:
        if self.is_number():
            return _number_size(self.value)
        if self.is_list():
            return 3 + sum(int(1 + value.size()) for value in self.value)
        if self.is_map():
            values = {name: type_models.DynamoType(value) for name, value in self.value.items()}
            return 3 + sum(int(1 + bytesize(name) + value.size()) for name, value in values.items())
        return int(original(self))

    return size


def _number_size(number: str) -> int:
    return (len(_digits(number)) + 1) // 2 + 1


def _digits(number: str) -> str:
    return re.sub(r"e.*|\D", "", number.lower()).strip("0")


def _set_attribute(_: Function) -> Function:
    """An item has at most 400 KB (moto: 405,000 bytes)."""

    def set_attribute(self: Any, name: str, value: Any) -> None:
        others = sum(bytesize(each) + self[each].size() for each in self if each != name)
        if others + bytesize(name) + value.size() > _LARGEST_ITEM:
            raise ItemSizeTooLarge
        dict.__setitem__(self, name, value)

    return set_attribute


@contextmanager
def limited_transaction(rows: list[Row]) -> Iterator[None]:
    """The items of a transaction have at most 4 MB together; the larger counts of before and after."""
    before = [_item_size(*row) for row in rows]
    yield
    if sum(map(max, before, [_item_size(*row) for row in rows])) > _LARGEST_TRANSACTION:
        raise MockValidationException("The aggregate size of the items in the transaction exceeds 4 MB")


def _item_size(table: Any, key: tuple[Any, Any]) -> int:
    item = table.get_item(*key)
    return int(item.size()) if item else 0


def as_sent(item: Any) -> dict[str, Value]:
    """The attributes of moto's item."""
    return {name: {value.type: value.value} for name, value in item.attrs.items()}


def _checked(original: Function) -> Function:
    """Keys are checked whatever is done with them (moto: some, in some operations), and so are values."""

    def answer(self: Any) -> Any:
        for request in _requests(self.body):
            if table := self.dynamodb_backend.tables.get(request["TableName"]):
                _check(table, request)
        return original(self)

    return answer


def _requests(body: Request) -> Iterator[Request]:
    """Each thing that is asked for, with its TableName."""
    if "TransactItems" in body:
        yield from (action for item in body["TransactItems"] for action in item.values())
    elif "RequestItems" in body:
        for table, asked in body["RequestItems"].items():
            keys = [{"Key": key} for key in asked["Keys"]] if isinstance(asked, dict) else []
            writes = [] if keys else [write for each in asked for write in each.values()]
            yield from ({"TableName": table, **request} for request in [*keys, *writes])
    else:
        yield body


def _check(table: Any, request: Request) -> None:
    if key := request.get("Key"):
        _check_key(table, key)
    item = request.get("Item", {})
    for value in [*item.values(), *request.get("ExpressionAttributeValues", {}).values()]:
        _check_value(value)
    check_index_keys(table, item)
    for name in _EXPRESSIONS:
        _check_expression(name, request.get(name) or "")
    if "KeyConditionExpression" in request:
        _check_filter(table, request)


def _check_key(table: Any, key: dict[str, Value]) -> None:
    types = _types(table)
    schema = {each["AttributeName"]: each["KeyType"] for each in table.schema}
    if {name: next(iter(value)) for name, value in key.items()} != {name: types[name] for name in schema}:
        raise ProvidedKeyDoesNotExist
    for name, kind in schema.items():
        [value] = key[name].values()
        if not value:
            raise MockValidationException(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                f"contain an empty string value. Key: {name}"
            )
        _check_key_size(kind, value)


def _types(table: Any) -> dict[str, str]:
    return {each["AttributeName"]: each["AttributeType"] for each in table.attr}


def check_index_keys(table: Any, item: dict[str, Value]) -> None:
    """What is there must be a key (moto: does not see what an update calls by another name)."""
    types = _types(table)
    for index in table.all_indexes():
        for element in index.schema:
            if (name := element["AttributeName"]) in item:
                _check_index_key(index.name, element, types[name], item[name])


def _check_index_key(index: str, element: dict[str, str], expected: str, value: Value) -> None:
    name = element["AttributeName"]
    [(actual, content)] = value.items()
    if actual != expected:
        raise MockValidationException(
            f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
            f"Expected: {expected} Actual: {actual} IndexName: {index}"
        )
    if not content:
        raise MockValidationException(
            "One or more parameter values are not valid. A value specified for a secondary index key is not "
            "supported. The AttributeValue for a key attribute cannot contain an empty string value. "
            f"IndexName: {index}, IndexKey: {name}"
        )
    _check_key_size(element["KeyType"], content)


def _check_key_size(kind: str, content: str | bytes) -> None:
    longest, error = _LONGEST_KEYS[kind]
    if bytesize(content) > longest:
        raise error


_LONGEST_KEYS = {
    "HASH": (HASH_KEY_MAX_LENGTH, HashKeyTooLong),
    "RANGE": (RANGE_KEY_MAX_LENGTH, RangeKeyTooLong),
}


def _check_value(value: Value, depth: int = 1) -> None:
    [(kind, content)] = value.items()
    if kind in ("L", "M"):
        if depth > _DEEPEST:
            raise MockValidationException("Nesting Levels have exceeded supported limits")
        for each in content if kind == "L" else content.values():
            _check_value(each, depth + 1)
    elif kind in ("SS", "NS", "BS"):
        _check_set(content)
    for number in {"N": [content], "NS": content}.get(kind, ()):
        _check_number(number)


def _check_set(members: list[Any]) -> None:
    if not members:
        raise MockValidationException("One or more parameter values were invalid: A set may not be empty")
    if len(set(members)) < len(members):
        raise MockValidationException(
            f"One or more parameter values were invalid: Input collection {members} contains duplicates."
        )


def _check_number(number: str) -> None:
    try:
        finite = Decimal(number).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise MockValidationException(f"The parameter cannot be converted to a numeric value: {number}")
    if len(_digits(number)) > _MOST_DIGITS:
        raise MockValidationException("Attempting to store more than 38 significant digits in a Number")


def _check_filter(table: Any, query: Request) -> None:
    """What is asked for by key is not filtered by key."""
    index = query.get("IndexName")
    schema = table.get_index(index, error_if_not=True).schema if index else table.schema
    names = query.get("ExpressionAttributeNames") or {}
    used = {names.get(word, word) for word in _TOP_LEVEL_NAME.findall(query.get("FilterExpression") or "")}
    if keys := used & {each["AttributeName"] for each in schema}:
        raise MockValidationException(
            "Filter Expression can only contain non-primary key attributes: "
            f"Primary key attribute: {min(keys)}"
        )


def _check_expression(name: str, expression: str) -> None:
    if (size := bytesize(expression)) > _LARGEST_EXPRESSION:
        raise MockValidationException(
            f"Invalid {name}: Expression size has exceeded the maximum allowed size; expression size: {size}"
        )
