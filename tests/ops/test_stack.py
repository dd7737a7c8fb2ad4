import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID

from ops.problems import Problem
from ops.stack import OUTPUTS, Change, Stack
from ops.stage import Stage
from tests.conftest import ROOT
from tests.ops.conftest import Screen

PARAMETERS = {"First": {"Type": "String", "Default": "1"}, "Second": {"Type": "String", "Default": "2"}}


def template(parameters: Mapping[str, Any] = PARAMETERS, **resources: Any) -> str:
    outputs = {name: {"Value": {"Ref": name}} for name in parameters}
    return json.dumps({"Parameters": parameters, "Resources": resources, "Outputs": outputs})


def queue(name: str, delay: Any = 0) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, "DelaySeconds": delay}}


def bucket(name: str) -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}


def set_status(stack: Stack, status: str) -> None:
    cloudformation_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].get_stack(stack.name).status = status


@pytest.fixture
def taken(stage: Stage, session: boto3.Session) -> str:
    """The name of a queue that somebody has made."""
    name = f"{stage.prefix}-taken"
    session.client("sqs").create_queue(QueueName=name)
    return name


def test_where_there_is_no_stack_there_is_nothing_to_tell(stack: Stack, screen: Screen) -> None:
    stack.delete(screen)

    assert (stack.status, stack.outputs, screen.lines) == (None, {}, [])


def test_a_stack_is_made_with_a_plan(stack: Stack, stage: Stage, screen: Screen) -> None:
    changes = stack.apply(template(Queue=queue(stage.prefix)), {"First": "one", "Second": None}, screen)

    assert changes == [Change("Add", "Queue", "AWS::SQS::Queue", "", replaced=False)]
    assert stack.status == "CREATE_COMPLETE"
    assert stack.outputs == {"First": "one", "Second": "2"}
    assert [line.split() for line in screen.lines] == [
        ["resource", "type", "name"],
        ["new", "Queue", "AWS::SQS::Queue"],
        ["CREATE_COMPLETE", "Queue"],
    ]


def test_a_second_time_changes_nothing_and_leaves_nothing(stack: Stack, stage: Stage, screen: Screen) -> None:
    text = template(Queue=queue(stage.prefix))
    stack.apply(text, {"First": "one", "Second": None}, Screen())

    assert stack.apply(text, {"First": None, "Second": None}, screen) == []
    assert screen.lines == []
    change_sets = stack.client.list_change_sets(StackName=stack.name)["Summaries"]
    assert [each["Status"] for each in change_sets] == ["CREATE_COMPLETE"]


def test_a_parameter_that_is_not_given_stays(stack: Stack, stage: Stage) -> None:
    text = template(Queue=queue(stage.prefix, {"Ref": "First"}))
    stack.apply(text, {"First": "1", "Second": "zwei"}, Screen())

    [change] = stack.apply(text, {"First": "3", "Second": None}, Screen())

    assert (change.outcome, change.resource) == ("changed", "Queue")
    assert stack.outputs == {"First": "3", "Second": "zwei"}


def test_a_parameter_that_is_new_to_the_stack_takes_its_default(stack: Stack, stage: Stage) -> None:
    stack.apply(
        template({"First": PARAMETERS["First"]}, Queue=queue(stage.prefix)), {"First": "one"}, Screen()
    )

    changes = stack.apply(template(Queue=queue(stage.prefix)), {"First": None, "Second": None}, Screen())

    assert changes == [OUTPUTS]
    assert stack.outputs == {"First": "one", "Second": "2"}


def test_what_is_no_longer_in_the_template_is_removed(stack: Stack, stage: Stage) -> None:
    more = {"More": queue(f"{stage.prefix}-more")}
    stack.apply(template(Queue=queue(stage.prefix), **more), {}, Screen())

    changes = stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())

    assert [(change.outcome, change.resource) for change in changes] == [("removed", "More")]


