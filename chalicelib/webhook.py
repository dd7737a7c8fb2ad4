"""Adapter: a callback by Standard Webhooks 1.0: signed, sent, and the answer judged.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from time import monotonic

from chalicelib.callback_url import CallbackRules, Target
from chalicelib.errors import CallbackRefused, CallbackUnresolved, ServiceFailed
from chalicelib.exchange import LIMITS, Answer, Deadline, Exchange, Garbled, Limits

HEADERS = (
    "User-Agent: image-labeller",
    "Accept: */*",
    "Accept-Encoding: identity",
    "Connection: close",
    "Content-Type: application/json",
)
NUMBER = re.compile(r"[+-]?[0-9]+")
MAX_RETRY_AFTER = 24 * 60 * 60  # seconds
# Answers of a receiver, or of what stands before it, that has too much to do.
BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class Kind(StrEnum):
    DELIVERED = "delivered"
    GONE = "gone"  # the receiver wants no more at this URL
    FAILED = "failed"


class Fault(StrEnum):
    """Why an attempt failed, in a word that tells nothing of what the receiver said."""

    BLOCKED = "blocked"  # the rules do not let it go there
    PROTOCOL = "protocol"
    REDIRECT = "redirect"
    REFUSED = "refused"
    RESET = "reset"
    STATUS = "status"
    TIMEOUT = "timeout"
    TLS = "tls"
    UNREACHABLE = "unreachable"
    UNRESOLVED = "unresolved"


# The first that fits; more special classes stand before their bases.
FAULTS = (
    (CallbackUnresolved, Fault.UNRESOLVED),
    (ServiceFailed, Fault.UNRESOLVED),
    (CallbackRefused, Fault.BLOCKED),
    (TimeoutError, Fault.TIMEOUT),
    (ssl.SSLError, Fault.TLS),
    (ConnectionRefusedError, Fault.REFUSED),
    (ConnectionError, Fault.RESET),
    (Garbled, Fault.PROTOCOL),
    (OSError, Fault.UNREACHABLE),
)
FAILURES = tuple(failure for failure, _ in FAULTS)


@dataclass(frozen=True)
class Attempt:
    """How one attempt at a callback ended."""

    kind: Kind
    milliseconds: int
    status: int | None = None  # None if there was no answer
    error: Fault | None = None  # None if it was delivered
    retry_after: int | None = None  # seconds that a busy receiver asks for, a day at most

    @property
    def timed_out(self) -> bool:
        return self.error is Fault.TIMEOUT


class Webhook:
    def __init__(
        self,
        rules: CallbackRules,
        now: Callable[[], datetime],
        context: ssl.SSLContext,
        limits: Limits = LIMITS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._rules = rules
        self._now = now
        self._context = context
        self._limits = limits
        self._clock = clock

    def post(self, url: str, event_id: str, body: bytes, keys: Sequence[bytes]) -> Attempt:
        """Sends a JSON body once, signed with each key; whatever its receiver does is no exception.

        It looks up and checks the host's addresses anew, and takes `limits.total` seconds at most.
        """
        started = self._clock()
        deadline = Deadline(self._clock, started + self._limits.total)
        try:
            answer = self._exchange(url, event_id, body, keys, deadline)
        except FAILURES as failure:
            return Attempt(Kind.FAILED, self._since(started), error=_fault(failure))
        return self._judged(answer, self._since(started))

    def _exchange(
        self, url: str, event_id: str, body: bytes, keys: Sequence[bytes], deadline: Deadline
    ) -> Answer:
        target = self._rules.parse(url)
        addresses = self._rules.addresses(target)
        headers = signed(event_id, int(self._now().timestamp()), body, keys)
        request = _request(target, headers, body)
        return Exchange(self._context, self._limits, deadline).send(request, target, addresses)

    def _judged(self, answer: Answer, milliseconds: int) -> Attempt:
        kind, fault = _verdict(answer.status)
        wait = retry_after(answer.retry_after, self._now()) if answer.status in BUSY else None
        return Attempt(kind, milliseconds, answer.status, fault, wait)

    def _since(self, started: float) -> int:
        return round((self._clock() - started) * 1000)


def signed(event_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers by which a receiver that has any one of the keys can verify the body."""
    if not keys:
        raise ValueError("a callback is never sent unsigned")
    content = b".".join([event_id.encode(), str(timestamp).encode(), body])
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(content, key) for key in keys),
    }


def retry_after(header: str | None, now: datetime) -> int | None:
    """The seconds to wait, from none to a day, by a number or a date; None if the header tells neither."""
    if header is None:
        return None
    seconds = float(header) if NUMBER.fullmatch(header) else _seconds_until(header, now)
    return None if seconds is None else round(min(max(seconds, 0), MAX_RETRY_AFTER))


def _signature(content: bytes, key: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.authority}", *HEADERS]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _fault(failure: Exception) -> Fault:
    return next(fault for kind, fault in FAULTS if isinstance(failure, kind))


def _verdict(status: int) -> tuple[Kind, Fault | None]:
    if 200 <= status < 300:
        return Kind.DELIVERED, None
    if status == HTTPStatus.GONE:
        return Kind.GONE, Fault.STATUS
    return Kind.FAILED, Fault.REDIRECT if 300 <= status < 400 else Fault.STATUS


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # A date without a zone is in UTC: https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
