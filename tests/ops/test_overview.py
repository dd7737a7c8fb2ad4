import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib import items, rows
from chalicelib.model import Status
from ops import configuration
from ops.account import Account
from ops.configuration import LABELLER, SIZES
from ops.inventory import Inventory
from ops.overview import Overview
from ops.stack import Stack
from ops.stage import API_HANDLER, Stage
from tests.ops.conftest import Screen
from tests.ops.deployment import Deployment

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def show(stage: Stage, account: Account, **bounds: int) -> list[str]:
    screen = Screen()
    Overview(stage, account, **bounds).show(screen)
    return screen.lines


def put_image(session: boto3.Session, stage: Stage, key: str, status: Status, **fields: Any) -> None:
    item = {**rows.image_key(key), **rows.status_fields(key, status, NOW), **fields}
    session.client("dynamodb").put_item(TableName=stage.images_table, Item=items.marshal(item))


@pytest.fixture
def configured(resources: Stack, stage: Stage, account: Account) -> None:
    configuration.write(stage, account, resources.outputs, None)


def note(stage: Stage, api: str) -> None:
    stage.deployed_file.parent.mkdir(exist_ok=True)
    resources = [{"name": "rest_api", "resource_type": "rest_api", "rest_api_id": api}]
    stage.deployed_file.write_text(json.dumps({"resources": resources, "schema_version": "2.0"}))


def test_of_a_stage_that_is_not_there_little_is_told(stage: Stage, account: Account) -> None:
    assert show(stage, account) == [
        f"Stage {stage.name}: account 123456789012, region us-east-1",
        f"Stack:  {stage.stack_name}, not there",
        f"Nothing of it is deployed: `make deploy STAGE={stage.name}` does that.",
    ]


@pytest.mark.usefixtures("configured")
def test_what_is_deployed_is_told(
    deployment: Deployment, stage: Stage, account: Account, inventory: Inventory
) -> None:
    api = deployment.api(deployment.function(API_HANDLER))
    deployment.function(LABELLER)
    note(stage, api)
    [changed, _] = [function["LastModified"] for function in inventory.functions]

    said = show(stage, account)

    assert said[:4] == [
        f"Stage {stage.name}: account 123456789012, region us-east-1",
        f"Stack:  {stage.stack_name}, CREATE_COMPLETE",
        f"API:    https://{api}.execute-api.us-east-1.amazonaws.com/{stage.name}/",
        f"Bucket: s3://image-labeller-{stage.name}-123456789012-us-east-1",
    ]
    assert said[4].split() == ["function", "runtime", "processor", "MB", "seconds", "changed"]
    assert said[5].split() == [stage.prefix, "python3.12", "arm64", "512", "29", changed]
    assert said[6].split()[0] == f"{stage.prefix}-{LABELLER}"


@pytest.mark.usefixtures("resources")
def test_messages_are_told_by_queue(stage: Stage, account: Account, session: boto3.Session) -> None:
    sqs = session.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{stage.prefix}-labelling")["QueueUrl"]
    for delay in (0, 0, 0, 60):
        sqs.send_message(QueueUrl=url, MessageBody="{}", DelaySeconds=delay)
    sqs.receive_message(QueueUrl=url)

    said = [line.split() for line in show(stage, account)]

    assert ["queue", "waiting", "in", "flight", "delayed"] in said
    assert [f"{stage.prefix}-labelling", "2", "1", "1"] in said
    assert [f"{stage.prefix}-labelling-dead-letters", "0", "0", "0"] in said