def test_a_stack_that_fails_tells_why(stack: Stack, stage: Stage, taken: str) -> None:
    with pytest.raises(Problem) as problem:
        stack.apply(template(Fine=queue(stage.prefix), Other=queue(taken)), {}, Screen())

    lines = problem.value.message.splitlines()
    assert lines[0] == f"CloudFormation could not make the stack {stack.name} (ROLLBACK_COMPLETE):"
    assert lines[1].startswith("  Other (AWS::SQS::Queue): ")
    assert f"'{taken}' already exists" in lines[1]
    assert lines[2:] == ["Mend that, and run the same command again."]


def test_a_first_try_that_failed_is_not_in_the_way(
    stack: Stack, stage: Stage, taken: str, screen: Screen, session: boto3.Session
) -> None:
    text = template(Fine=queue(stage.prefix), Other=queue(taken))
    with pytest.raises(Problem):
        stack.apply(text, {}, Screen())
    sqs = session.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=taken)["QueueUrl"])

    stack.apply(text, {}, screen)

    assert stack.status == "CREATE_COMPLETE"
    assert screen.lines[0] == (
        f"Deleting the stack {stack.name}, of which an earlier try left ROLLBACK_COMPLETE ..."
    )


@pytest.mark.parametrize("status", ["CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED"])
def test_a_stack_of_which_nothing_can_come_is_made_anew(stack: Stack, stage: Stage, status: str) -> None:
    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())
    before = stack.describe()["StackId"]
    set_status(stack, status)

    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())

    assert stack.status == "CREATE_COMPLETE"
    assert stack.describe()["StackId"] != before


def test_an_import_that_was_taken_back_leaves_nothing_in_the_way(stack: Stack, stage: Stage) -> None:
    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())
    set_status(stack, "IMPORT_ROLLBACK_COMPLETE")
    assert (
        stack.apply(template(Queue=queue(stage.prefix)), {}, Screen()) == []
    )  # one that has resources is one

    stack.delete(Screen())
    stack.client.create_change_set(
        StackName=stack.name,
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=template(Queue=queue(stage.prefix)),
    )
    set_status(stack, "IMPORT_ROLLBACK_COMPLETE")

    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())

    assert stack.status == "CREATE_COMPLETE"


def test_a_change_set_that_nobody_carried_out_is_not_in_the_way(stack: Stack, stage: Stage) -> None:
    text = template(Queue=queue(stage.prefix))
    stack.client.create_change_set(
        StackName=stack.name, ChangeSetName="somebodys", ChangeSetType="CREATE", TemplateBody=text
    )
    assert stack.status == "REVIEW_IN_PROGRESS"

    stack.apply(text, {}, Screen())

    assert stack.status == "CREATE_COMPLETE"


def test_a_change_that_fails_is_taken_back_and_can_be_made_later(
    stack: Stack, stage: Stage, taken: str, session: boto3.Session
) -> None:
    stack.apply(template(Queue=queue(stage.prefix)), {"First": "one"}, Screen())
    more = template(Queue=queue(stage.prefix), Other=queue(taken))

    with pytest.raises(Problem, match=r"\(UPDATE_ROLLBACK_COMPLETE\):\n  Other .*already exists"):
        stack.apply(more, {"First": None}, Screen())
    sqs = session.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=taken)["QueueUrl"])
    stack.apply(more, {"First": None}, Screen())

    assert (stack.status, stack.outputs["First"]) == ("UPDATE_COMPLETE", "one")


@pytest.mark.parametrize(
    "status", ["CREATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "DELETE_IN_PROGRESS"]
)
def test_a_stack_that_is_being_worked_on_is_left_alone(stack: Stack, stage: Stage, status: str) -> None:
    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())
    set_status(stack, status)

    with pytest.raises(Problem, match=rf"is at work on the stack {stack.name} \({status}\): wait"):
        stack.apply(template(Queue=queue(stage.prefix, 5)), {}, Screen())


