"""Requests as AWS reads them: JSON checked against botocore's model of the service."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, ServiceModel, Shape, StringShape, StructureShape

from local_cloud.recognition.errors import InvalidRequest, MalformedRequest

LARGEST_INTEGER = 2**31 - 1
JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
}


@cache
def service_model() -> ServiceModel:
    """botocore's description of Rekognition."""
    return ServiceModel(Loader().load_service_model("rekognition", "service-2"), "rekognition")


def read_request(operation: str, body: bytes) -> dict[str, Any]:
    """The parameters of a call, blobs decoded, unknown members and nulls dropped.

    Raises MalformedRequest for what is no JSON or has a wrong type, InvalidRequest for values out of range.
    """
    shape = service_model().operation_model(operation).input_shape
    request: dict[str, Any] = _read(shape, _parse(body), "") if shape else {}
    return request


def _parse(body: bytes) -> object:
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"The request is no JSON document: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _read(shape: Shape, value: Any, path: str) -> Any:
    _check_type(shape, value, path)
    if isinstance(shape, StructureShape):
        return _read_structure(shape, value, path)
    if isinstance(shape, ListShape):
        _check_range(shape, len(value), f"{value}", path, "length")
        return [
            _read(shape.member, item, f"{path}.{position}.member") for position, item in enumerate(value, 1)
        ]
    if shape.type_name == "blob":
        return _decode(value, path)
    if isinstance(shape, StringShape):
        _check_string(shape, value, path)
    else:
        _check_range(shape, value, f"{value}", path, "value")
    return value


def _read_structure(shape: StructureShape, value: Mapping[str, Any], path: str) -> dict[str, Any]:
    given = {name: item for name, item in value.items() if item is not None and name in shape.members}
    for name in shape.required_members:
        if name not in given:
            raise _violation("null", _join(path, name), "Member must not be null")
    return {name: _read(shape.members[name], item, _join(path, name)) for name, item in given.items()}


def _check_type(shape: Shape, value: object, path: str) -> None:
    accepted = JSON_TYPES[shape.type_name]
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        raise MalformedRequest(f"{path or 'The request'} must be of type {shape.type_name}")
    if shape.type_name == "integer" and isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise MalformedRequest(f"{path} is no 32-bit integer")


def _check_string(shape: StringShape, value: str, path: str) -> None:
    if re.search(r"[\ud800-\udfff]", value):
        raise MalformedRequest(f"{path} is no Unicode text")
    _check_range(shape, len(value), value, path, "length")
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        raise _violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    if shape.enum and value not in shape.enum:
        raise _violation(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")


def _check_range(shape: Shape, size: float, shown: str, path: str, kind: str) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        raise _violation(shown, path, f"Member must have {kind} greater than or equal to {least}")
    if most is not None and size > most:
        raise _violation(shown, path, f"Member must have {kind} less than or equal to {most}")


def _decode(value: str, path: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest(f"{path} is not base64: {error}") from error


def _violation(value: str, path: str, constraint: str) -> InvalidRequest:
    shown = value if len(value) <= 100 else f"{value[:100]}..."
    return InvalidRequest(
        f"1 validation error detected: Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
    )


def _join(path: str, name: str) -> str:
    own = name[0].lower() + name[1:]
    return f"{path}.{own}" if path else own
