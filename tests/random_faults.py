"""Faults at random, which are the same again for the same seed."""

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError

from tests.faults import Step, answering, cancelled, json_error, xml_error
from tests.interception import Call, Layer


class Fault(StrEnum):
    SERVER_ERROR = "the service fails"
    THROTTLE = "the service throttles"
    NO_CONNECTION = "the request does not reach the service in time"
    RESET = "the connection breaks before the request is through"
    LOST_ANSWER = "the service does it, and its answer is lost"


SERVER_ERRORS: Mapping[str, Step] = {
    "s3": xml_error(500, "InternalError"),
    "lambda": json_error(500, "ServiceException"),
    "sqs": json_error(500, "InternalFailure"),
}
THROTTLES: Mapping[str, Step] = {
    "s3": xml_error(503, "SlowDown"),
    "dynamodb": json_error(400, "ProvisionedThroughputExceededException"),
    "rekognition": json_error(400, "ProvisionedThroughputExceededException"),
    "lambda": json_error(429, "TooManyRequestsException"),
    "sqs": json_error(400, "RequestThrottled"),
}


@dataclass
class RandomFaults:
    """A layer in which, with this probability, something goes wrong with a call.

    What goes wrong with the n-th call of an operation follows from the seed, the operation and n alone, so
    that threads which call different operations do not disturb it. A probability of 0 ends it.
    """

    below: Layer
    seed: int
    probability: float
    kinds: Sequence[Fault] = tuple(Fault)
    happened: list[tuple[str, Fault]] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: Call) -> AWSResponse:
        match self._draw(call):
            case None:
                return self.below(call)
            case Fault.LOST_ANSWER:
                self.below(call)
                raise ReadTimeoutError(endpoint_url=call.request.url)
            case Fault.NO_CONNECTION:
                raise ConnectTimeoutError(endpoint_url=call.request.url)
            case Fault.RESET:
                raise ConnectionClosedError(endpoint_url=call.request.url)
            case fault:
                return _refusal(fault, call)

    def _draw(self, call: Call) -> Fault | None:
        with self._lock:
            self._seen[str(call)] += 1
            dice = Random(f"{self.seed} {call} {self._seen[str(call)]}")
            if dice.random() >= self.probability:
                return None
            fault = dice.choice(self.kinds)
            self.happened.append((str(call), fault))
            return fault


def _refusal(fault: Fault, call: Call) -> AWSResponse:
    step = _server_error(call) if fault is Fault.SERVER_ERROR else _throttle(call)
    response = step(call.request)
    assert response is not None
    return response


def _server_error(call: Call) -> Step:
    if call.request.method == "HEAD":  # has no body to say more in
        return answering(500, b"")
    return SERVER_ERRORS.get(call.service, json_error(500, "InternalServerError"))


def _throttle(call: Call) -> Step:
    if call.request.method == "HEAD":
        return answering(503, b"")
    if call.operation == "TransactWriteItems":  # which the SDK does not repeat
        body: Any = call.request.body
        actions = json.loads(body)["TransactItems"]
        return cancelled(*["ThrottlingError"] * len(actions))
    return THROTTLES.get(call.service, json_error(400, "ThrottlingException"))
