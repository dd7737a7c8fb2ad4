import hashlib
import json
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import items, log, rows
from chalicelib.callback import Errand, PastAttempt, State
from chalicelib.callback_url import CallbackRules, Found
from chalicelib.errors import AccessLost
from chalicelib.model import image_id
from chalicelib.notifications import notification_of
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud import resources
from local_cloud.clock import SystemClock
from local_cloud.endpoint import Endpoint
from local_cloud.functions import Function, FunctionSettings
from local_cloud.object_events import ObjectEvent
from tests.api_client import Answer, ApiClient
from tests.conftest import ROOT, settings_of
from tests.faults import Step, json_error, plan, raising, xml_error
from tests.lambda_events import SCHEDULED, context, received
from tests.log_lines import log_lines
from tests.pictures import LabelSpec, picture
from tests.scripted_rekognition import ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CAR: LabelSpec = {
    "Name": "Car",
    "Confidence": 98.71,
    "Categories": [{"Name": "Vehicles and Automotive"}],
    "Parents": [{"Name": "Vehicle"}],
    "Aliases": [{"Name": "Automobile"}],
    "Instances": [
        {"Confidence": 97.2, "BoundingBox": {"Left": 0.1, "Top": 0.2, "Width": 0.5, "Height": 0.4}}
    ],
}
CAR_ANSWERED = {
    "name": "Car",
    "confidence": 98.71,
    "categories": ["Vehicles and Automotive"],
    "parents": ["Vehicle"],
    "aliases": ["Automobile"],
    "instances": [{"confidence": 97.2, "box": {"left": 0.1, "top": 0.2, "width": 0.5, "height": 0.4}}],
}
WHEEL_ANSWERED = {
    "name": "Wheel",
    "confidence": 77.0,
    "categories": [],
    "parents": [],
    "aliases": [],
    "instances": [],
}


ODD_KEYS = {
    "space": "my dog.png",
    "space around": " dog.png ",
    "plus": "a+b.png",
    "percent": "100%.png",
    "what looks encoded": "a%2Fb%20c.png",
    "slash": "2026/01/02/dog.png",
    "slash first": "/dog.png",
    "dots": "../../etc/passwd",
    "emoji": "🐕.png",
    "delimiters": "#1?x=1&y=2;z.png",
    "NFC": "caf\u00e9.png",
    "NFD": "cafe\u0301.png",
    "line feed": "a\nb.png",
    "HTML": '<img src=x onerror="alert(1)">.png',
    "quotes": "back\\slash'quote\".png",
    "1024 bytes": "é" * 500 + "/" * 24,
}
ODD_LABELS = {
    "space": ("Dining Table", "dINING tABLE"),
    "slash": ("Black/White", "black/white"),
    "percent": ("100%", "100%"),
    "what looks encoded": ("a%2Fb", "A%2fB"),
    "plus": ("C++", "c++"),
    "delimiters": ("#1?", "#1?"),
    "sharp s": ("Straße", "STRASSE"),
    "NFC and NFD": ("Caf\u00e9", "CAFE\u0301"),
    "Greek": ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    "emoji": ("Hot Dog 🌭", "hot dog 🌭"),
    "HTML": ("<script>", "<SCRIPT>"),
    "line feed": ("a\r\nX-Header: b", "A\r\nx-header: B"),
    "long": ("x" * 1500, "X" * 1500),
}
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)  # when the gallery was labelled


@dataclass(frozen=True)
class Uploader:
    """Puts pictures into the bucket, and hands S3's own events about it to the app when told."""

    s3: "S3Client"
    bucket: str
    handle: Callable[[Any, Any], None]
    records: list[ObjectEvent]

    def put(self, key: str, *labels: LabelSpec | str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=picture(*labels))

    def deliver(self) -> None:
        event = {"Records": [*self.records]}
        self.records.clear()
        self.handle(event, context())

    def label(self, key: str, *labels: LabelSpec | str) -> None:
        self.put(key, *labels)
        self.deliver()


