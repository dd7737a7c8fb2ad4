"""The API's own description, in OpenAPI 3.1: the contract, with the scopes that the routes ask for."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from chalice.app import Request

from chalicelib.auth import OPEN, Routes, mark_of
from chalicelib.contract import ABOUT, OPERATIONS, Operation, Problem, Route
from chalicelib.headers import REQUEST_ID

Schema = dict[str, Any]

JSON, PROBLEM = "application/json", "application/problem+json"
COMPONENT = "#/components/schemas/{name}"
DESCRIPTION = """What is in the pictures that land in a bucket, as Amazon Rekognition sees it.

Lists answer `items` and `next_cursor`: ask again with it as `cursor` until it is null. Errors are problems as
in RFC 9457, and their `detail` says what to do."""
TOKEN = "A token of the API, with the scope that the route asks for."  # noqa: S105
IN_PATH = {
    "image_id": ABOUT["image_id"],
    "label": "The name of a label, in any case.",
    "delivery_id": ABOUT["delivery_id"],
}
WHY: Mapping[HTTPStatus, str] = {
    HTTPStatus.NOT_MODIFIED: "The client has this very answer.",
    HTTPStatus.BAD_REQUEST: "A parameter is unknown or wrong, or the body is no JSON.",
    HTTPStatus.UNAUTHORIZED: "There is no token, or none that is known and has not expired.",
    HTTPStatus.FORBIDDEN: "The token lacks the scope.",
    HTTPStatus.NOT_FOUND: "There is no such image, or it has no such label or delivery.",
    HTTPStatus.CONFLICT: "The picture is in quarantine, or is not, as the detail says.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too long.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The URL has more than 10,240 characters.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is said to be no JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A value in the body is wrong.",
    HTTPStatus.TOO_MANY_REQUESTS: "There are too many requests at a time.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A mistake of the API's own.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A service behind the API gives no answer at the moment.",
    HTTPStatus.GATEWAY_TIMEOUT: "The API did not answer in time.",
}
OF_EVERY_ROUTE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
TEXT = {"type": "string"}
HEADERS: Mapping[str, Schema] = {
    REQUEST_ID: {"description": "By which the log knows the request.", "required": True, "schema": TEXT},
    "ETag": {"description": "Of this very answer.", "required": True, "schema": TEXT},
    "WWW-Authenticate": {"description": "`Bearer`", "schema": TEXT},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
}
OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After",),
    HTTPStatus.GATEWAY_TIMEOUT: ("Retry-After",),
}


def document(request: Request, routes: Routes, max_bytes: int) -> Schema:
    """Of the API at the address that was asked, where a picture may have so many bytes."""
    known = [(path, method, entry) for path, methods in routes.items() for method, entry in methods.items()]
    paths: dict[str, Schema] = {path: {} for path in routes}
    for path, method, entry in known:
        paths[path][method.lower()] = _operation((method, path), entry)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image labeller", "version": "1.0", "description": DESCRIPTION},
        "servers": [{"url": _address(request)}],
        "paths": paths,
        "components": {
            "schemas": _schemas(max_bytes),
            "headers": HEADERS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": TOKEN}},
        },
    }


def _address(request: Request) -> str:
    """As the client knows it, up to the API's own paths."""
    context, headers = request.context, request.headers
    host = context.get("domainName") or headers.get("host", "")
    stage = context.get("path", request.path).removesuffix(request.path)
    return f"{headers.get('x-forwarded-proto', 'http')}://{host}{stage}"


def _operation(route: Route, entry: Any) -> Schema:
    operation = OPERATIONS[route]
    scope = mark_of(entry.view_function) if entry.authorizer else OPEN
    body = {"requestBody": _body(operation)} if operation.body else {}
    return {
        "operationId": entry.view_function.__name__,
        "summary": operation.summary,
        "tags": [_tag(route)],
        "security": [] if scope == OPEN else [{"token": [scope]}],
        "parameters": [*_parameters(route, operation)],
        **body,
        "responses": dict(_responses(route, operation, scope)),
    }


