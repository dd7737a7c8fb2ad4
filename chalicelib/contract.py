"""What each route takes and answers.

Requests are checked by these types, answers are made of them, and /openapi.json says what they say.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from http import HTTPStatus
from typing import Annotated, Any, Literal, get_type_hints

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct, structs
from msgspec import field as member

from chalicelib import model
from chalicelib.callback import PastAttempt, State
from chalicelib.callback_url import MAX_URL
from chalicelib.document import Because
from chalicelib.model import MAX_KEY_BYTES, VISIBLE, Upload
from chalicelib.room import MAX_NAME

MAX_LIMIT, DEFAULT_LIMIT = 100, 20
MAX_ASKED = 20  # labels and words in one search
MAX_TEXT = 500  # characters

# What must be so, in words that end the sentence "... must be".
WORDS: Mapping[str, str] = {
    "limit": f"a whole number from 1 to {MAX_LIMIT}",
    "min_confidence": "a number from 0 to 100, such as 87.5",
    "status": f"one of {', '.join(VISIBLE)}",
    "label": f"a label of 1 to {MAX_NAME} characters, at most {MAX_ASKED} times",
    "not": f"a label of 1 to {MAX_NAME} characters, at most {MAX_ASKED} times",
    "text": f"words, in 1 to {MAX_TEXT} characters; taxi* finds what begins so",
    "prefix": f"the beginning of a label, of 1 to {MAX_NAME} characters",
    "key": f"an object key of 1 to {MAX_KEY_BYTES} bytes",
    "cursor": "the next_cursor of the page before",
    "content_type": "image/ and a subtype, in lower case",
    "sha256": "64 hexadecimal digits, in lower case",
    "metadata": "names of a-z, 0-9 and -, at most 64 characters long, and values of printable ASCII"
    " that neither begin nor end with a space",
}
EACH: Mapping[str, str] = {
    "label": "what the picture must show, by the name of a label, an alias or a parent; once for each, and"
    f" at most {MAX_ASKED} labels and words in all",
    "not": "what it must not show, by the same names; once for each",
}
ABOUT: Mapping[str, str] = {
    "image_id": "The object's key in base64url, without padding.",
    "source_file": "The object's key.",
    "status": "Where the picture stands.",
    "reason": "Why there will be no labels, of a picture that has failed.",
    "content_type": "What the bytes are, whatever the upload said.",
    "labelled_at": "When the answer was written.",
    "labels": "The surest first.",
    "text": "Lines in the order of reading; null where DETECT does not ask for text.",
    "moderation": "Null where DETECT does not ask for it.",
    "properties": "Null where DETECT does not ask for them.",
    "model_versions": "Of the model that each answer is from.",
    "metadata": "What came with the upload.",
    "reused_from": "The key whose answer this is, where no detector was asked.",
    "top_labels": "Of the surest five those that are not hidden.",
    "thumbnail_url": "Reserved.",
    "callback": "Whom the picture's own callbacks tell of it.",
    "delivery_id": "The webhook-id of each attempt.",
    "next_attempt": "When it is due; null where there will be none.",
    "matched": "What the picture has of each thing that was asked for.",
    "word": "As it is read in the picture.",
    "because": "Of which label it is the name, an alias or a parent; or a word, as a whole or what it begins"
    " with.",
    "next_cursor": "For `cursor`, to ask for the next page; null on the last.",
}

VisibleStatus: Any = Literal[tuple(map(str, VISIBLE))]
DeliveryState: Any = Literal[tuple(map(str, State))]


def described(name: str, kind: Any) -> Any:
    return Annotated[kind, Meta(description=ABOUT[name])] if name in ABOUT else kind


def about(name: str, known: type, **more: Any) -> Any:
    """The type of an answer that says all that the model knows of something, and which image it is about."""
    hints = get_type_hints(known, include_extras=True)
    own = {field.name: hints[field.name] for field in fields(known)}
    named = {"image_id": str, "source_file": str, **own, **more}
    if "status" in named:
        named["status"] = VisibleStatus
    return defstruct(name, [(each, described(each, kind)) for each, kind in named.items()], module=__name__)


class Nothing(Struct, forbid_unknown_fields=True, frozen=True):
    """No parameters."""


class Page(Struct, forbid_unknown_fields=True, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description=WORDS["limit"])] = DEFAULT_LIMIT
    cursor: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", description=WORDS["cursor"])] | UnsetType = UNSET


class ImagesQuery(Page, frozen=True):
    status: Annotated[VisibleStatus, Meta(description=WORDS["status"])] | UnsetType = UNSET
    key: (
        Annotated[str, Meta(min_length=1, max_length=MAX_KEY_BYTES, description=WORDS["key"])] | UnsetType
    ) = UNSET


class ShowingQuery(Page, frozen=True):
    min_confidence: Annotated[float, Meta(ge=0, le=100, description=WORDS["min_confidence"])] = 0.0


ALabel = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]


class SearchQuery(ShowingQuery, frozen=True):
    """A parameter that has a list of values is given once for each."""

    label: Annotated[tuple[ALabel, ...], Meta(max_length=MAX_ASKED, description=EACH["label"])] = ()
    but_not: Annotated[tuple[ALabel, ...], Meta(max_length=MAX_ASKED, description=EACH["not"])] = member(
        name="not", default=()
    )
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT, description=WORDS["text"])] | UnsetType = (
        UNSET
    )


class NamesQuery(Page, frozen=True):
    prefix: (
        Annotated[str, Meta(min_length=1, max_length=MAX_NAME, description=WORDS["prefix"])] | UnsetType
    ) = UNSET


class UploadRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """What `POST /images` takes; all of it is optional."""

    # (?!\n)$ ends a text in Python, whose $ leaves a line feed over, and in JSON Schema, which has no \Z.
    filename: Annotated[str, Meta(max_length=1024)] | None = None
    content_type: Annotated[str, Meta(pattern=r"^image/[a-z0-9.+-]{1,50}(?!\n)$")] | None = None
    size: Annotated[int, Meta(ge=1)] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")] | None = None
    metadata: dict[
        Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}(?!\n)$")],
        Annotated[str, Meta(pattern=r"^[!-~]([ -~]*[!-~])?(?!\n)$")],
    ] = {}
    callback_url: Annotated[str, Meta(max_length=MAX_URL)] | None = None

    @property
    def upload(self) -> Upload:
        return Upload(self.content_type, self.size, self.sha256, self.metadata, self.callback_url)


class Problem(Struct, frozen=True):
    """What is wrong, and what to do (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Health(Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Accepted(Struct, frozen=True):
    """It is under way."""

    image_id: Annotated[str, Meta(description=ABOUT["image_id"])]
    source_file: Annotated[str, Meta(description=ABOUT["source_file"])]


class Put(Struct, frozen=True):
    """The request that uploads the picture: with these headers, and before it expires."""

    method: Literal["PUT"]
    url: str
    headers: Mapping[str, str]
    expires_at: str


class ExpectedUpload(Struct, frozen=True):
    image_id: Annotated[str, Meta(description=ABOUT["image_id"])]
    source_file: Annotated[str, Meta(description=ABOUT["source_file"])]
    status: Literal["awaiting_upload"]
    upload_url: str
    upload: Put


class Delivery(Struct, frozen=True):
    """A callback on its way: what it tells, to whom, and what has been tried."""

    delivery_id: Annotated[str, Meta(description=ABOUT["delivery_id"])]
    type: str
    host: str
    state: DeliveryState
    created_at: str
    attempts: tuple[PastAttempt, ...]
    next_attempt: Annotated[str | None, Meta(description=ABOUT["next_attempt"])]


class Deliveries(Struct, frozen=True):
    items: list[Delivery]
    next_cursor: Annotated[str | None, Meta(description=ABOUT["next_cursor"])]


Image = about("Image", model.Image)
Summary = about("Summary", model.Summary, thumbnail_url=str | None)
ImageLabel = about("ImageLabel", model.Label)
Match = defstruct(
    "Match",
    [
        ("asked", str),
        ("label", str | None),
        ("word", described("word", str | None)),
        ("because", described("because", Literal[tuple(map(str, Because))])),
        ("confidence", float),
    ],
    module=__name__,
)
Hit = about("Hit", model.Summary, thumbnail_url=str | None, matched=list[Match])  # type: ignore[valid-type]
Images = defstruct(
    "Images",
    [("items", list[Summary]), ("next_cursor", described("next_cursor", str | None))],  # type: ignore[valid-type]
    module=__name__,
)

Hits = defstruct(
    "Hits",
    [("items", list[Hit]), ("next_cursor", described("next_cursor", str | None))],  # type: ignore[valid-type]
    module=__name__,
)


class Name(Struct, frozen=True):
    """Of labels, and how many pictures have it."""

    name: str
    count: int


class Names(Struct, frozen=True):
    items: list[Name]
    next_cursor: Annotated[str | None, Meta(description=ABOUT["next_cursor"])]


def repeatable(query: type[Struct]) -> set[str]:
    """The parameters that have a list of values."""
    return {each.encode_name for each in structs.fields(query) if each.default == ()}


def told(image: model.Image) -> Any:
    """An image as every reader sees it, in answers and in callbacks."""
    return told_of(Image, image, image.source_file)


def told_of(kind: Any, known: Any, key: str, **more: Any) -> Any:
    """An answer with all that is known of something, and which image it is about."""
    return kind(**{**asdict(known), **names(key)}, **more)  # msgspec passes over what is as by default


def names(key: str) -> dict[str, str]:
    return {"image_id": model.image_id(key), "source_file": key}


@dataclass(frozen=True)
class Operation:
    """A route: what it is for, what it takes, and what it answers when all is well."""

    summary: str
    answer: Any
    status: HTTPStatus = HTTPStatus.OK
    media: str = "application/json"
    query: type[Struct] = Nothing
    body: type[Struct] | None = None
    has_etag: bool = False  # and answers 304 to a client that has that very answer
    may_conflict: bool = False  # with where the picture is


Route = tuple[str, str]  # method and path

OPERATIONS: Mapping[Route, Operation] = {
    ("GET", "/health"): Operation("Say that the API is there", Health),
    ("GET", "/openapi.json"): Operation("This description", Mapping[str, Any]),
    ("GET", "/docs"): Operation("This description, to read", str, media="text/html"),
    ("POST", "/images"): Operation(
        "Announce a picture, and get a URL to upload it with",
        ExpectedUpload,
        HTTPStatus.CREATED,
        body=UploadRequest,
    ),
    ("GET", "/images"): Operation("List images, last changed first", Images, query=ImagesQuery),
    ("GET", "/images/{image_id}"): Operation("Tell what is in a picture", Image, has_etag=True),
    ("DELETE", "/images/{image_id}"): Operation("Delete a picture", Accepted, HTTPStatus.ACCEPTED),
    ("POST", "/images/{image_id}/release"): Operation(
        "Bring a picture back from quarantine", Accepted, HTTPStatus.ACCEPTED, may_conflict=True
    ),
    ("POST", "/images/{image_id}/relabel"): Operation(
        "Have a picture labelled again", Accepted, HTTPStatus.ACCEPTED, may_conflict=True
    ),
    ("GET", "/images/{image_id}/deliveries"): Operation(
        "List the callbacks of an image, the newest first", Deliveries, query=Page
    ),
    ("POST", "/images/{image_id}/deliveries/{delivery_id}/replay"): Operation(
        "Send a callback again", Delivery, HTTPStatus.ACCEPTED
    ),
    ("GET", "/images/{image_id}/labels/{label}"): Operation("Tell of one label of an image", ImageLabel),
    ("GET", "/labels"): Operation("List the names that pictures can be found by", Names, query=NamesQuery),
    ("GET", "/search"): Operation(
        "Find pictures by what they show and by words in them",
        Hits,
        query=SearchQuery,
    ),
    ("GET", "/labels/{label}/images"): Operation(
        "List the images with a label, most confident first", Images, query=ShowingQuery
    ),
}
