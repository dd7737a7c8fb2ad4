"""One HTTP request to an address that was checked, and its answer, within a time that nothing prolongs.

By hand, since the time-outs of HTTP libraries are for each read: a byte now and then holds them for hours.
Nor can anything here look up a name again, ask a proxy, follow a redirect or decompress.
"""

import io
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from chalicelib.callback_url import Address, Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_TRIES = 4  # of a host's addresses
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
INTERIM = range(100, 200)


class Garbled(Exception):
    """An answer that is not HTTP/1.1, or whose head does not end."""


@dataclass(frozen=True)
class Limits:
    connect: float = 3.0  # seconds for each address
    total: float = 15.0  # seconds
    courtesy: float = 1.0  # seconds for what follows the head of an answer, which nobody uses
    answer: int = 64 * 1024  # bytes


LIMITS = Limits()


@dataclass(frozen=True)
class Deadline:
    clock: Callable[[], float]
    moment: float

    def left(self) -> float:
        """In seconds, never none; raises TimeoutError when it is over."""
        seconds = self.moment - self.clock()
        if seconds <= 0:
            raise TimeoutError("the time is over")
        return seconds

    def within(self, seconds: float) -> "Deadline":
        return replace(self, moment=min(self.moment, self.clock() + seconds))


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: str | None  # the header as it is


@dataclass(frozen=True)
class Exchange:
    context: ssl.SSLContext
    limits: Limits
    deadline: Deadline

    def send(self, request: bytes, target: Target, addresses: Sequence[Address]) -> Answer:
        """Sends it to the first address that can be connected to; by TLS, unless the target is http.

        Raises OSError, of which TimeoutError, ssl.SSLError and ConnectionError are kinds, or Garbled.
        """
        with self._line(target, addresses) as line:
            _send(line, request, self.deadline)
            incoming = _Incoming(line, self.limits.answer, self.deadline)
            reader = io.BufferedReader(incoming)
            answer = _answer(reader)
            # Who is still writing may take a connection that closes for a failure.
            incoming.deadline = self.deadline.within(self.limits.courtesy)
            with suppress(OSError, Garbled):
                reader.read()
        return answer

    def _line(self, target: Target, addresses: Sequence[Address]) -> socket.socket:
        line = self._connected(target.port, addresses)
        if target.scheme == "http":
            return line
        return self.context.wrap_socket(line, server_hostname=target.host)  # which closes it on failure

    def _connected(self, port: int, addresses: Sequence[Address]) -> socket.socket:
        failures: list[OSError] = []
        for address in addresses[:MAX_TRIES]:
            try:
                return self._connection(address, port)
            except OSError as failure:
                failures.append(failure)
        # Who has no IPv6 fails there at once; the host hangs all the same.
        raise next((failure for failure in failures if isinstance(failure, TimeoutError)), failures[0])

    def _connection(self, address: Address, port: int) -> socket.socket:
        line = socket.socket(socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6)
        try:
            line.settimeout(self.deadline.within(self.limits.connect).left())
            line.connect((str(address), port))
            line.settimeout(self.deadline.left())  # for a handshake as a whole
        except OSError:
            line.close()
            raise
        return line


def _send(line: socket.socket, request: bytes, deadline: Deadline) -> None:
    unsent = memoryview(request)
    while unsent:
        line.settimeout(deadline.left())
        unsent = unsent[line.send(unsent) :]


class _Incoming(io.RawIOBase):
    """What arrives, up to so many bytes and a moment."""

    def __init__(self, line: socket.socket, limit: int, deadline: Deadline) -> None:
        self._line = line
        self._left = limit
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if not self._left:
            raise Garbled("more than one answer may have")
        self._line.settimeout(self.deadline.left())
        count = self._line.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


def _answer(reader: io.BufferedIOBase) -> Answer:
    while (answer := _head(reader)).status in INTERIM:
        pass
    return answer


def _head(reader: io.BufferedIOBase) -> Answer:
    status = STATUS_LINE.fullmatch(_line_of(reader))
    if not status:
        raise Garbled("no answer in HTTP/1.1")
    headers = dict(_headers(reader))
    return Answer(int(status[1]), headers.get("retry-after"))


def _headers(reader: io.BufferedIOBase) -> Iterator[tuple[str, str]]:
    while line := _line_of(reader).rstrip(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        yield name.strip().lower(), value.strip()


def _line_of(reader: io.BufferedIOBase) -> bytes:
    line = reader.readline()
    if not line:
        raise ConnectionAbortedError("closed before the end of the head")
    return line
