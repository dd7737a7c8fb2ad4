"""The HTTP edge: decodes ids, labels, parameters and cursors; renders bodies and problems (RFC 9457)."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import wraps
from http import HTTPStatus
from itertools import islice
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

import msgspec
from chalice.app import MultiDict, Request, Response

from chalicelib import contract, log, model
from chalicelib.callback import Callback, State
from chalicelib.document import LEAST_PREFIX, Asked, Term, asked_label, asked_words
from chalicelib.errors import CallbackRefused, Retryable
from chalicelib.items import timestamp
from chalicelib.model import VISIBLE, Image, Status, Summary
from chalicelib.search import Hit, Hits, Place, Wanted
from chalicelib.stopwatch import Stopwatch
from chalicelib.store import Listed, Position
from chalicelib.terms import Catalogued
from chalicelib.uploads import ExpectedUpload

P = ParamSpec("P")
T = TypeVar("T")
Headers = Mapping[str, str]
Forms = tuple[Callable[[str], bool], ...]  # for each part of a position, whether a text can be one

MAX_BODY_BYTES = 64 * 1024  # the longest that POST /images can use, with every character escaped, is shorter
MAX_METADATA = 2000  # characters; S3 takes 2 kB of names and values
MAX_DETAIL = 500  # characters; a detail may name what was sent
RETRY_AFTER_SECONDS = 2
CHECKSUM_BYTES = 9
BAD_CURSOR = "cursor was changed or belongs to another query; start again without it."
NO_DELIVERY = "There is no such delivery."
EMPTY: Headers = {}
HINTS = {HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "; send JSON with Content-Type: application/json"}

CONFIDENCE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,30})?(E-[0-9]{1,2})?")  # a number that DynamoDB can hold
DECODER = msgspec.json.Decoder(float_hook=lambda text: _number(float(text)))
SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
EVENT = re.compile(r"evt_[0-9a-f]{32}")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z~[0-9a-f]{8}")


class Problem(Exception):
    """An answer that is no success, as its reader needs it: what is wrong, and what to do."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> Response:
        status = self.status
        body = contract.Problem("about:blank", status.phrase, status.value, self.detail[:MAX_DETAIL])
        return reply(body, status, {"Content-Type": "application/problem+json", **self.headers})


class Unanswered(Response):  # type: ignore[misc]
    """A failure of ours: the problem for the client, and for the log its cause."""

    def __init__(self, problem: Problem, cause: Exception) -> None:
        response = problem.response()
        super().__init__(response.body, response.headers, response.status_code)
        self.cause = cause


