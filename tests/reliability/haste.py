"""What moto and the SDK work out anew with each request, spared or remembered, for long searches.

What is answered stays the same; test_haste.py lives one life with it and without.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cache
from typing import Any

import botocore.utils
import moto.core.responses
import moto.dynamodb.models as dynamodb_models
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSResponse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.request import Request
from moto.core.serialize import AttributePickerContext, ResponseSerializer
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser
from moto.dynamodb.responses import DynamoHandler
from moto.dynamodbstreams.responses import DynamoDBStreamsHandler
from moto.sqs.responses import SQSResponse

from local_cloud.endpoint import Endpoint
from local_cloud.moto_patches import STATE
from local_cloud.streams import StreamPoller, record_of
from local_cloud.time_to_live import rows_of
from tests.direct import response, straight_to
from tests.interception import Call, Layer

HANDLERS = {"dynamodb": DynamoHandler, "dynamodb-streams": DynamoDBStreamsHandler, "sqs": SQSResponse}
JSON = {"Content-Type": "application/x-amz-json-1.0"}
EQUALITY = re.compile(r"(#?\w+) *= *(:\w+)")

Names = tuple[str, ...]


@contextmanager
def hastened() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        spelled = cache(moto.core.responses.camelcase_to_underscores)
        patch.setattr(moto.core.responses, "camelcase_to_underscores", spelled)
        patch.setattr(ResponseSerializer, "get_value", _straight(ResponseSerializer.get_value))
        patch.setattr(DepthFirstTraverser, "nodes_to_be_processed", _types)
        patch.setattr(DynamoType, "__deepcopy__", _copy)
        patch.setattr(Item, "project", _projecting(Item.project))
        patch.setattr(botocore.utils, "get_tzinfo_options", lambda: (lambda: UTC,))
        patch.setattr(StreamPoller, "_shard_ids", lambda poller: [_shard(poller).id])
        patch.setattr(StreamPoller, "_read", _read)
        patch.setattr(SigV4Auth, "add_auth", _claim)
        yield


def straight_to_moto(endpoint: Endpoint) -> Layer:
    """By way of the endpoint where it has a say, which it has not in DynamoDB and SQS."""
    to_endpoint = straight_to(endpoint)

    def send(call: Call) -> AWSResponse:
        if call.service not in HANDLERS:
            return to_endpoint(call)
        if call.operation in NOTHING and NOTHING[call.operation](_asked_for(call)):
            return response(call, 200, JSON, NOTHING_FOUND[call.operation])
        return _asked(call)

    return send


def _asked(call: Call) -> AWSResponse:
    sent = call.request
    request = Request.from_primitives(sent.method, sent.url, sent.headers, sent.body)
    with STATE:
        status, headers, body = HANDLERS[call.service].dispatch(
            request, request.raw_url, dict(request.headers)
        )
    told = {name: str(value) for name, value in headers.items()}
    return response(call, status, told, body.encode() if isinstance(body, str) else body)


def _asked_for(call: Call) -> Any:
    body: Any = call.request.body
    return json.loads(body)


def _is_nowhere(query: Any) -> bool:
    """Whether no row is in the part of an index that is asked for."""
    table = _table(query["TableName"])
    schema = table.get_index(query["IndexName"]).schema if "IndexName" in query else table.schema
    [hash_name] = [key["AttributeName"] for key in schema if key["KeyType"] == "HASH"]
    names = query.get("ExpressionAttributeNames", {})
    asked = {
        names.get(name, name): value for name, value in EQUALITY.findall(query["KeyConditionExpression"])
    }
    [wanted] = query["ExpressionAttributeValues"][asked[hash_name]].values()
    return not any(hash_name in row.attrs and row.attrs[hash_name].value == wanted for row in rows_of(table))


def _is_missing(get: Any) -> bool:
    table = _table(get["TableName"])
    return table.get_item(*(DynamoType(get["Key"][name]) for name in table.table_key_attrs)) is None


NOTHING: dict[str, Callable[[Any], bool]] = {"Query": _is_nowhere, "GetItem": _is_missing}
NOTHING_FOUND = {"Query": b'{"Count": 0, "Items": [], "ScannedCount": 0}', "GetItem": b"{}"}


def _shard(poller: Any) -> Any:
    return _table(poller._config.stream_arn.split("/")[1]).stream_shard


def _read(poller: Any, _: str, checkpoint: str | None, limit: int) -> list[Any]:
    """The stream's records, from moto's own store."""
    shard = _shard(poller)
    start = int(checkpoint) + 1 if checkpoint else shard.starting_sequence_number
    return [record_of(_dated(record), poller._config.stream_arn) for record in shard.get(start, limit)]


def _dated(record: Any) -> Any:
    """moto's moments are naive."""
    change = record["dynamodb"]
    moment = change["ApproximateCreationDateTime"].replace(tzinfo=UTC)
    return {**record, "dynamodb": {**change, "ApproximateCreationDateTime": moment}}


def _table(name: str) -> Any:
    return dynamodb_models.dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[name]


def _claim(self: Any, request: Any) -> None:
    """Who asks, and of which service: nobody here verifies a signature."""
    del request.headers["Authorization"]  # of the try before
    scope = f"{self.credentials.access_key}/20300101/{self._region_name}/{self._service_name}/aws4_request"
    request.headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"
    )


def _straight(get_value: Callable[..., Any]) -> Callable[..., Any]:
    """What a member of a dict may be called depends on its shape alone."""
    names: dict[Any, Names] = {}

    def straight(self: Any, value: Any, key: str, shape: Any) -> Any:
        pick = self._value_picker
        if type(value) is not dict or pick.response_transformers:
            return get_value(self, value, key, shape)
        if key in value:
            return value[key]
        parent = getattr(shape, "parent", None)
        place = (type(pick), self.operation_model.service_model.service_name, parent and parent.name, key)
        if place not in names:
            model = self.operation_model.service_model
            names[place] = pick.get_possible_keys(
                AttributePickerContext(value, key, shape, service_model=model)
            )
        return next((value[name] for name in names[place] if name in value), None)

    return straight


def _types(self: Any) -> tuple[type, ...]:
    known: tuple[type, ...] | None = vars(self).get("_known_types")
    if known is None:
        known = self._known_types = tuple(self._processing_map())
    return known


def _copy(self: Any, memo: Any) -> Any:
    copied = DynamoType.__new__(DynamoType)
    copied.type, value = self.type, self.value
    match value:
        case list():
            copied.value = [copy.deepcopy(each, memo) for each in value]
        case dict():
            copied.value = {name: copy.deepcopy(each, memo) for name, each in value.items()}
        case _:
            copied.value = value
    return copied


def _projecting(project: Callable[..., Any]) -> Callable[..., Any]:
    """What stands at the top of a row is not taken apart."""

    def projected(self: Any, expressions: list[list[str]]) -> Any:
        if any(len(path) > 1 for path in expressions):
            return project(self, expressions)
        names = {name for [name] in expressions}
        picked = Item(self.hash_key, self.range_key, attrs={})
        for name in names & self.attrs.keys():
            dict.__setitem__(picked.attrs, name, copy.deepcopy(self.attrs[name]))
        return picked

    return projected
