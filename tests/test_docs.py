import base64
import hashlib
from html.parser import HTMLParser
from typing import Any

import pytest

from chalicelib import docs, openapi
from chalicelib.docs import POLICY
from tests.api_client import ApiClient
from tests.test_openapi import operations, request

HOSTILE = "<script>alert('`1`')</script>&\"'"
LOADING = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "base", "form"}


class Page(HTMLParser):
    """What a browser makes of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


@pytest.fixture
def html(api: ApiClient) -> str:
    """As anybody gets it."""
    answer = api.bearing(None).get("docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == POLICY
    return str(answer.body)


def test_it_shows_every_route_and_every_type(html: str, api: ApiClient) -> None:
    document = api.get("openapi.json").body
    page = Page(html)

    for (method, path), operation in operations(document):
        assert f"{method} {path}" in page.text
        assert operation["summary"] in page.text
        assert operation["operationId"] in page.all("id")
        for parameter in operation["parameters"]:
            assert parameter["name"] in page.text
    assert set(document["components"]["schemas"]) <= set(page.all("id"))


def test_it_says_once_what_any_route_may_answer(html: str) -> None:
    page = Page(html)

    assert page.text.count("There are too many requests at a time.") == 1
    assert page.text.count("The token lacks the scope.") > 1


def test_it_loads_nothing_and_leads_nowhere_else(html: str) -> None:
    page = Page(html)

    assert LOADING & {tag for tag, _ in page.tags} == set()
    assert page.all("src") == page.all("style") == []
    assert [link for link in page.all("href") if link != "openapi.json" and link[0] != "#"] == []


def test_every_link_in_it_has_an_end(html: str) -> None:
    page = Page(html)

    ids = page.all("id")
    assert {link[1:] for link in page.all("href") if link[0] == "#"} <= set(ids)
    assert len(ids) == len(set(ids))


def test_its_own_style_is_the_only_one_that_a_browser_takes(html: str) -> None:
    style = html.partition("<style>")[2].partition("</style>")[0]

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'" == POLICY


def test_nothing_in_the_description_is_markup(app_module: Any) -> None:
    document = openapi.document(request(headers={"host": HOSTILE}), app_module.app.routes, 5)
    document["info"] = {"title": HOSTILE, "description": HOSTILE}
    operation = document["paths"].pop("/images")["get"]
    parameter = {"name": HOSTILE, "in": HOSTILE, "description": HOSTILE, "schema": {"enum": [HOSTILE]}}
    answer = {"description": HOSTILE, "content": {HOSTILE: {"schema": {"$ref": HOSTILE}}}}
    hostile = {"parameters": [parameter], "responses": {HOSTILE: answer}, "security": [{"token": [HOSTILE]}]}
    document["paths"][HOSTILE] = {HOSTILE: {**operation, "summary": HOSTILE, **hostile}}
    member = {"type": "string", "pattern": HOSTILE, "default": HOSTILE, "description": HOSTILE}
    schema = {"description": HOSTILE, "properties": {HOSTILE: member}}
    document["components"]["schemas"][HOSTILE] = schema

    page = Page(docs.page(document).body)

    assert "script" not in {tag for tag, _ in page.tags}
    assert {attribute for _, attributes in page.tags for attribute in attributes} == {
        *("charset", "content", "href", "id", "lang", "name")
    }
    assert page.text.count(HOSTILE) + page.text.count(HOSTILE.replace("`", "")) > 15