def answers(view: Callable[P, Response]) -> Callable[P, Response]:
    """Turns what a view raises into a problem; Chalice would make an opaque 500 of all of it."""

    @wraps(view)
    def answer(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except Problem as problem:
            return problem.response()
        except CallbackRefused as refusal:
            return _unprocessable(f"callback_url: {refusal.reason}.").response()
        except Retryable as failure:
            return Unanswered(_unavailable(), failure)
        except Exception as bug:  # noqa: BLE001 - Chalice would log it in a line without the request
            return Unanswered(_crashed(), bug)

    return answer


def log_request(request: Request | None, get_response: Callable[[Any], Response]) -> Response:
    """Middleware: one line says what was asked, by its route and never by its URL, and how it ended."""
    watch = Stopwatch()
    response = get_response(request)
    method, route = (request.method, request.path) if request else ("no", "request")
    facts = {"method": method, "route": route, "status": response.status_code, **watch.facts}
    if token := _token_of(request):
        facts["token"] = token
    if isinstance(response, Unanswered):
        log.failed(response.cause, image=_image_of(request, response), **facts)
    else:
        log.done(f"{method} {route}", image=_image_of(request, response), **facts)
    return response


def uniform_answers(event: Request, get_response: Callable[[Request], Response]) -> Response:
    """Middleware: what Chalice itself refuses (method, media type, a crash) looks like our own answers."""
    response = get_response(event)
    if isinstance(response.body, dict) and {"Code", "Message"} == set(response.body):
        status = HTTPStatus(response.status_code)
        detail = response.body["Message"] + HINTS.get(status, "")
        response = Problem(status, detail, response.headers).response()
    response.headers = {"Content-Type": "application/json", **response.headers}
    return response


def reply(body: msgspec.Struct, status: HTTPStatus = HTTPStatus.OK, headers: Headers = EMPTY) -> Response:
    return Response(msgspec.to_builtins(body), dict(headers), status.value)


def not_found(what: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, what)


def bad_request(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def found(value: T | None) -> T:
    if value is None:
        raise not_found("There is no such image.")
    return value


def refuse_unless(possible: bool, why_not: str) -> None:
    if not possible:
        raise Problem(HTTPStatus.CONFLICT, why_not)


def why_not_released(image: Image) -> str:
    if image.status in (Status.QUARANTINED, Status.QUARANTINING):
        return "It is on its way into quarantine, or to be removed from there."
    return f"Its status is {image.status}, and not quarantined."


def refuse_quarantined(image: Image | None) -> None:
    hidden = image is not None and image.status in (Status.QUARANTINING, Status.QUARANTINED)
    refuse_unless(not hidden, "The picture is in quarantine; release it, and it is labelled.")


def source_file(image_id: str) -> str:
    return found(model.source_file(image_id))


def label_name(segment: str) -> str:
    """A label from the path, which Chalice hands over still URL-encoded."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as error:
        raise bad_request("The label in the path is not URL-encoded UTF-8.") from error


class Query:
    """The query string of a request, whose parameters are those that its route takes, given once each,
    but for those that have a list of values."""

    def __init__(self, request: Request) -> None:
        texts = request.query_params or MultiDict({})
        takes = contract.OPERATIONS[request.method, request.path].query
        if unknown := sorted(set(texts) - {*takes.__struct_encode_fields__}):
            raise bad_request(
                f"Unknown parameter {', '.join(map(repr, unknown))}; this route {_taken(takes)}."
            )
        repeatable = contract.repeatable(takes)
        given = {name: _texts(name, texts.getlist(name)) for name in texts}
        self._values = {name: _given(name, values, name in repeatable) for name, values in given.items()}
        self._path = request.path, request.uri_params or {}
        self._asked = _converted(self._values, takes)

    @property
    def key(self) -> str | None:
        """The one object key that is asked for."""
        key: str = self._asked.key or ""
        if key and not model.is_object_key(key):
            raise bad_request(f"key must be {contract.WORDS['key']}.")
        return key or None

    @property
    def min_confidence(self) -> float:
        least: float = self._asked.min_confidence
        return least

    @property
    def limit(self) -> int:
        limit: int = self._asked.limit
        return limit

    @property
    def statuses(self) -> tuple[Status, ...]:
        return (Status(self._asked.status),) if self._asked.status else VISIBLE

    @property
    def prefix(self) -> str:
        prefix: str = self._asked.prefix or ""
        return prefix

    @property
    def wanted(self) -> Wanted:
        """What a search is for."""
        labels = [asked_label(name) for name in self._asked.label]
        but_not = [asked_label(name) for name in self._asked.but_not]
        words = _words(self._asked.text) if self._asked.text else []
        if not labels and not words:
            raise bad_request("A search takes at least one label or text.")
        if len(labels) + len(but_not) + len(words) > contract.MAX_ASKED:
            raise bad_request(f"A search takes at most {contract.MAX_ASKED} labels and words in all.")
        return Wanted(_once(labels + words), _once(but_not), self.min_confidence)

    def place(self, wanted: Wanted) -> Place | None:
        """How far the search had come by the page before."""
        position = self.after((lambda text: Place.read(text, wanted) is not None,))
        return Place.read(position[0], wanted) if position else None

    def after(self, forms: Forms) -> Position:
        """The position that the cursor carries, each part of which has its form; empty without a cursor."""
        cursor = self._asked.cursor
        if not cursor:
            return ()
        position = _decode_cursor(cursor, self._fingerprint)
        if position is None or not _have_forms(position, forms):
            raise bad_request(BAD_CURSOR)
        return position

    def lookup(self, image: Image | None) -> Response:
        """The image with the key, if it has the status; there is no page after it."""
        self.after(())
        found = [image.summary] if image and image.status in self.statuses else []
        return list_of(found, None)

    def page(self, listed: Iterator[Listed]) -> Response:
        """As many images as asked for, and a cursor if there are more."""
        return list_of(*self._page((each.position, each.summary) for each in listed))

    def deliveries(self, callbacks: Iterable[Callback], after: Position) -> Response:
        """The same of callbacks that are sorted by what is their position."""
        placed = (((each.created_at, each.event_id), _delivery(each)) for each in callbacks)
        left = ((position, item) for position, item in placed if not after or position < after)
        return reply(contract.Deliveries(*self._page(left)))

    def hits(self, hits: Hits) -> Response:
        """What a search has found, and a cursor if there may be more."""
        cursor = _encode_cursor((hits.after.text,), self._fingerprint) if hits.after else None
        return reply(contract.Hits(items=[_hit(each) for each in hits.found], next_cursor=cursor))

    def names(self, catalogued: Iterator[Catalogued]) -> Response:
        placed = (((each.key,), contract.Name(each.name, each.count)) for each in catalogued)
        return reply(contract.Names(*self._page(placed)))

    def _page(self, placed: Iterator[tuple[Position, T]]) -> tuple[list[T], str | None]:
        items = list(islice(placed, self.limit + 1))
        more = len(items) > self.limit
        cursor = _encode_cursor(items[self.limit - 1][0], self._fingerprint) if more else None
        return [item for _, item in items[: self.limit]], cursor

    @property
    def _fingerprint(self) -> bytes:
        filters = {name: text for name, text in self._values.items() if name not in ("limit", "cursor")}
        return json.dumps([*self._path, filters], sort_keys=True).encode()


def no_parameters(request: Request) -> None:
    Query(request)


def by_confidence(least: float) -> Forms:
    """The forms of a position in a list by confidence that goes down to the least."""

    # DynamoDB refuses to go on from outside of what the query's condition takes in.
    def is_confidence(text: str) -> bool:
        return CONFIDENCE.fullmatch(text) is not None and Decimal(str(least)) <= Decimal(text) <= 100

    return is_confidence, model.is_object_key


def by_name(prefix: str) -> Forms:
    """The form of a position in the catalogue of what begins so."""

    def is_name(text: str) -> bool:
        return text.startswith(model.label_key(prefix)) and model.label_key(text) == text != ""

    return (is_name,)


def _is_moment(text: str) -> bool:
    return MOMENT.fullmatch(text) is not None


def _is_second(text: str) -> bool:
    return SECOND.fullmatch(text) is not None


def _is_event(text: str) -> bool:
    return EVENT.fullmatch(text) is not None


BY_TIME: Forms = (_is_moment,)
BY_DELIVERY: Forms = (_is_second, _is_event)


def upload_request(request: Request, max_bytes: int) -> contract.UploadRequest:
    """The body of `POST /images`, which may be empty."""
    try:
        body = _body(request)
        fields = DECODER.decode(body or b"{}")
        json.loads(body or b"{}", object_pairs_hook=_refuse_duplicates)
        asked = msgspec.convert(fields, contract.UploadRequest)
    except msgspec.ValidationError as error:
        raise _unprocessable(_plain(str(error))) from error
    except (ValueError, RecursionError) as error:
        raise bad_request(f"The body must be one JSON object in UTF-8: {error}.") from error
    if asked.size is not None and asked.size > max_bytes:
        raise _unprocessable(f"size: a picture may have at most {max_bytes} bytes.")
    if sum(len(name) + len(value) for name, value in asked.metadata.items()) > MAX_METADATA:
        raise _unprocessable(f"metadata may have {MAX_METADATA} characters in all.")
    return asked


def list_of(summaries: list[Summary], next_cursor: str | None) -> Response:
    return reply(contract.Images(items=[_summary(each) for each in summaries], next_cursor=next_cursor))


def image(request: Request, an_image: Image) -> Response:
    """The whole answer, unless the client says that it has this very one."""
    body = msgspec.json.encode(contract.told(an_image)).decode()
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}  # kept, and asked for each time
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {etag, "*"}:
        return Response("", headers, HTTPStatus.NOT_MODIFIED)
    return Response(body, headers)


def label_of(an_image: Image, name: str) -> Response:
    wanted = model.label_key(name)
    for label in an_image.labels:
        if model.label_key(label.name) == wanted:
            return reply(contract.told_of(contract.ImageLabel, label, an_image.source_file))
    if an_image.status is Status.LABELLED:
        raise not_found("This image has no such label.")
    raise not_found(f"This image has no such label; its status is {an_image.status}.")


def expected_upload(upload: ExpectedUpload) -> Response:
    put = contract.Put("PUT", upload.presigned.url, upload.presigned.headers, timestamp(upload.expires_at))
    names = contract.names(upload.source_file)
    body = contract.ExpectedUpload(**names, status="awaiting_upload", upload_url=put.url, upload=put)
    return reply(body, HTTPStatus.CREATED)


def accepted(key: str) -> Response:
    return reply(contract.Accepted(**contract.names(key)), HTTPStatus.ACCEPTED)


def asked_for(key: str, image: Image | None, is_asked_for: bool) -> Response:
    """What has been asked for, if there is anything to be labelled."""
    found(image or is_asked_for or None)
    refuse_unless(is_asked_for, "There is nothing to be labelled yet; once there is, it will be.")
    return accepted(key)


def event_id(delivery_id: str) -> str:
    if not EVENT.fullmatch(delivery_id):
        raise not_found(NO_DELIVERY)
    return delivery_id


def replayed(callback: Callback | None) -> Response:
    if callback is None:
        raise not_found(NO_DELIVERY)
    return reply(_delivery(callback), HTTPStatus.ACCEPTED)


def _unavailable() -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "A service behind this API gives no answer at the moment; try again shortly.",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _crashed() -> Problem:
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "An internal server error occurred.")


def _image_of(request: Request | None, response: Response) -> str | None:
    """The key of the image that a request is about."""
    parameters = request.uri_params if request else None
    if parameters and "image_id" in parameters:
        return model.source_file(parameters["image_id"])
    return response.body.get("source_file") if isinstance(response.body, dict) else None


def _token_of(request: Request | None) -> str | None:
    """The name of the token that came with a request."""
    return (request.context.get("authorizer") or {}).get("token") if request else None


def _plain(error: str) -> str:
    """msgspec's message, with words for a pattern."""
    field = re.search(r"matching regex .* `\$\.(\w+)", error)
    return f"{field[1]}: {contract.WORDS[field[1]]}." if field else error


def _unprocessable(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _body(request: Request) -> bytes:
    body: bytes = request.raw_body
    if len(body) > MAX_BODY_BYTES:
        detail = f"The body may have {MAX_BODY_BYTES} bytes; the picture itself goes to the upload URL."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return body


def _number(value: float) -> float:
    """To JSON Schema, 5.0 is an integer."""
    return int(value) if value.is_integer() else value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is given twice")
    return fields


def _taken(takes: type[msgspec.Struct]) -> str:
    names = ", ".join(takes.__struct_encode_fields__)
    return f"takes {names}" if names else "takes no parameters"


def _converted(values: Mapping[str, str | list[str]], takes: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(values, takes, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`").partition("[")[0]
        raise _unfit(name) from error


def _given(name: str, values: list[str], is_repeatable: bool) -> str | list[str]:
    if is_repeatable:
        return values
    if len(values) > 1:
        raise bad_request(f"{name} is given more than once.")
    return values[0]


def _texts(name: str, values: list[str]) -> list[str]:
    """Raises Problem for what is no text: JSON can escape half a character, and UTF-8 cannot encode it."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError as error:
        raise _unfit(name) from error
    return values


def _unfit(name: str) -> Problem:
    return bad_request(BAD_CURSOR if name == "cursor" else f"{name} must be {contract.WORDS[name]}.")


def _words(text: str) -> list[Asked]:
    words = [*asked_words(text)]
    if not words:
        raise bad_request("text must have a word, of letters or digits.")
    if any(word.is_prefix and len(word.term.name) < LEAST_PREFIX for word in words):
        raise bad_request(f"A * in text must end a word of at least {LEAST_PREFIX} letters or digits.")
    return words


def _once(asked: list[Asked]) -> tuple[Asked, ...]:
    """Without what means the same as something before it."""
    first: dict[tuple[Term, bool], Asked] = {}
    for each in asked:
        first.setdefault((each.term, each.is_prefix), each)
    return tuple(first.values())


def _summary(summary: Summary) -> Any:
    return contract.told_of(contract.Summary, summary, summary.source_file, thumbnail_url=None)


def _hit(hit: Hit) -> Any:
    summary, matched = hit.summary, [contract.Match(**asdict(match)) for match in hit.matched]
    return contract.told_of(contract.Hit, summary, summary.source_file, thumbnail_url=None, matched=matched)


def _delivery(callback: Callback) -> contract.Delivery:
    is_pending = callback.state is State.PENDING
    return contract.Delivery(
        delivery_id=callback.event_id,
        type=callback.type,
        host=callback.host,
        state=callback.state,
        created_at=callback.created_at,
        attempts=callback.attempts,
        next_attempt=timestamp(datetime.fromtimestamp(callback.due_at, UTC)) if is_pending else None,
    )


def _encode_cursor(position: Position, fingerprint: bytes) -> str:
    payload = msgspec.msgpack.encode(position)  # JSON takes six characters for a control character
    return base64.urlsafe_b64encode(_checksum(payload, fingerprint) + payload).rstrip(b"=").decode()


def _decode_cursor(cursor: str, fingerprint: bytes) -> Position | None:
    try:
        token = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = msgspec.msgpack.decode(token[CHECKSUM_BYTES:], type=Position)
    except ValueError:
        return None
    return position if _encode_cursor(position, fingerprint) == cursor else None


def _have_forms(position: Position, forms: Forms) -> bool:
    return len(position) == len(forms) and all(fits(part) for fits, part in zip(forms, position, strict=True))


def _checksum(payload: bytes, fingerprint: bytes) -> bytes:
    """Tells a cursor of another query and a changed one; not a secret, since there is nothing to gain."""
    return hashlib.sha256(fingerprint + b"\0" + payload).digest()[:CHECKSUM_BYTES]
