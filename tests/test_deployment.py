"""A stage from `make deploy` to `make destroy`, and its functions run from what was deployed."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from chalicelib.settings import RESOURCES
from local_cloud.endpoint import Endpoint
from local_cloud.recognition import local_recogniser
from local_cloud.rekognition import LocalRekognition
from ops.event_sources import of_stream
from tests.conftest import ROOT
from tests.deployed_stage import DeployedStage
from tests.lambda_events import SCHEDULED, changes, received
from tests.ops.conftest import HANDLERS

pytestmark = pytest.mark.thorough

STAGE = "proof"
AUTHORIZER = f"image-labeller-{STAGE}-api_token"
BESIDE_THE_PICTURES = ("notify", "index_image", "deliver_callback", "recover")
QUEUED_LABELLER = f"image-labeller-{STAGE}-label_queued_image"
# The one setting that a laptop's stand-in for AWS needs beyond its address.
STAND_IN = {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}


@dataclass
class Project:
    """A checkout of the project, as a deployer has it."""

    folder: Path
    endpoint_url: str

    def make(self, target: str, stage: str = STAGE, **arguments: str) -> subprocess.CompletedProcess[str]:
        installed = f"{sys.prefix}/installed"  # these very packages, and no new ones
        given = [f"{name}={value}" for name, value in arguments.items()]
        return self.run("make", "-o", installed, target, f"STAGE={stage}", f"VENV={sys.prefix}", *given)

    def ops(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "ops", *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **STAND_IN, "AWS_ENDPOINT_URL": self.endpoint_url, "COLUMNS": "200"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.folder / ".chalice/config.json").read_text())
        return config


@dataclass
class Aws:
    """An account of this test's own."""

    endpoint: Endpoint
    session: boto3.Session

    def client(self, service: Any) -> Any:
        return self.session.client(service)

    def read(self, bucket: str, key: str, version_id: str | None) -> bytes | None:
        version: Any = {"VersionId": version_id} if version_id else {}
        body: bytes = self.client("s3").get_object(Bucket=bucket, Key=key, **version)["Body"].read()
        return body


@pytest.fixture(scope="module")
def aws(endpoint: Endpoint, session: boto3.Session) -> Aws:
    return Aws(endpoint, session)


