import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import AuthRequest, AuthResponse

from local_cloud.gateway import Grants
from ops.gateway import RESPONSES
from tests.api_client import Answer, ApiClient, served


class Api:
    """An API whose authorizer allows what its token names, and notes when it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.app = Chalice("tiny", configure_logs=False)
        by_path = self.app.authorizer(ttl_seconds=60)(self.by_path)
        self.app.route("/open")(dict)
        self.app.route("/a", authorizer=by_path)(self.context)
        self.app.route("/b", methods=["GET", "DELETE"], authorizer=by_path)(self.context)

    def by_path(self, request: AuthRequest) -> AuthResponse:
        self.asked.append(request.token)
        return AuthResponse([request.token], "somebody", {"said": "é"})

    def context(self) -> Any:
        return self.app.current_request.context["authorizer"]

    @property
    def module(self) -> Any:
        return SimpleNamespace(app=self.app)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(seconds=0)


@pytest.fixture
def client(api: Api, clock: SimpleNamespace) -> Iterator[ApiClient]:
    with served(api.module, Grants(lambda: clock.seconds)) as client:
        yield client.bearing(None)


def get(client: ApiClient, path: str, header: str | None = None, method: str = "GET") -> Answer:
    return client.send(method, path, headers={} if header is None else {"authorization": header})


def refusal(kind: str) -> Any:
    """Status, type, and body of one of the gateway's own answers."""
    response: Any = RESPONSES[kind]  # type: ignore[index]
    return int(response["statusCode"]), json.loads(response["responseTemplates"]["application/json"])


def of(answer: Answer) -> Any:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status, answer.body


def test_what_the_authorizer_says_comes_to_the_route(client: ApiClient) -> None:
    assert get(client, "/a", "/a").body == {"said": "é", "principalId": "somebody"}


def test_a_route_without_an_authorizer_is_open(client: ApiClient, api: Api) -> None:
    assert get(client, "/open").status == 200
    assert api.asked == []


@pytest.mark.parametrize("header", [None, ""], ids=["no header", "nothing in it"])
def test_without_a_token_the_authorizer_is_not_asked(header: str | None, client: ApiClient, api: Api) -> None:
    assert of(get(client, "/a", header)) == refusal("UNAUTHORIZED")
    assert api.asked == []


def test_what_is_not_allowed_is_refused(client: ApiClient) -> None:
    assert of(get(client, "/b", "/a")) == refusal("ACCESS_DENIED")


def test_the_authorizer_is_asked_again_when_its_time_is_over(
    client: ApiClient, api: Api, clock: SimpleNamespace
) -> None:
    for seconds in (0, 59, 60, 119, 120):
        clock.seconds = seconds
        assert get(client, "/a", "/a").status == 200

    assert api.asked == ["/a", "/a", "/a"]


def test_regression_what_is_remembered_of_one_route_decides_over_another(client: ApiClient, api: Api) -> None:
    allowed, denied = get(client, "/a", "/a"), get(client, "/b", "/a")

    assert (allowed.status, denied.status) == (200, 403)
    assert api.asked == ["/a"]


def test_tokens_are_told_apart(client: ApiClient, api: Api) -> None:
    statuses = [get(client, path, path).status for path in ("/a", "/b", "/a", "/b")]

    assert statuses == [200] * 4
    assert api.asked == ["/a", "/b"]


def test_an_authorizer_that_fails_is_a_503_and_is_asked_again(client: ApiClient, api: Api) -> None:
    no_text: Any = 5
    failing = AuthResponse([no_text], "")
    working, api.app.handler_map["by_path"].func = api.app.handler_map["by_path"].func, lambda _: failing

    first = get(client, "/a", "/a")
    api.app.handler_map["by_path"].func = working
    second = get(client, "/a", "/a")

    assert of(first) == refusal("AUTHORIZER_FAILURE")
    assert second.status == 200


@pytest.mark.parametrize("header", [None, "/a", "é"], ids=["no token", "token", "no ASCII"])
def test_an_unknown_path_is_not_found(header: str | None, client: ApiClient) -> None:
    assert of(get(client, "/c", header)) == refusal("MISSING_AUTHENTICATION_TOKEN")


def test_a_method_that_a_route_lacks_is_the_apps_to_refuse(client: ApiClient, api: Api) -> None:
    assert get(client, "/a", method="DELETE").status == 405
    assert api.asked == []


@pytest.mark.parametrize("length", [10_241, 70_000], ids=["for the gateway", "for the server"])
def test_a_url_that_is_too_long_is_refused_as_a_problem(length: int, client: ApiClient, api: Api) -> None:
    answer = get(client, "/a?".ljust(length, "a"), "/a")

    detail = "The URL has more than 10240 characters."
    problem = {"type": "about:blank", "title": "Request-URI Too Long", "status": 414, "detail": detail}
    assert of(answer) == (414, problem)
    assert api.asked == []


def test_the_longest_url_is_answered(client: ApiClient) -> None:
    assert get(client, "/a?".ljust(10_240, "a"), "/a").status == 200


def test_what_the_server_cannot_read_is_refused_as_a_problem(client: ApiClient) -> None:
    answer = client.send("GET", "/open", headers={f"x-{number}": "a" for number in range(200)})

    detail = "Too many headers."
    problem = {
        "type": "about:blank",
        "title": "Request Header Fields Too Large",
        "status": 431,
        "detail": detail,
    }
    assert of(answer) == (431, problem)
