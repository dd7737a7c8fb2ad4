"""API Gateway on the laptop: Chalice's local server, with what a deployed API has beside the app.

That is: refusals of its own, in the words that `python -m ops finish` sets, and a memory for what the
authorizer has said.
"""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from chalice import Chalice
from chalice.app import ChaliceAuthorizer
from chalice.config import Config
from chalice.local import (
    ChaliceRequestHandler,
    ForbiddenError,
    LocalChalice,
    LocalDevServer,
    LocalGateway,
    LocalGatewayAuthorizer,
    LocalGatewayException,
)

from ops.gateway import RESPONSES, Response, refusal

Event = dict[str, Any]
Grant = dict[str, Any]  # what an authorizer answers

HEADER = "gatewayresponse.header."
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_URL = 10_240  # characters, of a regional API
TOO_LONG = f"The URL has more than {MAX_URL} characters."


@dataclass
class Grants:
    """What the authorizer has said of each token, for as long as that stands."""

    now: Callable[[], float] = time.monotonic
    _kept: dict[str, tuple[float, Grant]] = field(default_factory=dict)

    def keep(self, token: str, grant: Grant, seconds: int) -> None:
        self._kept[token] = self.now() + seconds, grant

    def find(self, token: str) -> Grant | None:
        until, grant = self._kept.get(token, (0.0, None))
        return grant if self.now() < until else None


def serve(app: Chalice, config: Config, host: str, port: int, grants: Grants) -> LocalDevServer:
    """A server that is bound to the port (0: to any that is free) and does not serve yet; raises OSError."""
    if not isinstance(app, LocalChalice):
        app.__class__ = type("LocalApp", (LocalChalice, type(app)), {})  # whose requests run side by side
    server = LocalDevServer(app, config, host, port)
    server.server.RequestHandlerClass = partial(_Handler, _Gateway(app, config, grants))
    return server


class _Refused(LocalGatewayException):  # type: ignore[misc]
    """One of the gateway's own answers."""

    def __init__(self, response: Response) -> None:
        headers = {
            name.removeprefix(HEADER): _new_id() if value == "context.requestId" else value.strip("'")
            for name, value in response["responseParameters"].items()
        }
        super().__init__(headers, response["responseTemplates"]["application/json"].encode())
        self.CODE = int(response["statusCode"])


class _Authorizer(LocalGatewayAuthorizer):  # type: ignore[misc]
    def __init__(self, app: Chalice, grants: Grants) -> None:
        super().__init__(app)
        self._grants = grants

    def authorize(self, raw_path: str, lambda_event: Event, lambda_context: Any) -> tuple[Event, Any]:
        route = self._route_for_event(lambda_event)
        if route is not None and route.authorizer is not None:
            arn = self._arn_builder.build_arn(lambda_event["requestContext"]["httpMethod"], raw_path)
            grant = self._grant(route.authorizer, lambda_event["headers"].get("authorization"), arn)
            if not self._check_can_invoke_view_function(arn, grant):
                raise _Refused(RESPONSES["ACCESS_DENIED"])
            context = {**grant["context"], "principalId": grant["principalId"]}
            lambda_event["requestContext"]["authorizer"] = context
        return lambda_event, lambda_context

    def _grant(self, authorizer: ChaliceAuthorizer, token: str | None, arn: str) -> Grant:
        if not token:
            raise _Refused(RESPONSES["UNAUTHORIZED"])
        grant = self._grants.find(token)
        if grant is None:
            grant = self._ask(authorizer, {"type": "TOKEN", "authorizationToken": token, "methodArn": arn})
            self._grants.keep(token, grant, authorizer.config.ttl_seconds)
        return grant

    def _ask(self, authorizer: ChaliceAuthorizer, event: Event) -> Grant:
        try:
            answer: Grant = json.loads(json.dumps(authorizer(event, None)))
        except Exception as error:
            raise _Refused(RESPONSES["AUTHORIZER_FAILURE"]) from error
        return answer


class _Gateway(LocalGateway):  # type: ignore[misc]
    def __init__(self, app: Chalice, config: Config, grants: Grants) -> None:
        super().__init__(app, config)
        self._authorizer = _Authorizer(app, grants)

    def _generate_lambda_event(self, method: str, path: str, headers: Any, body: bytes | None) -> Event:
        event: Event = super()._generate_lambda_event(method, path, headers, body)
        event["requestContext"]["requestId"] = _new_id()
        return event

    def handle_request(self, method: str, path: str, headers: Any, body: bytes | None) -> Any:
        if len(path) > MAX_URL:
            raise _unread(HTTPStatus.REQUEST_URI_TOO_LONG, TOO_LONG)
        try:
            return super().handle_request(method, path, headers, body)
        except (ForbiddenError, UnicodeEncodeError) as error:  # of a path that Chalice does not know
            raise _Refused(RESPONSES["MISSING_AUTHENTICATION_TOKEN"]) from error


def _unread(status: HTTPStatus, detail: str) -> _Refused:
    return _Refused(refusal(status, status.phrase, detail))


def _new_id() -> str:
    return str(uuid.uuid4())


class _Handler(ChaliceRequestHandler):  # type: ignore[misc]
    def __init__(self, gateway: _Gateway, *connection: Any) -> None:
        self.local_gateway = gateway
        BaseHTTPRequestHandler.__init__(self, *connection)

    def __getattr__(self, name: str) -> Any:
        """Takes every method there is: it is the app that refuses what a route lacks."""
        if name.startswith("do_"):
            return self.do_GET
        raise AttributeError(name)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Of a request that the server cannot read: it would answer with a page."""
        status = HTTPStatus(code)
        detail = TOO_LONG if status is HTTPStatus.REQUEST_URI_TOO_LONG else f"{message or status.phrase}."
        refused = _unread(status, detail)
        refused.headers["Connection"] = "close"
        self._send_error_response(refused)

    def log_message(self, *_: object) -> None:
        """The app's own log tells what happened."""
