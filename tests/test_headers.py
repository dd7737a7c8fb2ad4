from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import AuthResponse, Response

from chalicelib import headers
from chalicelib.headers import NOTHING_TO_LOAD, SECURITY, Headers
from local_cloud.gateway import Grants
from tests.api_client import ApiClient, served
from tests.log_lines import log_lines

SHOP = "https://shop.example"
EXPOSED = "ETag,Retry-After,WWW-Authenticate,X-Request-Id"


def api(origin: str) -> Any:
    """An API of one closed route, with these headers."""
    app = Chalice("tiny", configure_logs=False)
    app.api.cors = headers.cors(origin)
    app.register_middleware(Headers(app.api.cors), "http")
    anybody = app.authorizer(ttl_seconds=60, name="anybody")(lambda _: AuthResponse(["*"], ""))
    own = {"Cache-Control": "private, no-cache", "ETag": '"1"'}
    app.route("/a", methods=["GET", "DELETE"], authorizer=anybody)(lambda: Response({}, own))
    return SimpleNamespace(app=app)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[ApiClient]:
    with served(api(request.param), Grants()) as client:
        yield client


def of_cors(found: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name.startswith("access-control-")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/images", 200), ("GET", "/images?x=1", 400), ("PATCH", "/images", 405), ("GET", "/docs", 200)],
)
def test_every_answer_has_what_browsers_are_to_mind(
    method: str, path: str, status: int, api: ApiClient
) -> None:
    answer = api.send(method, path)

    found = {name: answer.headers[name.lower()] for name in SECURITY}
    assert (answer.status, found) == (status, SECURITY)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert of_cors(answer.headers) == {}


@pytest.mark.parametrize("token", [None, "ilt_"], ids=["by the gateway", "by the app"])
def test_a_refusal_has_them_too(token: str | None, api: ApiClient) -> None:
    answer = api.bearing(token).get("images")

    assert answer.status == 401
    assert {name: answer.headers[name.lower()] for name in SECURITY} == SECURITY
    assert len(answer.headers["x-request-id"]) == 36


def test_an_answer_can_be_found_in_the_log_by_its_id(api: ApiClient) -> None:
    with log_lines() as lines:
        ids = [api.get("health").headers["x-request-id"] for _ in range(2)]

    assert [line["api_request_id"] for line in lines.all] == ids
    assert len({*ids}) == 2


@pytest.mark.parametrize(
    ("context", "expected"),
    [({"requestId": "of the gateway"}, "of the gateway"), ({}, "of lambda")],
    ids=["API Gateway", "chalice local"],
)
def test_the_id_is_the_gateways_where_there_is_one(context: dict[str, str], expected: str) -> None:
    request: Any = SimpleNamespace(
        context=context, lambda_context=SimpleNamespace(aws_request_id="of lambda")
    )

    response = Headers(None)(request, lambda _: Response(""))

    assert response.headers["X-Request-Id"] == expected


def test_what_is_no_request_has_no_id() -> None:
    response = Headers(None)(None, lambda _: Response(""))

    assert response.headers == {**SECURITY, "Content-Security-Policy": NOTHING_TO_LOAD}


@pytest.mark.parametrize("client", ["", SHOP, "*"], indirect=True)
def test_a_route_may_know_better(client: ApiClient) -> None:
    assert client.get("a").headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("client", "origin"), [(SHOP, SHOP), ("*", "*")], indirect=["client"], ids=["one origin", "any"]
)
def test_a_page_of_the_origin_may_ask_and_read(client: ApiClient, origin: str) -> None:
    preflight = client.bearing(None).send("OPTIONS", "/a")
    answers = [client.get("a"), client.send("PATCH", "/a")]

    always = {
        "access-control-allow-origin": origin,
        "access-control-allow-headers": (
            "Authorization,Content-Type,If-None-Match,X-Amz-Date,X-Amz-Security-Token,X-Api-Key"
        ),
        "access-control-expose-headers": EXPOSED,
        "access-control-max-age": "600",
    }
    assert preflight.status == 200
    assert of_cors(preflight.headers) == {**always, "access-control-allow-methods": "GET,DELETE,OPTIONS"}
    assert [answer.status for answer in answers] == [200, 405]
    assert [of_cors(answer.headers) for answer in answers] == [always, always]


@pytest.mark.parametrize("client", [""], indirect=True, ids=["none"])
def test_unless_told_otherwise_no_other_page_may(client: ApiClient) -> None:
    preflight = client.send("OPTIONS", "/a")

    assert of_cors(preflight.headers) == {"access-control-allow-methods": "OPTIONS"}
    assert of_cors(client.get("a").headers) == {}
