import base64
import dataclasses
import json
import string
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from chalice.app import Request, Response
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import api, contract
from chalicelib.errors import AccessLost, Contended, Retryable, ServiceFailed, Throttled
from chalicelib.model import (
    VISIBLE,
    Box,
    Color,
    Image,
    Instance,
    Label,
    Line,
    Listener,
    Moderation,
    ModerationLabel,
    Properties,
    Region,
    Status,
    Summary,
    Upload,
    Word,
    is_object_key,
)
from chalicelib.store import Listed

Parameters = list[tuple[str, str]]

IMAGES: Any = ("/images", {})
MOMENT = "2026-01-02T03:04:05.678901Z~0123abcd"
MAX_BYTES = 5_000_000
TOO_MANY_BYTES = "size: a picture may have at most 5000000 bytes."
LONGEST_KEY = 1024 * "\x01"


def request(
    query: Parameters | None = None, path: Any = ("/images", {}), body: Any = None, **headers: str
) -> Request:
    """A request as API Gateway hands it over."""
    resource, uri_params = path
    values: dict[str, list[str]] = {}
    for name, value in query or []:
        values.setdefault(name, []).append(value)
    return Request(
        {
            "multiValueQueryStringParameters": values or None,
            "headers": {name.replace("_", "-"): value for name, value in headers.items()},
            "pathParameters": uri_params,
            "requestContext": {"httpMethod": "GET", "resourcePath": resource},
            "body": body,
            "stageVariables": None,
        }
    )


def showing(label: str) -> tuple[str, dict[str, str]]:
    return "/labels/{label}/images", {"label": label}


def listing(*parameters: tuple[str, str], path: Any = None) -> api.Query:
    if path is None:
        path = showing("Dog") if "min_confidence" in dict(parameters) else IMAGES
    return api.Query(request(list(parameters), path))


def listed(position: Any) -> Listed:
    return Listed(position, Summary("car.png", Status.LABELLED, None, None, ()))


def cursor_after(position: Any, *parameters: tuple[str, str], path: Any = None) -> str:
    """The cursor of a first page that ends at this position, whatever the position is."""
    query = listing(("limit", "1"), *parameters, path=path)
    cursor: str = query.page(iter([listed(position), listed(position)])).body["next_cursor"]
    return cursor


def moment_in(cursor: str, *parameters: tuple[str, str]) -> Any:
    return listing(("cursor", cursor), *parameters).after(api.BY_TIME)


def refusal(attempt: Callable[..., object], *arguments: Any) -> tuple[int, str]:
    with pytest.raises(api.Problem) as raised:
        attempt(*arguments)
    return raised.value.status, raised.value.detail


def upload_problem(body: bytes) -> tuple[int, str]:
    return refusal(api.upload_request, request(body=body), MAX_BYTES)


BAD_CURSOR = (400, "cursor was changed or belongs to another query; start again without it.")


@pytest.mark.parametrize(
    ("segment", "label"),
    [
        pytest.param("Dining%20Table", "Dining Table", id="space"),
        pytest.param("a%2Fb", "a/b", id="slash"),
        pytest.param("a%2fb", "a/b", id="lower-case hex"),
        pytest.param("100%25", "100%", id="percent"),
        pytest.param("%252F", "%2F", id="decoded once"),
        pytest.param("a+b", "a+b", id="a plus is a plus in a path"),
        pytest.param("caf%C3%A9", "café", id="accent"),
        pytest.param("%F0%9F%90%95", "🐕", id="emoji"),
        pytest.param("%23%3F", "#?", id="delimiters"),
        pytest.param("a%00b", "a\0b", id="NUL"),
        pytest.param("5%", "5%", id="a stray percent sign"),
    ],
)
def test_regression_path_parameters_come_url_encoded(segment: str, label: str) -> None:
    assert api.label_name(segment) == label


