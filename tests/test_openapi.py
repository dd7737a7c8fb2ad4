import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import Request
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import ValidationError, validator_for
from openapi_spec_validator import validate

from chalicelib import api, auth, contract, openapi
from chalicelib.callback import Callback, PastAttempt, State
from chalicelib.contract import OPERATIONS
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
    Summary,
    TopLabel,
    Word,
)
from tests.api_client import ApiClient

MAX_BYTES = 5_000_000


def request(path: str = "/openapi.json", **facts: Any) -> Request:
    headers = facts.pop("headers", {"host": "127.0.0.1:8080"})
    context = {"httpMethod": "GET", "resourcePath": path, "path": path, **facts}
    return Request(
        {
            "multiValueQueryStringParameters": None,
            "headers": headers,
            "pathParameters": None,
            "requestContext": context,
            "body": None,
            "stageVariables": None,
        }
    )


@pytest.fixture
def document(api: ApiClient) -> dict[str, Any]:
    """As anybody gets it."""
    document: dict[str, Any] = api.bearing(None).get("openapi.json").body
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method.upper(), path), operation


def test_it_is_openapi(document: dict[str, Any]) -> None:
    validate(document)

    assert document["openapi"] == "3.1.0"


def test_every_route_is_there_with_its_view_and_its_scope(document: dict[str, Any], app_module: Any) -> None:
    views = {
        (method, path): entry.view_function
        for path, methods in app_module.app.routes.items()
        for method, entry in methods.items()
    }

    told = {route: (each["operationId"], each["security"]) for route, each in operations(document)}
    assert told == {
        route: (
            view.__name__,
            [] if auth.mark_of(view) == auth.OPEN else [{"token": [auth.mark_of(view)]}],
        )
        for route, view in views.items()
    }


def test_every_parameter_of_a_route_is_there_as_the_route_tells_itself(
    document: dict[str, Any], api: ApiClient
) -> None:
    for (method, path), operation in operations(document):
        refused = api.send(
            method, f"{path.format(image_id='Y2FyLnBuZw', label='dog', delivery_id='evt_1')}?nonsense=1"
        )
        told = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
        takes = f"takes {', '.join(told)}" if told else "takes no parameters"
        assert refused.body["detail"] == f"Unknown parameter 'nonsense'; this route {takes}."


def test_a_path_has_its_parameters_and_they_are_needed(document: dict[str, Any]) -> None:
    for (_, path), operation in operations(document):
        in_path = [each for each in operation["parameters"] if each["in"] == "path"]
        assert path.format(**{each["name"]: "" for each in in_path}).count("{") == 0
        assert all(each["required"] for each in in_path)


def test_what_any_route_may_answer_is_said_of_every_route(document: dict[str, Any]) -> None:
    common = {"400", "413", "414", "415", "429", "500", "503", "504"}
    of_images = {"401", "403", "404"}

    answers = {route: set(each["responses"]) for route, each in operations(document)}
    assert answers == {
        ("GET", "/health"): {"200", *common},
        ("GET", "/openapi.json"): {"200", *common},
        ("GET", "/docs"): {"200", *common},
        ("POST", "/images"): {"201", "401", "403", "422", *common},
        ("GET", "/images"): {"200", "401", "403", *common},
        ("GET", "/images/{image_id}"): {"200", "304", *of_images, *common},
        ("DELETE", "/images/{image_id}"): {"202", *of_images, *common},
        ("POST", "/images/{image_id}/release"): {"202", "409", *of_images, *common},
        ("POST", "/images/{image_id}/relabel"): {"202", "409", *of_images, *common},
        ("GET", "/images/{image_id}/deliveries"): {"200", *of_images, *common},
        ("POST", "/images/{image_id}/deliveries/{delivery_id}/replay"): {"202", *of_images, *common},
        ("GET", "/images/{image_id}/labels/{label}"): {"200", *of_images, *common},
        ("GET", "/labels/{label}/images"): {"200", "401", "403", *common},
        ("GET", "/labels"): {"200", "401", "403", *common},
        ("GET", "/search"): {"200", "401", "403", *common},
    }


