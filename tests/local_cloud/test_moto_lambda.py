import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.endpoint import Endpoint
from tests.local_cloud.conftest import CONFIG

MakeFunction = Callable[..., str]


@pytest.fixture
def lambda_(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("lambda", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture
def make_function(endpoint: Endpoint, session: boto3.Session, lambda_: Any, name: str) -> MakeFunction:
    """A function whose role may do these actions on everything."""

    def make(*actions: str, **settings: Any) -> str:
        iam = session.client("iam", endpoint_url=endpoint.url)
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        allowed = {"Effect": "Allow", "Action": ["logs:PutLogEvents", *actions], "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [allowed]}
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", "")
        lambda_.create_function(
            FunctionName=name,
            Role=role,
            Runtime="python3.12",
            Handler="app.f",
            Code={"ZipFile": code.getvalue()},
            **settings,
        )
        return name

    return make


POLL_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
POLL_STREAM = ("dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream")


@pytest.fixture
def queue_arn(sqs: Any, name: str) -> str:
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return str(attributes["QueueArn"])


def settings_of(mapping: dict[str, Any]) -> dict[str, Any]:
    unsaid = {"UUID", "EventSourceMappingArn", "FunctionArn", "LastModified", "ResponseMetadata"}
    return {name: value for name, value in mapping.items() if name not in unsaid}


def test_a_mapping_of_a_stream_has_aws_s_defaults(
    lambda_: Any, make_function: MakeFunction, stream_arn: str
) -> None:
    uuid = lambda_.create_event_source_mapping(
        EventSourceArn=stream_arn, FunctionName=make_function(*POLL_STREAM), StartingPosition="LATEST"
    )["UUID"]

    assert settings_of(lambda_.get_event_source_mapping(UUID=uuid)) == {
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "EventSourceArn": stream_arn,
        "FunctionResponseTypes": [],
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "LATEST",
        "State": "Enabled",
        "StateTransitionReason": "User initiated",
        "TumblingWindowInSeconds": 0,
    }


def test_a_mapping_keeps_what_it_is_told(
    lambda_: Any, make_function: MakeFunction, stream_arn: str, queue_arn: str
) -> None:
    function = make_function(*POLL_STREAM, "sqs:SendMessage")
    uuid = lambda_.create_event_source_mapping(
        EventSourceArn=stream_arn, FunctionName=function, StartingPosition="LATEST"
    )["UUID"]
    told: dict[str, Any] = {
        "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": queue_arn}},
        "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MaximumRecordAgeInSeconds": 60,
        "MaximumRetryAttempts": 2,
        "ParallelizationFactor": 3,
    }

    lambda_.update_event_source_mapping(UUID=uuid, **told)
    lambda_.update_event_source_mapping(UUID=uuid, BatchSize=7)

    mapping = lambda_.get_event_source_mapping(UUID=uuid)
    assert {setting: mapping[setting] for setting in told} == told
    assert mapping["BatchSize"] == 7


def test_a_queue_has_none_of_a_stream_s_settings(
    lambda_: Any, make_function: MakeFunction, queue_arn: str
) -> None:
    uuid = lambda_.create_event_source_mapping(
        EventSourceArn=queue_arn,
        FunctionName=make_function(*POLL_QUEUE),
        ScalingConfig={"MaximumConcurrency": 5},
    )["UUID"]

    with pytest.raises(ClientError, match="Unsupported MaximumRetryAttempts parameter"):
        lambda_.update_event_source_mapping(UUID=uuid, MaximumRetryAttempts=1)

    mapping = lambda_.get_event_source_mapping(UUID=uuid)
    assert "MaximumRetryAttempts" not in mapping
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}


def test_a_mapped_queue_keeps_its_messages_for_who_polls_it(
    lambda_: Any, sqs: Any, make_function: MakeFunction, queue_arn: str, name: str
) -> None:
    lambda_.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=make_function(*POLL_QUEUE))
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]

    sqs.send_message(QueueUrl=url, MessageBody="hello")

    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert message["Body"] == "hello"


def test_a_mapped_stream_keeps_its_records_for_who_polls_it(
    lambda_: Any,
    dynamodb: Any,
    make_function: MakeFunction,
    table: str,
    stream_arn: str,
    stream_records: Callable[[], list[Any]],
) -> None:
    lambda_.create_event_source_mapping(
        EventSourceArn=stream_arn, FunctionName=make_function(*POLL_STREAM), StartingPosition="LATEST"
    )

    dynamodb.put_item(TableName=table, Item={"file": {"S": "a"}, "entry": {"S": "b"}})

    [record] = stream_records()
    assert record["eventName"] == "INSERT"


@pytest.mark.parametrize("missing", POLL_QUEUE)
def test_a_function_that_may_not_poll_its_queue_is_refused(
    lambda_: Any, make_function: MakeFunction, queue_arn: str, missing: str
) -> None:
    function = make_function(*(action for action in POLL_QUEUE if action != missing))

    with pytest.raises(ClientError, match=f"does not have permissions to call {missing}"):
        lambda_.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=function)


@pytest.mark.parametrize("missing", POLL_STREAM)
def test_a_function_that_may_not_poll_its_stream_is_refused(
    lambda_: Any, make_function: MakeFunction, stream_arn: str, missing: str
) -> None:
    function = make_function(*(action for action in POLL_STREAM if action != missing))

    with pytest.raises(ClientError, match=f"does not have permissions to call {missing}"):
        lambda_.create_event_source_mapping(
            EventSourceArn=stream_arn, FunctionName=function, StartingPosition="LATEST"
        )


def test_a_function_that_may_take_longer_than_the_queue_hides_a_message_is_refused(
    lambda_: Any, make_function: MakeFunction, queue_arn: str
) -> None:
    function = make_function(*POLL_QUEUE, Timeout=61)

    with pytest.raises(ClientError, match="60 seconds is less than Function timeout: 61 seconds"):
        lambda_.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=function)


def test_a_function_has_one_configuration_of_its_events(
    lambda_: Any, make_function: MakeFunction, queue_arn: str
) -> None:
    function = make_function("sqs:SendMessage")
    lambda_.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=0)

    lambda_.put_function_event_invoke_config(
        FunctionName=function,
        MaximumRetryAttempts=2,
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": queue_arn}},
    )

    config = lambda_.get_function_event_invoke_config(FunctionName=function)
    assert settings_of(config) == {
        "MaximumRetryAttempts": 2,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": queue_arn}},
    }


def test_a_destination_that_the_function_may_not_send_to_is_refused(
    lambda_: Any, make_function: MakeFunction, stream_arn: str, queue_arn: str
) -> None:
    function = make_function(*POLL_STREAM)
    uuid = lambda_.create_event_source_mapping(
        EventSourceArn=stream_arn, FunctionName=function, StartingPosition="LATEST"
    )["UUID"]
    destination = {"OnFailure": {"Destination": queue_arn}}

    with pytest.raises(ClientError, match="does not have permissions to call sqs:SendMessage"):
        lambda_.put_function_event_invoke_config(FunctionName=function, DestinationConfig=destination)
    with pytest.raises(ClientError, match="does not have permissions to call sqs:SendMessage"):
        lambda_.update_event_source_mapping(UUID=uuid, DestinationConfig=destination)


def test_a_deployed_function_is_not_run(lambda_: Any, make_function: MakeFunction) -> None:
    function = make_function()

    with pytest.raises(ClientError, match="Deployed functions are not run here"):
        lambda_.invoke(FunctionName=function, Payload=b"{}")