@pytest.mark.parametrize("segment", ["%FF", "%C3", "%ED%A0%80"], ids=["byte", "cut short", "surrogate"])
def test_a_label_that_is_no_utf_8_is_refused(segment: str) -> None:
    assert refusal(api.label_name, segment) == (
        400,
        "The label in the path is not URL-encoded UTF-8.",
    )


@pytest.mark.parametrize(
    "image_id",
    [
        pytest.param("Y2FyLnBuZx", id="stray bits"),
        pytest.param("Y2FyLnBuZw==", id="padding"),
        pytest.param("Y2FyLnBuZw%3D%3D", id="encoded padding"),
        pytest.param("", id="empty"),
        pytest.param("a/+b", id="the other alphabet"),
        pytest.param("_w", id="no UTF-8"),
        pytest.param("é", id="no ASCII"),
    ],
)
def test_an_id_that_image_id_would_not_spell_is_not_found(image_id: str) -> None:
    assert refusal(api.source_file, image_id) == (404, "There is no such image.")


def test_an_unknown_parameter_is_named_with_those_that_are_known() -> None:
    status, detail = refusal(listing, ("lmit", "5"), ("a\nb", ""))

    assert (status, detail) == (
        400,
        r"Unknown parameter 'a\nb', 'lmit'; this route takes limit, cursor, status, key.",
    )


def test_a_route_without_parameters_says_so() -> None:
    status, detail = refusal(api.no_parameters, request([("limit", "5")], ("/health", {})))

    assert (status, detail) == (400, "Unknown parameter 'limit'; this route takes no parameters.")


@pytest.mark.parametrize("name", ["status", "key", "min_confidence", "limit", "cursor"])
def test_regression_chalice_gives_the_last_of_repeated_parameters(name: str) -> None:
    assert refusal(listing, (name, "5"), (name, "5")) == (400, f"{name} is given more than once.")


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1", 1), ("20", 20), ("100", 100), ("5.0", 5), ("1e1", 10)],
    ids=["least", "default", "most", "point", "exponent"],
)
def test_a_limit_in_range_is_taken(text: str, limit: int) -> None:
    assert listing(("limit", text)).limit == limit


def test_the_limit_is_20_unless_asked() -> None:
    assert listing().limit == 20


ODD_NUMBERS = [
    pytest.param("", id="empty"),
    pytest.param("-1", id="negative"),
    pytest.param("101", id="too much"),
    pytest.param("9" * 5000, id="5000 digits"),
    pytest.param("1e3", id="exponent"),
    pytest.param("1e999", id="more than a number holds"),
    pytest.param("null", id="null"),
    pytest.param("true", id="true"),
    pytest.param("+5", id="plus"),
    pytest.param(" 5", id="space before"),
    pytest.param("5\n", id="line feed behind"),
    pytest.param("05", id="leading zero"),
    pytest.param("1_0", id="underscore"),
    pytest.param("0x10", id="hex"),
    pytest.param("\uff15", id="full-width digit"),
    pytest.param("\u0665", id="arabic digit"),
    pytest.param("nan", id="nan"),
    pytest.param("inf", id="inf"),
    pytest.param("five", id="word"),
    pytest.param("1,5", id="comma"),
]


@pytest.mark.parametrize(
    "text",
    [
        *ODD_NUMBERS,
        pytest.param("0", id="zero"),
        pytest.param("-0", id="minus zero"),
        pytest.param("5.5", id="point"),
    ],
)
def test_a_limit_is_refused(text: str) -> None:
    assert refusal(lambda: listing(("limit", text)).limit) == (
        400,
        "limit must be a whole number from 1 to 100.",
    )


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("0", 0),
        ("-0", 0),
        ("87.5", 87.5),
        ("33.333333333333336", 33.333333333333336),
        ("5e-324", 5e-324),
        ("1E2", 100),
        ("100.0", 100),
    ],
)
def test_a_least_confidence_in_range_is_taken(text: str, confidence: float) -> None:
    assert listing(("min_confidence", text)).min_confidence == confidence


def test_the_least_confidence_is_0_unless_asked() -> None:
    assert listing(path=showing("Dog")).min_confidence == 0


