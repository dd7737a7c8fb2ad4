"""The HTTP edge: decodes ids, labels, parameters and cursors; renders bodies and problems (RFC 9457)."""

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC
from decimal import Decimal
from functools import wraps
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, ParamSpec, TypeVar
from urllib.parse import unquote

import msgspec
from chalice.app import Request, Response

from chalicelib import model
from chalicelib.errors import Retryable
from chalicelib.model import VISIBLE, Image, Label, Status, Summary, Upload
from chalicelib.rekognition import MAX_OBJECT_BYTES
from chalicelib.store import Listed, Position
from chalicelib.uploads import ExpectedUpload

P = ParamSpec("P")
T = TypeVar("T")

MAX_LIMIT, DEFAULT_LIMIT = 100, 20
MAX_METADATA = 2000  # characters; S3 takes 2 kB of names and values
RETRY_AFTER_SECONDS = 2
CHECKSUM_BYTES = 9


class Problem(Exception):
    """An answer that is no success, as its reader needs it: what is wrong, and what to do."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> Response:
        body = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        headers = {"Content-Type": "application/problem+json", **self.headers}
        return Response(body, status_code=self.status.value, headers=headers)


def answers(view: Callable[P, Response]) -> Callable[P, Response]:
    """Turns what a view raises on purpose into a problem; Chalice would make an opaque 500 of it."""

    @wraps(view)
    def answer(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except Problem as problem:
            return problem.response()
        except Retryable:
            return _unavailable().response()

    return answer


def refusals_as_problems(event: Request, get_response: Callable[[Request], Response]) -> Response:
    """Middleware: what Chalice itself refuses (method, media type, a crash) gets the same kind of body."""
    response = get_response(event)
    if isinstance(response.body, dict) and {"Code", "Message"} == set(response.body):
        headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
        return Problem(HTTPStatus(response.status_code), response.body["Message"], headers).response()
    return response


def percent(text: str) -> Decimal:
    """A confidence as a cursor carries it."""
    value = Decimal(text)
    if not 0 <= value <= 100:
        raise ValueError(text)
    return value


def not_found(what: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, what)


def bad_request(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def found(value: T | None) -> T:
    if value is None:
        raise not_found("There is no such image.")
    return value


def source_file(image_id: str) -> str:
    return found(model.source_file(image_id))


def label_name(segment: str) -> str:
    """A label from the path, which Chalice hands over still URL-encoded."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as error:
        raise bad_request("The label in the path is not URL-encoded UTF-8.") from error


class Query:
    """The query string of a request, whose parameters are all known and given once."""

    def __init__(self, request: Request, *names: str) -> None:
        values = request.query_params
        self._values = {name: _single(name, values.getlist(name)) for name in values} if values else {}
        self._path = request.context["resourcePath"], request.uri_params or {}
        unknown = sorted(set(self._values) - {*names})
        if unknown:
            takes = f"takes {', '.join(names)}" if names else "takes no parameters"
            raise bad_request(f"Unknown parameter {', '.join(unknown)}; this route {takes}.")

    @property
    def key(self) -> str | None:
        """The one object key that is asked for, which leaves nothing to filter or to page."""
        if "key" in self._values and len(self._values) > 1:
            raise bad_request("key names one image, so no other parameter goes with it.")
        return self._values.get("key")

    def number(self, name: str, default: float, least: float, most: float) -> float:
        text = self._values.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise bad_request(f"{name} must be a number from {least:g} to {most:g}.")
        return value

    @property
    def limit(self) -> int:
        text = self._values.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
            raise bad_request(f"limit must be a whole number from 1 to {MAX_LIMIT}.")
        return int(text)

    @property
    def statuses(self) -> tuple[Status, ...]:
        text = self._values.get("status")
        if text is None:
            return VISIBLE
        if text not in VISIBLE:
            raise bad_request(f"status must be one of {', '.join(VISIBLE)}.")
        return (Status(text),)

    def after(self, *parts: Callable[[str], object]) -> Position:
        """The position that the cursor carries, each part of which can be read so; empty without a cursor."""
        cursor = self._values.get("cursor")
        return _decode_cursor(cursor, self._fingerprint, *parts) if cursor is not None else ()

    def page(self, listed: Iterator[Listed]) -> Response:
        """As many as asked for, and a cursor if there are more."""
        items = list(islice(listed, self.limit + 1))
        more = len(items) > self.limit
        cursor = _encode_cursor(items[self.limit - 1].position, self._fingerprint) if more else None
        return list_of([each.summary for each in items[: self.limit]], cursor)

    @property
    def _fingerprint(self) -> bytes:
        filters = {name: text for name, text in self._values.items() if name not in ("limit", "cursor")}
        return json.dumps([*self._path, filters], sort_keys=True).encode()


class UploadRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `POST /images` takes; all of it is optional."""

    filename: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    content_type: Annotated[str, msgspec.Meta(pattern=r"^image/[a-z0-9.+-]{1,50}\Z")] | None = None
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_OBJECT_BYTES)] | None = None
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    metadata: dict[
        Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}\Z")],
        Annotated[str, msgspec.Meta(pattern=r"^[!-~]([ -~]*[!-~])?\Z")],
    ] = {}

    @property
    def upload(self) -> Upload:
        return Upload(self.content_type, self.size, self.sha256, self.metadata)


def upload_request(request: Request) -> UploadRequest:
    """The body of `POST /images`, which may be empty."""
    try:
        asked = msgspec.json.decode(request.raw_body or b"{}", type=UploadRequest)
    except msgspec.ValidationError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise bad_request(f"The body is not JSON: {error}") from error
    if sum(len(name) + len(value) for name, value in asked.metadata.items()) > MAX_METADATA:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"metadata has more than {MAX_METADATA} characters.")
    return asked


def lookup(image: Image | None) -> Response:
    return list_of([image.summary] if image else [], None)


def list_of(summaries: list[Summary], next_cursor: str | None) -> Response:
    return Response({"items": [_summary(each) for each in summaries], "next_cursor": next_cursor})


def image(an_image: Image) -> Response:
    return Response({"image_id": model.image_id(an_image.source_file), **asdict(an_image)})


def label_of(an_image: Image, name: str) -> Response:
    wanted = model.label_key(name)
    for label in an_image.labels:
        if model.label_key(label.name) == wanted:
            return Response(_label_of(an_image, label))
    raise not_found("This image has no such label.")


def expected_upload(upload: ExpectedUpload) -> Response:
    expires_at = upload.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    put = {"method": "PUT", **asdict(upload.presigned), "expires_at": expires_at}
    body = {
        **_names(upload.source_file),
        "status": Status.AWAITING_UPLOAD,
        "upload_url": upload.presigned.url,
        "upload": put,
    }
    return Response(body, status_code=HTTPStatus.CREATED)


def accepted(key: str) -> Response:
    return Response(_names(key), status_code=HTTPStatus.ACCEPTED)


def _unavailable() -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "A service behind this API gives no answer at the moment; try again shortly.",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _single(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise bad_request(f"{name} is given more than once.")
    return values[0]


def _names(key: str) -> dict[str, str]:
    return {"image_id": model.image_id(key), "source_file": key}


def _summary(summary: Summary) -> dict[str, Any]:
    return {**_names(summary.source_file), **asdict(summary), "thumbnail_url": None}


def _label_of(an_image: Image, label: Label) -> dict[str, Any]:
    return {**_names(an_image.source_file), **asdict(label)}


def _encode_cursor(position: Position, fingerprint: bytes) -> str:
    payload = json.dumps(position, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_checksum(payload, fingerprint) + payload).rstrip(b"=").decode()


def _decode_cursor(cursor: str, fingerprint: bytes, *parts: Callable[[str], object]) -> Position:
    try:
        token = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = tuple(json.loads(token[CHECKSUM_BYTES:]))
        readable = [read(part) for read, part in zip(parts, position, strict=True)]
    except (binascii.Error, ArithmeticError, ValueError, TypeError, RecursionError):
        readable = []
    if not readable or _encode_cursor(position, fingerprint) != cursor:
        raise bad_request("cursor was changed or belongs to another query; start again without it.")
    return position


def _checksum(payload: bytes, fingerprint: bytes) -> bytes:
    """Tells a cursor of another query and a changed one; not a secret, since there is nothing to gain."""
    return hashlib.sha256(fingerprint + b"\0" + payload).digest()[:CHECKSUM_BYTES]
