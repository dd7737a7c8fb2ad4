import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from ops import record
from ops.inventory import Inventory
from ops.problems import Problem
from ops.stage import API_HANDLER, Stage
from tests.ops.deployment import Deployment


def noted(stage: Stage) -> Any:
    return json.loads(stage.deployed_file.read_text())


def note(stage: Stage, *resources: dict[str, Any]) -> None:
    stage.deployed_file.parent.mkdir(exist_ok=True)
    text = json.dumps({"resources": resources, "schema_version": "2.0", "backend": "api"})
    stage.deployed_file.write_text(text)


def rest_api(api: str, stage: Stage) -> dict[str, Any]:
    return {
        "name": "rest_api",
        "resource_type": "rest_api",
        "rest_api_id": api,
        "rest_api_url": f"https://{api}.execute-api.us-east-1.amazonaws.com/{stage.name}/",
    }


FUNCTION = {"name": "api_handler", "resource_type": "lambda_function", "lambda_arn": "arn"}


def test_of_a_stage_that_is_not_deployed_nothing_is_noted(inventory: Inventory, stage: Stage) -> None:
    assert record.restore(inventory, {}) == []
    assert not stage.deployed_file.exists()


@pytest.mark.parametrize("deployed", [True, False], ids=["whole", "half-way"])
def test_a_lost_api_is_found_again(
    deployment: Deployment, inventory: Inventory, stage: Stage, deployed: bool
) -> None:
    api = deployment.api(deployment.function(API_HANDLER), deployed=deployed)

    [said] = record.restore(inventory, {})

    entry = rest_api(api, stage)
    assert said == (
        f"{stage.name}.json did not know the API {entry['rest_api_url']}, which is there already: added it."
    )
    assert noted(stage) == {"resources": [entry], "schema_version": "2.0", "backend": "api"}
    assert record.restore(inventory, {}) == []


def test_what_else_is_noted_stays(deployment: Deployment, inventory: Inventory, stage: Stage) -> None:
    api = deployment.api(deployment.function(API_HANDLER))
    note(stage, FUNCTION)

    record.restore(inventory, {})

    assert noted(stage)["resources"] == [FUNCTION, rest_api(api, stage)]


def test_an_api_that_was_made_anew_elsewhere_takes_the_place_of_the_noted_one(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    api = deployment.api(deployment.function(API_HANDLER))
    note(stage, rest_api("a1", stage), FUNCTION)

    record.restore(inventory, {})

    assert noted(stage)["resources"] == [rest_api(api, stage), FUNCTION]


def test_a_noted_api_that_is_gone_is_told(inventory: Inventory, stage: Stage) -> None:
    note(stage, rest_api("a1", stage))

    assert record.restore(inventory, {}) == [
        "The API a1 is gone: `chalice deploy` makes a new one, with another address."
    ]
    assert noted(stage)["resources"] == [rest_api("a1", stage)]


def test_a_noted_api_is_believed_whatever_it_calls(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    elsewhere = "arn:aws:lambda:us-east-1:123456789012:function:another"
    api = deployment.api(elsewhere)
    note(stage, rest_api(api, stage))

    assert record.restore(inventory, {}) == []
    assert noted(stage)["resources"] == [rest_api(api, stage)]


def test_several_apis_are_for_the_operator_to_choose_from(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    function = deployment.function(API_HANDLER)
    apis = [deployment.api(function), deployment.api(function)]

    with pytest.raises(Problem) as problem:
        record.restore(inventory, {})

    first, *named, last = problem.value.message.splitlines()
    assert first.startswith(f"The stage {stage.name} has 2 APIs, and ")
    assert {line.split()[0] for line in named} == {rest_api(api, stage)["rest_api_url"] for api in apis}
    assert last.startswith("Delete those that nobody uses")
    assert not stage.deployed_file.exists()


def test_an_api_beside_the_noted_one_is_told(
    deployment: Deployment, inventory: Inventory, stage: Stage
) -> None:
    function = deployment.function(API_HANDLER)
    ours, other = deployment.api(function), deployment.api(function)
    note(stage, rest_api(ours, stage))

    [said] = record.restore(inventory, {})

    assert said.startswith(f"The stage has another API, {other}, which Chalice does not know")
    assert noted(stage)["resources"] == [rest_api(ours, stage)]


def test_the_neighbours_api_stays_theirs(
    deployment: Deployment, inventory: Inventory, stage: Stage, session: boto3.Session
) -> None:
    neighbour = Deployment(Stage(f"{stage.name}x", stage.project), session)
    neighbour.api(neighbour.function(API_HANDLER))
    deployment.function(API_HANDLER)

    assert record.restore(inventory, {}) == []


@pytest.fixture
def sources(stage: Stage, session: boto3.Session) -> Iterator[dict[str, str]]:
    """A queue and a stream, as outputs of the stack."""
    sqs, dynamodb = session.client("sqs"), session.client("dynamodb")
    url = sqs.create_queue(QueueName=f"{stage.prefix}-labelling")["QueueUrl"]
    table = dynamodb.create_table(
        TableName=f"{stage.prefix}-images",
        KeySchema=[{"AttributeName": "file", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "file", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    yield {"Queue": queue, "Stream": table["TableDescription"]["LatestStreamArn"]}
    dynamodb.delete_table(TableName=f"{stage.prefix}-images")


def test_lost_event_sources_are_found_again(
    deployment: Deployment, inventory: Inventory, stage: Stage, sources: dict[str, str]
) -> None:
    queued, notify = deployment.function("label_queued_image"), deployment.function("notify")
    of_queue = deployment.event_source(queued, sources["Queue"])
    of_stream = deployment.event_source(notify, sources["Stream"], StartingPosition="TRIM_HORIZON")

    said = record.restore(inventory, sources)

    assert len(said) == 2
    assert noted(stage)["resources"] == [
        {
            "name": "label_queued_image-sqs-event-source",
            "resource_type": "sqs_event",
            "queue_arn": sources["Queue"],
            "queue": f"{stage.prefix}-labelling",
            "event_uuid": of_queue,
            "lambda_arn": queued,
        },
        {
            "name": "notify-dynamodb-event-source",
            "resource_type": "dynamodb_event",
            "stream_arn": sources["Stream"],
            "event_uuid": of_stream,
            "lambda_arn": notify,
        },
    ]
    assert record.restore(inventory, sources) == []


def test_an_event_source_of_an_earlier_stack_is_not_taken_up(
    deployment: Deployment, inventory: Inventory, sources: dict[str, str]
) -> None:
    deployment.event_source(deployment.function("label_queued_image"), sources["Queue"])

    assert record.restore(inventory, {"Queue": "arn:aws:sqs:us-east-1:123456789012:new"}) == []
