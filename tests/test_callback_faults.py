"""Callbacks by every function of a stage, in whatever way one of them fails; three days pass in a moment."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from standardwebhooks import Webhook as Verifier

from chalicelib import items, rows
from chalicelib.callback import ATTEMPTS, DELAYS, JITTER, State
from chalicelib.callbacks import HANDOVER
from chalicelib.model import Upload
from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.faults import send
from tests.lambda_events import changes, context, received
from tests.pumped_stage import PumpedStage, pumped_stage
from tests.receivers import OK, Receiver, answer, receiver
from tests.scripted_rekognition import ScriptedRekognition

UPLOAD = Upload()
CALLS = {  # of a picture with one callback, in the order in which they are made
    "notify": ["UpdateItem", "SendMessage"],
    "index_image": ["GetItem", "GetItem", "TransactWriteItems", "GetItem", "GetItem"],
    "deliver_callback": [*2 * ["GetSecretValue"], "UpdateItem", "GetItem", "GetItem", "UpdateItem"],
}
FUNCTIONS = [name for name, calls in CALLS.items() for _ in calls]
POINTS = [
    pytest.param(number, marks=[] if number in (1, 4, 11) else pytest.mark.search, id=f"{number}-{name}")
    for number, name in enumerate(FUNCTIONS)
]
NEVER = len(FUNCTIONS)
HOUR = timedelta(hours=1)


class Died(BaseException):
    """The function is no more."""


@dataclass
class Death:
    """Lets a function die at the call of that number, before it is made or after."""

    number: int
    is_after: bool
    calls: list[str] = field(default_factory=list)
    is_armed: bool = False

    def __call__(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> None:
        if not self.is_armed:
            return
        self.calls.append(event_name.rpartition(".")[2])
        if len(self.calls) == self.number + 1:
            if self.is_after:
                send(request)
            raise Died


@pytest.fixture
def stage(
    settings: Settings, endpoint: Endpoint, app_module: ModuleType, rekognition: ScriptedRekognition
) -> Iterator[PumpedStage]:
    with pumped_stage(settings, endpoint, app_module) as stage:
        yield stage


def ids(served: Receiver) -> set[str]:
    return {request.headers["webhook-id"] for request in served.requests}


def test_what_fails_nine_times_arrives_on_the_tenth_attempt_after_three_days(stage: PumpedStage) -> None:
    secret = stage.services.settings.signing_secret_arn
    key = boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    with receiver(*9 * [answer(500)], OK) as served:
        picture = stage.upload(served.url)
        for _ in range(ATTEMPTS - 1):
            [callback] = stage.callbacks(picture)
            stage.wait_for_attempt(callback)
        [callback] = stage.callbacks(picture)

    moments = [
        datetime.fromtimestamp(int(each.headers["webhook-timestamp"]), UTC) for each in served.requests
    ]
    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert callback.state is State.DELIVERED
    assert [attempt.outcome for attempt in callback.attempts] == [*9 * ["5xx"], "2xx"]
    assert ids(served) == {callback.event_id}
    for wait, delay in zip(waits, DELAYS, strict=True):
        assert delay * (1 - JITTER) <= wait + timedelta(seconds=2)
        assert wait <= delay * (1 + JITTER) + timedelta(seconds=2)
    for request, moment in zip(served.requests, moments, strict=True):
        signature = Verifier(key).sign(callback.event_id, moment, request.body.decode())
        assert request.headers["webhook-signature"] == signature


def label_and_die(stage: PumpedStage, endpoint: Endpoint, served: Receiver, death: Death) -> str:
    """The key of a picture with a callback, of which somebody dies once it is labelled."""
    stage.services.session.events.register_first("before-send", death)
    key = stage.services.uploads.expect(None, replace(UPLOAD, callback_url=served.url)).source_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "on_object_event", lambda _: None)  # or who handles its event would die first
        stage.put(key)
    stage.services.labelling.label(key)
    death.is_armed = True
    stage.pump.drain()
    death.is_armed = False
    return key


def test_the_calls_to_die_at_are_all_that_functions_make(stage: PumpedStage, endpoint: Endpoint) -> None:
    nobody = Death(NEVER, is_after=False)
    with receiver() as served:
        label_and_die(stage, endpoint, served, nobody)

    assert nobody.calls == [call for calls in CALLS.values() for call in calls]


@pytest.mark.thorough
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", POINTS)
def test_whichever_call_a_function_dies_at_the_callback_arrives(
    number: int, is_after: bool, stage: PumpedStage, endpoint: Endpoint
) -> None:
    death = Death(number, is_after)
    with receiver() as served:
        key = label_and_die(stage, endpoint, served, death)
        stage.wait(HOUR / 2)
        [callback] = stage.callbacks(key)

    assert len(death.calls) > number
    assert callback.state is State.DELIVERED
    assert ids(served) == {callback.event_id}
    assert len(served.requests) <= 2


def test_a_stream_and_a_queue_that_repeat_themselves_make_one_callback(
    stage: PumpedStage, app_module: ModuleType
) -> None:
    with receiver() as served:
        key = stage.upload(served.url)
        event = changes(stage.services.settings.images_stream_arn)
        for _ in range(3):
            app_module.notify(event, context())
        [callback] = stage.callbacks(key)
        for _ in range(3):
            stage.services.dispatching._hurry(key, callback.event_id)
            stage.pump.drain()

    assert (callback.state, len(stage.callbacks(key)), served.connections) == (State.DELIVERED, 1, 1)


def test_a_change_that_cannot_be_read_holds_up_no_other_and_is_kept(stage: PumpedStage) -> None:
    table = stage.services.settings.images_table
    poison = {**rows.image_key("poison.png"), "status": "labelled", "committed_run": "r", "callback_url": "?"}
    with receiver() as served:
        stage.services.dynamodb.put_item(TableName=table, Item=items.marshal(poison))
        key = stage.upload(served.url)
        stage.wait(HOUR)
        [callback] = stage.callbacks(key)

    assert callback.state is State.DELIVERED
    assert stage.pump.failed_events == []
    [kept] = received(stage.services.settings.stream_dead_letters_url)["Records"]
    assert json.loads(kept["body"])["NewImage"] == items.marshal(poison)


def test_while_no_secret_can_be_read_callbacks_wait_and_none_is_a_dead_letter(stage: PumpedStage) -> None:
    client: Any = boto3.client("secretsmanager")
    secret, dead_letters = (
        stage.services.settings.signing_secret_arn,
        stage.services.settings.callbacks_dead_letters_url,
    )
    client.delete_secret(SecretId=secret)
    with receiver() as served:
        key = stage.upload(served.url)
        stage.wait(HOUR)
        waiting, connections = stage.callbacks(key), served.connections
        client.restore_secret(SecretId=secret)
        stage.wait(HANDOVER + timedelta(minutes=1))
        [delivered] = stage.callbacks(key)

    assert [(callback.state, callback.attempts) for callback in waiting] == [(State.PENDING, ())]
    assert received(dead_letters)["Records"] == []
    assert (connections, served.connections, delivered.state) == (0, 1, State.DELIVERED)
