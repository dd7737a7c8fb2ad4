"""Who is called back: at the other end of a socket that is none, and not always at home."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Self

from local_cloud.clock import ManualClock

PATIENCE = 15  # seconds, as exchange.py has it
NO_CONTENT, UNAVAILABLE = b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


class Conduct(StrEnum):
    AWAY = "refuses the connection"
    BUSY = "says so"
    SILENT = "hears all of it, and never answers"
    LOST = "hears all of it, and the connection breaks"


@dataclass
class Addressee:
    clock: ManualClock
    absences: float = 0.0  # how likely it is that an attempt fails
    heard: Counter[str] = field(default_factory=Counter)  # ids of callbacks, whatever was answered
    thanked: Counter[str] = field(default_factory=Counter)  # and those that were
    _seed: int = 0
    _calls: int = 0

    def begin(self, seed: int, absences: float) -> None:
        self.heard.clear()
        self.thanked.clear()
        self._seed, self.absences, self._calls = seed, absences, 0

    def connect(self) -> Any:
        """A socket, as far as exchange.py uses it."""
        self._calls += 1
        dice = Random(f"addressee {self._seed} {self._calls}")
        conduct = dice.choice(tuple(Conduct)) if dice.random() < self.absences else None
        if conduct is Conduct.AWAY:
            raise ConnectionRefusedError
        return Line(self, conduct)


@dataclass
class Line:
    addressee: Addressee
    conduct: Conduct | None
    _request: bytearray = field(default_factory=bytearray)
    _answer: bytes | None = None

    def settimeout(self, seconds: float) -> None:
        """Who is silent takes all the time there is."""

    def send(self, part: memoryview) -> int:
        self._request += part
        return len(part)

    def recv_into(self, room: memoryview) -> int:
        if self._answer is None:
            self._answer = self._heard()
        part = self._answer[: len(room)]
        room[: len(part)] = part
        self._answer = self._answer[len(part) :]
        return len(part)

    def _heard(self) -> bytes:
        head = self._request.decode("latin-1").partition("\r\n\r\n")[0]
        [name] = [line.split(": ")[1] for line in head.split("\r\n") if line.startswith("webhook-id")]
        self.addressee.heard[name] += 1
        match self.conduct:
            case Conduct.SILENT:
                self.addressee.clock.sleep(PATIENCE)
                raise TimeoutError
            case Conduct.LOST:
                raise ConnectionResetError
            case Conduct.BUSY:
                return UNAVAILABLE
        self.addressee.thanked[name] += 1
        return NO_CONTENT

    def close(self) -> None:
        """Nothing was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
