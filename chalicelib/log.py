"""The one logger: one JSON line per event, with the request that it belongs to and without secrets."""

import json
import re
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger
from chalice.app import Request

from chalicelib.errors import AccessLost, Retryable, outcome_of

# What gives access, as URLs and headers spell it. A name that wget gave to a file carries it, and so does
# AWS's complaint about a wrong signature, which cites the request with its session token.
SECRET = re.compile(
    r"((?:signature|credential|security-token|accesskeyid|authorization)(?:=|:|%3d) ?"
    r"(?:(?:aws4-hmac-sha256|basic|bearer) )?|ilt_[0-9a-f]{12}_)[^\s&,'\"\\]+",
    re.IGNORECASE,
)


def one_line(record: dict[str, Any]) -> str:
    """In ASCII, so that nothing in a key ends a line or steers a terminal."""
    return SECRET.sub(r"\1***", json.dumps(record, default=str, separators=(",", ":")))


logger = Logger(
    service="image-labeller",
    level="INFO",  # app.py sets the level that Settings has checked
    utc=True,
    use_rfc3339=True,
    serialize_stacktrace=False,  # the field `exception` has it too, with its causes
    json_serializer=one_line,
)


def nobody() -> None:
    """Who counts lost accesses, until app.py says so."""


count_access_lost: Callable[[], None] = nobody


def done(message: str, **facts: object) -> None:
    logger.info(message, extra=facts, stacklevel=3)


def failed(failure: Exception, **facts: object) -> None:
    """A warning of what a later try can heal; of a bug an error, with where it is."""
    facts = {"outcome": outcome_of(failure), **facts}
    if isinstance(failure, AccessLost):
        count_access_lost()
    if isinstance(failure, Retryable):
        logger.warning(str(failure), extra=facts, stacklevel=3)
    else:
        logger.error(str(failure), extra=facts, stacklevel=3, exc_info=failure)


def tell_requests_apart(event: Any, handle: Callable[[Any], Any]) -> Any:
    """Middleware: each line of an invocation carries its request id, and no other invocation's lines do."""
    # These keys are the thread's own; on the laptop, functions run in threads of one process.
    logger.thread_safe_append_keys(**_request_ids(event))
    try:
        return handle(event)
    finally:
        logger.thread_safe_clear_keys()


def _request_ids(event: Any) -> dict[str, str | None]:
    """Lambda's id of the invocation; of an HTTP request also API Gateway's, which its client was told."""
    if isinstance(event, Request):
        gateway = event.context.get("requestId")
        return {"request_id": _invocation_id(event.lambda_context), "api_request_id": gateway}
    return {"request_id": _invocation_id(getattr(event, "context", None))}


def _invocation_id(context: Any) -> str | None:
    return getattr(context, "aws_request_id", None)
