import json
from typing import Any

import boto3
import pytest

from ops import adoption
from ops.inventory import Inventory
from ops.problems import Problem
from ops.stack import Stack
from ops.stage import Stage
from tests.conftest import ROOT
from tests.ops.conftest import Screen
from tests.ops.test_stack import queue, template

TEMPLATE = (ROOT / ".chalice/resources.yaml").read_text()
DATA = [
    "ImageBucket",
    "QuarantineBucket",
    "DerivedBucket",
    "ImagesTable",
    "TermsTable",
    "StateTable",
    "SigningSecret",
]


@pytest.fixture
def left_behind(stack: Stack, stage: Stage, session: boto3.Session) -> dict[str, Any]:
    """What a picture and a secret were before the stack was deleted."""
    stack.apply(TEMPLATE, {"Stage": stage.name}, Screen())
    bucket = stage.images_bucket("123456789012", "us-east-1")
    session.client("s3").put_object(Bucket=bucket, Key="a.png", Body=b"picture")
    secret = session.client("secretsmanager").get_secret_value(SecretId=stage.secret)
    stack.delete(Screen())
    return {"bucket": bucket, "secret": secret["SecretString"]}


def test_where_nothing_was_left_there_is_nothing_to_take_up(inventory: Inventory) -> None:
    assert adoption.find(TEMPLATE, inventory) is None


def test_what_was_left_is_known_by_what_cloudformation_asks_for(
    left_behind: dict[str, Any], inventory: Inventory, stage: Stage, session: boto3.Session
) -> None:
    found = adoption.find(TEMPLATE, inventory)

    assert found is not None
    arn = session.client("secretsmanager").describe_secret(SecretId=stage.secret)["ARN"]
    named = {each["LogicalResourceId"]: each["ResourceIdentifier"] for each in found.resources}
    assert list(named) == DATA
    assert named["ImageBucket"] == {"BucketName": left_behind["bucket"]}
    assert named["ImagesTable"] == {"TableName": f"{stage.prefix}-images"}
    assert named["SigningSecret"] == {"Id": arn}
    part = json.loads(found.template)
    assert list(part["Resources"]) == DATA
    assert "Outputs" not in part
    assert part["Resources"]["ImageBucket"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert list(part["Resources"]["ImageBucket"]["Properties"]) == [
        "BucketName",
        "VersioningConfiguration",
        "BucketEncryption",
        "PublicAccessBlockConfiguration",
        "OwnershipControls",
    ]


@pytest.mark.usefixtures("left_behind")
def test_what_is_gone_is_not_taken_up(inventory: Inventory, stage: Stage, session: boto3.Session) -> None:
    session.client("dynamodb").delete_table(TableName=f"{stage.prefix}-terms")
    session.client("secretsmanager").delete_secret(SecretId=stage.secret, ForceDeleteWithoutRecovery=True)

    found = adoption.find(TEMPLATE, inventory)

    assert found is not None
    assert [each["LogicalResourceId"] for each in found.resources] == [
        name for name in DATA if name not in ("TermsTable", "SigningSecret")
    ]


def test_a_new_stack_takes_up_what_an_earlier_one_left(
    left_behind: dict[str, Any], stack: Stack, stage: Stage, inventory: Inventory, session: boto3.Session
) -> None:
    parameters = {"Stage": stage.name, "UploadOrigins": "https://a.example,https://b.example"}

    changes = stack.apply(
        TEMPLATE, parameters, Screen(), left_behind=lambda: adoption.find(TEMPLATE, inventory)
    )

    assert [change.resource for change in changes if change.outcome == "taken up again"] == DATA
    assert {change.action for change in changes if change.resource not in DATA} == {"Add"}
    assert stack.status == "UPDATE_COMPLETE"
    assert stack.outputs["ImagesBucket"] == left_behind["bucket"]
    picture = session.client("s3").get_object(Bucket=left_behind["bucket"], Key="a.png")
    assert picture["Body"].read() == b"picture"
    assert origins(session, left_behind["bucket"]) == ["https://a.example", "https://b.example"]
    secret = session.client("secretsmanager").get_secret_value(SecretId=stack.outputs["SigningSecretArn"])
    assert secret["SecretString"] == left_behind["secret"]
    assert stack.apply(TEMPLATE, dict.fromkeys(parameters), Screen()) == []


def origins(session: boto3.Session, bucket: str) -> list[str]:
    [rule] = session.client("s3").get_bucket_cors(Bucket=bucket)["CORSRules"]
    return rule["AllowedOrigins"]


@pytest.mark.usefixtures("left_behind")
def test_a_stack_that_is_there_looks_for_nothing_left(
    stack: Stack, stage: Stage, inventory: Inventory
) -> None:
    stack.apply(TEMPLATE, {"Stage": stage.name}, Screen(), lambda: adoption.find(TEMPLATE, inventory))

    def look() -> None:
        raise AssertionError("It looked.")

    assert stack.apply(TEMPLATE, {"Stage": None}, Screen(), left_behind=look) == []


@pytest.mark.usefixtures("left_behind")
def test_a_template_without_data_takes_nothing_up(inventory: Inventory) -> None:
    assert adoption.find(template(Queue=queue("q")), inventory) is None


@pytest.mark.usefixtures("left_behind")
def test_a_template_that_cannot_be_read_is_a_problem(inventory: Inventory) -> None:
    with pytest.raises(Problem, match="cannot be read"):
        adoption.find("Resources: [", inventory)


def test_the_other_stages_data_stays_theirs(
    left_behind: dict[str, Any], stage: Stage, inventory: Inventory
) -> None:
    neighbour = Inventory(Stage(f"{stage.name}x"[:15], stage.project), inventory.account)

    assert adoption.find(TEMPLATE, neighbour) is None
