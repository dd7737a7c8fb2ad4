"""The project's own template on the laptop: all of it is made, and AWS's own requests read it back."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from awscli.customizations.cloudformation.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from local_cloud import resources
from local_cloud.endpoint import Endpoint
from tests.local_cloud.conftest import CONFIG

Client = Callable[[str], Any]

PROJECT = Path(__file__).parents[2] / ".chalice" / "resources.yaml"
BUCKETS = ("ImagesBucket", "QuarantineBucket", "DerivedBucket")
QUEUES = (
    "LabellingQueue",
    "LabellingDeadLetters",
    "CallbacksQueue",
    "CallbacksDeadLetters",
    "StreamDeadLetters",
)


@pytest.fixture(scope="module")
def client(endpoint: Endpoint, session: Any) -> Client:
    return lambda service: session.client(service, endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture(scope="module")
def outputs(endpoint: Endpoint, session: Any, client: Client) -> dict[str, str]:
    """Of the stage `whole`, which has everything that there may be."""
    outputs = resources.create(session, "whole", PROJECT, endpoint_url=endpoint.url)
    give(client, AlarmEmail="a@b.example", DailyBudget="5", UploadOrigins="https://a.example")
    return outputs


def give(client: Client, **values: str) -> None:
    client("cloudformation").update_stack(
        StackName="image-labeller-whole-resources",
        UsePreviousTemplate=True,
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in {"Stage": "whole", **values}.items()
        ],
    )


def test_nothing_of_it_is_passed_over(outputs: dict[str, str], client: Client) -> None:
    request = {"StackName": "image-labeller-whole-resources"}
    made = client("cloudformation").describe_stack_resources(**request)["StackResources"]

    template = yaml_parse(PROJECT.read_text())
    assert {each["LogicalResourceId"] for each in made} == set(template["Resources"])
    assert set(outputs) == set(template["Outputs"])


@pytest.mark.parametrize("output", BUCKETS)
def test_a_bucket(s3: Any, outputs: dict[str, str], output: str) -> None:
    bucket = {"Bucket": outputs[output]}

    [encryption] = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    [ownership] = s3.get_bucket_ownership_controls(**bucket)["OwnershipControls"]["Rules"]
    [lifecycle] = s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]
    [statement] = json.loads(s3.get_bucket_policy(**bucket)["Policy"])["Statement"]
    block = s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    assert encryption["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert lifecycle["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert statement["Resource"] == [
        f"arn:aws:s3:::{outputs[output]}",
        f"arn:aws:s3:::{outputs[output]}/*",
    ]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    assert set(block.values()) == {True}


def test_the_bucket_of_pictures(s3: Any, outputs: dict[str, str]) -> None:
    bucket = {"Bucket": outputs["ImagesBucket"]}

    [cors] = s3.get_bucket_cors(**bucket)["CORSRules"]
    [lifecycle] = s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    assert (cors["AllowedOrigins"], cors["AllowedMethods"]) == (["https://a.example"], ["PUT"])
    assert lifecycle["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert lifecycle["Expiration"] == {"ExpiredObjectDeleteMarker": True}


def test_the_bucket_of_pictures_takes_them(s3: Any, outputs: dict[str, str]) -> None:
    s3.put_object(Bucket=outputs["ImagesBucket"], Key="a", Body=b"x")

    assert s3.get_object(Bucket=outputs["ImagesBucket"], Key="a")["Body"].read() == b"x"


@pytest.mark.parametrize("output", ["ImagesTable", "TermsTable", "StateTable"])
def test_a_table(dynamodb: Any, outputs: dict[str, str], output: str) -> None:
    table = {"TableName": outputs[output]}

    ttl = dynamodb.describe_time_to_live(**table)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(**table)["ContinuousBackupsDescription"]
    billing = dynamodb.describe_table(**table)["Table"]["BillingModeSummary"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert billing["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize(("output", "key"), [("TermsTable", "term"), ("StateTable", "name")])
def test_a_table_of_pairs(dynamodb: Any, outputs: dict[str, str], output: str, key: str) -> None:
    item = {key: {"S": "a"}, "entry": {"S": "k" * 1024}}
    dynamodb.put_item(TableName=outputs[output], Item=item)

    assert dynamodb.get_item(TableName=outputs[output], Key=item)["Item"] == item


def test_the_stream_has_old_and_new_rows(dynamodb: Any, outputs: dict[str, str]) -> None:
    table = dynamodb.describe_table(TableName=outputs["ImagesTable"])["Table"]

    assert table["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert table["LatestStreamArn"] == outputs["ImagesStreamArn"]


@pytest.mark.parametrize("output", QUEUES)
def test_a_queue(sqs: Any, outputs: dict[str, str], output: str) -> None:
    queue = {"QueueUrl": outputs[f"{output}Url"], "AttributeNames": ["All"]}

    attributes = sqs.get_queue_attributes(**queue)["Attributes"]
    [statement] = json.loads(attributes["Policy"])["Statement"]
    assert attributes["QueueArn"] == outputs[f"{output}Arn"]
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert statement["Sid"] == "OnlyEncryptedInTransit"


@pytest.mark.parametrize("name", ["Labelling", "Callbacks"])
def test_a_queue_and_its_dead_letters_name_each_other(sqs: Any, outputs: dict[str, str], name: str) -> None:
    def attributes(output: str) -> Any:
        found = sqs.get_queue_attributes(QueueUrl=outputs[output], AttributeNames=["All"])
        return found["Attributes"]

    redrive = json.loads(attributes(f"{name}QueueUrl")["RedrivePolicy"])
    allowed = json.loads(attributes(f"{name}DeadLettersUrl")["RedriveAllowPolicy"])
    assert redrive["deadLetterTargetArn"] == outputs[f"{name}DeadLettersArn"]
    assert allowed["sourceQueueArns"] == [outputs[f"{name}QueueArn"]]


def test_the_signing_secret(client: Client, outputs: dict[str, str]) -> None:
    secrets = client("secretsmanager")
    value = secrets.get_secret_value(SecretId="image-labeller-whole-signing")

    assert value["ARN"] == outputs["SigningSecretArn"]
    assert re.fullmatch("[A-Za-z0-9]{64}", value["SecretString"])
    assert secrets.describe_secret(SecretId=value["ARN"])["Description"] == "Signs the callbacks"


def test_the_alarms(client: Client, outputs: dict[str, str]) -> None:
    prefix = {"AlarmNamePrefix": "image-labeller-whole-"}
    alarms = client("cloudwatch").describe_alarms(**prefix)["MetricAlarms"]

    assert {alarm["AlarmName"].removeprefix("image-labeller-whole-") for alarm in alarms} == {
        "access-lost",
        "api-errors",
        "callbacks-age",
        "callbacks-dead-letters",
        "function-errors",
        "function-throttles",
        "labelling-age",
        "labelling-dead-letters",
        "recovery-silent",
        "spending",
        "stream-age",
        "stream-dead-letters",
    }
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {outputs["AlarmTopicArn"]}
    assert {alarm["TreatMissingData"] for alarm in alarms} == {"notBreaching", "ignore", "breaching"}


def test_an_alarm_by_a_formula(client: Client, outputs: dict[str, str]) -> None:
    names = {"AlarmNames": ["image-labeller-whole-spending"]}
    [alarm] = client("cloudwatch").describe_alarms(**names)["MetricAlarms"]

    formula, labels, *_ = alarm["Metrics"]
    assert alarm["Threshold"] == 5.0
    assert (formula["Id"], formula["ReturnData"]) == ("dollars", True)
    assert labels["MetricStat"] == {
        "Metric": {
            "Namespace": "ImageLabeller",
            "MetricName": "DetectorCalls",
            "Dimensions": [{"Name": "stage", "Value": "whole"}, {"Name": "detector", "Value": "labels"}],
        },
        "Period": 86400,
        "Stat": "Sum",
    }


def test_the_dashboard(client: Client, outputs: dict[str, str]) -> None:
    name = {"DashboardName": "image-labeller-whole"}
    body = json.loads(client("cloudwatch").get_dashboard(**name)["DashboardBody"])

    metrics = json.dumps([widget["properties"]["metrics"] for widget in body["widgets"]])
    assert '"image-labeller-whole-label_uploaded_image"' in metrics
    assert '"image-labeller-whole-labelling-dead-letters"' in metrics
    assert "${PROP('Dim.outcome')}" in metrics


def test_who_gets_the_alarms(client: Client, outputs: dict[str, str]) -> None:
    topic = {"TopicArn": outputs["AlarmTopicArn"]}
    [subscription] = client("sns").list_subscriptions_by_topic(**topic)["Subscriptions"]

    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "a@b.example")


def test_deleted_it_leaves_the_data_and_nothing_else(
    endpoint: Endpoint, session: Any, s3: Any, dynamodb: Any, sqs: Any, client: Client
) -> None:
    outputs = resources.create(session, "gone", PROJECT, endpoint_url=endpoint.url)

    client("cloudformation").delete_stack(StackName="image-labeller-gone-resources")

    for table in ("ImagesTable", "TermsTable", "StateTable"):
        assert dynamodb.describe_table(TableName=outputs[table])["Table"]["TableStatus"] == "ACTIVE"
    for bucket in BUCKETS:
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
            s3.get_bucket_policy(Bucket=outputs[bucket])
    assert client("secretsmanager").get_secret_value(SecretId=outputs["SigningSecretArn"])["SecretString"]
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="image-labeller-gone-")
    watch = client("cloudwatch")
    assert watch.describe_alarms(AlarmNamePrefix="image-labeller-gone-")["MetricAlarms"] == []
    assert watch.list_dashboards(DashboardNamePrefix="image-labeller-gone")["DashboardEntries"] == []
    sns = client("sns")
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.get_topic_attributes(TopicArn=outputs["AlarmTopicArn"])
