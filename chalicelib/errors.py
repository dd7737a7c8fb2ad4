"""The failure vocabulary: what is final for a picture, and what a later try can heal."""

import re


class LabellerError(Exception):
    """Everything this application raises on purpose."""


class PictureRefused(LabellerError):
    """The picture itself is the cause, so no retry can change the outcome."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CallbackRefused(LabellerError):
    """A callback may not go there; the reason is a sentence for whoever gave the URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CallbackUnresolved(CallbackRefused):
    """The host has no address, which the owner of its name may change."""


class Deadly(LabellerError):
    """Nobody who took it up has survived it."""


class Deferred(LabellerError):
    """The picture's turn comes another day, without anybody's trying."""


class Retryable(LabellerError):
    """A service is the cause, and a later try may succeed."""


class Throttled(Retryable):
    """A service asked for fewer calls."""


class ServiceFailed(Retryable):
    """A service failed, timed out or could not be reached."""


class AccessLost(Retryable):
    """A permission or a resource is missing: the operator's to mend, never the picture's failure."""


class ObjectUnavailable(Retryable):
    """Rekognition could not read the object; only a look at the bucket tells why."""


class MessageGone(Retryable):
    """The time to deal with a message was up: by now it is another's, or done with."""


class Contended(Retryable):
    """Others changed the same row again and again, or the same object at the same time."""


def outcome_of(failure: Exception) -> str:
    """A failure in the words of the log and the metrics: `access_lost`, or `crashed` if nobody foresaw it."""
    if not isinstance(failure, Retryable):
        return "crashed"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(failure).__name__).lower()