@pytest.mark.usefixtures("resources")
def test_images_are_told_by_status(stage: Stage, account: Account, session: boto3.Session) -> None:
    expired, alive = int(NOW.timestamp()), int(datetime.now(UTC).timestamp()) + 3600
    put_image(session, stage, "a", Status.LABELLED)
    put_image(session, stage, "b", Status.LABELLED)
    put_image(session, stage, "c", Status.FAILED)
    put_image(session, stage, "d", Status.AWAITING_UPLOAD, expires_at=alive)
    put_image(session, stage, "e", Status.AWAITING_UPLOAD, expires_at=expired)

    said = [line.split() for line in show(stage, account)]

    counts = {words[0]: words[1] for words in said if len(words) == 2 and words[0] in set(Status)}
    assert counts == {
        "awaiting_upload": "1",
        "processing": "0",
        "queued": "0",
        "deferred": "0",
        "labelled": "2",
        "quarantining": "0",
        "quarantined": "0",
        "failed": "1",
    }


@pytest.mark.usefixtures("resources")
def test_of_many_images_only_some_are_counted(stage: Stage, account: Account, session: boto3.Session) -> None:
    for key in "abcde":
        put_image(session, stage, key, Status.FAILED, reason="x" * 300_000)

    one, all_ = (show(stage, account, pages=pages) for pages in (1, 2))

    [few] = [line for line in one if line.startswith("failed ")]
    assert few.split()[1:3] == ["more", "than"]
    assert 0 < int(few.split()[3]) < 5
    assert ["failed", "5"] in [line.split() for line in all_]


@pytest.mark.usefixtures("resources")
def test_an_alarm_is_told(stage: Stage, account: Account, session: boto3.Session) -> None:
    session.client("cloudwatch").set_alarm_state(
        AlarmName=f"{stage.prefix}-labelling-dead-letters", StateValue="ALARM", StateReason="a [test]"
    )

    said = show(stage, account)

    assert [line for line in said if line.startswith("ALARM: ")] == [
        f"ALARM: {stage.prefix}-labelling-dead-letters: "
        "Pictures that could not be labelled, however often it was tried"
    ]


class HalfMade:
    """A stage, made step by step."""

    def __init__(self, deployment: Deployment, account: Account) -> None:
        self.deployment = deployment
        self.stage = deployment.stage
        self.account = account

    @property
    def remark(self) -> str:
        return show(self.stage, self.account)[-1]


@pytest.fixture
def half_made(deployment: Deployment, account: Account) -> HalfMade:
    return HalfMade(deployment, account)


@pytest.mark.usefixtures("configured")
def test_what_is_half_made_is_told_with_the_command_that_goes_on(half_made: HalfMade) -> None:
    stage, deployment = half_made.stage, half_made.deployment
    command = f"--stage {stage.name}`"

    assert half_made.remark == (
        f"Not deployed: {', '.join(map(stage.function_name, SIZES))}, the API: "
        f"`chalice deploy {command} does that."
    )
    for handler in {*SIZES} - {LABELLER, API_HANDLER}:
        deployment.function(handler)
    labeller = deployment.function(LABELLER)
    api_handler = deployment.function(API_HANDLER)
    assert half_made.remark == f"Not deployed: the API: `chalice deploy {command} does that."
    api = deployment.api(api_handler)
    assert half_made.remark == (
        f"The record of Chalice is lost: `python -m ops resources {command} makes it anew."
    )
    note(stage, api)
    assert half_made.remark == f"It is not finished: `python -m ops finish {command} does that."
    deployment.client("lambda").put_function_event_invoke_config(
        FunctionName=labeller, MaximumRetryAttempts=2
    )
    assert half_made.remark == f"It is not finished: `python -m ops finish {command} does that."
    deployment.client("apigateway").put_gateway_response(restApiId=api, responseType="DEFAULT_4XX")
    assert half_made.remark.split()[0] == "failed"  # the last of the table: nothing is wrong


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED"])
def test_a_stack_that_is_not_whole_is_told(half_made: HalfMade, stack: Stack, status: str) -> None:
    cloudformation_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].get_stack(stack.name).status = status

    assert half_made.remark == (
        "Its stack is not as it should be: "
        f"`python -m ops resources --stage {half_made.stage.name}` says why."
    )


def test_functions_without_a_stack_are_told(half_made: HalfMade) -> None:
    half_made.deployment.function(API_HANDLER)

    assert half_made.remark.startswith("Its stack is not as it should be: ")