@pytest.fixture(scope="module")
def project(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(lambda name: (ROOT / name).is_file(), tracked.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return Project(folder, endpoint.url)


@pytest.fixture(scope="module")
def deployment(project: Project) -> subprocess.CompletedProcess[str]:
    done = project.make("deploy", ARGS="--alarm-email ops@example.com")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def stage(aws: Aws, deployment: subprocess.CompletedProcess[str]) -> DeployedStage:
    return DeployedStage(aws.session, STAGE)


@pytest.fixture(scope="module")
def outputs(aws: Aws, stage: DeployedStage) -> dict[str, str]:
    [stack] = aws.client("cloudformation").describe_stacks(StackName=f"image-labeller-{STAGE}-resources")[
        "Stacks"
    ]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_each_function_has_the_time_the_memory_and_the_environment_of_its_stage(
    stage: DeployedStage, outputs: dict[str, str]
) -> None:
    api, labeller = f"image-labeller-{STAGE}", f"image-labeller-{STAGE}-label_uploaded_image"
    functions = stage.functions

    assert {name: each["Handler"] for name, each in functions.items()} == {
        **{f"{api}-{handler}": f"app.{handler}" for handler in HANDLERS if handler != "api_handler"},
        api: "app.app",
    }
    assert functions[labeller]["Timeout"] == 140
    for each in functions.values():
        assert each["Runtime"] == f"python{sys.version_info.major}.{sys.version_info.minor}"
        assert each["Environment"]["Variables"] == {
            "STAGE": STAGE,
            **{variable: outputs[output] for variable, output in RESOURCES.items()},
            "LABEL_TIMEOUT_SECONDS": "140",
        }


def test_each_function_has_a_role_of_its_own_with_the_policy_of_its_name(
    project: Project, stage: DeployedStage
) -> None:
    for handler in HANDLERS:
        role = f"image-labeller-{STAGE}-{handler}"
        written = json.loads((project.folder / f".chalice/policies/{STAGE}/{handler}.json").read_text())
        assert list(stage.policies[role].values()) == [written]
    assert {each["Role"].rpartition("/")[2] for each in stage.functions.values()} == {
        f"image-labeller-{STAGE}-{handler}" for handler in HANDLERS
    }


def test_the_bucket_tells_the_function_of_creation_and_removal(
    stage: DeployedStage, outputs: dict[str, str]
) -> None:
    name = f"image-labeller-{STAGE}-label_uploaded_image"
    [notification] = stage.notification(outputs["ImagesBucket"])

    assert notification["LambdaFunctionArn"].endswith(f":function:{name}")
    assert notification["Events"] == [
        "s3:ObjectCreated:*",
        "s3:ObjectRemoved:*",
        "s3:LifecycleExpiration:*",
    ]
    [permission] = stage.permissions(name)
    assert permission["Action"] == "lambda:InvokeFunction"
    assert permission["Principal"] == {"Service": "s3.amazonaws.com"}
    assert outputs["ImagesBucket"] in json.dumps(permission["Condition"])


def test_an_event_that_failed_for_good_is_kept(stage: DeployedStage, outputs: dict[str, str]) -> None:
    assert stage.event_invoke_config(f"image-labeller-{STAGE}-label_uploaded_image") == {
        "MaximumRetryAttempts": 2,
        "MaximumEventAgeInSeconds": 21600,
        "DestinationConfig": {
            "OnSuccess": {},
            "OnFailure": {"Destination": outputs["LabellingDeadLettersArn"]},
        },
    }


def test_the_queue_is_polled_by_the_one_function_that_answers_for_each_message(
    stage: DeployedStage, outputs: dict[str, str]
) -> None:
    [mapping] = [each for each in stage.mappings if each["EventSourceArn"] == outputs["LabellingQueueArn"]]

    assert mapping["FunctionArn"].endswith(f":function:{QUEUED_LABELLER}")
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (1, {"MaximumConcurrency": 8})
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_stream_is_read_by_who_tells_of_answers_and_by_who_indexes_them(
    stage: DeployedStage, outputs: dict[str, str]
) -> None:
    mappings = [each for each in stage.mappings if each["EventSourceArn"] == outputs["ImagesStreamArn"]]

    readers = sorted(mapping["FunctionArn"].rpartition("-")[2] for mapping in mappings)
    assert readers == ["index_image", "notify"]
    for mapping in mappings:
        assert {name: mapping[name] for name in of_stream(outputs)} == of_stream(outputs)


def test_callbacks_are_delivered_one_by_one(stage: DeployedStage, outputs: dict[str, str]) -> None:
    [mapping] = [each for each in stage.mappings if each["EventSourceArn"] == outputs["CallbacksQueueArn"]]

    assert mapping["FunctionArn"].endswith(f":function:image-labeller-{STAGE}-deliver_callback")
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])


def test_the_recovery_runs_every_minute(aws: Aws, stage: DeployedStage) -> None:
    events = aws.client("events")
    name = f"image-labeller-{STAGE}-recover"
    [rule] = [each for each in events.list_rules()["Rules"] if each["Name"].startswith(name)]
    [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]

    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", "ENABLED")
    assert target["Arn"].endswith(f":function:{name}")
    assert stage.event_invoke_config(name)["MaximumRetryAttempts"] == 0


def test_the_api_has_each_route_and_refuses_in_problems_and_within_limits(
    stage: DeployedStage, app_module: Any
) -> None:
    api = stage.api
    uri = f":function:image-labeller-{STAGE}/invocations"

    assert api["endpoint"] == ["REGIONAL"]
    assert set(api["methods"]) == {
        f"{method} {path}" for path, methods in app_module.app.routes.items() for method in methods
    }
    assert all(method["uri"].endswith(uri) for method in api["methods"].values())
    assert api["throttling"] == {"*/*": (50.0, 100)}
    unknown_path = api["responses"]["MISSING_AUTHENTICATION_TOKEN"]
    assert unknown_path["statusCode"] == "404"
    assert json.loads(unknown_path["responseTemplates"]["application/json"])["status"] == 404
    assert {"ACCESS_DENIED", "DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "UNAUTHORIZED"} <= set(
        api["responses"]
    )