def _tag(route: Route) -> str:
    section = route[1].split("/")[1]
    return section if section in ("images", "labels", "search") else "service"


def _parameters(route: Route, operation: Operation) -> Iterator[Schema]:
    for name in re.findall(r"\{(\w+)\}", route[1]):
        segment = {**TEXT, "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "description": IN_PATH[name], "schema": segment}
    if operation.has_etag:
        about = "An `ETag`, to be told only of what has changed since."
        yield {"name": "If-None-Match", "in": "header", "description": about, "schema": TEXT}
    for name, schema in _members(operation.query).items():
        described = {"description": description} if (description := schema.pop("description", "")) else {}
        yield {"name": name, "in": "query", **described, **_form(schema), "schema": schema}


def _form(schema: Schema) -> Schema:
    """A list is a parameter for each of its values, and is empty where there is none."""
    if schema.get("type") != "array":
        return {}
    del schema["default"]
    return {"style": "form", "explode": True}


def _members(kind: type[msgspec.Struct]) -> dict[str, Schema]:
    [schema] = msgspec.json.schema(kind)["$defs"].values()
    members: dict[str, Schema] = schema["properties"]
    return members


def _body(operation: Operation) -> Schema:
    return {"required": False, "content": {JSON: {"schema": _reference(operation.body)}}}


def _responses(route: Route, operation: Operation, scope: str | None) -> Iterator[tuple[str, Schema]]:
    of_answer = ("ETag",) if operation.has_etag else ()
    content = {operation.media: {"schema": _reference(operation.answer)}}
    yield str(operation.status.value), _response(operation.status.phrase, of_answer, content)
    if operation.has_etag:
        yield "304", _response(WHY[HTTPStatus.NOT_MODIFIED], of_answer, {})
    for status in sorted(_problems(route, operation, scope)):
        content = {PROBLEM: {"schema": _reference(Problem)}}
        yield str(status.value), _response(WHY[status], OF_STATUS.get(status, ()), content)


def _problems(route: Route, operation: Operation, scope: str | None) -> Iterator[HTTPStatus]:
    yield from OF_EVERY_ROUTE
    if scope != OPEN:
        yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if "{image_id}" in route[1]:
        yield HTTPStatus.NOT_FOUND
    if operation.may_conflict:
        yield HTTPStatus.CONFLICT
    if operation.body:
        yield HTTPStatus.UNPROCESSABLE_ENTITY


def _response(description: str, headers: tuple[str, ...], content: Schema) -> Schema:
    known = {name: {"$ref": f"#/components/headers/{name}"} for name in (REQUEST_ID, *headers)}
    return {"description": description, "headers": known, **({"content": content} if content else {})}


def _reference(kind: Any) -> Schema:
    [schema], _ = msgspec.json.schema_components([kind], ref_template=COMPONENT)
    return schema


def _schemas(max_bytes: int) -> dict[str, Schema]:
    answers = [Problem, *(operation.answer for operation in OPERATIONS.values())]
    bodies = [operation.body for operation in OPERATIONS.values() if operation.body]
    _, of_answers = msgspec.json.schema_components(answers, ref_template=COMPONENT)
    _, of_bodies = msgspec.json.schema_components(bodies, ref_template=COMPONENT)
    for schema in of_bodies["UploadRequest"]["properties"]["size"]["anyOf"]:
        if schema["type"] == "integer":
            schema["maximum"] = max_bytes
    return {name: _whole(schema) for name, schema in of_answers.items()} | of_bodies


def _whole(schema: Schema) -> Schema:
    """Of an answer, which has all its members, whatever the model's defaults are."""
    members = {name: _without_default(member) for name, member in schema["properties"].items()}
    return {**schema, "properties": members, "required": list(members)}


def _without_default(member: Schema) -> Schema:
    return {name: value for name, value in member.items() if name != "default"}