@pytest.mark.parametrize(
    "text",
    [
        *ODD_NUMBERS,
        pytest.param("100.000001", id="a little too much"),
        pytest.param(".5", id="no digit before the point"),
        pytest.param("5.", id="no digit behind the point"),
    ],
)
def test_a_least_confidence_is_refused(text: str) -> None:
    assert refusal(lambda: listing(("min_confidence", text)).min_confidence) == (
        400,
        "min_confidence must be a number from 0 to 100, such as 87.5.",
    )


def test_a_status_selects_itself_and_none_selects_all_that_are_visible() -> None:
    assert listing(("status", "failed")).statuses == (Status.FAILED,)
    assert listing().statuses == VISIBLE


@pytest.mark.parametrize("text", ["", "removed", "Labelled", "labelled ", "null"])
def test_an_unknown_status_is_refused_with_those_that_are_known(text: str) -> None:
    assert refusal(lambda: listing(("status", text)).statuses) == (
        400,
        "status must be one of awaiting_upload, processing, queued, deferred, labelled, quarantining, "
        "quarantined, failed.",
    )


@pytest.mark.parametrize(
    "key", ["a", "é" * 512, "../x\n\0", "null"], ids=["short", "1024 bytes", "odd", "null"]
)
def test_any_string_that_can_be_an_object_name_is_a_key(key: str) -> None:
    assert listing(("key", key)).key == key


@pytest.mark.parametrize(
    "key", ["", "é" * 512 + "a", "\ud800"], ids=["empty", "1025 bytes", "lone surrogate"]
)
def test_what_cannot_be_an_object_name_is_refused_as_a_key(key: str) -> None:
    assert refusal(lambda: listing(("key", key)).key) == (
        400,
        "key must be an object key of 1 to 1024 bytes.",
    )


@pytest.mark.parametrize(
    ("parameters", "is_found"),
    [([], True), ([("status", "labelled")], True), ([("status", "failed")], False), ([("limit", "1")], True)],
    ids=str,
)
def test_an_image_is_looked_up_by_its_key_if_it_has_the_status(
    parameters: Parameters, is_found: bool
) -> None:
    response = listing(("key", "car.png"), *parameters).lookup(AN_IMAGE)

    assert [item["source_file"] for item in response.body["items"]] == (["car.png"] if is_found else [])
    assert response.body["next_cursor"] is None


def test_there_is_no_page_after_the_one_image_with_a_key() -> None:
    cursor = cursor_after((MOMENT,), ("key", "car.png"))

    assert refusal(lambda: listing(("key", "car.png"), ("cursor", cursor)).lookup(None)) == BAD_CURSOR
    assert listing(("key", "car.png")).lookup(None).body == {"items": [], "next_cursor": None}


def test_a_page_without_more_behind_it_has_no_cursor() -> None:
    response = listing(("limit", "1")).page(iter([listed((MOMENT,))]))

    assert response.body == {
        "items": [
            {
                "image_id": "Y2FyLnBuZw",
                "source_file": "car.png",
                "status": "labelled",
                "reason": None,
                "labelled_at": None,
                "top_labels": (),
                "thumbnail_url": None,
            }
        ],
        "next_cursor": None,
    }


confidences = st.floats(0, 100).map(repr).filter(lambda text: "e" not in text)
keys = st.text(min_size=1).filter(is_object_key)


@given(confidence=confidences, key=keys)
@settings(max_examples=50)
def test_a_cursor_gives_back_its_position(confidence: str, key: str) -> None:
    query = listing(("cursor", cursor_after((confidence, key))))

    assert query.after(api.by_confidence(0)) == (confidence, key)


def test_a_cursor_fits_pages_of_another_size() -> None:
    assert moment_in(cursor_after((MOMENT,)), ("limit", "7")) == (MOMENT,)


