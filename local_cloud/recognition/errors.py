from __future__ import annotations


class Unreadable(Exception):
    """The bytes are no JPEG or PNG, or one that cannot be decoded."""


class TooLarge(Exception):
    """The picture has more bytes or a longer side than Rekognition takes."""


class TooSmall(Exception):
    """A side of the picture is shorter than Rekognition takes."""


class InvalidRequest(Exception):
    """The request has the right types and a value that is not allowed."""


class MalformedRequest(Exception):
    """The request is no JSON document, or has a value of the wrong type."""


class ConfigurationError(Exception):
    """What the user set in the environment cannot work; the message is one sentence for him."""


class ServiceError(Exception):
    """Rekognition's own error: a code, a message and an HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
