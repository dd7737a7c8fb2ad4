import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID

from ops import configuration, removal
from ops.account import Account
from ops.configuration import SIZES
from ops.inventory import Inventory
from ops.problems import Problem
from ops.stack import Stack
from ops.stage import API_HANDLER, Stage
from tests.ops.conftest import Chalice, Screen
from tests.ops.deployment import Deployment

pytestmark = pytest.mark.thorough

LABELLER = "label_uploaded_image"
MORE = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)


def yes(_: Stage) -> None:
    """Agrees to everything."""


def destroy(stage: Stage, *, delete_data: bool = False) -> list[str]:
    screen = Screen()
    removal.run(stage, screen, delete_data=delete_data, confirm=yes)
    return screen.lines


def left(inventory: Inventory) -> dict[str, Any]:
    """All of the stage that is on AWS, its data apart."""
    kinds = ("functions", "apis", "rules", "roles", "log_groups", "queues", "alarms")
    return {kind: found for kind in kinds if (found := getattr(inventory, kind))}


def data(inventory: Inventory) -> list[str]:
    return [*inventory.buckets, *inventory.tables, *inventory.secrets]


def deploy(deployment: Deployment, stack: Stack) -> str:
    """Everything of a stage, but for what Chalice and `resources` note; the name of its bucket."""
    bucket = stack.outputs["ImagesBucket"]
    api, labeller = deployment.function(API_HANDLER), deployment.function(LABELLER)
    deployment.schedule("recover", deployment.function("recover"))
    deployment.api(api)
    deployment.notification(bucket, labeller)
    deployment.event_source(labeller, stack.outputs["LabellingQueueArn"])
    return bucket


@pytest.fixture
def deployed(deployment: Deployment, resources: Stack) -> str:
    return deploy(deployment, resources)


@pytest.fixture
def configured(resources: Stack, stage: Stage, account: Account) -> None:
    configuration.write(stage, account, resources.outputs, None)


def rows(lines: list[str], verb: str) -> list[list[str]]:
    return [line.split(maxsplit=2)[1:] for line in lines if line.startswith(f"{verb} ")]


def test_of_a_stage_that_is_not_there_nothing_is_removed(stage: Stage) -> None:
    assert destroy(stage) == [
        f"There is nothing of the stage {stage.name} in account 123456789012, region us-east-1."
    ]


@pytest.mark.usefixtures("deployed", "configured")
def test_everything_goes_but_the_data(stage: Stage, inventory: Inventory, stack: Stack) -> None:
    before = data(inventory)

    said = destroy(stage)

    assert (left(inventory), stack.status) == ({}, None)
    assert data(inventory) == before
    assert list(stage.document()["stages"]) == ["local"]
    assert not stage.policies_folder.exists()
    assert said[-3:] == [
        f"The stage {stage.name} is gone.",
        f"Kept: {', '.join(before)}.",
        f"`make deploy STAGE={stage.name}` takes them up again; "
        f"`make destroy STAGE={stage.name} ARGS=--delete-data` deletes them.",
    ]


@pytest.mark.usefixtures("configured")
def test_the_plan_says_what_goes_and_what_stays(
    deployed: str, stage: Stage, inventory: Inventory, session: boto3.Session
) -> None:
    [api] = inventory.apis
    session.client("s3").put_object(Bucket=deployed, Key="a.png", Body=b"x" * 2000)
    sqs = session.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{stage.prefix}-labelling-dead-letters")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")

    said = destroy(stage)

    goes, stays = rows(said, "goes"), rows(said, "stays")
    assert goes[:13] == [
        ["API", f"https://{api['id']}.execute-api.us-east-1.amazonaws.com/{stage.name}/"],
        ["function", stage.prefix],
        ["function", f"{stage.prefix}-{LABELLER}"],
        ["function", f"{stage.prefix}-recover"],
        ["rule", f"{stage.prefix}-recover-event"],
        ["role", f"{stage.prefix}-api_handler"],
        ["role", f"{stage.prefix}-{LABELLER}"],
        ["role", f"{stage.prefix}-recover"],
        ["log", f"group      /aws/lambda/{stage.prefix}"],
        ["log", f"group      /aws/lambda/{stage.prefix}-{LABELLER}"],
        ["log", f"group      /aws/lambda/{stage.prefix}-recover"],
        ["stack", f"{stage.stack_name}, CREATE_COMPLETE"],
        ["queue", f"{stage.prefix}-callbacks, 0 messages"],
    ]
    assert ["queue", f"{stage.prefix}-labelling-dead-letters, 1 messages"] in goes
    assert ["alarm", f"{stage.prefix}-labelling-age"] in goes
    assert ["configuration", f"{stage.name} in config.json, with its policies"] in goes
    assert stays[0] == ["bucket", f"{deployed}, 1 objects and 0 old versions, 2.0 kB"]
    assert [kind for kind, _ in stays] == ["bucket"] * 3 + ["table"] * 3 + ["secret"]
    assert "backup" not in "".join(said)


