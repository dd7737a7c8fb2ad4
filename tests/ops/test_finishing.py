import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from click.testing import CliRunner, Result

from local_cloud.endpoint import Endpoint
from ops.__main__ import commands
from ops.event_sources import of_notification, of_queue, of_schedule, of_stream
from ops.gateway import RESPONSES
from ops.stage import API_HANDLER, Stage

APP = """
import os

from chalice import AuthResponse, Chalice

app = Chalice(app_name="image-labeller", configure_logs=False)


@app.authorizer(ttl_seconds=60)
def api_token(request):
    return AuthResponse(routes=["*"], principal_id="someone")


@app.route("/things/{thing}", authorizer=api_token)
def get_thing(thing):
    return {}


@app.on_s3_event(os.environ["BUCKET"])
def uploaded(event):
    pass


@app.on_dynamodb_record(os.environ["STREAM"], starting_position="TRIM_HORIZON")
def written(event):
    pass


@app.on_sqs_message(queue_arn=os.environ["QUEUE"], maximum_concurrency=5)
def queued(event):
    pass


@app.schedule("rate(1 minute)")
def minutely(event):
    pass


@app.lambda_function()
def called(event, context):
    pass
"""
TABLE = {
    "KeySchema": [{"AttributeName": "file", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "file", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
}
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 360}}
RESOURCES = {
    "Bucket": {"Type": "AWS::S3::Bucket"},
    "Table": {"Type": "AWS::DynamoDB::Table", "Properties": TABLE},
    **dict.fromkeys(("Queue", "LabellingDeadLetters", "StreamDeadLetters"), QUEUE),
}
VALUES = {
    "Bucket": {"Ref": "Bucket"},
    "Stream": {"Fn::GetAtt": ["Table", "StreamArn"]},
    "Queue": {"Fn::GetAtt": ["Queue", "Arn"]},
    "LabellingDeadLettersArn": {"Fn::GetAtt": ["LabellingDeadLetters", "Arn"]},
    "StreamDeadLettersArn": {"Fn::GetAtt": ["StreamDeadLetters", "Arn"]},
    "ApiRateLimit": "50",
    "ApiBurstLimit": "100",
}
ALLOWED = [
    "logs:PutLogEvents",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(f"t{secrets.token_hex(6)}", tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def outputs(endpoint: Endpoint, stage: Stage) -> dict[str, str]:
    """Of a stack that has what the app's triggers need."""
    template = {"Resources": RESOURCES, "Outputs": {name: {"Value": VALUES[name]} for name in VALUES}}
    client = boto3.client("cloudformation")
    client.create_stack(StackName=stage.stack_name, TemplateBody=json.dumps(template))
    [stack] = client.describe_stacks(StackName=stage.stack_name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def deployed(stage: Stage, outputs: dict[str, str]) -> Stage:
    """A project with a trigger of each kind, by `chalice deploy`."""
    config = {
        "api_gateway_stage": stage.name,
        "api_gateway_endpoint_type": "REGIONAL",
        "autogen_policy": False,
        "iam_policy_file": "policy.json",
        "log_retention_in_days": 30,
        "environment_variables": {name.upper(): outputs[name] for name in ("Bucket", "Stream", "Queue")},
    }
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ALLOWED, "Resource": "*"}],
    }
    (stage.project / "app.py").write_text(APP)
    (stage.project / "requirements.txt").touch()
    (stage.project / ".chalice").mkdir()
    (stage.project / ".chalice/policy.json").write_text(json.dumps(policy))
    stage.config_file.write_text(
        json.dumps({"version": "2.0", "app_name": "image-labeller", "stages": {stage.name: config}})
    )
    chalice(stage, "deploy")
    return stage


@pytest.fixture(scope="module")
def done(deployed: Stage) -> list[str]:
    """What it says that it did, the first time."""
    return finished(deployed)


@pytest.fixture
def elsewhere(deployed: Stage, done: list[str], tmp_path: Path) -> Stage:
    """The same stage, in another copy of the project."""
    shutil.copytree(deployed.project, tmp_path, dirs_exist_ok=True)
    return Stage(deployed.name, tmp_path)


def chalice(stage: Stage, command: str) -> None:
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("chalice")), command, "--stage", stage.name],
        cwd=stage.project,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def finish(stage: Stage) -> Result:
    return CliRunner().invoke(commands, ["finish", "--stage", stage.name], obj=stage.project)


def finished(stage: Stage) -> list[str]:
    """What it says that it did, with the stage's name and numbers left out."""
    result = finish(stage)
    assert result.exit_code == 0, result.output
    return result.output.replace(stage.prefix, "*").splitlines()


def mapping(stage: Stage, trigger: str) -> Any:
    return boto3.client("lambda").get_event_source_mapping(UUID=stage.deployed()[trigger]["event_uuid"])


