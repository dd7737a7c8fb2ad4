import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from chalicelib import items, rows
from local_cloud.event_source_mapping import EventSourceMapping
from ops.event_sources import PAUSE, PAUSES, EventSources, of_notification, of_queue, of_schedule, of_stream
from ops.problems import Problem
from ops.stage import Stage

QUEUES = "arn:aws:sqs:us-east-1:123456789012:image-labeller-dev"
OUTPUTS = {
    "LabellingDeadLettersArn": f"{QUEUES}-labelling-dead-letters",
    "StreamDeadLettersArn": f"{QUEUES}-stream-dead-letters",
}
FUNCTIONS = "arn:aws:lambda:us-east-1:123456789012:function:image-labeller-dev"
UUID = "14e0db71-5d35-4eb5-b481-8945cf9d10c2"

Note = Callable[..., None]


@pytest.fixture
def client() -> Any:
    return boto3.client("lambda", region_name="us-east-1")


@pytest.fixture
def aws(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage("dev", tmp_path)


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def sources(client: Any, stage: Stage, pauses: list[float]) -> EventSources:
    return EventSources(client, stage, OUTPUTS, pauses.append)


@pytest.fixture
def note(stage: Stage) -> Note:
    """Writes down functions and their triggers as Chalice does."""

    def write(handler: str, trigger: str, kind: str, **more: str) -> None:
        function = {
            "name": handler,
            "resource_type": "lambda_function",
            "lambda_arn": f"{FUNCTIONS}-{handler}",
        }
        event = {"name": f"{handler}-{trigger}", "resource_type": kind, **more}
        stage.deployed_file.parent.mkdir(parents=True)
        stage.deployed_file.write_text(json.dumps({"resources": [function, event]}))

    return write


@pytest.fixture
def stream(note: Note) -> None:
    note("notify", "dynamodb-event-source", "dynamodb_event", event_uuid=UUID)


@pytest.fixture
def queue(note: Note) -> None:
    note("label_queued_image", "sqs-event-source", "sqs_event", event_uuid=UUID)


@pytest.fixture
def notification(note: Note) -> None:
    note("label_uploaded_image", "s3event", "s3_event", bucket="b")


def test_a_stream_lets_through_image_rows_only() -> None:
    mapping = EventSourceMapping.of(of_stream(OUTPUTS))
    keys = [rows.image_key("a.png"), rows.label_entry_key("a.png", "dog")]

    records = [{"eventName": "INSERT", "dynamodb": {"Keys": items.marshal(key)}} for key in keys]

    assert [mapping.lets_through(record) for record in records] == [True, False]


def test_the_laptop_reads_the_settings_of_a_stream() -> None:
    mapping = EventSourceMapping.of(of_stream(OUTPUTS))

    assert mapping.reports_item_failures
    assert mapping.bisects
    assert (mapping.maximum_retries, mapping.maximum_age) == (None, 6 * 60 * 60)


def test_the_laptop_reads_the_settings_of_a_queue() -> None:
    assert EventSourceMapping.of(of_queue(OUTPUTS)) == EventSourceMapping(reports_item_failures=True)


def test_a_record_is_given_up_while_the_stream_still_has_it() -> None:
    assert of_stream(OUTPUTS)["MaximumRecordAgeInSeconds"] < 24 * 60 * 60


def test_a_stream_s_mapping_is_told_only_what_differs(
    aws: Stubber, sources: EventSources, stream: None
) -> None:
    told = of_stream(OUTPUTS)
    there = {**told, "State": "Enabled", "BatchSize": 7, "MaximumRetryAttempts": 5}
    aws.add_response("get_event_source_mapping", there, {"UUID": UUID})
    aws.add_response("update_event_source_mapping", {}, {"UUID": UUID, "MaximumRetryAttempts": -1})

    assert sources.finish() == ["notify: set MaximumRetryAttempts"]


def test_every_reader_of_a_stream_is_told(aws: Stubber, sources: EventSources, note: Note) -> None:
    note("index_image", "dynamodb-event-source", "dynamodb_event", event_uuid=UUID)
    aws.add_response("get_event_source_mapping", {"State": "Enabled"}, {"UUID": UUID})
    aws.add_response("update_event_source_mapping", {}, {"UUID": UUID, **of_stream(OUTPUTS)})

    assert sources.finish() == [f"index_image: set {', '.join(sorted(of_stream(OUTPUTS)))}"]


def test_a_mapping_that_says_all_is_left_alone(aws: Stubber, sources: EventSources, queue: None) -> None:
    there: dict[str, Any] = {**of_queue(OUTPUTS), "State": "Disabled", "BatchSize": 1}
    aws.add_response("get_event_source_mapping", there, {"UUID": UUID})

    assert sources.finish() == []


def test_a_new_mapping_is_waited_for(
    aws: Stubber, sources: EventSources, queue: None, pauses: list[float]
) -> None:
    for state in ("Creating", "Updating", "Enabled"):
        there: dict[str, Any] = {"State": state, "FunctionResponseTypes": []}
        aws.add_response("get_event_source_mapping", there, {"UUID": UUID})
    told = {"UUID": UUID, "FunctionResponseTypes": ["ReportBatchItemFailures"]}
    aws.add_response("update_event_source_mapping", {}, told)

    assert sources.finish() == ["label_queued_image: set FunctionResponseTypes"]
    assert pauses == [PAUSE, PAUSE]


def test_a_mapping_is_not_waited_for_without_end(
    aws: Stubber, sources: EventSources, queue: None, pauses: list[float]
) -> None:
    for _ in range(PAUSES):
        aws.add_response("get_event_source_mapping", {"State": "Updating"}, {"UUID": UUID})

    with pytest.raises(Problem, match=rf"not ready with the event source mapping {UUID} \(Updating\)"):
        sources.finish()

    assert sum(pauses) == 60


@pytest.mark.parametrize(
    "refusal", ["InvalidParameterValueException", "ResourceConflictException", "ResourceInUseException"]
)
def test_a_right_that_has_not_got_around_yet_is_waited_for(
    aws: Stubber, sources: EventSources, queue: None, pauses: list[float], refusal: str
) -> None:
    there = {"State": "Enabled", "FunctionResponseTypes": []}
    aws.add_response("get_event_source_mapping", there, {"UUID": UUID})
    aws.add_client_error("update_event_source_mapping", refusal)
    aws.add_response("update_event_source_mapping", {})

    assert sources.finish() == ["label_queued_image: set FunctionResponseTypes"]
    assert pauses == [PAUSE]


def test_a_right_that_is_missing_is_said_in_the_end(
    aws: Stubber, sources: EventSources, notification: None, pauses: list[float]
) -> None:
    aws.add_client_error("get_function_event_invoke_config", "ResourceNotFoundException")
    for _ in range(PAUSES + 1):
        aws.add_client_error(
            "put_function_event_invoke_config", "InvalidParameterValueException", "no right to SendMessage"
        )

    with pytest.raises(ClientError, match="no right to SendMessage"):
        sources.finish()

    assert sum(pauses) == 60


def test_another_refusal_is_said_at_once(
    aws: Stubber, sources: EventSources, notification: None, pauses: list[float]
) -> None:
    aws.add_client_error("get_function_event_invoke_config", "ResourceNotFoundException")
    aws.add_client_error("put_function_event_invoke_config", "AccessDeniedException")

    with pytest.raises(ClientError, match="AccessDeniedException"):
        sources.finish()

    assert pauses == []


def test_a_function_that_s3_invokes_gets_a_place_for_what_it_cannot_do(
    aws: Stubber, sources: EventSources, notification: None
) -> None:
    function = {"FunctionName": f"{FUNCTIONS}-label_uploaded_image"}
    aws.add_client_error("get_function_event_invoke_config", "ResourceNotFoundException")
    aws.add_response("put_function_event_invoke_config", {}, {**function, **of_notification(OUTPUTS)})

    assert sources.finish() == [
        "label_uploaded_image: set DestinationConfig, MaximumEventAgeInSeconds, MaximumRetryAttempts"
    ]


def test_a_deployer_s_own_destination_of_what_succeeds_is_kept(
    aws: Stubber, sources: EventSources, notification: None
) -> None:
    function = {"FunctionName": f"{FUNCTIONS}-label_uploaded_image"}
    own = {"OnSuccess": {"Destination": f"{QUEUES}-own"}}
    there = {"MaximumRetryAttempts": 0, "DestinationConfig": {**own, "OnFailure": {}}}
    put = of_notification(OUTPUTS)
    put["DestinationConfig"] |= own
    aws.add_response("get_function_event_invoke_config", there, function)
    aws.add_response("put_function_event_invoke_config", {}, {**function, **put})
    aws.add_response("get_function_event_invoke_config", put, function)

    assert sources.finish() != []
    assert sources.finish() == []


def test_a_run_that_a_schedule_missed_is_not_made_up_for(
    aws: Stubber, sources: EventSources, note: Note
) -> None:
    note("recover", "event", "cloudwatch_event", rule_name="r")
    function = {"FunctionName": f"{FUNCTIONS}-recover"}
    put = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    aws.add_client_error("get_function_event_invoke_config", "ResourceNotFoundException")
    aws.add_response("put_function_event_invoke_config", {}, {**function, **put})
    aws.add_response("get_function_event_invoke_config", {**put, "DestinationConfig": {}}, function)

    assert sources.finish() == ["recover: set MaximumEventAgeInSeconds, MaximumRetryAttempts"]
    assert sources.finish() == []
    assert of_schedule(OUTPUTS) == put
