"""Receivers of callbacks on loopback that do as their script says, well or badly, and keep what they hear."""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PAUSE = 0.01  # seconds, between the bytes of one who is slow


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # by names in small letters
    body: bytes


class Visit:
    """One connection, as a receiver sees it."""

    def __init__(self, line: socket.socket, requests: list[Request]) -> None:
        self._line = line
        self._requests = requests

    def hear(self) -> None:
        """Reads and keeps the request."""
        with self._line.makefile("rb") as stream:
            method, path, _ = stream.readline().decode().split(" ")
            headers = {}
            while line := stream.readline().decode().strip():
                name, value = line.split(": ", 1)
                headers[name.lower()] = value
            body = stream.read(int(headers.get("content-length", 0)))
        self._requests.append(Request(method, path, headers, body))

    def say(self, data: bytes) -> None:
        self._line.sendall(data)

    def is_over(self, seconds: float | None = None) -> bool:
        """Whether the other side closes, or says more, within so many seconds; waits for it if None."""
        return bool(select.select([self._line], [], [], seconds)[0])

    def break_off(self) -> None:
        """Closes by RST."""
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._line.close()


Step = Callable[[Visit], None]


def answer(status: int, body: bytes = b"", **headers: str) -> Step:
    """An answer as most servers give it; `retry_after="5"` is the header Retry-After."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return saying("\r\n".join([*lines, "", ""]).encode() + body)


def saying(data: bytes) -> Step:
    """These bytes, and the end."""

    def step(visit: Visit) -> None:
        visit.hear()
        visit.say(data)

    return step


def resetting(visit: Visit) -> None:
    visit.hear()
    visit.break_off()


def silent(visit: Visit) -> None:
    """Says nothing for as long as anybody waits."""
    visit.hear()
    visit.is_over()


def dripping(start: bytes, drops: bytes = b"x") -> Step:
    """Says the start, and then drop by drop without an end."""

    def step(visit: Visit) -> None:
        visit.hear()
        visit.say(start)
        while not visit.is_over(PAUSE):
            visit.say(drops)

    return step


def pouring(start: bytes, chunk: bytes) -> Step:
    """Says the start, and then as much as it can without an end."""

    def step(visit: Visit) -> None:
        visit.hear()
        visit.say(start)
        while True:
            visit.say(chunk)

    return step


OK = answer(200)


class Receiver:
    """Takes the steps of its script one after the other, one a connection, and then the last one always."""

    def __init__(self, listener: socket.socket, script: Sequence[Step], tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._script = script
        self._tls = tls
        self._is_closing = False
        self.connections = 0
        self.requests: list[Request] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """By http, on this machine."""
        return f"http://{self._listener.getsockname()[0]}:{self.port}/hook"

    def serve(self) -> None:
        while True:
            line, _ = self._listener.accept()
            if self._is_closing:
                line.close()
                return
            step = self._script[min(self.connections, len(self._script) - 1)]
            self.connections += 1
            threading.Thread(target=self._attend, args=(line, step), daemon=True).start()

    def close(self) -> None:
        self._is_closing = True
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname()[:2]).close()

    def _attend(self, line: socket.socket, step: Step) -> None:
        with (
            suppress(OSError, ValueError),
            self._secured(line) as secured,
        ):  # the other side goes when it likes
            step(Visit(secured, self.requests))

    def _secured(self, line: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(line, server_side=True) if self._tls else line


@contextmanager
def receiver(
    *script: Step, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> Iterator[Receiver]:
    """One that listens meanwhile; without a script, it answers everything with 200."""
    with socket.create_server((address, port)) as listener:
        served = Receiver(listener, script or (OK,), tls)
        thread = threading.Thread(target=served.serve, daemon=True)
        thread.start()
        yield served
        served.close()
        thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that nobody listens on, and nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/hook"


@contextmanager
def unanswering() -> Iterator[str]:
    """The URL of a port whose connections are never made: its queue of them is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as waiting:
        waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