def invocations(stage: Stage, handler: str) -> Any:
    name = stage.function_name(handler)
    return boto3.client("lambda").get_function_event_invoke_config(FunctionName=name)


def own_responses(stage: Stage) -> list[str]:
    api_id = stage.deployed()["rest_api"]["rest_api_id"]
    found = boto3.client("apigateway").get_gateway_responses(restApiId=api_id)["items"]
    return [response["responseType"] for response in found if not response["defaultResponse"]]


def says(there: dict[str, Any], told: dict[str, Any]) -> bool:
    return {name: there[name] for name in told} == told


MAPPINGS = [
    "queued: set FunctionResponseTypes",
    "written: set BisectBatchOnFunctionError, DestinationConfig, FilterCriteria, FunctionResponseTypes, "
    "MaximumRecordAgeInSeconds",
]
INVOCATIONS = [
    "minutely: set MaximumEventAgeInSeconds, MaximumRetryAttempts",
    "uploaded: set DestinationConfig, MaximumEventAgeInSeconds, MaximumRetryAttempts",
]
API = [
    f"API: set {len(RESPONSES)} of the answers that its gateway gives by itself",
    "API: deployed to its stage {stage}",
]
LOG = "/aws/lambda/*: kept for 30 days"
LIMITS = ["API: lets through 50 requests a second", "API: lets through 100 at a time"]


def test_it_sets_what_chalice_cannot(deployed: Stage, outputs: dict[str, str], done: list[str]) -> None:
    api = [line.format(stage=deployed.name) for line in API]
    assert sorted(done) == sorted([*MAPPINGS, *INVOCATIONS, *api, *LIMITS, LOG])
    assert says(mapping(deployed, "written-dynamodb-event-source"), of_stream(outputs))
    assert says(mapping(deployed, "queued-sqs-event-source"), of_queue(outputs))
    assert says(invocations(deployed, "minutely"), of_schedule(outputs))
    destination = {"OnSuccess": {}, **of_notification(outputs)["DestinationConfig"]}
    assert says(
        invocations(deployed, "uploaded"), {**of_notification(outputs), "DestinationConfig": destination}
    )
    assert sorted(own_responses(deployed)) == sorted(RESPONSES)


def test_it_leaves_what_chalice_did_set(deployed: Stage, done: list[str]) -> None:
    queue = {"BatchSize": 1, "ScalingConfig": {"MaximumConcurrency": 5}, "State": "Enabled"}
    stream = {"BatchSize": 100, "StartingPosition": "TRIM_HORIZON", "State": "Enabled"}

    assert says(mapping(deployed, "queued-sqs-event-source"), queue)
    assert says(mapping(deployed, "written-dynamodb-event-source"), stream)


def test_a_second_run_changes_nothing_and_says_so(deployed: Stage, done: list[str]) -> None:
    assert finished(deployed) == [f"The stage {deployed.name} is finished; nothing had to change."]


@pytest.mark.thorough
def test_a_later_deployment_takes_the_gateway_s_answers_away_and_nothing_else(
    deployed: Stage, outputs: dict[str, str], done: list[str]
) -> None:
    chalice(deployed, "deploy")

    assert own_responses(deployed) == []
    assert says(mapping(deployed, "written-dynamodb-event-source"), of_stream(outputs))
    assert finished(deployed) == [line.format(stage=deployed.name) for line in API]
    assert sorted(own_responses(deployed)) == sorted(RESPONSES)


def test_the_api_s_own_log_is_kept_as_long_as_the_others(deployed: Stage, done: list[str]) -> None:
    group = f"/aws/lambda/{deployed.prefix}"

    finish(deployed)

    found = boto3.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]

    handlers = ("api_handler", "api_token", "called", "minutely", "queued", "uploaded", "written")
    assert {each["logGroupName"]: each.get("retentionInDays") for each in found} == dict.fromkeys(
        [group, *(f"{group}-{handler}" for handler in handlers)], 30
    )


@pytest.mark.parametrize("place", ["of all stages", "of the function"])
def test_a_time_for_logs_is_found_where_chalice_finds_it(elsewhere: Stage, place: str) -> None:
    document = elsewhere.document()
    part = document["stages"][elsewhere.name]
    del part["log_retention_in_days"]
    function = part.setdefault("lambda_functions", {}).setdefault(API_HANDLER, {})
    {"of all stages": document, "of the function": function}[place]["log_retention_in_days"] = 90
    elsewhere.config_file.write_text(json.dumps(document))
    boto3.client("logs").put_retention_policy(
        logGroupName=f"/aws/lambda/{elsewhere.prefix}", retentionInDays=7
    )

    assert finished(elsewhere) == ["/aws/lambda/*: kept for 90 days"]