@pytest.mark.parametrize("key", [LONGEST_KEY, '"' * 1024, "🐕" * 256], ids=["control", "quotes", "emoji"])
def test_regression_a_cursor_for_the_longest_key_stays_below_2_kb(key: str) -> None:
    cursor = cursor_after(("98.71234893798828", key), path=showing("Dog"))

    assert len(cursor) < 1500


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        pytest.param([], showing("Cat"), id="another label"),
        pytest.param([], ("/images", {}), id="another route"),
        pytest.param([("min_confidence", "0")], showing("Dog"), id="a filter more"),
        pytest.param([("min_confidence", "50")], showing("Dog"), id="another threshold"),
    ],
)
def test_a_cursor_of_another_query_is_refused(parameters: Parameters, path: Any) -> None:
    cursor = cursor_after((MOMENT,), path=showing("Dog"))

    assert (
        refusal(lambda: listing(("cursor", cursor), *parameters, path=path).after(api.BY_TIME)) == BAD_CURSOR
    )


def test_a_cursor_changed_at_any_character_is_refused() -> None:
    cursor = cursor_after((MOMENT,))
    changed = [
        cursor[:at] + other + cursor[at + 1 :]
        for at in range(len(cursor))
        for other in string.ascii_letters + string.digits + "-_+/=é\0 "
        if other != cursor[at]
    ]

    assert {refusal(moment_in, each) for each in changed} == {BAD_CURSOR}


def test_a_cursor_cut_short_anywhere_is_refused() -> None:
    cursor = cursor_after((MOMENT,))

    assert {refusal(moment_in, cursor[:end]) for end in range(len(cursor))} == {BAD_CURSOR}


@pytest.mark.parametrize("more", ["A", "AAAA", "=", "==", " ", "\n", "\0", "é", "A" * 9000])
def test_a_cursor_with_more_behind_it_is_refused(more: str) -> None:
    assert refusal(moment_in, cursor_after((MOMENT,)) + more) == BAD_CURSOR


@pytest.mark.parametrize(
    "position",
    [
        pytest.param((), id="nothing"),
        pytest.param((MOMENT, MOMENT), id="a part too many"),
        pytest.param(("",), id="empty"),
        pytest.param(("~",), id="no moment"),
        pytest.param((MOMENT + "\n",), id="line feed behind"),
        pytest.param((MOMENT.replace("6", "\uff16"),), id="full-width digit"),
        pytest.param(("x" * 5000,), id="too long for DynamoDB"),
        pytest.param((5,), id="number"),
        pytest.param((None,), id="null"),
        pytest.param(([MOMENT],), id="nested"),
        pytest.param({MOMENT: MOMENT}, id="mapping"),
        pytest.param(MOMENT, id="bare text"),
        pytest.param((b"\xff",), id="bytes"),
    ],
)
def test_a_forged_cursor_with_a_right_checksum_is_refused(position: Any) -> None:
    assert refusal(moment_in, cursor_after(position)) == BAD_CURSOR


@pytest.mark.parametrize(
    "position",
    [
        pytest.param(("49.9", "car.png"), id="less than asked"),
        pytest.param(("100.1", "car.png"), id="more than everything"),
        pytest.param(("NaN", "car.png"), id="nan"),
        pytest.param(("Infinity", "car.png"), id="inf"),
        pytest.param(("6_0", "car.png"), id="underscore"),
        pytest.param(("\uff19\uff19", "car.png"), id="full-width digits"),
        pytest.param(("99." + 40 * "9", "car.png"), id="more digits than DynamoDB has"),
        pytest.param(("99", ""), id="no key"),
        pytest.param(("99", "é" * 513), id="a key too long"),
        pytest.param(("99", 5), id="a number for a key"),
        pytest.param(("99",), id="a part too few"),
    ],
)
def test_a_forged_cursor_of_a_label_is_refused(position: Any) -> None:
    parameters = ("min_confidence", "50")
    query = listing(("cursor", cursor_after(position, parameters)), parameters)

    assert refusal(lambda: query.after(api.by_confidence(50))) == BAD_CURSOR