@pytest.fixture
def uploader(
    s3: "S3Client",
    services: Services,
    api: ApiClient,
    app_module: ModuleType,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> Uploader:
    records: list[ObjectEvent] = []
    monkeypatch.setattr(endpoint, "on_object_event", records.append)
    return Uploader(s3, services.bucket.name, app_module.label_uploaded_image, records)


@dataclass(frozen=True)
class ServicesAt(Services):
    """Services to which it is a given time."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


@pytest.fixture(scope="module")
def gallery_services(
    endpoint: Endpoint, scripted_rekognition: ScriptedRekognition, app_module: ModuleType
) -> Services:
    """A stage with a picture under every odd key, and one with every odd label, labelled at the same time."""
    stage = f"t{secrets.token_hex(6)}"
    outputs = resources.create(boto3.Session(), stage, ROOT / ".chalice/resources.yaml")
    settings = settings_of(stage, outputs)
    records: list[ObjectEvent] = []
    uploader = Uploader(boto3.client("s3"), settings.images_bucket, app_module.label_uploaded_image, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "on_object_event", records.append)
        patch.setattr(app_module, "services", ServicesAt(settings, MOMENT))
        for key in ODD_KEYS.values():
            uploader.put(key, "Dog 90")
        uploader.put("certain.png", "Dog 100")
        uploader.put("unlikely.png", "Dog 50")
        uploader.put("labels.png", *(f"{label} 60" for label, _ in ODD_LABELS.values()))
        uploader.put("car.png", CAR, "Wheel 77")
        uploader.deliver()
    return Services(settings)


@pytest.fixture
def gallery(
    gallery_services: Services,
    server: ApiClient,
    app_module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> ApiClient:
    """The API over a stage that many tests share; what they find there they leave as it is."""
    monkeypatch.setattr(app_module, "services", gallery_services)
    return server


def read(text: str, confidence: float) -> Any:
    """A line of one word, as the scripted Rekognition reads it."""
    where = {"confidence": confidence, "box": {"left": 0.1, "top": 0.2, "width": 0.5, "height": 0.25}}
    return {"line": text, **where, "words": [{"word": text, **where}]}


def problem(status: int, title: str, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def names(answer: Answer) -> list[str]:
    return [item["source_file"] for item in answer.body["items"]]


def pages(get: Callable[..., Answer], *segments: str, **parameters: Any) -> Iterator[list[str]]:
    """The names on each page from the first to the last."""
    cursor: dict[str, str] = {}
    for _ in range(100):
        answer = get(*segments, **parameters, **cursor)
        yield names(answer)
        if answer.body["next_cursor"] is None:
            return
        cursor = {"cursor": answer.body["next_cursor"]}
    pytest.fail("the list has no end")


def put(upload: Any, body: bytes, without: str = "") -> int:
    """Does what the answer to POST /images says, and nothing else; the status that S3 gives."""
    url = urlsplit(upload["url"])
    connection = HTTPConnection(url.netloc, timeout=30)
    connection.putrequest(upload["method"], f"{url.path}?{url.query}")
    for name, value in {"Content-Length": str(len(body)), **upload["headers"]}.items():
        if name != without:
            connection.putheader(name, value)
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_api_is_healthy(server: ApiClient) -> None:
    answer = server.get("health")

    assert (answer.status, answer.body) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_picture_is_answered_for_whole(gallery: ApiClient, gallery_services: Services) -> None:
    answer = gallery.get("images", "Y2FyLnBuZw")

    versions = gallery_services.s3.list_object_versions(Bucket=gallery_services.bucket.name, Prefix="car.png")
    [stored] = versions["Versions"]
    assert (answer.status, answer.body) == (
        200,
        {
            "image_id": "Y2FyLnBuZw",
            "source_file": "car.png",
            "status": "labelled",
            "reason": None,
            "content_type": "image/png",
            "size": stored["Size"],
            "version_id": stored["VersionId"],
            "etag": stored["ETag"].strip('"'),
            "uploaded_at": f"{stored['LastModified']:%Y-%m-%dT%H:%M:%SZ}",
            "labelled_at": "2026-01-02T03:04:05Z",
            "labels": [CAR_ANSWERED, WHEEL_ANSWERED],
            "text": [read("Car", 98.71)],
            "moderation": {"flagged": False, "labels": [], "content_types": []},
            "properties": None,
            "model_versions": {"labels": "3.0", "moderation": "7.0", "text": "3.0"},
            "metadata": {},
            "reused_from": None,
            "callback": None,
        },
    )


def test_an_answer_is_sent_once_to_a_client_that_keeps_it(uploader: Uploader, api: ApiClient) -> None:
    uploader.label("car.png", CAR)
    etag = api.get("images", "Y2FyLnBuZw").headers["etag"]

    same = api.send("GET", "/images/Y2FyLnBuZw", headers={"If-None-Match": etag})
    uploader.label("car.png", "Cat 90")
    newer = api.send("GET", "/images/Y2FyLnBuZw", headers={"If-None-Match": etag})

    assert (same.status, same.body, same.headers["etag"]) == (304, None, etag)
    assert (newer.status, [label["name"] for label in newer.body["labels"]]) == (200, ["Cat"])


def test_one_label_of_an_image_is_answered_with_its_boxes(gallery: ApiClient) -> None:
    answer = gallery.get("images", "Y2FyLnBuZw", "labels", "cAR")

    assert (answer.status, answer.body) == (
        200,
        {"image_id": "Y2FyLnBuZw", "source_file": "car.png", **CAR_ANSWERED},
    )


def test_an_image_stands_in_lists_as_a_summary(uploader: Uploader, api: ApiClient) -> None:
    uploader.label("car.png", CAR, "A 94", "B 95", "C 96", "D 97", "E 98")

    by_time = api.get("images")
    by_label = api.get("labels", "car", "images")
    by_key = api.get("images", key="car.png")

    labelled_at = api.get("images", "Y2FyLnBuZw").body["labelled_at"]
    best = {"Car": 98.71, "E": 98.0, "D": 97.0, "C": 96.0, "B": 95.0}
    summary = {
        "image_id": "Y2FyLnBuZw",
        "source_file": "car.png",
        "status": "labelled",
        "reason": None,
        "labelled_at": labelled_at,
        "top_labels": [{"name": name, "confidence": confidence} for name, confidence in best.items()],
        "thumbnail_url": None,
    }
    assert (by_time.status, by_time.body) == (200, {"items": [summary], "next_cursor": None})
    assert (by_label.status, by_label.body) == (by_time.status, by_time.body)
    assert (by_key.status, by_key.body) == (by_time.status, by_time.body)


def test_what_is_no_picture_is_listed_as_failed_with_its_reason(
    uploader: Uploader, api: ApiClient, s3: "S3Client"
) -> None:
    uploader.label("car.png", CAR)
    s3.put_object(Bucket=uploader.bucket, Key="notes.jpg", Body=b"no picture")
    uploader.deliver()

    failed = api.get("images", status="failed")

    [item] = failed.body["items"]
    assert (item["source_file"], item["status"], item["reason"]) == (
        "notes.jpg",
        "failed",
        "unsupported_format",
    )
    assert names(api.get("images", status="labelled")) == ["car.png"]


def test_images_with_a_label_come_most_confident_first(uploader: Uploader, api: ApiClient) -> None:
    for key, confidence in {"b.png": 60, "c.png": 99.5, "a.png": 100, "d.png": 87.5}.items():
        uploader.put(key, f"Dog {confidence}")
    uploader.deliver()

    everything = api.get("labels", "Dog", "images")
    likely = api.get("labels", "dog", "images", min_confidence="87.5")
    certain = api.get("labels", "DOG", "images", min_confidence="100")

    assert names(everything) == ["a.png", "c.png", "d.png", "b.png"]
    assert names(likely) == ["a.png", "c.png", "d.png"]
    assert names(certain) == ["a.png"]
    assert names(api.get("labels", "Cat", "images")) == []


def test_images_come_newest_first(uploader: Uploader, api: ApiClient) -> None:
    for key in ("b.png", "a.png", "c.png"):
        uploader.label(key)
    uploader.label("a.png", CAR)

    assert names(api.get("images")) == ["a.png", "c.png", "b.png"]


@pytest.mark.parametrize(
    ("segments", "parameters"),
    [
        pytest.param(("images",), {"status": "labelled"}, id="by status"),
        pytest.param(("labels", "Dog", "images"), {}, id="by label"),
        pytest.param(("labels", "Dog", "images"), {"min_confidence": "90"}, id="by confidence"),
    ],
)
def test_pages_of_any_size_make_the_list_without_a_repeat_or_a_gap(
    segments: tuple[str, ...], parameters: dict[str, str], gallery: ApiClient
) -> None:
    whole = names(gallery.get(*segments, **parameters, limit=100))
    sizes = (1, 2, 7, len(whole) - 1, len(whole), len(whole) + 1)

    paged = {size: list(pages(gallery.get, *segments, **parameters, limit=size)) for size in sizes}

    assert len(whole) == len(set(whole))
    assert {*ODD_KEYS.values(), "certain.png"} <= set(whole)
    assert paged == {
        size: [whole[start : start + size] for start in range(0, len(whole), size)] for size in sizes
    }


def test_pages_of_all_statuses_make_the_list_too(gallery: ApiClient) -> None:
    gallery.post("images")
    whole = names(gallery.get("images", limit=100))

    paged = list(pages(gallery.get, "images", limit=5))

    assert [name for page in paged for name in page] == whole
    assert {*ODD_KEYS.values(), "certain.png"} < set(whole)


def test_a_list_goes_on_where_the_last_image_of_a_page_was_removed(
    uploader: Uploader, api: ApiClient, s3: "S3Client"
) -> None:
    for key in ("c.png", "b.png", "a.png"):
        uploader.put(key, "Dog 90")
    uploader.deliver()
    lists = [("images",), ("labels", "Dog", "images")]
    whole = [names(api.get(*segments)) for segments in lists]
    cursors = [api.get(*segments, limit=1).body["next_cursor"] for segments in lists]
    for key, *_ in whole:
        s3.delete_object(Bucket=uploader.bucket, Key=key)
    uploader.deliver()

    rest = [names(api.get(*each, cursor=cursor)) for each, cursor in zip(lists, cursors, strict=True)]

    gone = {each[0] for each in whole}
    assert rest == [[key for key in each if key not in gone] for each in whole]


def test_a_cursor_of_another_list_is_refused(gallery: ApiClient) -> None:
    cursor = gallery.get("labels", "Dog", "images", limit=1).body["next_cursor"]

    refused = [
        gallery.get("labels", "Car", "images", cursor=cursor),
        gallery.get("labels", "Dog", "images", cursor=cursor, min_confidence=50),
        gallery.get("images", cursor=cursor),
    ]

    detail = "cursor was changed or belongs to another query; start again without it."
    assert [answer.body for answer in refused] == 3 * [problem(400, "Bad Request", detail)]


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS)
def test_a_picture_is_readable_under_its_exact_key_through_every_route(key: str, gallery: ApiClient) -> None:
    image = gallery.get("images", image_id(key))
    label = gallery.get("images", image_id(key), "labels", "dog")
    by_key = gallery.get("images", key=key)

    assert (image.status, image.body["source_file"], image.body["status"]) == (200, key, "labelled")
    assert (label.status, label.body["source_file"], label.body["confidence"]) == (200, key, 90)
    assert [(item["source_file"], item["image_id"]) for item in by_key.body["items"]] == [
        (key, image_id(key))
    ]


@pytest.mark.parametrize(("name", "asked"), ODD_LABELS.values(), ids=ODD_LABELS)
def test_a_label_is_found_however_it_is_spelled(name: str, asked: str, gallery: ApiClient) -> None:
    label = gallery.get("images", image_id("labels.png"), "labels", asked)
    images = gallery.get("labels", asked, "images")

    assert (label.status, label.body["name"], label.body["confidence"]) == (200, name, 60)
    assert names(images) == ["labels.png"]


@given(st.text(min_size=1, max_size=1200) | st.sampled_from([".", "..", "é" * 1024, "x" * 5000]))
@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_in_a_request_is_a_crash(gallery: ApiClient, text: str) -> None:
    answers = [
        gallery.get("images", text),
        gallery.get("images", image_id(text)),
        gallery.get("images", image_id("car.png"), "labels", text),
        gallery.get("labels", text, "images", limit=1),
        gallery.get("images", key=text),
        gallery.get("images", cursor=text),
        gallery.get("images", status=text),
        gallery.post("images", body={"filename": text}),
        gallery.post("images", body={"metadata": {text: text}}),
    ]

    assert {answer.status for answer in answers} <= {200, 201, 400, 404, 422}


def test_names_in_nfc_and_nfd_are_two_images(gallery: ApiClient) -> None:
    composed = gallery.get("images", image_id("caf\u00e9.png"))
    decomposed = gallery.get("images", image_id("cafe\u0301.png"))

    assert composed.body["version_id"] != decomposed.body["version_id"]


def test_markup_in_names_and_labels_is_only_ever_json(gallery: ApiClient) -> None:
    answers = [
        gallery.get("images", key='<img src=x onerror="alert(1)">.png'),
        gallery.get("labels", "<script>", "images"),
        gallery.get("images", image_id("labels.png"), "labels", "a\r\nX-Header: b"),
        gallery.send("GET", "/images", {"<script>": "1"}),
    ]

    heads = [(each.headers["content-type"], each.headers["x-content-type-options"]) for each in answers]
    assert heads == 3 * [("application/json", "nosniff")] + [("application/problem+json", "nosniff")]
    assert not any("x-header" in each.headers for each in answers)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/images/bm9uZQ", id="unknown"),
        pytest.param("/images/car.png", id="a key for an id"),
        pytest.param("/images/!", id="no id"),
        pytest.param("/images/bGFiZWxzLnBuZx", id="another spelling of an id that is known"),
        pytest.param("/images/bm9uZQ/labels/Dog", id="a label of an unknown image"),
        pytest.param("/images//labels/Dog", id="a label of an empty id"),
    ],
)
def test_an_unknown_image_is_not_found(path: str, gallery: ApiClient) -> None:
    answer = gallery.send("GET", path)

    assert (answer.status, answer.body) == (404, problem(404, "Not Found", "There is no such image."))
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_without_an_image_is_an_empty_list(gallery: ApiClient) -> None:
    answer = gallery.get("images", key="nothing.png")

    assert (answer.status, answer.body) == (200, {"items": [], "next_cursor": None})


def test_a_list_says_what_is_wrong_with_a_parameter(gallery: ApiClient) -> None:
    limit = gallery.get("images", limit="101")
    least = gallery.get("labels", "Dog", "images", min_confidence="nan")
    repeated = gallery.send("GET", "/images", [("limit", 5), ("limit", 5)])

    assert limit.body == problem(400, "Bad Request", "limit must be a whole number from 1 to 100.")
    assert least.body == problem(
        400, "Bad Request", "min_confidence must be a number from 0 to 100, such as 87.5."
    )
    assert repeated.body == problem(400, "Bad Request", "limit is given more than once.")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        pytest.param("lmit=5", "lmit", id="misspelled"),
        pytest.param("Limit=5", "Limit", id="other case"),
        pytest.param("=5", "", id="empty"),
        pytest.param("limit%20=5", "limit ", id="space behind"),
        pytest.param("%00=5", "\0", id="NUL"),
    ],
)
def test_every_route_refuses_a_parameter_that_it_does_not_know(
    query: str, name: str, gallery: ApiClient, app_module: ModuleType
) -> None:
    routes = [(method, path) for path, views in app_module.app.routes.items() for method in views]

    answers = [
        gallery.send(method, f"{re.sub('{.+?}', 'Y2FyLnBuZw', path)}?{query}") for method, path in routes
    ]

    said = {route: answer.body["detail"].split(";")[0] for route, answer in zip(routes, answers, strict=True)}
    assert said == dict.fromkeys(routes, f"Unknown parameter {name!r}")
    assert {answer.status for answer in answers} == {400}


def test_a_method_that_a_route_lacks_is_a_problem(server: ApiClient) -> None:
    answer = server.send("PATCH", "/images")

    assert (answer.status, answer.body) == (
        405,
        problem(405, "Method Not Allowed", "Unsupported method: PATCH"),
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "POST, GET"


@pytest.mark.parametrize("content_type", ["text/html", "application/x-www-form-urlencoded", "image/png"])
def test_a_body_of_another_media_type_is_a_problem(content_type: str, server: ApiClient) -> None:
    answer = server.send("POST", "/images", body=b"{}", headers={"Content-Type": content_type})

    detail = f"Unsupported media type: {content_type}; send JSON with Content-Type: application/json"
    assert (answer.status, answer.body) == (415, problem(415, "Unsupported Media Type", detail))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 400, id="no JSON"),
        pytest.param(b"[]", 422, id="array"),
        pytest.param(b'{"size": -1}', 422, id="wrong value"),
        pytest.param(b'{"key": "mine"}', 422, id="a key of the client's own"),
        pytest.param(secrets.token_bytes(2**20), 413, id="junk"),
    ],
)
def test_a_wrong_body_is_a_problem(body: bytes, status: int, gallery: ApiClient) -> None:
    answer = gallery.send("POST", "/images", body=body)

    assert (answer.status, answer.body["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_crash_is_a_problem_without_a_stack_trace(
    server: ApiClient, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "services", None)

    answer = server.get("images", "Y2FyLnBuZw")

    assert (answer.status, answer.body) == (
        500,
        problem(500, "Internal Server Error", "An internal server error occurred."),
    )
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [None, {}], ids=["no body", "empty object"])
def test_an_upload_may_be_announced_without_a_word(body: Any, gallery: ApiClient) -> None:
    answer = gallery.post("images", body=body)

    key = answer.body["source_file"]
    url = answer.body["upload_url"]
    expires_at = answer.body["upload"].pop("expires_at")
    assert (answer.status, answer.body) == (
        201,
        {
            "image_id": image_id(key),
            "source_file": key,
            "status": "awaiting_upload",
            "upload_url": url,
            "upload": {"method": "PUT", "url": url, "headers": {"If-None-Match": "*"}},
        },
    )
    assert re.fullmatch(r"uploads/[A-Za-z0-9_-]{16}/picture", key)
    assert 880 < (datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds() <= 900


def test_an_announced_picture_is_uploaded_with_the_headers_of_the_answer_and_labelled(
    uploader: Uploader, api: ApiClient
) -> None:
    body = picture("Dog 90")
    asked = {
        "filename": "My Dog.PNG",
        "content_type": "image/png",
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "metadata": {"camera": "X 100"},
    }
    announced = api.post("images", body=asked).body
    before = api.get("images", announced["image_id"]).body

    status = put(announced["upload"], body)
    uploader.deliver()

    after = api.get("images", announced["image_id"]).body
    told = ("status", "content_type", "size", "metadata")
    assert announced["source_file"].endswith("/My-Dog.PNG")
    assert [before[field] for field in told] == [
        "awaiting_upload",
        "image/png",
        len(body),
        {"camera": "X 100"},
    ]
    assert status == 200
    assert [after[field] for field in told] == ["labelled", "image/png", len(body), {"camera": "X 100"}]


@pytest.mark.parametrize(
    "header", ["Content-Type", "If-None-Match", "x-amz-checksum-sha256", "x-amz-meta-camera"]
)
def test_an_upload_that_lacks_a_header_of_the_answer_is_refused(header: str, gallery: ApiClient) -> None:
    body = picture("Dog 90")
    asked = {
        "content_type": "image/png",
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "metadata": {"camera": "X 100"},
    }
    announced = gallery.post("images", body=asked).body

    assert put(announced["upload"], body, without=header) == 403


def test_an_upload_url_overwrites_nothing(gallery: ApiClient) -> None:
    upload = gallery.post("images").body["upload"]

    statuses = [put(upload, picture("Dog 90")), put(upload, picture("Cat 90"))]

    assert statuses == [200, 412]


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        pytest.param("../../etc/passwd", "passwd", id="path"),
        pytest.param("C:\\Users\\me\\dog.jpg", "dog.jpg", id="Windows path"),
        pytest.param("dog\r\nX: y.jpg\0", "dog-X-y.jpg-", id="control characters"),
        pytest.param(".htaccess", "htaccess", id="hidden"),
        pytest.param("🐕", "picture", id="nothing left"),
        pytest.param("<script>.png", "script-.png", id="HTML"),
        pytest.param("a" * 1024, "a" * 100, id="long"),
    ],
)
def test_a_file_name_is_only_the_harmless_end_of_the_key(filename: str, end: str, gallery: ApiClient) -> None:
    key = gallery.post("images", body={"filename": filename}).body["source_file"]

    assert re.fullmatch(rf"uploads/[A-Za-z0-9_-]{{16}}/{re.escape(end)}", key)


def test_an_upload_that_never_comes_leaves_nothing_behind(
    api: ApiClient, settings: Settings, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = api.post("images").body
    waiting = names(api.get("images", status="awaiting_upload"))
    monkeypatch.setattr(app_module, "services", ServicesAt(settings, datetime.now(UTC) + timedelta(hours=2)))

    gone = api.get("images", announced["image_id"])

    assert waiting == [announced["source_file"]]
    assert gone.status == 404
    assert names(api.get("images")) == []
    assert names(api.get("images", key=announced["source_file"])) == []


def test_a_deleted_image_is_gone_from_every_route(uploader: Uploader, api: ApiClient) -> None:
    uploader.label("car.png", CAR)

    deleted = api.delete("images", "Y2FyLnBuZw")
    uploader.deliver()

    assert (deleted.status, deleted.body) == (202, {"image_id": "Y2FyLnBuZw", "source_file": "car.png"})
    assert api.get("images", "Y2FyLnBuZw").status == 404
    assert api.get("images", "Y2FyLnBuZw", "labels", "Car").status == 404
    assert names(api.get("images")) == []
    assert names(api.get("images", key="car.png")) == []
    assert names(api.get("labels", "Car", "images")) == []
    assert api.delete("images", "Y2FyLnBuZw").status == 404


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://example.com/", "The URL must begin with https://."),
        ("https://169.254.169.254/latest", "The host is not on the public internet."),
        ("https://nowhere.invalid/", "The host has no address."),
        ("", "The URL must look like https://example.com/path."),
    ],
)
def test_a_callback_that_may_not_be_called_is_refused_with_the_reason(
    url: str, detail: str, api: ApiClient, services: Services
) -> None:
    def resolve(*_: object) -> Found:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    vars(services)["callback_rules"] = CallbackRules(resolve=resolve)

    answer = api.post("images", body={"callback_url": url})

    assert (answer.status, answer.body["detail"]) == (422, f"callback_url: {detail}")
    assert api.get("images").body["items"] == []


@pytest.mark.parametrize("url", [5, ["https://example.com"], {"url": "https://example.com"}])
def test_a_callback_url_is_a_text(url: object, api: ApiClient) -> None:
    assert api.post("images", body={"callback_url": url}).status == 422


def test_name_servers_that_do_not_answer_are_no_fault_of_the_url(api: ApiClient, services: Services) -> None:
    def resolve(*_: object) -> Found:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    vars(services)["callback_rules"] = CallbackRules(resolve=resolve)

    assert api.post("images", body={"callback_url": "https://example.com/"}).status == 503


def test_a_picture_keeps_its_callback_until_it_is_removed(uploader: Uploader, api: ApiClient) -> None:
    announced = api.post("images", body={"callback_url": "https://192.0.9.1/hook?token=5ec2e7"}).body
    key, path = announced["source_file"], ("images", announced["image_id"])
    callbacks = [api.get(*path).body["callback"]]

    uploader.label(key, "Dog 90")
    callbacks.append(api.get(*path).body["callback"])
    api.post(*path, "relabel")
    uploader.label(key, "Cat 90")
    callbacks.append(api.get(*path).body["callback"])
    uploader.s3.delete_object(Bucket=uploader.bucket, Key=key)
    uploader.deliver()
    uploader.label(key, "Dog 90")
    callbacks.append(api.get(*path).body["callback"])

    assert callbacks == [*3 * [{"host": "192.0.9.1"}], None]


@pytest.fixture
def told(
    uploader: Uploader, services: Services, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Announces so many answers about a picture, a second after the other; the ids of the events."""

    def tell(times: int) -> list[str]:
        for number in range(times):
            uploader.label("car.png", CAR)
            then = ServicesAt(services.settings, MOMENT + timedelta(seconds=number))
            replace(then.dispatching, url=HOOK).announce(None, row_of(services, "car.png"))
        monkeypatch.setattr(app_module, "services", then)
        return [callback.event_id for callback in then.callbacks.of_image("car.png", MOMENT)]

    return tell


def row_of(services: Services, key: str) -> dict[str, Any]:
    item = services.dynamodb.get_item(
        TableName=services.settings.images_table, Key=items.marshal(rows.image_key(key))
    )["Item"]
    return items.unmarshal(item)


HOOK = "https://example.com/hook?token=5ec2e7"
DELIVERIES = ("images", "Y2FyLnBuZw", "deliveries")


def test_deliveries_are_told_with_their_attempts_and_no_more_of_the_url_than_its_host(
    told: Callable[..., list[str]], services: Services, api: ApiClient
) -> None:
    [event] = told(1)
    claimed = services.callbacks.claim("car.png", event, "mine", MOMENT)
    assert claimed is not None
    failed = claimed.after(PastAttempt("2026-01-02T03:04:06Z", "5xx", 31), State.PENDING, 0, MOMENT)
    services.callbacks.record(replace(failed, due_at=MOMENT.timestamp() + 63.5), "mine", MOMENT)

    answer = api.get(*DELIVERIES)

    assert answer.body == {
        "items": [
            {
                "delivery_id": event,
                "type": "image.labelled",
                "host": "example.com",
                "state": "pending",
                "created_at": "2026-01-02T03:04:05Z",
                "attempts": [{"at": "2026-01-02T03:04:06Z", "outcome": "5xx", "milliseconds": 31}],
                "next_attempt": "2026-01-02T03:05:08Z",
            }
        ],
        "next_cursor": None,
    }


@pytest.mark.parametrize("state", [State.DELIVERED, State.GONE, State.EXHAUSTED])
def test_what_is_over_has_no_next_attempt(
    state: State, told: Callable[..., list[str]], services: Services, api: ApiClient
) -> None:
    [event] = told(1)
    claimed = services.callbacks.claim("car.png", event, "mine", MOMENT)
    assert claimed is not None
    services.callbacks.record(replace(claimed, state=state), "mine", None)

    [delivery] = api.get(*DELIVERIES).body["items"]

    assert (delivery["state"], delivery["next_attempt"]) == (state, None)


def test_deliveries_are_listed_the_newest_first_page_by_page(
    told: Callable[..., list[str]], api: ApiClient
) -> None:
    events = told(3)

    first = api.get(*DELIVERIES, limit=2).body
    second = api.get(*DELIVERIES, limit=2, cursor=first["next_cursor"]).body

    pages = [[delivery["delivery_id"] for delivery in page["items"]] for page in (first, second)]
    assert pages == [events[:2], events[2:]]
    assert second["next_cursor"] is None


def test_a_picture_without_callbacks_has_no_deliveries_and_no_picture_is_not_found(api: ApiClient) -> None:
    known = api.post("images").body["image_id"]

    assert api.get("images", known, "deliveries").body == {"items": [], "next_cursor": None}
    assert api.get("images", image_id("none"), "deliveries").status == 404


def test_a_delivery_is_sent_again(told: Callable[..., list[str]], services: Services, api: ApiClient) -> None:
    [event] = told(1)
    received(services.settings.callbacks_queue_url)
    claimed = services.callbacks.claim("car.png", event, "mine", MOMENT)
    assert claimed is not None
    services.callbacks.record(replace(claimed, state=State.GONE), "mine", None)

    answer = api.post(*DELIVERIES, event, "replay")

    assert answer.status == 202
    assert (answer.body["delivery_id"], answer.body["state"], answer.body["attempts"]) == (
        event,
        "pending",
        [],
    )
    [message] = received(services.settings.callbacks_queue_url)["Records"]
    assert json.loads(message["body"])["event_id"] == event


@pytest.mark.parametrize("delivery", [f"evt_{32 * '0'}", "evt_1", "%00", "evt_" + 33 * "0", "image"])
def test_a_delivery_that_there_is_not_is_not_sent_again(delivery: str, gallery: ApiClient) -> None:
    answer = gallery.post("images", "Y2FyLnBuZw", "deliveries", delivery, "replay")

    assert (answer.status, answer.body["detail"]) == (404, "There is no such delivery.")


def test_an_announced_upload_can_be_called_off(uploader: Uploader, api: ApiClient) -> None:
    announced = api.post("images").body

    deleted = api.delete("images", announced["image_id"])
    uploader.deliver()

    assert deleted.status == 202
    assert api.get("images", announced["image_id"]).status == 404


def test_an_object_that_is_not_labelled_yet_can_be_deleted(
    uploader: Uploader, api: ApiClient, s3: "S3Client"
) -> None:
    uploader.put("car.png", CAR)

    deleted = api.delete("images", "Y2FyLnBuZw")

    assert deleted.status == 202
    assert "Contents" not in s3.list_objects_v2(Bucket=uploader.bucket)


def test_an_image_that_is_not_there_cannot_be_deleted(gallery: ApiClient) -> None:
    answer = gallery.delete("images", image_id("none"))

    assert (answer.status, answer.body) == (404, problem(404, "Not Found", "There is no such image."))


def test_an_image_is_labelled_again(
    uploader: Uploader, api: ApiClient, services: Services, app_module: ModuleType
) -> None:
    uploader.label("a b.png", CAR)
    before = api.get("images", image_id("a b.png")).body

    asked = api.post("images", image_id("a b.png"), "relabel")
    with log_lines() as lines:
        told = app_module.label_queued_image(received(services.settings.labelling_queue_url), context())

    assert (asked.status, asked.body) == (202, {"image_id": image_id("a b.png"), "source_file": "a b.png"})
    assert told == {"batchItemFailures": []}
    assert lines.facts("image", "outcome") == [{"image": "a b.png", "outcome": "labelled"}]
    after = api.get("images", image_id("a b.png")).body
    assert {**after, "labelled_at": None} == {**before, "labelled_at": None}


def test_an_image_that_is_not_there_cannot_be_labelled_again(gallery: ApiClient) -> None:
    answer = gallery.post("images", image_id("none"), "relabel")

    assert (answer.status, answer.body) == (404, problem(404, "Not Found", "There is no such image."))


@pytest.fixture
def strict(services: Services, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The app's, where moderation puts pictures away."""
    quarantines = replace(services.settings, detect=("labels", "moderation"), moderation="quarantine")
    strict = Services(quarantines)
    monkeypatch.setattr(app_module, "services", strict)
    return strict


NOT_YET = problem(409, "Conflict", "There is nothing to be labelled yet; once there is, it will be.")


def test_a_picture_that_is_still_awaited_cannot_be_labelled_again(api: ApiClient) -> None:
    expected = api.post("images").body

    assert api.post("images", expected["image_id"], "relabel").body == NOT_YET


def test_a_picture_on_its_way_out_of_quarantine_cannot_be_labelled_again(
    uploader: Uploader, api: ApiClient, strict: Services, app_module: ModuleType
) -> None:
    uploader.label("bad.png", "Graphic Violence 99")
    api.post("images", image_id("bad.png"), "release")
    copying = strict.quarantining.quarantine._copying.meta.events
    plan(copying, "s3.CopyObject", xml_error(503, "SlowDown"))
    app_module.label_queued_image(received(strict.settings.labelling_queue_url), context())

    assert api.get("images", image_id("bad.png")).body["status"] == "processing"
    assert api.post("images", image_id("bad.png"), "relabel").body == NOT_YET


URL = "http://127.0.0.1/"
DYNAMODB_DOWN = {
    "500": json_error(500, "InternalServerError"),
    "no right": json_error(400, "AccessDeniedException"),
    "no answer": raising(ReadTimeoutError(endpoint_url=URL)),
    "no connection": raising(EndpointConnectionError(endpoint_url=URL)),
}
S3_DOWN = {
    "500": xml_error(500, "InternalError"),
    "no right": xml_error(403, "AccessDenied"),
    "no answer": raising(ReadTimeoutError(endpoint_url=URL)),
}
REPLAY = f"/images/bm9uZQ/deliveries/evt_{32 * '0'}/replay"
BY_KEY = ("dynamodb.GetItem", "GET", "/images/Y2FyLnBuZw")
BY_LOOK = ("s3.GetObject", "DELETE", "/images/bm9uZQ")


@pytest.mark.parametrize(
    ("operation", "method", "path", "fault"),
    [
        *(pytest.param(*BY_KEY, fault, id=f"GetItem {name}") for name, fault in DYNAMODB_DOWN.items()),
        *(pytest.param(*BY_LOOK, fault, id=f"GetObject {name}") for name, fault in S3_DOWN.items()),
        pytest.param("dynamodb.GetItem", "GET", "/images?key=car.png", DYNAMODB_DOWN["500"], id="by key"),
        pytest.param(
            "dynamodb.GetItem", "GET", "/images/Y2FyLnBuZw/labels/Dog", DYNAMODB_DOWN["500"], id="a label"
        ),
        pytest.param("dynamodb.Query", "GET", "/images", DYNAMODB_DOWN["500"], id="newest"),
        pytest.param("dynamodb.Query", "GET", "/labels/Dog/images", DYNAMODB_DOWN["500"], id="by label"),
        pytest.param("dynamodb.PutItem", "POST", "/images", DYNAMODB_DOWN["500"], id="an upload"),
        pytest.param(
            "dynamodb.UpdateItem",
            "POST",
            "/images/bm9uZQ/relabel",
            DYNAMODB_DOWN["500"],
            id="labelling again",
        ),
        pytest.param(
            "dynamodb.Query", "GET", "/images/bm9uZQ/deliveries", DYNAMODB_DOWN["500"], id="deliveries"
        ),
        pytest.param("dynamodb.UpdateItem", "POST", REPLAY, DYNAMODB_DOWN["500"], id="a replay"),
        pytest.param(
            "s3.DeleteObject", "DELETE", f"/images/{image_id('🐕.png')}", S3_DOWN["500"], id="a deletion"
        ),
    ],
)
def test_a_service_that_is_down_is_a_503_that_says_when_to_come_back(
    operation: str,
    method: str,
    path: str,
    fault: Step,
    gallery: ApiClient,
    gallery_services: Services,
    app_module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = Services(gallery_services.settings)
    requests = plan(services.session.events, operation, *5 * [fault])
    monkeypatch.setattr(app_module, "services", services)

    answer = gallery.send(method, path)

    assert requests
    assert (answer.status, answer.body) == (
        503,
        problem(
            503,
            "Service Unavailable",
            "A service behind this API gives no answer at the moment; try again shortly.",
        ),
    )
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"] == "application/problem+json"


def test_regression_chalice_reads_the_first_record_of_an_s3_event(uploader: Uploader, api: ApiClient) -> None:
    for key in ("a b.png", "c+d.png", "%2F.png"):
        uploader.put(key, "Dog 90")

    uploader.deliver()

    assert sorted(names(api.get("images", status="labelled"))) == ["%2F.png", "a b.png", "c+d.png"]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(
            {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b", "RequestId": "1", "HostId": "2"},
            id="test event",
        ),
        pytest.param({"Records": []}, id="no records"),
        pytest.param({"Records": None}, id="null for records"),
        pytest.param({}, id="empty"),
        pytest.param({"Records": [{}, None, 5, "x", [], {"s3": None}]}, id="junk for records"),
        pytest.param({"Records": [{"s3": {"object": {"key": 5}}}]}, id="a number for a key"),
        pytest.param({"junk": "x" * 65_536}, id="64 kB of junk"),
    ],
)
def test_regression_chalice_dies_of_an_s3_event_without_a_record(
    event: Any, app_module: ModuleType, gallery_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "services", gallery_services)

    assert app_module.label_uploaded_image(event, context()) is None


def test_a_record_that_fails_costs_its_neighbours_nothing(
    uploader: Uploader, api: ApiClient, rekognition: ScriptedRekognition
) -> None:
    for key in ("a.png", "b.png", "c.png"):
        uploader.put(key, "Dog 90")
    rekognition.failures["DetectLabels"].append((400, "AccessDeniedException"))

    uploader.deliver()

    assert sorted(names(api.get("images", status="labelled"))) == ["b.png", "c.png"]
    assert names(api.get("images", status="queued")) == ["a.png"]


def test_a_request_is_one_line_that_names_the_image(uploader: Uploader, api: ApiClient) -> None:
    uploader.label("car.png", CAR)

    with log_lines() as lines:
        api.get("images", "Y2FyLnBuZw", "labels", "car")

    [line] = lines.all
    assert lines.facts("level", "message", "method", "route", "status", "image", "outcome") == [
        {
            "level": "INFO",
            "message": "GET /images/{image_id}/labels/{label}",
            "method": "GET",
            "route": "/images/{image_id}/labels/{label}",
            "status": 200,
            "image": "car.png",
        }
    ]
    assert isinstance(line["milliseconds"], int)
    assert re.fullmatch("[0-9a-f-]{36}", line["request_id"])


def test_an_upload_that_is_announced_is_logged_with_the_key_it_gets(api: ApiClient) -> None:
    with log_lines() as lines:
        announced = api.post("images").body

    assert lines.facts("message", "status", "image") == [
        {"message": "POST /images", "status": 201, "image": announced["source_file"]}
    ]


@pytest.mark.parametrize(
    ("method", "path", "facts"),
    [
        pytest.param("GET", "/images/!", {"message": "GET /images/{image_id}", "status": 404}, id="no image"),
        pytest.param("GET", "/images?limit=0", {"message": "GET /images", "status": 400}, id="a parameter"),
        pytest.param("PATCH", "/images", {"message": "PATCH /images", "status": 405}, id="no method"),
        pytest.param(
            "DELETE",
            "/images/bm9uZQ",
            {"message": "DELETE /images/{image_id}", "status": 404, "image": "none"},
            id="unknown image",
        ),
    ],
)
def test_what_is_refused_is_one_line_too(
    method: str, path: str, facts: dict[str, Any], gallery: ApiClient
) -> None:
    with log_lines() as lines:
        gallery.send(method, path)

    assert lines.facts("level", "message", "status", "image") == [{"level": "INFO", **facts}]


def test_an_event_that_no_gateway_sends_is_one_line_too(app_module: ModuleType) -> None:
    with log_lines() as lines:
        answer = app_module.app({"junk": 1}, None)

    assert answer["statusCode"] == 500
    assert lines.facts("message", "status") == [{"message": "no request", "status": 500}]


def test_an_outage_is_one_warning(services: Services, api: ApiClient) -> None:
    plan(services.session.events, "dynamodb.GetItem", *5 * [DYNAMODB_DOWN["no right"]])

    with log_lines() as lines:
        api.get("images", "Y2FyLnBuZw")

    [line] = lines.all
    assert lines.facts("level", "outcome", "route", "status", "image") == [
        {
            "level": "WARNING",
            "outcome": "access_lost",
            "route": "/images/{image_id}",
            "status": 503,
            "image": "car.png",
        }
    ]
    assert "AccessDeniedException" in line["message"]


def test_a_crash_is_one_error_that_says_where(
    server: ApiClient, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "services", None)

    with log_lines() as lines:
        server.get("images", "Y2FyLnBuZw")

    [line] = lines.all
    assert lines.facts("level", "outcome", "route", "status", "image") == [
        {
            "level": "ERROR",
            "outcome": "crashed",
            "route": "/images/{image_id}",
            "status": 500,
            "image": "car.png",
        }
    ]
    assert "in get_image" in line["exception"]


def test_the_lines_of_an_event_carry_its_request_id(
    uploader: Uploader, api: ApiClient, app_module: ModuleType
) -> None:
    uploader.put("a.png", "Dog 90")
    uploader.put("b.png", "Dog 90")
    event = {"Records": [*uploader.records, {"s3": {}}]}

    with log_lines() as lines:
        answer = Function(
            "label", app_module.label_uploaded_image, FunctionSettings(900), SystemClock()
        ).invoke(event, request_id="the request")
        api.get("health")

    *of_event, of_health = lines.facts("level", "image", "request_id")
    assert answer.error is None
    assert of_event == [
        {"level": "ERROR", "request_id": "the request"},
        {"level": "INFO", "image": "a.png", "request_id": "the request"},
        {"level": "INFO", "image": "b.png", "request_id": "the request"},
    ]
    assert of_health["request_id"] != "the request"


def test_an_event_that_comes_twice_costs_one_look_at_the_picture(
    uploader: Uploader, rekognition: ScriptedRekognition
) -> None:
    uploader.put("a.png", "Dog 90")
    event = {"Records": [*uploader.records, *uploader.records]}

    for _ in range(2):
        uploader.handle(event, context())

    assert list(rekognition.calls.values()) == [1]


def test_the_app_shows_nobody_its_stack_traces(app_module: ModuleType) -> None:
    assert app_module.app.debug is False


def test_a_label_of_a_picture_that_is_not_yet_labelled_is_a_problem_that_says_so(api: ApiClient) -> None:
    expected = api.post("images").body

    answer = api.get("images", expected["image_id"], "labels", "dog")

    detail = "This image has no such label; its status is awaiting_upload."
    assert (answer.status, answer.body) == (404, problem(404, "Not Found", detail))


def test_a_picture_in_quarantine_is_listed_released_and_only_once(
    uploader: Uploader, api: ApiClient, strict: Services, app_module: ModuleType
) -> None:
    uploader.label("bad.png", "Graphic Violence 99", "Dog 90")
    hidden = api.get("images", status="quarantined").body["items"]
    refused = api.post("images", image_id("bad.png"), "relabel")

    released = api.post("images", image_id("bad.png"), "release")
    app_module.label_queued_image(received(strict.settings.labelling_queue_url), context())

    detail = "The picture is in quarantine; release it, and it is labelled."
    assert (refused.status, refused.body) == (409, problem(409, "Conflict", detail))
    assert [(each["source_file"], each["top_labels"]) for each in hidden] == [("bad.png", [])]
    assert (released.status, released.body["source_file"]) == (202, "bad.png")
    assert names(api.get("labels", "dog", "images")) == ["bad.png"]
    again = api.post("images", image_id("bad.png"), "release")
    detail = "Its status is labelled, and not quarantined."
    assert (again.status, again.body) == (409, problem(409, "Conflict", detail))


def test_a_picture_in_quarantine_is_deleted_from_both_buckets(
    uploader: Uploader,
    api: ApiClient,
    s3: "S3Client",
    services: Services,
    app_module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strict = replace(services.settings, detect=("labels", "moderation"), moderation="quarantine")
    monkeypatch.setattr(app_module, "services", Services(strict))
    uploader.label("bad.png", "Graphic Violence 99")

    deleted = api.delete("images", image_id("bad.png"))
    too_late = api.post("images", image_id("bad.png"), "release")
    uploader.deliver()

    assert deleted.status == 202
    detail = "It is on its way into quarantine, or to be removed from there."
    assert (too_late.status, too_late.body) == (409, problem(409, "Conflict", detail))
    assert api.get("images", image_id("bad.png")).status == 404
    assert "Contents" not in s3.list_objects_v2(Bucket=services.settings.quarantine_bucket)


CHANGE = {"Keys": {"source_file": {"S": "a.png"}, "entry": {"S": "image"}}, "SequenceNumber": "1"}
MESSAGE = {
    "messageId": "m1",
    "receiptHandle": "handle",
    "attributes": {"ApproximateReceiveCount": "1"},
}
EVENTS: dict[str, Any] = {
    "label_uploaded_image": notification_of("a.png"),
    "label_queued_image": {"Records": [{**MESSAGE, "body": json.dumps(notification_of("a.png"))}]},
    "notify": {"Records": [{"dynamodb": CHANGE}]},
    "index_image": {"Records": [{"dynamodb": CHANGE}]},
    "deliver_callback": {"Records": [{**MESSAGE, "body": Errand("a.png", "evt_1").text}]},
    "recover": SCHEDULED,
}


def test_every_function_that_is_refused_something_counts_it(
    api: ApiClient, app_module: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    denied = json_error(400, "AccessDeniedException")
    plan(services.session.events, "dynamodb", *[denied] * 100)

    for name, event in EVENTS.items():
        monkeypatch.setattr(log, "count_access_lost", lambda name=name: counted.append(name))
        with suppress(AccessLost):
            app_module.app.handler_map[name](event, context())
    monkeypatch.setattr(log, "count_access_lost", lambda: counted.append("api_handler"))
    api.get("images")

    assert list(dict.fromkeys(counted)) == [*EVENTS, "api_handler"]


def test_refusals_are_counted_for_the_alarm(
    app_module: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")

    log.failed(AccessLost("denied"))

    [line] = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["stage"], json.loads(line)["AccessLost"]) == ("local", [1.0])
