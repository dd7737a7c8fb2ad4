"""How long AWS is waited for in vain: so many attempts in all, whichever calls they are made for.

Each call may try twice. If the first attempt of each came to nothing, or was put off, a request of several
calls would have its answer after several time-outs or pauses, and within its own bounds each of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from chalicelib.aws_errors import DYNAMODB, EVERY_SERVICE, UNANSWERED
from chalicelib.errors import ServiceFailed, Throttled

PUT_OFF = {code for code, failure in {**EVERY_SERVICE, **DYNAMODB}.items() if failure is Throttled}


@dataclass
class Patience:
    attempts: int
    in_vain: list[Exception] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return len(self.in_vain) >= self.attempts


# On a laptop, requests are served side by side.
_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def at_most(attempts: int) -> Iterator[None]:
    """The last of so many attempts in vain ends its call; any later one fails with ServiceFailed."""
    before = _patience.set(Patience(attempts))
    try:
        yield
    finally:
        _patience.reset(before)


def bounded(request: Any, get_response: Callable[[Any], Any]) -> Any:
    """Middleware: a request waits in vain no longer than one call may."""
    with at_most(2):
        return get_response(request)


def watch(events: Any) -> None:
    """Counts the attempts of all clients of the session that has these events."""
    events.register_first("before-send", _refuse)
    events.register_first("response-received", _count)


def _refuse(**_: Any) -> None:
    patience = _patience.get()
    if patience and patience.is_over:
        raise ServiceFailed(f"no attempt more, after so many in vain: {patience.in_vain[-1]}")


def _count(exception: Exception | None, parsed_response: Any, **_: Any) -> None:
    patience = _patience.get()
    failure = exception if isinstance(exception, UNANSWERED) else _refusal(parsed_response or {})
    if patience is None or failure is None:
        return
    patience.in_vain.append(failure)
    if patience.is_over:
        raise failure


def _refusal(answer: Any) -> Exception | None:
    """What the SDK would pause for, and then ask again."""
    error = answer.get("Error", {})
    told = f"{error.get('Code')}: {error.get('Message')}"
    if error.get("Code") in PUT_OFF:
        return Throttled(told)
    status: int = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return ServiceFailed(told) if status >= 500 else None
