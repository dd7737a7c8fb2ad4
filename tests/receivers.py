"""Receivers of callbacks on loopback that do as their script says, well or badly, and keep what they hear."""

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

    def sip(self) -> bytes:
        """Takes a little of what was said; nothing at its end."""
        return self._line.recv(1 << 16)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the other side goes meanwhile; what it says is not heard."""
        self._line.settimeout(seconds)
        try:
            while self._line.recv(4096):
                pass
        except TimeoutError:
            return False
        finally:
            self._line.settimeout(None)
        return True

    def break_off(self) -> None:
        """Closes by RST."""
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._line.close()


Step = Callable[[Visit], object]


def answer(status: int, body: bytes = b"", **headers: str) -> Step:
    """An answer as most servers give it; `retry_after="5"` is the header Retry-After."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return saying("\r\n".join([*lines, "", ""]).encode() + body)


def saying(data: bytes, *, unasked: bool = False) -> Step:
    """These bytes, and the end."""

    def step(visit: Visit) -> None:
        if not unasked:
            visit.hear()
        visit.say(data)

    return step


def resetting(visit: Visit) -> None:
    visit.hear()
    visit.break_off()


def breaking_off(visit: Visit) -> None:
    visit.break_off()


def silent(visit: Visit) -> None:
    """Says nothing for as long as anybody waits."""
    visit.wait()


def dripping(start: bytes, drop: bytes, *, unasked: bool = False) -> Step:
    """Says the start, and then drop by drop without an end."""

    def step(visit: Visit) -> None:
        if not unasked:
            visit.hear()
        visit.say(start)
        while not visit.wait(PAUSE):
            visit.say(drop)

    return step


def pouring(start: bytes, chunk: bytes) -> Step:
    """Says the start, and then as much as anybody takes without an end."""

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
        self.address, self.port = listener.getsockname()
        self.url = f"http://{self.address}:{self.port}/hook"
        self.connections = 0
        self.requests: list[Request] = []

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
            socket.create_connection((self.address, self.port)).close()

    def _attend(self, line: socket.socket, step: Step) -> None:
        # The other side may go at any time, or speak no TLS, or no HTTP.
        with suppress(OSError, ValueError), self._secured(line) as secured:
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
        try:
            yield served
        finally:
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