@pytest.mark.parametrize(
    "confidence", ["0.1", "33.333333", "50", "50.0", "1E-7", "98.71234893798828", "100.0"]
)
def test_a_confidence_as_the_table_spells_it_is_a_position_from_itself_on(confidence: str) -> None:
    query = listing(("cursor", cursor_after((confidence, "car.png"))))

    assert query.after(api.by_confidence(float(confidence))) == (confidence, "car.png")


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
@settings(max_examples=200)
def test_whatever_else_stands_for_a_cursor_is_refused(cursor: str) -> None:
    assert refusal(moment_in, cursor) == BAD_CURSOR


@given(
    st.lists(
        st.tuples(st.sampled_from(["status", "key", "min_confidence", "limit", "cursor", "x"]), st.text()),
        max_size=4,
    ),
    st.sampled_from([IMAGES, showing("Dog")]),
)
@settings(max_examples=200)
def test_no_query_string_is_a_crash(parameters: Parameters, path: Any) -> None:
    try:
        query = listing(*parameters, path=path)
        own = (query.key, query.statuses) if path is IMAGES else (query.min_confidence, None)
        taken = *own, query.limit, query.after(api.BY_TIME)
    except api.Problem as problem:
        assert problem.status == 400  # noqa: PT017 - one of two right outcomes
    else:
        assert taken[2] in range(1, 101)


EVERY_FIELD = {
    "filename": "Mein Hund.JPG",
    "content_type": "image/jpeg",
    "size": MAX_BYTES,
    "sha256": "0a" * 32,
    "metadata": {"camera-model": "X 100 V"},
}


def test_every_field_of_an_upload_request_is_taken() -> None:
    asked = api.upload_request(request(body=json.dumps(EVERY_FIELD)), MAX_BYTES)

    assert asked.filename == "Mein Hund.JPG"
    assert asked.upload == Upload("image/jpeg", MAX_BYTES, "0a" * 32, {"camera-model": "X 100 V"})


@pytest.mark.parametrize("size", ["5.0", "5e0", "0.5E1", "5"])
def test_an_integer_is_one_however_it_is_spelled(size: str) -> None:
    assert api.upload_request(request(body=f'{{"size": {size}}}'), MAX_BYTES).size == 5


