"""A client of the app's HTTP API, served by Chalice's own local server on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPResponse
from types import ModuleType
from typing import Any, Self
from urllib.parse import quote, urlencode

from chalice.config import Config

from chalicelib.auth import TTL_SECONDS
from chalicelib.tokens import Scope
from local_cloud import gateway

HOST = "127.0.0.1"
TOKEN = f"ilt_0123456789ab_{64 * '0'}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class ApiClient:
    port: int
    token: str | None = TOKEN

    def bearing(self, token: str | None) -> Self:
        """The same client with another token, or with none."""
        return replace(self, token=token)

    def get(self, *segments: str, **parameters: Any) -> Answer:
        """GET of a path, each segment of which is URL-encoded whole."""
        return self.send("GET", path(*segments), parameters)

    def delete(self, *segments: str) -> Answer:
        return self.send("DELETE", path(*segments))

    def post(self, *segments: str, body: Any = None) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        return self.send("POST", path(*segments), body=data)

    def send(
        self,
        method: str,
        raw_path: str,
        parameters: Any = (),
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connection = HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, raw_path + query, body or None, {**bearer, **(headers or {})})
            response = connection.getresponse()
            answer_headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answer_headers, _read(response))
        finally:
            connection.close()


def _read(response: HTTPResponse) -> Any:
    body = response.read()
    is_json = "json" in (response.getheader("Content-Type") or "json")
    return json.loads(body or b"null") if is_json else body.decode()


def path(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def everything_granted() -> gateway.Grants:
    """A gateway's memory of one token that may do everything, which it never has to ask for again."""
    grants = gateway.Grants(now=lambda: 0)
    context = {"token": "tests", "scopes": " ".join(Scope)}
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": ["*"]}
    grant = {"context": context, "principalId": "tests", "policyDocument": {"Statement": [statement]}}
    grants.keep(f"Bearer {TOKEN}", grant, TTL_SECONDS)
    return grants


@contextmanager
def served(app_module: ModuleType, grants: gateway.Grants) -> Iterator[ApiClient]:
    local = gateway.serve(app_module.app, Config(), HOST, 0, grants)
    thread = threading.Thread(target=local.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield ApiClient(local.server.server_address[1])
    local.shutdown()
    local.server.server_close()
    thread.join()
