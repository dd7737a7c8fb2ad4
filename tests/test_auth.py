import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.config import Config
from chalice import Chalice
from chalice.app import Request, Response
from chalice.deploy.swagger import SwaggerGenerator

from chalicelib import auth
from chalicelib.auth import TTL_SECONDS, UNAUTHENTICATED, Door
from chalicelib.errors import Throttled
from chalicelib.services import Services
from chalicelib.tokens import Scope, Tokens
from local_cloud.gateway import Grants
from tests import faults
from tests.api_client import Answer, ApiClient, served
from tests.conftest import LOCAL, ROOT
from tests.log_lines import log_lines

OPEN = (("GET", "/health"), ("GET", "/openapi.json"), ("GET", "/docs"))
SCOPES = {
    ("POST", "/images"): "upload",
    ("GET", "/images"): "read",
    ("GET", "/images/{image_id}"): "read",
    ("DELETE", "/images/{image_id}"): "admin",
    ("POST", "/images/{image_id}/release"): "admin",
    ("POST", "/images/{image_id}/relabel"): "admin",
    ("GET", "/images/{image_id}/deliveries"): "admin",
    ("POST", "/images/{image_id}/deliveries/{delivery_id}/replay"): "admin",
    ("GET", "/images/{image_id}/labels/{label}"): "read",
    ("GET", "/labels/{label}/images"): "read",
    ("GET", "/labels"): "read",
    ("GET", "/search"): "read",
}
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOWN = faults.json_error(400, "AccessDeniedException")
UNKNOWN = f"ilt_{12 * 'a'}_{64 * 'a'}"
MISSING = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "This needs a token that is known and has not expired, as in Authorization: Bearer ilt_...",
}


@dataclass
class Hands:
    """The time that it is for the gateway and for the authorizer."""

    seconds: float = 0

    def gateway(self) -> float:
        return self.seconds

    def utc(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def dynamodb(endpoint: object) -> Any:
    """What the authorizer asks, and no other function."""
    return boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def tokens(services: Services, dynamodb: Any, hands: Hands) -> Tokens:
    tokens = Tokens(dynamodb, services.settings.state_table, hands.utc)
    vars(services)["tokens"] = tokens
    return tokens


@pytest.fixture
def deployed(
    app_module: ModuleType,
    services: Services,
    tokens: Tokens,
    hands: Hands,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ApiClient]:
    """The API behind a gateway that knows no token yet; the client has none."""
    monkeypatch.setattr(app_module, "services", services)
    with served(app_module, Grants(hands.gateway)) as client:
        yield client.bearing(None)


def routes_of(app: Chalice) -> Iterator[tuple[tuple[str, str], Any]]:
    for path, methods in app.routes.items():
        for method, entry in methods.items():
            yield (method, path), entry


def ask(client: ApiClient, route: tuple[str, str]) -> Answer:
    method, path = route
    return client.send(method, re.sub(r"\{\w+\}", "Y2FyLnBuZw", path))


def event(header: str) -> dict[str, str]:
    arn = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/dev/GET/images"
    return {"type": "TOKEN", "authorizationToken": header, "methodArn": arn}


EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Action": "execute-api:Invoke",
            "Effect": "Allow",
            "Resource": ["arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/dev/*/*"],
        }
    ],
}


def test_every_route_asks_for_the_scope_that_it_should(app_module: ModuleType) -> None:
    marks = {route: auth.mark_of(entry.view_function) for route, entry in routes_of(app_module.app)}

    assert marks == {**SCOPES, **dict.fromkeys(OPEN, auth.OPEN)}


def test_every_route_that_is_not_open_has_the_authorizer(app_module: ModuleType) -> None:
    authorizers = {route: entry.authorizer for route, entry in routes_of(app_module.app)}

    assert authorizers == {**dict.fromkeys(SCOPES, app_module.api_token), **dict.fromkeys(OPEN)}


def test_api_gateway_is_told_to_have_every_token_checked(app_module: ModuleType) -> None:
    names = {"api_handler_name": "image-labeller-dev", "api_handler_arn": "arn:aws:lambda:r:1:function:a"}
    arn = "arn:aws:lambda:eu-west-1:1:function:image-labeller-dev-api_token"
    functions = {"lambda_functions": {"image-labeller-dev-api_token": {"arn": arn}}}

    swagger = SwaggerGenerator("eu-west-1", {**names, **functions}).generate_swagger(app_module.app)

    security = {
        (method.upper(), path): described.get("security")
        for path, methods in swagger["paths"].items()
        for method, described in methods.items()
    }
    assert security == {**{route: [{"api_token": []}] for route in SCOPES}, **dict.fromkeys(OPEN)}
    [(name, definition)] = swagger["securityDefinitions"].items()
    assert (name, definition["in"], definition["name"]) == ("api_token", "header", "Authorization")
    assert definition["x-amazon-apigateway-authorizer"] == {
        "type": "token",
        "authorizerUri": f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{arn}/invocations",
        "authorizerResultTtlInSeconds": 60,
    }