@pytest.mark.usefixtures("configured")
def test_the_data_goes_if_asked(
    deployed: str, stage: Stage, inventory: Inventory, session: boto3.Session
) -> None:
    s3 = session.client("s3")
    for body in (b"first", b"second"):
        s3.put_object(Bucket=deployed, Key="a.png", Body=body)
    s3.delete_object(Bucket=deployed, Key="a.png")

    said = destroy(stage, delete_data=True)

    assert (left(inventory), data(inventory)) == ({}, [])
    assert rows(said, "stays") == []
    assert [row for row in rows(said, "goes") if row[0] == "table"] == [
        ["table", f"{name}, of which DynamoDB keeps a backup for 35 days"] for name in stage.tables
    ]
    assert f"Deleted bucket {deployed}" in said
    assert said[-1] == f"The stage {stage.name} is gone."


@pytest.mark.usefixtures("deployed", "configured")
def test_what_was_kept_can_go_later(stage: Stage, inventory: Inventory) -> None:
    destroy(stage)
    kept = data(inventory)

    again = destroy(stage)
    later = destroy(stage, delete_data=True)
    at_last = destroy(stage, delete_data=True)

    assert again[:2] == [
        f"There is nothing of the stage {stage.name} in account 123456789012, region us-east-1.",
        f"Kept: {', '.join(kept)}.",
    ]
    assert len(rows(later, "goes")) == len(kept)
    assert data(inventory) == []
    assert at_last == again[:1]


@pytest.mark.usefixtures("deployed")
def test_what_nobody_noted_is_found_by_its_name(stage: Stage, inventory: Inventory) -> None:
    assert stage.config() == stage.deployed() == {}

    destroy(stage)

    assert left(inventory) == {}


def test_another_stage_stays_as_it_is(
    deployed: str, stage: Stage, session: boto3.Session, account: Account
) -> None:
    other = Stage(f"{stage.name}x", stage.project)
    stack = Stack(account.client("cloudformation"), other.stack_name)
    stack.apply((stage.project / ".chalice/resources.yaml").read_text(), {"Stage": other.name}, Screen())
    bucket = deploy(Deployment(other, session), stack)
    configuration.write(other, account, stack.outputs, None)
    inventory = Inventory(other, account)
    before = (left(inventory), data(inventory), other.config(), stack.status)

    destroy(stage, delete_data=True)

    assert (left(inventory), data(inventory), other.config(), stack.status) == before
    notified = session.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert len(notified["LambdaFunctionConfigurations"]) == 1
    assert len(list(other.policies_folder.iterdir())) == len(SIZES)


def test_what_else_the_bucket_notifies_stays(
    deployed: str, stage: Stage, deployment: Deployment, session: boto3.Session
) -> None:
    foreign = Deployment(Stage(f"{stage.name}y", stage.project), session).function("copy")
    deployment.notification(deployed, foreign)

    said = destroy(stage)

    notified = session.client("s3").get_bucket_notification_configuration(Bucket=deployed)
    assert [each["LambdaFunctionArn"] for each in notified["LambdaFunctionConfigurations"]] == [foreign]
    assert f"Deleted notifications of bucket {deployed}" in said


@pytest.mark.usefixtures("deployed")
def test_a_role_goes_with_what_somebody_attached_to_it(
    stage: Stage, inventory: Inventory, session: boto3.Session
) -> None:
    iam = session.client("iam")
    policy = iam.create_policy(
        PolicyName=f"{stage.name}-more",
        PolicyDocument=MORE,
    )["Policy"]["Arn"]
    role = stage.role_name(API_HANDLER)
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    iam.put_role_policy(RoleName=role, PolicyName="more", PolicyDocument=MORE)

    destroy(stage)

    assert inventory.roles == []
    assert iam.get_policy(PolicyArn=policy)["Policy"]["AttachmentCount"] == 0


