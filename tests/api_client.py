"""A client of the app's HTTP API, served by Chalice's own local server on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlencode

from chalice.config import Config
from chalice.local import create_local_server


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class ApiClient:
    port: int

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
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, raw_path + query, body or None, headers or {})
            response = connection.getresponse()
            answer_headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answer_headers, json.loads(response.read() or b"null"))
        finally:
            connection.close()


def path(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


@contextmanager
def served(app_module: ModuleType) -> Iterator[ApiClient]:
    local = create_local_server(app_module.app, Config(), "127.0.0.1", 0)
    thread = threading.Thread(target=local.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield ApiClient(local.server.server_address[1])
    local.shutdown()
    local.server.server_close()
    thread.join()
