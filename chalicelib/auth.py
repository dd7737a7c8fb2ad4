"""Who may do what: the scope that a route asks for, and what API Gateway is told of a token."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from chalice.app import AuthResponse, Request, Response

from chalicelib import log, silence
from chalicelib.api import Problem
from chalicelib.tokens import Scope, Token, Tokens

View = TypeVar("View", bound=Callable[..., Response])
Routes = Mapping[str, Mapping[str, Any]]

TTL_SECONDS = 60  # for so long API Gateway goes by an answer, and a revoked token may still be good
BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
OPEN = "open"
UNAUTHENTICATED = "This needs a token that is known and has not expired, as in Authorization: Bearer ilt_..."


def grant(tokens: Tokens, header: str) -> AuthResponse:
    """All routes, to anybody, with the scopes that the token has.

    API Gateway keeps the answer for whatever else comes with the same header: one that allowed or denied
    only what was asked for would open or close other routes. So it is `Door` that refuses.
    """
    token = _find(tokens, header)
    if token is None:
        return AuthResponse(["*"], "nobody")
    return AuthResponse(["*"], token.id, {"token": token.name, "scopes": " ".join(token.scopes)})


def require(scope: str) -> Callable[[View], View]:
    """Opens a route to tokens with this scope: without a mark, it is closed to all."""
    return partial(_mark, Scope(scope))


def open_to_all(view: View) -> View:
    return _mark(OPEN, view)


def mark_of(view: object) -> str | None:
    """The scope that a view asks for, `open`, or None."""
    return getattr(view, "scope", None)


class Door:
    """Middleware: lets through what has the scope that its route asks for."""

    def __init__(self, routes: Routes, *, is_open: bool) -> None:
        self._routes = routes
        self._is_open = is_open

    def __call__(self, request: Request | None, get_response: Callable[[Any], Response]) -> Response:
        problem = self._refusal(request) if request and not self._is_open else None
        return problem.response() if problem else get_response(request)

    def _refusal(self, request: Request) -> Problem | None:
        route = self._routes[request.path].get(request.method)
        if route is None or mark_of(route.view_function) == OPEN:
            return None  # of a method that there is not, Chalice says so
        return _lack(request.context.get("authorizer") or {}, mark_of(route.view_function))


def _lack(granted: Mapping[str, str], scope: str | None) -> Problem | None:
    if "token" not in granted:
        return Problem(HTTPStatus.UNAUTHORIZED, UNAUTHENTICATED, {"WWW-Authenticate": "Bearer"})
    if scope not in granted["scopes"].split():
        return Problem(HTTPStatus.FORBIDDEN, f"This needs a token with the scope {scope}.")
    return None


def _find(tokens: Tokens, header: str) -> Token | None:
    """A failure is the caller's to answer for, and API Gateway keeps none."""
    bearer = BEARER.fullmatch(header)
    try:
        token = tokens.find(bearer[1]) if bearer else None
    except Exception as failure:
        log.failed(failure)
        raise
    if token:
        _note_use(tokens, token)
    return token


def _note_use(tokens: Tokens, token: Token) -> None:
    try:
        with silence.at_most(1):
            tokens.note_use(token)
    except Exception as failure:  # noqa: BLE001 - no request is refused for it
        log.failed(failure, token=token.name)


def _mark(scope: str, view: View) -> View:
    vars(view)["scope"] = scope
    return view