def in_moto(stack: Stack) -> Any:
    return cloudformation_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].get_stack(stack.name)


def protect(stack: Stack) -> None:
    in_moto(stack).enable_termination_protection = True


def set_busy(stack: Stack) -> None:
    in_moto(stack).status = "UPDATE_IN_PROGRESS"


@pytest.mark.usefixtures("deployed", "configured")
@pytest.mark.parametrize(
    ("hinder", "complaint"), [(protect, "is protected from deletion"), (set_busy, "is at work on the stack")]
)
def test_what_cannot_go_is_a_problem_before_anything_goes(
    hinder: Callable[[Stack], None], complaint: str, stack: Stack, stage: Stage, inventory: Inventory
) -> None:
    before = left(inventory)
    hinder(stack)

    with pytest.raises(Problem, match=complaint):
        destroy(stage)

    assert left(inventory) == before
    assert stage.config() != {}


@pytest.mark.usefixtures("deployed", "configured")
def test_without_consent_nothing_goes(stage: Stage, inventory: Inventory, screen: Screen) -> None:
    before = left(inventory)

    def refuse(_: Stage) -> None:
        raise Problem("Nothing was removed.")

    with pytest.raises(Problem):
        removal.run(stage, screen, delete_data=True, confirm=refuse)

    assert left(inventory) == before
    assert stage.config() != {}


def test_what_fails_half_way_goes_on_when_asked_again(
    stage: Stage, deployment: Deployment, account: Account, session: boto3.Session
) -> None:
    bucket = f"{stage.name}-more"
    template = stage.project / ".chalice/resources.yaml"
    more = f"Resources:\n  More: {{Type: AWS::S3::Bucket, Properties: {{BucketName: {bucket}}}}}\n"
    template.write_text(template.read_text().replace("Resources:\n", more, 1))
    stack = Stack(account.client("cloudformation"), stage.stack_name)
    stack.apply(template.read_text(), {"Stage": stage.name}, Screen())
    configuration.write(stage, account, stack.outputs, None)
    deploy(deployment, stack)
    s3 = session.client("s3")
    s3.put_object(Bucket=bucket, Key="in the way", Body=b"")

    with pytest.raises(Problem, match=r"could not delete the stack .* \(DELETE_FAILED\):\n  More "):
        destroy(stage, delete_data=True)
    assert stage.config() != {}
    assert len(data(Inventory(stage, account))) == 7
    s3.delete_object(Bucket=bucket, Key="in the way")
    destroy(stage, delete_data=True)

    inventory = Inventory(stage, account)
    assert (left(inventory), data(inventory), stage.config()) == ({}, [], {})


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "DELETE_IN_PROGRESS"])
def test_a_stack_that_never_was_whole_goes(resources: Stack, stage: Stage, status: str) -> None:
    in_moto(resources).status = status

    destroy(stage)

    assert resources.status is None


@pytest.mark.usefixtures("configured")
def test_chalice_deletes_what_it_has_made(
    chalice: Chalice, stage: Stage, inventory: Inventory, capfd: pytest.CaptureFixture[str]
) -> None:
    chalice("deploy")

    said = destroy(stage)

    assert "Deleting Rest API: " in capfd.readouterr().out
    assert [line for line in said if line.startswith("Deleted ") and "log group" not in line] == []
    assert left(inventory) == {}
    assert not stage.deployed_file.exists()


@pytest.mark.usefixtures("configured")
def test_what_chalice_gives_up_at_goes_by_name(
    chalice: Chalice, stage: Stage, inventory: Inventory, session: boto3.Session
) -> None:
    chalice("deploy")
    session.client("lambda").delete_function(FunctionName=stage.prefix)

    said = destroy(stage)

    [gave_up] = [line for line in said if line.startswith("`chalice delete` gave up (")]
    assert gave_up.endswith(f":function:{stage.prefix}); the rest goes by name.")
    assert left(inventory) == {}
    assert not stage.deployed_file.exists()
    assert stage.config() == {}


@pytest.mark.usefixtures("configured")
def test_a_lost_record_is_no_hindrance(
    chalice: Chalice, stage: Stage, resources: Stack, inventory: Inventory, session: boto3.Session
) -> None:
    chalice("deploy")
    stage.deployed_file.unlink()

    destroy(stage)

    assert left(inventory) == {}
    bucket = stage.images_bucket("123456789012", "us-east-1")
    notified = session.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert "LambdaFunctionConfigurations" not in notified
