import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer

import pytest

from chalicelib.callback_url import CallbackRules
from chalicelib.webhook import Webhook
from ops.listening import HOST, Listening, _handler, _verifier, listen
from ops.problems import Problem
from tests.ops.conftest import Screen

SECRET = "A" * 64
KEY, OTHER = bytes(48), b"another key that is none of ours"
BODY = json.dumps({"type": "image.labelled", "data": {"source_file": "\x1b[2Jé.png"}}).encode()


@pytest.fixture
def url(screen: Screen) -> Iterator[str]:
    with ThreadingHTTPServer((HOST, 0), _handler(Listening(screen, _verifier(SECRET)))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()
        thread.join()


def send(url: str, key: bytes = KEY) -> int | None:
    webhook = Webhook(CallbackRules(loopback=True), lambda: datetime.now(UTC), ssl.create_default_context())
    return webhook.post(url, "evt_1", BODY, [key]).status


def test_a_callback_is_verified_and_shown(url: str, screen: Screen) -> None:
    assert send(url) == 204

    heading, *shown = screen.lines
    assert heading == "image.labelled  evt_1  verified"
    assert json.loads("\n".join(shown)) == json.loads(BODY)
    assert "\x1b" not in "".join(screen.lines)


def test_one_that_comes_again_is_told_so(url: str, screen: Screen) -> None:
    send(url)
    send(url)

    assert "image.labelled  evt_1  verified once more" in screen.lines


def test_what_bears_another_signature_is_refused(url: str, screen: Screen) -> None:
    assert send(url, OTHER) == 400

    assert screen.lines == ["Refused: 'No matching signature found'"]


def test_a_port_that_is_taken_is_a_problem(screen: Screen) -> None:
    with closing(socket.create_server((HOST, 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Problem, match=f"Port {port} is in use"):
            listen(screen, port, SECRET)


def test_what_is_no_secret_is_a_problem(screen: Screen) -> None:
    with pytest.raises(Problem, match="The secret must be"):
        listen(screen, 0, "")