def test_where_it_is_open_no_route_has_an_authorizer() -> None:
    script = "import app; print([e.authorizer for m in app.app.routes.values() for e in m.values()])"

    said = subprocess.check_output(
        [sys.executable, "-c", script], cwd=ROOT, text=True, env={**os.environ, **LOCAL, "API_AUTH": "open"}
    )

    assert said == f"{[None] * len(SCOPES | dict.fromkeys(OPEN))}\n"


@pytest.mark.parametrize("route", SCOPES, ids=" ".join)
def test_a_route_is_closed_without_a_token_that_is_good(
    route: tuple[str, str], deployed: ApiClient, tokens: Tokens, hands: Hands
) -> None:
    expired = tokens.create("old", Scope, DAY)
    hands.seconds = DAY.total_seconds()

    answers = [ask(deployed.bearing(token), route) for token in (None, "", "ilt_", UNKNOWN, expired)]

    assert {answer.status for answer in answers} == {401}
    assert [answer.body for answer in answers] == [MISSING] * 5
    for answer in answers:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("route", SCOPES, ids=" ".join)
def test_a_route_is_open_to_its_scope_alone(
    route: tuple[str, str], scope: Scope, deployed: ApiClient, tokens: Tokens
) -> None:
    answer = ask(deployed.bearing(tokens.create("one", [scope], DAY)), route)

    if scope == SCOPES[route]:
        assert answer.status in (
            200,
            201,
            404,
            400,
        )  # of a picture that is not there, or a search for nothing
    else:
        assert answer.body == {
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": f"This needs a token with the scope {SCOPES[route]}.",
        }


@pytest.mark.parametrize("route", OPEN, ids=" ".join)
@pytest.mark.parametrize("token", [None, UNKNOWN], ids=["none", "unknown"])
def test_an_open_route_asks_for_nothing(
    route: tuple[str, str], token: str | None, deployed: ApiClient
) -> None:
    assert ask(deployed.bearing(token), route).status == 200


@pytest.mark.parametrize("first", ["GET", "POST", "DELETE"])
def test_what_the_gateway_remembers_of_one_route_neither_opens_nor_closes_another(
    first: str, deployed: ApiClient, tokens: Tokens
) -> None:
    reader = deployed.bearing(tokens.create("reader", [Scope.READ], DAY))
    paths = {"GET": "/images", "POST": "/images", "DELETE": "/images/Y2FyLnBuZw"}
    order = [first, *(method for method in paths if method != first)]

    statuses = {method: reader.send(method, paths[method]).status for method in order}

    assert statuses == {"GET": 200, "POST": 403, "DELETE": 403}


def test_a_token_is_looked_up_once_a_minute(
    deployed: ApiClient, tokens: Tokens, dynamodb: Any, hands: Hands
) -> None:
    client = deployed.bearing(tokens.create("reader", [Scope.READ], DAY))
    sent = faults.plan(dynamodb.meta.events, "dynamodb.GetItem")

    for seconds in (0, 59, 60):
        hands.seconds = seconds
        client.get("images")

    assert len(sent) == 2


def test_a_revoked_token_is_good_for_no_longer_than_the_gateway_remembers_it(
    deployed: ApiClient, tokens: Tokens, hands: Hands
) -> None:
    text = tokens.create("reader", [Scope.READ], DAY)
    client = deployed.bearing(text)
    before = client.get("images").status
    tokens.revoke(text.split("_")[1])

    hands.seconds = TTL_SECONDS - 1
    remembered = client.get("images").status
    hands.seconds = TTL_SECONDS
    after = client.get("images").status

    assert (before, remembered, after) == (200, 200, 401)


def test_a_request_is_logged_with_the_name_of_its_token(deployed: ApiClient, tokens: Tokens) -> None:
    text = tokens.create("the build", [Scope.READ], DAY)

    with log_lines() as lines:
        deployed.bearing(text).get("images")
        deployed.bearing(text).post("images")
        deployed.get("health")

    assert lines.facts("route", "status", "token") == [
        {"route": "/images", "status": 200, "token": "the build"},
        {"route": "/images", "status": 403, "token": "the build"},
        {"route": "/health", "status": 200},
    ]


def test_what_the_gateway_itself_refuses_says_the_same_as_the_app(deployed: ApiClient) -> None:
    by_the_gateway = deployed.get("images")
    by_the_app = deployed.bearing(UNKNOWN).get("images")

    assert (by_the_gateway.status, by_the_gateway.body) == (by_the_app.status, by_the_app.body)
    assert MISSING["detail"] == UNAUTHENTICATED


def test_a_token_that_cannot_be_checked_is_a_503_that_nobody_remembers(
    deployed: ApiClient, tokens: Tokens, dynamodb: Any
) -> None:
    client = deployed.bearing(tokens.create("reader", [Scope.READ], DAY))
    faults.plan(dynamodb.meta.events, "dynamodb.GetItem", DOWN)

    with log_lines() as lines:
        first, second = client.get("images"), client.get("images")

    assert (first.status, second.status) == (503, 200)
    assert first.headers["retry-after"] == "2"
    assert first.body["detail"] == "The token cannot be checked at the moment; try again shortly."
    assert lines.facts("level", "outcome", "route") == [
        {"level": "WARNING", "outcome": "access_lost"},
        {"level": "INFO", "route": "/images"},
    ]