def test_without_a_time_for_logs_they_are_left_alone(elsewhere: Stage) -> None:
    document = elsewhere.document()
    del document["stages"][elsewhere.name]["log_retention_in_days"]
    elsewhere.config_file.write_text(json.dumps(document))
    group = f"/aws/lambda/{elsewhere.prefix}"
    boto3.client("logs").put_retention_policy(logGroupName=group, retentionInDays=7)

    assert finished(elsewhere) == [f"The stage {elsewhere.name} is finished; nothing had to change."]


def test_chalice_deploys_a_route_with_its_authorizer(deployed: Stage) -> None:
    api_id = deployed.deployed()["rest_api"]["rest_api_id"]
    client = boto3.client("apigateway")

    resources = client.get_resources(restApiId=api_id, embed=["methods"])["items"]

    [authorizer] = client.get_authorizers(restApiId=api_id)["items"]
    [method] = [each["resourceMethods"]["GET"] for each in resources if each["path"] == "/things/{thing}"]
    assert (method["authorizationType"], method["authorizerId"]) == ("CUSTOM", authorizer["id"])
    assert deployed.function_name("api_token") in authorizer["authorizerUri"]
    for handler in ("api_handler", "api_token"):
        policy = boto3.client("lambda").get_policy(FunctionName=deployed.function_name(handler))["Policy"]
        assert f":{api_id}/*" in policy


def test_without_a_stack_it_names_the_command_that_makes_one(project: Path) -> None:
    refused = finish(Stage("nostack", project))

    assert refused.exit_code == 1
    assert refused.output == (
        "Error: There is no stack image-labeller-nostack-resources in account 123456789012, "
        "region us-east-1, or it has no output ApiBurstLimit: "
        "run `python -m ops resources --stage nostack` first.\n"
    )


def test_without_a_deployment_it_names_the_commands_that_make_one(elsewhere: Stage) -> None:
    elsewhere.deployed_file.unlink()

    refused = finish(elsewhere)

    assert refused.exit_code == 1
    assert refused.output == (
        f"Error: {elsewhere.deployed_file} notes no API: "
        f"run `python -m ops resources --stage {elsewhere.name}`, "
        f"which finds what there is on AWS, and `chalice deploy --stage {elsewhere.name}` first.\n"
    )


@pytest.mark.parametrize(
    ("noted", "field", "gone"),
    [
        pytest.param("queued-sqs-event-source", "event_uuid", str(uuid4()), id="mapping"),
        pytest.param(
            "uploaded", "lambda_arn", "arn:aws:lambda:us-east-1:123456789012:function:gone", id="function"
        ),
        pytest.param("rest_api", "rest_api_id", "gone", id="api"),
    ],
)
def test_what_is_noted_and_gone_is_for_chalice_to_make(
    elsewhere: Stage, noted: str, field: str, gone: str
) -> None:
    record = elsewhere.deployed()
    record[noted][field] = gone
    elsewhere.deployed_file.write_text(json.dumps({"resources": [*record.values()]}))

    refused = finish(elsewhere)

    assert refused.exit_code == 1
    assert f"{elsewhere.deployed_file} notes is not on AWS any more" in refused.output
    assert f"run `chalice deploy --stage {elsewhere.name}`" in refused.output


@pytest.mark.thorough
def test_what_chalice_deleted_can_be_deployed_and_finished_anew(
    deployed: Stage, outputs: dict[str, str], done: list[str]
) -> None:
    before = deployed.deployed()["rest_api"]["rest_api_id"]

    chalice(deployed, "delete")
    left = traces(deployed, outputs)
    chalice(deployed, "deploy")
    lines = finished(deployed)

    assert left == []
    assert before not in traces(deployed, outputs)
    assert set(lines) >= {*MAPPINGS, *INVOCATIONS, *LIMITS}


def traces(stage: Stage, outputs: dict[str, str]) -> list[str]:
    """What there is of the stage's functions, API and triggers."""
    client = boto3.client("lambda")
    functions = [each["FunctionName"] for each in client.list_functions()["Functions"]]
    gateway = boto3.client("apigateway")
    apis = [
        api["id"]
        for api in gateway.get_rest_apis()["items"]
        if stage.name in [each["stageName"] for each in gateway.get_stages(restApiId=api["id"])["item"]]
    ]
    mappings = [
        each["UUID"]
        for source in ("Queue", "Stream")
        for each in client.list_event_source_mappings(EventSourceArn=outputs[source])["EventSourceMappings"]
    ]
    bucket = boto3.client("s3").get_bucket_notification_configuration(Bucket=outputs["Bucket"])
    notified = [each["Id"] for each in bucket.get("LambdaFunctionConfigurations", [])]
    return [*filter(stage.owns, functions), *apis, *mappings, *notified]
