"""Faults on botocore's own path, so that the SDK parses, retries and raises as it does against AWS."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse

Step = Callable[[AWSPreparedRequest], AWSResponse | None]


def plan(events: Any, operation: str, *steps: Step) -> list[AWSPreparedRequest]:
    """Makes each step answer one `service.Operation`; the requests sent, those let through included."""
    sent: list[AWSPreparedRequest] = []
    left = iter(steps)

    def handle(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        sent.append(request)
        return next(left, through)(request)

    events.register_first(f"before-send.{operation}", handle)
    return sent


def through(_: AWSPreparedRequest) -> None:
    """Lets the request go to the service."""


def after(act: Callable[[], object]) -> Step:
    """Lets the request go to the service, once something else has happened."""

    def step(_: AWSPreparedRequest) -> None:
        act()

    return step


def raising(error: BaseException) -> Step:
    def step(_: AWSPreparedRequest) -> AWSResponse:
        raise error

    return step


def lose_answer(request: AWSPreparedRequest) -> AWSResponse:
    """The service does what it is asked, and nobody hears of it."""
    send(request)
    raise ReadTimeoutError(endpoint_url=request.url)


def send(request: AWSPreparedRequest) -> AWSResponse:
    session = URLLib3Session()
    try:
        return session.send(request)
    finally:
        session.close()


def json_error(status: int, code: str, **members: Any) -> Step:
    body = {"__type": f"com.amazonaws.service.v1#{code}", "message": f"scripted {code}", **members}
    return answering(status, json.dumps(body).encode())


def xml_error(status: int, code: str) -> Step:
    return answering(status, f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode())


def answering(status: int, body: bytes) -> Step:
    def step(request: AWSPreparedRequest) -> AWSResponse:
        headers = {"Content-Length": str(len(body))}
        raw = HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), raw)

    return step


def cancelled(*reasons: str) -> Step:
    """A cancelled DynamoDB transaction, with the reason of each action."""
    return json_error(
        400, "TransactionCanceledException", CancellationReasons=[{"Code": reason} for reason in reasons]
    )


def operations(requests: list[AWSPreparedRequest]) -> Iterator[str]:
    """The DynamoDB operations of these requests."""
    for request in requests:
        target = request.headers["X-Amz-Target"]
        yield (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
