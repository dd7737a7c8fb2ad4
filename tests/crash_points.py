"""A process that dies at a chosen AWS call."""

import threading
from dataclasses import dataclass, field
from enum import StrEnum

from botocore.awsrequest import AWSResponse

from tests.interception import Call, Layer


class Crash(BaseException):
    """The process is gone: no handler of `Exception` may live on."""


class When(StrEnum):
    BEFORE = "before"  # the call is sent
    AFTER = "after"  # the service has done it


@dataclass
class Mortal:
    """A layer in which the process can die. Once dead it makes no call, in whichever thread."""

    below: Layer
    calls: list[str] = field(default_factory=list)
    _number: int = 0
    _when: When = When.BEFORE
    _is_dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def crash_at(self, number: int, when: When) -> None:
        """A new life, which ends at its n-th call, counted from 1; 0 does not come."""
        with self._lock:
            self.calls.clear()
            self._number, self._when, self._is_dead = number, when, False

    def live(self) -> None:
        """A new life without an end; `calls` then tells where it could have ended."""
        self.crash_at(0, When.BEFORE)

    def __call__(self, call: Call) -> AWSResponse:
        is_last = self._count(call)
        if is_last and self._when is When.BEFORE:
            self._die()
        answer = self.below(call)
        if is_last:
            self._die()
        return answer

    def _count(self, call: Call) -> bool:
        with self._lock:
            if self._is_dead:
                raise Crash
            self.calls.append(str(call))
            return len(self.calls) == self._number

    def _die(self) -> None:
        with self._lock:
            self._is_dead = True
        raise Crash