@pytest.mark.parametrize(
    "body", [None, b"", b"{}", b' {"filename": null} '], ids=["none", "empty", "object", "null"]
)
def test_an_upload_request_may_say_nothing(body: bytes | None) -> None:
    assert api.upload_request(request(body=body), MAX_BYTES) == contract.UploadRequest()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut short"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"{}{}", id="two"),
        pytest.param(b'{"size": NaN}', id="nan"),
        pytest.param(b'{"size": 10x}', id="hex"),
        pytest.param(b"{'size': 5}", id="single quotes"),
        pytest.param(b'{"size": 5,}', id="trailing comma"),
        pytest.param(b'{"filename": "\xff"}', id="no UTF-8"),
        pytest.param('{"filename": "a"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order mark"),
        pytest.param(b'{"filename": "\x00"}', id="NUL"),
        pytest.param(b'{"filename": "a\nb"}', id="line feed"),
        pytest.param(b'{"filename": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"filename": "a", "filename": "b"}', id="field given twice"),
        pytest.param(b'{"metadata": {"a": "1", "a": "2"}}', id="metadata given twice"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="a picture"),
    ],
)
def test_a_body_that_is_not_json_is_a_bad_request(body: bytes) -> None:
    status, detail = upload_problem(body)

    assert status == 400
    assert detail.startswith("The body must be one JSON object in UTF-8: ")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        pytest.param([], "Expected `object`, got `array`", id="array"),
        pytest.param(None, "Expected `object`, got `null`", id="null"),
        pytest.param("x", "Expected `object`, got `str`", id="text"),
        pytest.param({"key": "a"}, "Object contains unknown field `key`", id="unknown field"),
        pytest.param({"filename": 5}, "Expected `str | null`, got `int` - at `$.filename`", id="number"),
        pytest.param(
            {"filename": "a" * 1025}, "Expected `str` of length <= 1024 - at `$.filename`", id="long name"
        ),
        pytest.param({"size": "5"}, "Expected `int | null`, got `str` - at `$.size`", id="text for a number"),
        pytest.param({"size": 5.5}, "Expected `int | null`, got `float` - at `$.size`", id="fraction"),
        pytest.param({"size": True}, "Expected `int | null`, got `bool` - at `$.size`", id="boolean"),
        pytest.param({"size": 0}, "Expected `int` >= 1 - at `$.size`", id="nothing"),
        pytest.param({"size": MAX_BYTES + 1}, TOO_MANY_BYTES, id="a byte too many"),
        pytest.param({"size": 10**400}, TOO_MANY_BYTES, id="huge number"),
        pytest.param(
            {"metadata": []}, "Expected `object`, got `array` - at `$.metadata`", id="metadata list"
        ),
        pytest.param(
            {"metadata": {"a": 1}}, "Expected `str`, got `int` - at `$.metadata[...]`", id="metadata number"
        ),
        pytest.param(
            {"metadata": {"a": "b" * 2000}}, "metadata may have 2000 characters in all.", id="much metadata"
        ),
    ],
)
def test_a_body_with_a_wrong_value_says_where(body: Any, detail: str) -> None:
    assert upload_problem(json.dumps(body).encode()) == (422, detail)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"content_type": "text/html"}, "content_type", id="no image"),
        pytest.param({"content_type": "image/png\n"}, "content_type", id="line feed behind the type"),
        pytest.param({"content_type": "image/png\r\nX: y"}, "content_type", id="header in the type"),
        pytest.param({"sha256": "0a" * 31 + "0"}, "sha256", id="63 digits"),
        pytest.param({"sha256": "0a" * 31 + "0\n"}, "sha256", id="63 digits and a line feed"),
        pytest.param({"sha256": "0A" * 32}, "sha256", id="capital digits"),
        pytest.param({"metadata": {"A": "b"}}, "metadata", id="capital name"),
        pytest.param({"metadata": {"a\n": "b"}}, "metadata", id="line feed behind a name"),
        pytest.param({"metadata": {"a: b": "c"}}, "metadata", id="header in a name"),
        pytest.param({"metadata": {"a": "b\n"}}, "metadata", id="line feed behind a value"),
        pytest.param({"metadata": {"a": "b\r\nX: y"}}, "metadata", id="header in a value"),
        pytest.param({"metadata": {"a": " b"}}, "metadata", id="space before a value"),
        pytest.param({"metadata": {"a": "é"}}, "metadata", id="value of no ASCII"),
        pytest.param({"metadata": {"a": ""}}, "metadata", id="empty value"),
    ],
)
def test_what_could_not_be_signed_as_a_header_is_refused_with_the_form_it_must_have(
    body: Any, field: str
) -> None:
    status, detail = upload_problem(json.dumps(body).encode())

    assert (status, detail) == (422, f"{field}: {contract.WORDS[field]}.")


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"metadata":' + b'{"a":' * 10_000], ids=["arrays", "objects"]
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    status, _ = upload_problem(body)

    assert status == 400


def test_a_long_body_is_too_large() -> None:
    assert upload_problem(b"{}" + b" " * 64 * 1024) == (
        413,
        "The body may have 65536 bytes; the picture itself goes to the upload URL.",
    )


def test_the_longest_request_is_not_too_large() -> None:
    long = {"filename": "🐕" * 1024, "metadata": {f"{number:03}": "a" for number in range(500)}}

    asked = api.upload_request(request(body=json.dumps(long)), MAX_BYTES)

    assert asked.upload.metadata == long["metadata"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*EVERY_FIELD, "x"])


@given(
    st.one_of(st.binary(), st.dictionaries(fields, json_values).map(lambda body: json.dumps(body).encode()))
)
@settings(max_examples=200)
def test_no_body_is_a_crash(body: bytes) -> None:
    try:
        asked = api.upload_request(request(body=body), MAX_BYTES)
    except api.Problem as problem:
        assert problem.status in (400, 422)  # noqa: PT017 - one of two right outcomes
    else:
        assert isinstance(asked.upload, Upload)


