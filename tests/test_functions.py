import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled
from chalicelib.events import ObjectsChanged
from chalicelib.functions import LabellingFunction
from local_cloud.endpoint import Endpoint
from tests import faults

INVOKE = "lambda.Invoke"
KEYS = ["car.png", "a b+c%2F#d?.png ", "\N{DOG FACE}/é\n\0"]


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))


@pytest.mark.parametrize("key", KEYS)
def test_the_function_is_told_of_a_key_as_by_s3(
    key: str, client: Any, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, Any]] = []

    def hear(name: str, event: Any) -> bool:
        heard.append((name, event))
        return True

    monkeypatch.setattr(endpoint, "on_invocation", hear)

    LabellingFunction(client, "labeller").set_off(key)

    [(name, event)] = heard
    assert name == "labeller"
    assert ObjectsChanged(event, None).keys == [key]


def test_nobody_waits_for_what_the_function_does(client: Any) -> None:
    sent = faults.plan(client.meta.events, INVOKE, faults.answering(202, b""))

    LabellingFunction(client, "labeller").set_off("car.png")

    [request] = sent
    body: Any = request.body
    assert request.headers["X-Amz-Invocation-Type"] in ("Event", b"Event")
    assert json.loads(body) == {"Records": [{"s3": {"object": {"key": "car.png"}}}]}


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        pytest.param(faults.json_error(404, "ResourceNotFoundException"), AccessLost, id="no function"),
        pytest.param(faults.json_error(403, "AccessDeniedException"), AccessLost, id="no right"),
        pytest.param(faults.json_error(429, "TooManyRequestsException"), Throttled, id="throttled"),
        pytest.param(faults.json_error(500, "ServiceException"), ServiceFailed, id="outage"),
        pytest.param(
            faults.raising(ReadTimeoutError(endpoint_url="https://lambda.example")),
            ServiceFailed,
            id="no answer",
        ),
    ],
)
def test_a_function_that_cannot_be_set_off_is_told_by_its_class(
    step: faults.Step, failure: type[Retryable], client: Any
) -> None:
    faults.plan(client.meta.events, INVOKE, step)

    with pytest.raises(Retryable) as raised:
        LabellingFunction(client, "labeller").set_off("car.png")

    assert type(raised.value) is failure


def test_an_answer_that_nobody_foresaw_is_a_bug(client: Any) -> None:
    faults.plan(client.meta.events, INVOKE, faults.json_error(400, "InvalidParameterValueException"))

    with pytest.raises(ClientError):
        LabellingFunction(client, "labeller").set_off("car.png")