def test_api_gateway_has_the_tokens_checked_that_come_to_all_routes_but_the_open_ones(
    stage: DeployedStage,
) -> None:
    api = stage.api

    unchecked = {name for name, method in api["methods"].items() if method["authorization"] == "NONE"}
    assert unchecked == {"GET /health", "GET /openapi.json", "GET /docs"}
    assert {method["authorization"] for method in api["methods"].values()} == {"NONE", "CUSTOM"}
    [authorizer] = api["authorizers"]
    assert (authorizer["name"], authorizer["type"]) == ("api_token", "TOKEN")
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert authorizer["authorizerResultTtlInSeconds"] == 60
    assert f":function:{AUTHORIZER}/invocations" in authorizer["authorizerUri"]
    [permission] = stage.permissions(AUTHORIZER)
    assert permission["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert f":{api['id']}/*" in json.dumps(permission["Condition"])


def test_each_alarm_tells_the_topic_that_mails(aws: Aws, outputs: dict[str, str]) -> None:
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"image-labeller-{STAGE}-")[
        "MetricAlarms"
    ]
    subscriptions = aws.client("sns").list_subscriptions_by_topic(TopicArn=outputs["AlarmTopicArn"])

    assert len(alarms) > 5
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {outputs["AlarmTopicArn"]}
    assert [each["Endpoint"] for each in subscriptions["Subscriptions"]] == ["ops@example.com"]


def test_status_tells_where_everything_is(
    project: Project, stage: DeployedStage, outputs: dict[str, str]
) -> None:
    told = project.ops("status", "--stage", STAGE)

    assert told.returncode == 0, told.stderr
    assert outputs["ImagesBucket"] in told.stdout
    assert f"{stage.api['id']}.execute-api" in told.stdout


def test_deploying_again_changes_nothing(
    project: Project, stage: DeployedStage, outputs: dict[str, str]
) -> None:
    before, config = stage.snapshot(outputs["ImagesBucket"]), project.config

    done = project.make("deploy")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs no change" in done.stdout
    assert stage.snapshot(outputs["ImagesBucket"]) == before
    assert project.config == config


def test_a_lost_record_makes_no_second_api(project: Project, stage: DeployedStage) -> None:
    api = stage.api["id"]
    (project.folder / f".chalice/deployed/{STAGE}.json").unlink()

    done = project.make("deploy")

    assert done.returncode == 0, done.stdout + done.stderr
    assert [each["id"] for each in stage.apis] == [api]


METHOD = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/proof/GET/images"


def request(method: str, path: str, body: Any = None, **parameters: str) -> dict[str, Any]:
    """What API Gateway sends to the API's function for a route."""
    return {
        "resource": path,
        "path": path.format(**parameters),
        "httpMethod": method,
        "headers": {"Content-Type": "application/json"},
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": method,
            "requestId": "11111111-1111-1111-1111-111111111111",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


@pytest.fixture
def events(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What S3 tells, while Rekognition looks at the pictures."""
    events: list[Any] = []
    with closing(local_recogniser()) as recogniser, monkeypatch.context() as patch:
        patch.setattr(aws.endpoint, "on_object_event", events.append)
        patch.setattr(aws.endpoint, "_rekognition", LocalRekognition(aws.read, recogniser))
        yield events


def test_what_was_deployed_labels_a_picture_by_itself(
    stage: DeployedStage, outputs: dict[str, str], project: Project, events: list[Any], tmp_path: Path
) -> None:
    api, labeller = f"image-labeller-{STAGE}", f"image-labeller-{STAGE}-label_uploaded_image"
    on_lambda = {
        **STAND_IN,
        "AWS_ENDPOINT_URL": project.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_LAMBDA_FUNCTION_NAME": labeller,
    }
    folders = {name: stage.unpack(name, tmp_path / name) for name in stage.functions}
    scopes = ("--scope", "read", "--scope", "upload", "--scope", "admin")
    made = project.ops("token", "create", "--stage", STAGE, "--name", "proof", *scopes)
    asked = {"type": "TOKEN", "authorizationToken": f"Bearer {made.stdout.strip()}", "methodArn": METHOD}
    granted = stage.invoke(AUTHORIZER, folders[AUTHORIZER], asked, **on_lambda)["context"]

    def call(event: Any) -> Any:
        event["requestContext"]["authorizer"] = granted
        answer = stage.invoke(api, folders[api], event, **on_lambda)
        return answer["statusCode"], json.loads(answer["body"])

    status, expected = call(request("POST", "/images", {"filename": "cup.png", "content_type": "image/png"}))
    assert status == 201
    upload = expected["upload"]
    picture = (ROOT / "samples/coffee.png").read_bytes()
    assert requests.put(upload["url"], data=picture, headers=upload["headers"], timeout=30).status_code == 200
    [created] = events
    stage.invoke(labeller, folders[labeller], {"Records": [created]}, **on_lambda)
    status, image = call(request("GET", "/images/{image_id}", image_id=expected["image_id"]))

    assert status == 200
    assert image["status"] == "labelled"
    assert "Cup" in [label["name"] for label in image["labels"]]

    relabelled, _ = call(request("POST", "/images/{image_id}/relabel", image_id=expected["image_id"]))
    told = stage.invoke(
        QUEUED_LABELLER, folders[QUEUED_LABELLER], received(outputs["LabellingQueueUrl"]), **on_lambda
    )
    assert (relabelled, told) == (202, {"batchItemFailures": []})

    *readers, deliver, recover = (f"image-labeller-{STAGE}-{name}" for name in BESIDE_THE_PICTURES)
    told = [
        stage.invoke(reader, folders[reader], changes(outputs["ImagesStreamArn"]), **on_lambda)
        for reader in readers
    ]
    errand = {"body": json.dumps({"source_file": "nobody's", "event_id": "evt_0"}), "receiptHandle": "handle"}
    stage.invoke(deliver, folders[deliver], {"Records": [errand]}, **on_lambda)
    stage.invoke(recover, folders[recover], SCHEDULED, **on_lambda)
    assert told == 2 * [{"batchItemFailures": []}]


def test_the_code_on_aws_is_the_package_that_was_checked(project: Project, stage: DeployedStage) -> None:
    packages = list((project.folder / ".chalice/deployments").glob("*.zip"))
    digests = {base64.b64encode(hashlib.sha256(each.read_bytes()).digest()).decode() for each in packages}

    assert {each["CodeSha256"] for each in stage.functions.values()} <= digests


def test_terraform_gets_the_same_from_chalice(project: Project, stage: DeployedStage, tmp_path: Path) -> None:
    chalice = str(Path(sys.executable).with_name("chalice"))
    config = project.config
    config["stages"][STAGE]["log_retention_in_days"] = None  # Chalice's Terraform has no log groups
    (project.folder / ".chalice/config.json").write_text(json.dumps(config))

    done = project.run(
        chalice, "package", "--stage", STAGE, "--pkg-format", "terraform", str(tmp_path / "terraform")
    )

    assert done.returncode == 0, done.stderr
    assert "needs no change" in project.ops("resources", "--stage", STAGE).stdout
    terraform = json.loads((tmp_path / "terraform/chalice.tf.json").read_text())["resource"]
    assert set(terraform["aws_lambda_function"]) == set(HANDLERS)
    assert "aws_s3_bucket_notification" in terraform


def test_destroying_keeps_the_pictures_until_told_and_then_leaves_nothing(
    aws: Aws, project: Project, stage: DeployedStage, outputs: dict[str, str]
) -> None:
    bucket = outputs["ImagesBucket"]
    aws.client("s3").put_object(Bucket=bucket, Key="kept.png", Body=b"a picture")

    asked = project.make("destroy")
    kept = project.make("destroy", ARGS="--yes")

    assert asked.returncode != 0
    assert "--yes" in asked.stderr
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert bucket in kept.stdout
    assert outputs["ImagesTable"] in kept.stdout
    assert (stage.functions, stage.policies, stage.apis) == ({}, {}, [])
    assert stage.notification(bucket) == []
    assert STAGE not in project.config["stages"]
    assert aws.read(bucket, "kept.png", None) == b"a picture"

    again = project.make("deploy")
    assert again.returncode == 0, again.stdout + again.stderr
    assert aws.read(bucket, "kept.png", None) == b"a picture"

    gone = project.make("destroy", ARGS="--yes --delete-data")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert left_over(aws) == []
    nothing = project.make("destroy", ARGS="--yes --delete-data")
    assert nothing.returncode == 0, nothing.stdout + nothing.stderr


def left_over(aws: Aws) -> list[str]:
    """Whatever in the account still bears the stage's name."""
    found = [
        *(each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]),
        *aws.client("dynamodb").list_tables()["TableNames"],
        *aws.client("sqs").list_queues().get("QueueUrls", []),
        *(each["FunctionName"] for each in aws.client("lambda").list_functions()["Functions"]),
        *(each["Name"] for each in aws.client("events").list_rules()["Rules"]),
        *(each["RoleName"] for each in aws.client("iam").list_roles()["Roles"]),
        *(each["logGroupName"] for each in aws.client("logs").describe_log_groups()["logGroups"]),
        *(each["TopicArn"] for each in aws.client("sns").list_topics()["Topics"]),
        *(each["Name"] for each in aws.client("secretsmanager").list_secrets()["SecretList"]),
        *(each["AlarmName"] for each in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]),
        *(each["DashboardName"] for each in aws.client("cloudwatch").list_dashboards()["DashboardEntries"]),
    ]
    stacks = aws.client("cloudformation").describe_stacks()["Stacks"]
    found += [each["StackName"] for each in stacks if each["StackStatus"] != "DELETE_COMPLETE"]
    return [name for name in found if f"-{STAGE}" in name]
