"""GET /search and GET /labels as a client sees them, and what no client sees."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from chalicelib.contract import MAX_ASKED, MAX_TEXT, WORDS
from chalicelib.items import unmarshal
from chalicelib.model import Label, image_id
from chalicelib.services import Services
from tests.answered import NOW, Answered
from tests.api_client import ApiClient
from tests.test_app import problem

DOG = Label("Dog", 98.1, (), ("Animal", "Pet"), ("Canine",))
CAT = Label("Cat", 88, (), ("Animal", "Pet"), ("Feline",))
PHONE = Label("Mobile Phone", 95, (), ("Electronics",), ("Cell Phone", "Phone"))
MAN = Label("Man", 99, (), ("Person",), ("Male",))
BEACH = Label("Beach", 91.5)

ONE_NEEDED = "A search takes at least one label or text."
TOO_MANY = f"A search takes at most {MAX_ASKED} labels and words in all."
NO_WORD = "text must have a word, of letters or digits."
TOO_SHORT = "A * in text must end a word of at least 2 letters or digits."
LONG_LABEL = f"label must be a label of 1 to 2000 characters, at most {MAX_ASKED} times."
LONG_NOT = f"not must be a label of 1 to 2000 characters, at most {MAX_ASKED} times."
BAD_CURSOR = "cursor was changed or belongs to another query; start again without it."


@pytest.fixture
def answered(services: Services) -> Answered:
    return Answered(services.claims, services.store)


@pytest.fixture
def gallery(api: ApiClient, services: Services, answered: Answered) -> ApiClient:
    answered.label("dog.png", DOG, BEACH, text="TAXI 24/7", confidence=99.1)
    answered.label("both.png", replace(DOG, confidence=80), CAT, MAN)
    answered.label("a b/ü.png", PHONE, text="No taxis")
    for key in ("dog.png", "both.png", "a b/ü.png"):
        services.indexing.update(key)
    return api


def keys(answer: Any) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["source_file"] for item in answer.body["items"]]


def test_a_search_answers_summaries_and_says_why(gallery: ApiClient) -> None:
    answer = gallery.get("search", label=["animal", "BEACH"], **{"not": "person"}, text="tax*", limit=5)

    assert answer.status == 200
    assert answer.body == {
        "items": [
            {
                "image_id": image_id("dog.png"),
                "source_file": "dog.png",
                "status": "labelled",
                "reason": None,
                "labelled_at": "2026-01-02T03:04:05Z",
                "top_labels": [{"name": "Dog", "confidence": 98.1}, {"name": "Beach", "confidence": 91.5}],
                "thumbnail_url": None,
                "matched": [
                    {
                        "asked": "animal",
                        "label": "Dog",
                        "word": None,
                        "because": "parent",
                        "confidence": 98.1,
                    },
                    {"asked": "BEACH", "label": "Beach", "word": None, "because": "name", "confidence": 91.5},
                    {"asked": "tax*", "label": None, "word": "TAXI", "because": "prefix", "confidence": 99.1},
                ],
            }
        ],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"label": "dog"}, ["dog.png", "both.png"]),
        ({"label": ["dog", "cat"]}, ["both.png"]),
        ({"label": "ANIMAL", "not": "feline"}, ["dog.png"]),
        ({"label": "dog", "not": ["cat", "beach"]}, []),
        ({"label": "dog", "min_confidence": 90}, ["dog.png"]),
        ({"label": "dog", "not": "cat", "min_confidence": 89}, ["dog.png"]),
        ({"label": "cell phone"}, ["a b/ü.png"]),
        ({"text": "taxi"}, ["dog.png"]),
        ({"text": "TAXI*"}, ["dog.png", "a b/ü.png"]),
        ({"text": "24 taxi"}, ["dog.png"]),
        ({"label": "phone", "text": "no taxis"}, ["a b/ü.png"]),
        ({"label": "none"}, []),
        ({"label": ["dog", "DOG", "Dog"]}, ["dog.png", "both.png"]),
        ({"label": "a" * 2000}, []),
        ({"label": "#"}, []),
        ({"label": "'; DROP TABLE"}, []),
        ({"label": "\0"}, []),
    ],
)
def test_a_search_finds(asked: dict[str, Any], found: list[str], gallery: ApiClient) -> None:
    assert keys(gallery.get("search", **asked)) == found


def test_pages_of_a_search_fit_together(gallery: ApiClient) -> None:
    first = gallery.get("search", label="animal", limit=1)
    cursor = first.body["next_cursor"]
    second = gallery.get("search", label="animal", limit=50, cursor=cursor)

    assert keys(first) + keys(second) == ["dog.png", "both.png"]
    assert second.body["next_cursor"] is None
    for other in ({"label": "dog"}, {"label": ["animal", "dog"]}, {"label": "animal", "not": "x"}):
        assert gallery.get("search", **other, cursor=cursor).body == problem(400, "Bad Request", BAD_CURSOR)


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ({}, ONE_NEEDED),
        ({"not": "dog"}, ONE_NEEDED),
        ({"label": ""}, LONG_LABEL),
        ({"label": "a" * 2001}, LONG_LABEL),
        ({"label": ["a"] * 21}, LONG_LABEL),
        ({"label": "a", "not": ["", "b"]}, LONG_NOT),
        ({"label": ["a"] * 11, "not": ["b"] * 10}, TOO_MANY),
        ({"label": "a", "text": "b " * 20}, TOO_MANY),
        ({"text": "! ⭐"}, NO_WORD),
        ({"text": "taxi *"}, TOO_SHORT),
        ({"text": "*taxi"}, TOO_SHORT),
        ({"text": "ta*xi"}, TOO_SHORT),
        ({"text": ""}, f"text must be words, in 1 to {MAX_TEXT} characters; taxi* finds what begins so."),
        ({"label": "dog", "text": "t*"}, TOO_SHORT),
        ({"label": "dog", "text": ["a", "b"]}, "text is given more than once."),
        ({"label": "dog", "min_confidence": ["1", "2"]}, "min_confidence is given more than once."),
        (
            {"label": "dog", "min_confidence": "NaN"},
            "min_confidence must be a number from 0 to 100, such as 87.5.",
        ),
        ({"label": "dog", "limit": 101}, "limit must be a whole number from 1 to 100."),
        ({"label": "dog", "cursor": "Y2Fy"}, BAD_CURSOR),
        ({"label": "dog", "cursor": "$"}, BAD_CURSOR),
        (
            {"label": "dog", "labels": "cat"},
            "Unknown parameter 'labels'; this route takes limit, cursor, min_confidence, label, not, text.",
        ),
    ],
)
def test_what_cannot_be_searched_for_is_refused(asked: dict[str, Any], detail: str, api: ApiClient) -> None:
    assert api.get("search", **asked).body == problem(400, "Bad Request", detail)


@pytest.mark.parametrize(
    ("path", "name", "detail"),
    [
        *[
            ("/search", name, f"{name} must be {WORDS[name]}.")
            for name in ("label", "not", "text", "limit", "min_confidence")
        ],
        ("/search", "cursor", BAD_CURSOR),
        *[("/images", name, f"{name} must be {WORDS[name]}.") for name in ("status", "key")],
        ("/labels", "prefix", f"prefix must be {WORDS['prefix']}."),
    ],
)
def test_half_a_character_is_no_text(
    path: str, name: str, detail: str, app_module: ModuleType, api: ApiClient
) -> None:
    event = {
        "requestContext": {
            "httpMethod": "GET",
            "resourcePath": path,
            "authorizer": {"scopes": "read", "token": "t"},
        },
        "headers": {},
        "multiValueQueryStringParameters": {name: ["\ud800"]},
        "pathParameters": {},
        "stageVariables": {},
        "body": "",
        "isBase64Encoded": False,
    }

    answer = app_module.app(event, None)

    assert (answer["statusCode"], json.loads(answer["body"])["detail"]) == (400, detail)


def test_the_catalogue_lists_names_with_counts(gallery: ApiClient) -> None:
    answer = gallery.get("labels", prefix="C")

    assert answer.body == {
        "items": [
            {"name": "Canine", "count": 2},
            {"name": "Cat", "count": 1},
            {"name": "Cell Phone", "count": 1},
        ],
        "next_cursor": None,
    }
    assert gallery.get("labels", prefix="none").body == {"items": [], "next_cursor": None}


def test_pages_of_the_catalogue_fit_together(gallery: ApiClient) -> None:
    def pages() -> Iterator[str]:
        cursor: dict[str, str] = {}
        while True:
            body = gallery.get("labels", limit=2, **cursor).body
            yield from (item["name"] for item in body["items"])
            if body["next_cursor"] is None:
                return
            cursor = {"cursor": body["next_cursor"]}

    assert [*pages()] == [item["name"] for item in gallery.get("labels").body["items"]]
    assert len([*pages()]) == 14


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ({"prefix": ""}, "prefix must be the beginning of a label, of 1 to 2000 characters."),
        ({"prefix": "a" * 2001}, "prefix must be the beginning of a label, of 1 to 2000 characters."),
        ({"prefix": ["a", "b"]}, "prefix is given more than once."),
        ({"cursor": "Y2Fy"}, BAD_CURSOR),
    ],
)
def test_what_is_no_beginning_is_refused(asked: dict[str, Any], detail: str, api: ApiClient) -> None:
    assert api.get("labels", **asked).body == problem(400, "Bad Request", detail)


@pytest.mark.parametrize("scopes", ["upload", "upload admin", ""])
@pytest.mark.parametrize("path", ["/search", "/labels"])
def test_who_may_not_read_may_not_search(
    path: str, scopes: str, app_module: ModuleType, api: ApiClient
) -> None:
    event = {
        "requestContext": {
            "httpMethod": "GET",
            "resourcePath": path,
            "authorizer": {"scopes": scopes, "token": "t"},
        },
        "headers": {},
        "multiValueQueryStringParameters": {"label": ["dog"]},
        "pathParameters": {},
        "stageVariables": {},
        "body": "",
        "isBase64Encoded": False,
    }

    assert app_module.app(event, None)["statusCode"] == 403


# The deny list


def test_what_is_hidden_is_told_by_no_route_and_no_callback(
    gallery: ApiClient, services: Services, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    discreet = Services(replace(services.settings, hidden_labels=("MAN", "Pet", "Canine")))
    monkeypatch.setattr(app_module, "services", discreet)
    image = gallery.get("images", image_id("both.png")).body

    assert [label["name"] for label in image["labels"]] == ["Dog", "Cat"]
    assert [(label["parents"], label["aliases"]) for label in image["labels"]] == [
        (["Animal"], []),
        (["Animal"], ["Feline"]),
    ]
    assert gallery.get("images", image_id("both.png"), "labels", "man").status == 404
    assert gallery.get("labels", "mAn", "images").body == {"items": [], "next_cursor": None}
    for listed in (
        gallery.get("images"),
        gallery.get("images", key="both.png"),
        gallery.get("labels", "cat", "images"),
        gallery.get("search", label="cat"),
    ):
        [both] = [item for item in listed.body["items"] if item["source_file"] == "both.png"]
        assert [top["name"] for top in both["top_labels"]] == ["Cat", "Dog"]
    assert keys(gallery.get("search", label="male")) == keys(gallery.get("search", label="pet")) == []
    assert keys(gallery.get("search", label="cat", **{"not": "man"})) == ["both.png"]
    names = [item["name"] for item in gallery.get("labels").body["items"]]
    assert {"Man", "Male", "Pet", "Canine"} & {*names} == set()

    row = services.dynamodb.get_item(
        TableName=services.settings.images_table,
        Key={"source_file": {"S": "both.png"}, "entry": {"S": "image"}},
    )["Item"]
    assert "Man" in json.dumps(row)
    told = replace(discreet.dispatching, url="https://hooks.example.com/", now=lambda: NOW)
    told.announce(None, unmarshal(row))
    [callback] = discreet.callbacks.of_image("both.png", NOW)
    assert [label["name"] for label in json.loads(callback.body)["data"]["labels"]] == ["Dog", "Cat"]
    assert "Man" not in callback.body
    assert "Pet" not in callback.body