@pytest.mark.parametrize(
    ("status", "command"),
    [
        ("UPDATE_FAILED", "rollback-stack"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        ("IMPORT_ROLLBACK_FAILED", "delete-stack"),
    ],
)
def test_a_stack_that_is_stuck_is_left_to_its_owner_with_the_way_out(
    stack: Stack, stage: Stage, status: str, command: str
) -> None:
    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())
    set_status(stack, status)

    with pytest.raises(Problem, match=f"`aws cloudformation {command} --stack-name {stack.name}`"):
        stack.apply(template(Queue=queue(stage.prefix, 5)), {}, Screen())


@pytest.mark.parametrize(
    ("text", "parameters", "complaint"),
    [
        ("Resources: [", {}, "Template format error"),
        (template(Queue=queue("q")), {"Third": "x"}, "do not exist in the template"),
    ],
)
def test_what_cloudformation_refuses_is_its_own_word(
    stack: Stack, text: str, parameters: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        stack.apply(text, parameters, Screen())

    assert stack.status is None


def test_a_stack_that_cannot_be_deleted_tells_why(stack: Stack, stage: Stage, session: boto3.Session) -> None:
    stack.apply(template(Bucket=bucket(stage.prefix)), {}, Screen())
    s3 = session.client("s3")
    s3.put_object(Bucket=stage.prefix, Key="a", Body=b"")

    with pytest.raises(Problem) as problem:
        stack.delete(Screen())

    assert f"could not delete the stack {stack.name} (DELETE_FAILED):\n  Bucket (" in problem.value.message
    s3.delete_object(Bucket=stage.prefix, Key="a")
    stack.delete(Screen())
    assert stack.status is None


def test_a_stack_is_deleted_with_a_word_for_each_resource(stack: Stack, stage: Stage, screen: Screen) -> None:
    kept = {**bucket(stage.prefix), "DeletionPolicy": "Retain"}
    stack.apply(template(Queue=queue(stage.prefix), Bucket=kept), {}, Screen())

    stack.delete(screen)

    assert sorted(screen.lines) == ["DELETE_COMPLETE Queue", "DELETE_SKIPPED Bucket"]


def test_the_template_is_not_too_long_to_be_sent() -> None:
    assert (ROOT / ".chalice/resources.yaml").stat().st_size <= 51_200


class Script:
    """CloudFormation's part of a conversation that moto does not know, in botocore's own forms."""

    def __init__(self, session: boto3.Session) -> None:
        self.client = session.client("cloudformation")
        self.stubber = Stubber(self.client)
        self.stubber.activate()

    def says(self, operation: str, answer: Mapping[str, Any], **asked: Any) -> None:
        self.stubber.add_response(operation, {**answer}, asked or None)

    def has_no_stack(self) -> None:
        self.stubber.add_client_error("describe_stacks", "ValidationError", "Stack does not exist")


@pytest.fixture
def script(session: boto3.Session) -> Script:
    return Script(session)


def proposed(**more: Any) -> dict[str, Any]:
    return {"ChangeSetId": "change-set", "StackId": "stack", "StackName": "dev", **more}


def change(name: str, **more: Any) -> dict[str, Any]:
    return {
        "ResourceChange": {
            "Action": "Modify",
            "LogicalResourceId": name,
            "ResourceType": "AWS::SQS::Queue",
            **more,
        }
    }


def test_validation_says_elsewhere_what_is_wrong(script: Script) -> None:
    script.has_no_stack()
    script.says("create_change_set", {"Id": "change-set"})
    script.says("describe_change_set", proposed(Status="CREATE_IN_PROGRESS"))
    reason = "The following hook(s)/validation failed: [...]. To troubleshoot, use the DescribeEvents API."
    script.says("describe_change_set", proposed(Status="FAILED", StatusReason=reason))
    events = [
        {"EventType": "STACK_EVENT", "LogicalResourceId": "dev"},
        {
            "EventType": "VALIDATION_ERROR",
            "LogicalResourceId": "Queue",
            "ResourceType": "AWS::SQS::Queue",
            "ValidationStatusReason": "A queue of that name already exists.",
        },
    ]
    script.says("describe_events", {"OperationEvents": events})
    script.says("delete_change_set", {}, ChangeSetName="change-set")
    pauses: list[float] = []

    with pytest.raises(Problem) as problem:
        Stack(script.client, "dev", pauses.append).apply("{}", {}, Screen())

    assert problem.value.message == (
        "CloudFormation refuses to change the stack dev:\n"
        "  Queue (AWS::SQS::Queue): A queue of that name already exists."
    )
    assert len(pauses) == 1
    script.stubber.assert_no_pending_responses()


def test_another_refusal_is_told_as_it_stands(script: Script) -> None:
    script.has_no_stack()
    script.says("create_change_set", {"Id": "change-set"})
    script.says("describe_change_set", proposed(Status="FAILED", StatusReason="Unresolved reference [x]"))
    script.says("delete_change_set", {})

    with pytest.raises(Problem, match=r"refuses to change the stack dev:\n  Unresolved reference \[x\]"):
        Stack(script.client, "dev").apply("{}", {}, Screen())


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (
            "You must wait 60 seconds after deleting a queue before you can create another of the same name.",
            "Wait a minute",
        ),
        ("The specified queue failed (AWS.SimpleQueueService.QueueDeletedRecently)", "Wait a minute"),
        ("A queue of that name already exists", "Mend that"),
    ],
)
def test_a_queue_that_was_deleted_just_now_needs_a_minute(script: Script, reason: str, advice: str) -> None:
    failure: dict[str, Any] = {
        "EventId": "1",
        "StackId": "stack",
        "StackName": "dev",
        "Timestamp": 0,
        "LogicalResourceId": "Queue",
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": "CREATE_FAILED",
        "ResourceStatusReason": reason,
    }
    found = {"StackName": "dev", "CreationTime": 0, "StackStatus": "ROLLBACK_COMPLETE"}
    script.has_no_stack()
    script.says("create_change_set", {"Id": "change-set"})
    script.says("describe_change_set", proposed(Status="CREATE_COMPLETE", Changes=[change("Queue")]))
    script.says("describe_stack_events", {"StackEvents": []})
    script.says("execute_change_set", {})
    script.says("describe_stack_events", {"StackEvents": [failure]})
    script.says("describe_stacks", {"Stacks": [found]})
    script.says("describe_stack_events", {"StackEvents": [failure]})

    with pytest.raises(Problem) as problem:
        Stack(script.client, "dev").apply("{}", {}, Screen())

    assert problem.value.message.splitlines()[1:] == [
        f"  Queue (AWS::SQS::Queue): {reason}",
        f"{advice}, and run the same command again.",
    ]


def test_a_long_plan_comes_in_pages(script: Script, screen: Screen) -> None:
    script.has_no_stack()
    script.says("create_change_set", {"Id": "change-set"})
    first = proposed(Status="CREATE_COMPLETE", Changes=[change("One", Replacement="True")], NextToken="2")
    script.says("describe_change_set", first)
    second = proposed(Changes=[change("Two", Action="SyncWithActual")])
    script.says("describe_change_set", second, ChangeSetName="change-set", NextToken="2")
    script.stubber.add_client_error("describe_stack_events", "Throttling", "enough")

    with pytest.raises(ClientError, match="enough"):
        Stack(script.client, "dev").apply("{}", {}, screen)

    assert [line.split()[:2] for line in screen.lines[1:]] == [["replaced", "One"], ["SyncWithActual", "Two"]]


def test_only_what_means_that_there_is_no_stack_is_taken_so(script: Script) -> None:
    script.stubber.add_client_error("describe_stacks", "AccessDenied", "no")

    with pytest.raises(ClientError, match="no"):
        _ = Stack(script.client, "dev").status
