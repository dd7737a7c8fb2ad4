"""What the API says when AWS's services accept its requests and never answer them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from chalicelib.model import image_id
from chalicelib.services import PATIENCE, Services
from chalicelib.settings import Settings
from tests.api_client import ApiClient
from tests.permissions import policies_of
from tests.test_app import problem

KEY = image_id("a b.png")
NOBODY = "http://127.0.0.1:9"
# Every route that asks AWS for anything: the one without is GET /health, and what describes the API.
REQUESTS = [
    ("POST", "/images", b"{}"),
    ("GET", "/images", b""),
    ("GET", "/images?status=failed", b""),
    ("GET", "/images?key=a", b""),
    ("GET", f"/images/{KEY}", b""),
    ("DELETE", f"/images/{KEY}", b""),
    ("POST", f"/images/{KEY}/relabel", b""),
    ("GET", f"/images/{KEY}/labels/dog", b""),
    ("GET", "/labels/dog/images", b""),
]


@dataclass
class SilentServer:
    """Accepts whatever connects to it, and says nothing."""

    listener: socket.socket
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                self.connections.append(self.listener.accept()[0])


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SilentServer(listener)
        thread = threading.Thread(target=server.accept, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in server.connections:
        connection.close()


@pytest.fixture
def api_over(
    server: ApiClient, app_module: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The API on services at this address."""
    policies_of(settings.stage)  # which hold it to its rights, and are read once

    def over(url: str) -> ApiClient:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setattr(app_module, "services", Services(settings))
        return server

    return over


def unavailable() -> dict[str, Any]:
    detail = "A service behind this API gives no answer at the moment; try again shortly."
    return problem(503, "Service Unavailable", detail)


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=[" ".join(each[:2]) for each in REQUESTS])
def test_a_service_that_nobody_can_connect_to_is_a_503(
    method: str, path: str, body: bytes, api_over: Any
) -> None:
    answer = api_over(NOBODY).send(method, path, body=body, headers={"Content-Type": "application/json"})

    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, unavailable(), "2")


def test_a_service_that_never_answers_is_given_up_after_the_attempts_that_it_is_worth(
    api_over: Any, silent: SilentServer
) -> None:
    answer = api_over(silent.url).get("images", KEY)

    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, unavailable(), "2")
    attempts: Any = PATIENCE
    assert len(silent.connections) == attempts.retries["total_max_attempts"]