def test_a_use_that_cannot_be_noted_is_a_warning_and_no_refusal(
    deployed: ApiClient, tokens: Tokens, dynamodb: Any
) -> None:
    client = deployed.bearing(tokens.create("reader", [Scope.READ], DAY))
    faults.plan(dynamodb.meta.events, "dynamodb.UpdateItem", DOWN)

    with log_lines() as lines:
        answer = client.get("images")

    assert answer.status == 200
    assert lines.facts("level", "outcome", "token") == [
        {"level": "WARNING", "outcome": "access_lost", "token": "reader"},
        {"level": "INFO", "token": "reader"},
    ]


def test_a_token_that_is_good_brings_its_name_and_its_scopes(
    app_module: ModuleType, deployed: ApiClient, tokens: Tokens
) -> None:
    text = tokens.create("the build", [Scope.ADMIN, Scope.READ], DAY)

    assert app_module.api_token(event(f"Bearer {text}"), None) == {
        "context": {"token": "the build", "scopes": "read admin"},
        "principalId": text.split("_")[1],
        "policyDocument": EVERYTHING,
    }
    [token] = tokens.all()
    assert token.used_at == NOON


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER  "])
def test_the_scheme_is_spelled_in_any_case(scheme: str, tokens: Tokens) -> None:
    text = tokens.create("a", [Scope.READ], DAY)

    assert auth.grant(tokens, f"{scheme} {text}").context["token"] == "a"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="nothing"),
        pytest.param("Bearer", id="no token"),
        pytest.param("Bearer ", id="empty token"),
        pytest.param(f"Bearer {UNKNOWN}", id="unknown"),
        pytest.param("{}", id="no scheme"),
        pytest.param("Basic {}", id="another scheme"),
        pytest.param("Bearer {} {}", id="two tokens"),
        pytest.param("Bearer {}\n", id="line feed"),
        pytest.param("Bearer\t{}", id="tab"),
        pytest.param("Bearer é", id="no ASCII"),
    ],
)
def test_whoever_has_no_good_token_is_let_through_to_the_refusal_with_no_scope(
    header: str, app_module: ModuleType, deployed: ApiClient, tokens: Tokens
) -> None:
    text = tokens.create("a", Scope, DAY)

    answer = app_module.api_token(event(header.replace("{}", text)), None)

    assert answer == {"context": {}, "principalId": "nobody", "policyDocument": EVERYTHING}


def request(method: str, authorizer: Any) -> Request:
    context = {"httpMethod": method, "resourcePath": "/", "authorizer": authorizer}
    return Request({"requestContext": context, "headers": {}, "stageVariables": {}, "body": "", **EMPTY})


EMPTY = {"multiValueQueryStringParameters": None, "pathParameters": None}


def view() -> Response:
    return Response("")


def behind(door: Callable[..., Response], method: str, authorizer: Any) -> int:
    status: int = door(request(method, authorizer), lambda _: Response("", status_code=299)).status_code
    return status


def door_to(mark: Callable[[Any], Any], *, is_open: bool = False) -> Door:
    app = Chalice("tiny", configure_logs=False)
    app.route("/", methods=["GET"])(mark(lambda: view()))
    return Door(app.routes, is_open=is_open)


ALL = {"token": "a", "scopes": "read upload admin"}


@pytest.mark.parametrize("authorizer", [None, {}, {"principalId": "nobody"}, ALL], ids=str)
def test_a_route_without_a_mark_is_closed_to_all(authorizer: Any) -> None:
    door = door_to(lambda route: route)

    assert behind(door, "GET", authorizer) == (403 if authorizer is ALL else 401)


@pytest.mark.parametrize(
    ("scopes", "status"), [("read", 299), ("upload admin", 403), ("", 403), ("ready read2", 403)]
)
def test_a_scope_is_one_word_of_those_that_are_granted(scopes: str, status: int) -> None:
    door = door_to(auth.require("read"))

    assert behind(door, "GET", {"token": "a", "scopes": scopes}) == status


def test_of_a_method_that_there_is_not_chalice_says_so() -> None:
    assert behind(door_to(auth.require("read")), "PATCH", {}) == 299


def test_an_open_door_asks_for_nothing() -> None:
    assert behind(door_to(auth.require("read"), is_open=True), "GET", None) == 299


def test_no_route_can_ask_for_a_scope_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="'reed' is not a valid Scope"):
        auth.require("reed")


def test_a_failure_to_look_a_token_up_is_the_callers(tokens: Tokens, dynamodb: Any) -> None:
    text = tokens.create("a", [Scope.READ], DAY)
    faults.plan(dynamodb.meta.events, "dynamodb.GetItem", faults.json_error(400, "ThrottlingException"))

    with pytest.raises(Throttled):
        auth.grant(tokens, f"Bearer {text}")