def test_every_failure_is_a_problem_and_every_answer_has_an_id(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert "X-Request-Id" in answer["headers"]
            if status >= "400":
                assert answer["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }


def test_parameters_are_described_as_they_are_checked(document: dict[str, Any]) -> None:
    [limit, cursor, least] = document["paths"]["/labels/{label}/images"]["get"]["parameters"][1:]

    assert limit == {
        "name": "limit",
        "in": "query",
        "description": "a whole number from 1 to 100",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    }
    assert cursor["schema"] == {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
    assert least["schema"] == {"type": "number", "minimum": 0, "maximum": 100, "default": 0.0}


def test_the_largest_picture_is_the_one_of_the_settings() -> None:
    document = openapi.document(request(), {}, MAX_BYTES)

    size = document["components"]["schemas"]["UploadRequest"]["properties"]["size"]
    assert size["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": MAX_BYTES}


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        pytest.param(request(), "http://127.0.0.1:8080", id="laptop"),
        pytest.param(
            request(
                path="/openapi.json",
                domainName="a1b2c3.execute-api.eu-west-1.amazonaws.com",
                headers={"host": "evil.example", "x-forwarded-proto": "https"},
            ),
            "https://a1b2c3.execute-api.eu-west-1.amazonaws.com",
            id="custom domain",
        ),
    ],
)
def test_it_is_of_the_api_at_the_address_that_was_asked(asked: Request, address: str) -> None:
    assert openapi.document(asked, {}, MAX_BYTES)["servers"] == [{"url": address}]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_stage_is_a_part_of_the_address(path: str) -> None:
    on_aws = request(path, domainName="a1.execute-api.amazonaws.com", headers={"x-forwarded-proto": "https"})
    on_aws.context["path"] = f"/dev{path}"

    [server] = openapi.document(on_aws, {}, MAX_BYTES)["servers"]

    assert server["url"] == "https://a1.execute-api.amazonaws.com/dev"


def test_where_the_api_is_open_no_token_is_asked_for() -> None:
    app = Chalice("tiny", configure_logs=False)
    app.route("/images", methods=["GET"])(auth.require("read")(lambda: None))

    [(_, operation)] = operations(openapi.document(request(), app.routes, MAX_BYTES))

    assert operation["security"] == []
    assert not {"401", "403"} & set(operation["responses"])


DOCUMENT = openapi.document(request(), {}, MAX_BYTES)


def closed(schema: Any) -> Any:
    """The same, without room for members that are not described."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **inner} if isinstance(schema.get("properties"), dict) else inner


@cache
def schema_of(name: str) -> Any:
    return validator_for(
        {"$ref": f"#/components/schemas/{name}", "components": closed(DOCUMENT)["components"]}
    )


def is_as_described(name: str, answer: Any) -> None:
    schema_of(name).validate(json.loads(json.dumps(answer)))


def several(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(each, max_size=2).map(tuple)


texts = st.text(max_size=9)
numbers = st.floats(0, 100)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
boxes = st.builds(Box, numbers, numbers, numbers, numbers)
things = several(st.builds(Instance, numbers, boxes))
labels = st.builds(Label, texts, numbers, several(texts), several(texts), several(texts), things)
lines = st.builds(Line, texts, numbers, boxes, several(st.builds(Word, texts, numbers, boxes)))
flags = several(st.builds(ModerationLabel, texts, numbers, st.none() | texts, st.integers(1, 3)))
look = several(st.builds(Color, texts, texts, texts, numbers)), *3 * [st.none() | numbers]
regions = st.none() | st.builds(Region, *look)
known = {"source_file": keys, "status": st.sampled_from(VISIBLE), "reason": st.none() | texts}
images = st.builds(
    Image,
    **known,
    size=st.none() | st.integers(0),
    labels=several(labels),
    text=st.none() | several(lines),
    moderation=st.none() | st.builds(Moderation, st.booleans(), flags, several(texts)),
    properties=st.none() | st.builds(Properties, *look, regions, regions),
    metadata=st.dictionaries(texts, texts, max_size=2),
    callback=st.none() | st.builds(Listener, texts),
)
attempts = several(st.builds(PastAttempt, texts, texts, st.integers(0)))
callbacks = st.builds(
    Callback,
    *7 * [texts],
    started_at=st.just(0.0),
    due_at=st.floats(0, 2**32),
    state=st.sampled_from(State),
    attempts=attempts,
)
summaries = st.builds(Summary, **known, top_labels=several(st.builds(TopLabel, texts, numbers)))


@given(images)
def test_every_image_is_answered_as_described(image: Image) -> None:
    is_as_described("Image", json.loads(api.image(request(), image).body))


@given(st.lists(summaries), st.none() | texts)
def test_every_list_is_answered_as_described(summaries: list[Summary], cursor: str | None) -> None:
    is_as_described("Images", api.list_of(summaries, cursor).body)


@given(callbacks)
def test_every_delivery_is_answered_as_described(callback: Callback) -> None:
    is_as_described("Delivery", api.replayed(callback).body)


@given(images, labels)
def test_every_label_is_answered_as_described(image: Image, label: Label) -> None:
    body = api.label_of(Image(image.source_file, image.status, labels=(label,)), label.name).body

    is_as_described("ImageLabel", body)


def test_what_is_not_described_would_be_found() -> None:
    with pytest.raises(ValidationError, match="'more' was unexpected"):
        is_as_described("Health", {"status": "ok", "more": 1})


def test_a_route_that_nobody_has_described_cannot_be_left_out() -> None:
    app = Chalice("tiny", configure_logs=False)
    app.route("/forgotten")(lambda: None)

    with pytest.raises(KeyError):
        openapi.document(request(), app.routes, MAX_BYTES)


def test_every_type_that_is_answered_or_taken_is_described() -> None:
    named = {
        str(kind.__name__)
        for operation in OPERATIONS.values()
        for kind in (operation.answer, operation.body)
        if kind is not None and hasattr(kind, "__struct_fields__")
    }

    assert {*named, contract.Problem.__name__} <= set(DOCUMENT["components"]["schemas"])
