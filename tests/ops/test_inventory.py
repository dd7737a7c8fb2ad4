from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ops.account import Account
from ops.inventory import Inventory, Queue, unless_absent
from ops.stage import API_HANDLER, Stage
from tests.faults import json_error, plan
from tests.ops.deployment import Deployment

KINDS = ("functions", "apis", "rules", "roles", "log_groups", "queues", "alarms", "buckets", "tables")


@pytest.fixture
def neighbour(stage: Stage, session: boto3.Session) -> Deployment:
    """A stage whose name begins with the other's."""
    return Deployment(Stage(f"{stage.name}x", stage.project), session)


def test_of_a_stage_that_is_not_there_nothing_is_found(inventory: Inventory) -> None:
    found = {name: getattr(inventory, name) for name in KINDS}

    assert found == {name: [] for name in found}
    assert inventory.secrets == {}


def test_functions_are_found_by_name_and_tag(
    deployment: Deployment, neighbour: Deployment, inventory: Inventory, stage: Stage
) -> None:
    for handler in ("notify", API_HANDLER):
        deployment.function(handler)
    deployment.function("somebodys", team="other")
    neighbour.function(API_HANDLER)

    names = [function["FunctionName"] for function in inventory.functions]

    assert names == [stage.prefix, f"{stage.prefix}-notify"]


def test_apis_are_found_by_the_function_that_they_call(
    deployment: Deployment, neighbour: Deployment, inventory: Inventory
) -> None:
    ours, theirs = deployment.function(API_HANDLER), neighbour.function(API_HANDLER)
    deployed, half_made = deployment.api(ours), deployment.api(ours, deployed=False)
    deployment.api(ours, name="another app")
    neighbour.api(theirs)

    assert {api["id"] for api in inventory.apis} == {deployed, half_made}


def test_rules_are_those_that_chalice_made(
    deployment: Deployment, neighbour: Deployment, inventory: Inventory, stage: Stage
) -> None:
    for each in (deployment, neighbour):
        each.schedule("recover", each.function("recover"))
    deployment.schedule("of-somebodys", "arn:aws:lambda:us-east-1:123456789012:function:somebodys")

    assert inventory.rules == [f"{stage.prefix}-recover-event"]


def test_roles_are_those_that_chalice_made(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    deployment.role(API_HANDLER)  # of a function that there is not yet
    deployment.function("renamed_since")
    deployment.client("iam").create_role(
        RoleName=f"{stage.prefix}-label_uploaded_image", AssumeRolePolicyDocument="{}"
    )

    assert inventory.roles == [stage.role_name(API_HANDLER), stage.role_name("renamed_since")]


def test_roles_are_also_those_of_the_functions_in_config(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    deployment.role("formerly")
    assert inventory.roles == []

    stage.config_file.write_text(
        f'{{"stages": {{"{stage.name}": {{"lambda_functions": {{"formerly": {{}}}}}}}}}}'
    )

    assert inventory.roles == [stage.role_name("formerly")]


def test_log_groups_are_those_of_the_stages_functions(
    deployment: Deployment, neighbour: Deployment, inventory: Inventory, stage: Stage
) -> None:
    deployment.function(API_HANDLER)
    deployment.function("notify")
    neighbour.function(API_HANDLER)

    assert inventory.log_groups == [f"/aws/lambda/{stage.prefix}", f"/aws/lambda/{stage.prefix}-notify"]


@pytest.mark.usefixtures("resources")
def test_the_stacks_resources_are_found_by_their_names(inventory: Inventory, stage: Stage) -> None:
    account = inventory.account

    assert inventory.buckets == stage.buckets(account.id, account.region)
    assert inventory.tables == stage.tables
    assert list(inventory.secrets) == [stage.secret]
    assert [queue.name.removeprefix(f"{stage.prefix}-") for queue in inventory.queues] == [
        "callbacks",
        "callbacks-dead-letters",
        "labelling",
        "labelling-dead-letters",
        "stream-dead-letters",
    ]
    assert f"{stage.prefix}-labelling-age" in [alarm["AlarmName"] for alarm in inventory.alarms]


@pytest.mark.usefixtures("resources")
def test_messages_are_counted_where_they_are(
    inventory: Inventory, stage: Stage, session: boto3.Session
) -> None:
    sqs = session.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{stage.prefix}-labelling")["QueueUrl"]
    for delay in (0, 0, 0, 60, 60):
        sqs.send_message(QueueUrl=url, MessageBody="{}", DelaySeconds=delay)
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)

    [queue] = [each for each in inventory.queues if each.messages]

    assert queue == Queue(f"{stage.prefix}-labelling", visible=2, in_flight=1, delayed=2)
    assert queue.messages == 5


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"])
def test_a_queue_that_is_gone_and_still_listed_is_none(code: str, stage: Stage) -> None:
    session = boto3.Session()
    for name in ("callbacks", "labelling"):
        session.client("sqs").create_queue(QueueName=f"{stage.prefix}-{name}")
    plan(session.events, "sqs.GetQueueAttributes", json_error(400, code))

    found = Inventory(stage, Account(session)).queues

    assert [queue.name for queue in found] == [f"{stage.prefix}-labelling"]


def test_event_sources_are_found_until_they_are_being_deleted(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    sqs = deployment.client("sqs")
    url = sqs.create_queue(QueueName=f"{stage.prefix}-labelling")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    uuid = deployment.event_source(deployment.function("label_queued_image"), arn)
    [function] = inventory.functions

    assert [mapping["UUID"] for mapping in inventory.mappings(function)] == [uuid]


def refuse(code: str) -> Any:
    def request(**_: str) -> Any:
        raise ClientError({"Error": {"Code": code}}, "HeadBucket")

    return request


def test_only_what_is_absent_is_taken_for_absent() -> None:
    assert unless_absent(refuse("404"), Bucket="b") is None
    with pytest.raises(ClientError):
        unless_absent(refuse("403"), Bucket="b")