AN_IMAGE = Image("car.png", Status.LABELLED, labels=(Label("Car", 98.71),))


def etag_of(image: Image) -> str:
    tag: str = api.image(request(), image).headers["ETag"]
    return tag


def test_an_image_is_rendered_whole() -> None:
    box = Box(0.1, 0.2, 0.5, 0.4)
    place = {"left": 0.1, "top": 0.2, "width": 0.5, "height": 0.4}
    whole = Image(
        source_file="car.png",
        status=Status.LABELLED,
        content_type="image/png",
        size=48_123,
        version_id="v1",
        etag="e1",
        uploaded_at="2026-01-02T03:04:01Z",
        labelled_at="2026-01-02T03:04:05Z",
        labels=(Label("Car", 98.71, ("Transport",), ("Vehicle",), ("Automobile",), (Instance(97.2, box),)),),
        text=(Line("NO TAXI", 99.1, box, (Word("NO", 99.2, box), Word("TAXI", 99.0, box))),),
        moderation=Moderation(True, (ModerationLabel("Weapons", 91.0, "Violence", 2),), ("Illustrated",)),
        properties=Properties(
            (Color("#008080", "teal", "green", 62.5),), 50.5, 60.5, 70.5, foreground=Region(sharpness=80.5)
        ),
        model_versions={"labels": "3.0", "moderation": "7.0", "text": "3.0"},
        metadata={"by": "Ann"},
        callback=Listener("hooks.example.com"),
    )

    assert json.loads(api.image(request(), whole).body) == {
        "image_id": "Y2FyLnBuZw",
        "source_file": "car.png",
        "status": "labelled",
        "reason": None,
        "content_type": "image/png",
        "size": 48_123,
        "version_id": "v1",
        "etag": "e1",
        "uploaded_at": "2026-01-02T03:04:01Z",
        "labelled_at": "2026-01-02T03:04:05Z",
        "labels": [
            {
                "name": "Car",
                "confidence": 98.71,
                "categories": ["Transport"],
                "parents": ["Vehicle"],
                "aliases": ["Automobile"],
                "instances": [{"confidence": 97.2, "box": place}],
            }
        ],
        "text": [
            {
                "line": "NO TAXI",
                "confidence": 99.1,
                "box": place,
                "words": [
                    {"word": "NO", "confidence": 99.2, "box": place},
                    {"word": "TAXI", "confidence": 99.0, "box": place},
                ],
            }
        ],
        "moderation": {
            "flagged": True,
            "labels": [{"name": "Weapons", "confidence": 91.0, "parent": "Violence", "level": 2}],
            "content_types": ["Illustrated"],
        },
        "properties": {
            "dominant_colors": [
                {"hex": "#008080", "css_color": "teal", "simplified_color": "green", "percent": 62.5}
            ],
            "sharpness": 50.5,
            "brightness": 60.5,
            "contrast": 70.5,
            "foreground": {"dominant_colors": [], "sharpness": 80.5, "brightness": None, "contrast": None},
            "background": None,
        },
        "model_versions": {"labels": "3.0", "moderation": "7.0", "text": "3.0"},
        "metadata": {"by": "Ann"},
        "reused_from": None,
        "callback": {"host": "hooks.example.com"},
    }


def test_what_no_detector_was_asked_for_is_null_but_labels_are_a_list() -> None:
    body = json.loads(api.image(request(), Image("car.png", Status.LABELLED)).body)

    assert (body["labels"], body["text"], body["moderation"], body["properties"]) == ([], None, None, None)


def test_regression_what_is_as_by_default_is_said_too() -> None:
    read = msgspec.convert(
        {"source_file": "a", "status": "labelled", "labels": [{"name": "Dog", "confidence": 5}]}, Image
    )

    image = json.loads(api.image(request(), read).body)
    label = api.label_of(read, "dog").body

    assert image.keys() == {"image_id", *(field.name for field in dataclasses.fields(Image))}
    assert image["labels"][0].keys() == {field.name for field in dataclasses.fields(Label)}
    assert label.keys() == {"image_id", "source_file", *image["labels"][0]}


def test_the_etag_changes_with_the_answer() -> None:
    other = Image("car.png", Status.LABELLED, labels=(Label("Car", 98.72),))

    assert etag_of(other) != etag_of(AN_IMAGE)


@pytest.mark.parametrize(
    "known", ["{}", "W/{}", '"other", {}', "*"], ids=["same", "weak", "one of several", "any"]
)
def test_an_answer_that_the_client_has_is_not_sent_again(known: str) -> None:
    etag = etag_of(AN_IMAGE)

    response = api.image(request(if_none_match=known.format(etag)), AN_IMAGE)

    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    assert (response.status_code, response.headers, response.body) == (304, headers, "")


@pytest.mark.parametrize("known", ["", '"other"', "other", ",,"])
def test_an_answer_that_the_client_lacks_is_sent(known: str) -> None:
    response = api.image(request(if_none_match=known), AN_IMAGE)

    assert response.status_code == 200


@pytest.mark.parametrize("name", ["traffic light", "TRAFFIC LIGHT", "Traffic Light"])
def test_a_label_is_found_in_any_case(name: str) -> None:
    image = Image("a b.png", Status.LABELLED, labels=(Label("Car", 98.0), Label("Traffic Light", 77.5)))

    assert api.label_of(image, name).body == {
        "image_id": "YSBiLnBuZw",
        "source_file": "a b.png",
        "name": "Traffic Light",
        "confidence": 77.5,
        "categories": (),
        "parents": (),
        "aliases": (),
        "instances": (),
    }


def test_a_label_that_the_image_lacks_is_not_found() -> None:
    assert refusal(api.label_of, AN_IMAGE, "Dog") == (404, "This image has no such label.")


def test_a_problem_is_rendered_as_rfc_9457_says() -> None:
    response = api.Problem(HTTPStatus.CONFLICT, "x" * 9000, {"Retry-After": "5"}).response()

    assert response.to_dict() == {
        "statusCode": 409,
        "headers": {"Content-Type": "application/problem+json", "Retry-After": "5"},
        "multiValueHeaders": {},
        "body": json.dumps(
            {"type": "about:blank", "title": "Conflict", "status": 409, "detail": "x" * 500},
            separators=(",", ":"),
        ),
    }


@pytest.mark.parametrize("failure", [AccessLost, Contended, ServiceFailed, Throttled])
def test_a_failing_service_is_a_503_that_tells_nothing_of_its_insides(failure: type[Retryable]) -> None:
    @api.answers
    def view() -> Response:
        raise failure("secret")

    response = view()

    assert response.status_code == 503
    assert response.headers == {"Content-Type": "application/problem+json", "Retry-After": "2"}
    assert response.body == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "A service behind this API gives no answer at the moment; try again shortly.",
    }


def test_a_view_keeps_its_name_and_arguments() -> None:
    @api.answers
    def view(image_id: str) -> Response:
        return Response(image_id)

    assert view.__name__ == "view"
    assert view(image_id="a").body == "a"


def test_every_answer_says_that_it_is_json_and_nothing_else() -> None:
    response = api.uniform_answers(request(), lambda _: Response({"status": "ok"}))

    assert response.headers == {"Content-Type": "application/json"}


def test_a_refusal_of_chalice_becomes_a_problem_and_keeps_its_headers() -> None:
    refused = Response({"Code": "MethodNotAllowedError", "Message": "No."}, {"Allow": "GET"}, 405)

    response = api.uniform_answers(request(), lambda _: refused)

    assert response.body == {
        "type": "about:blank",
        "title": "Method Not Allowed",
        "status": 405,
        "detail": "No.",
    }
    assert response.headers == {
        "Content-Type": "application/problem+json",
        "Allow": "GET",
    }
