"""CloudFormation's own rules, which moto lacks or breaks."""

import json
import re
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.endpoint import Endpoint
from tests.local_cloud.conftest import CONFIG

NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)

Template = dict[str, Any]


@pytest.fixture(scope="module")
def cloudformation(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("cloudformation", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture(scope="module")
def secrets(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("secretsmanager", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture(scope="module")
def cloudwatch(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("cloudwatch", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture(scope="module")
def sns(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("sns", endpoint_url=endpoint.url, config=CONFIG)


def bucket(name: Any, policy: str | None = None, **properties: Any) -> Template:
    definition = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name, **properties}}
    return definition | ({"DeletionPolicy": policy} if policy else {})


def queue(name: Any, **properties: Any) -> Template:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, **properties}}


def template(parameters: Template | None = None, **resources: Template) -> str:
    return json.dumps({"Parameters": parameters or {}, "Resources": resources})


class Stack:
    """A stack as a user of the API has it."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.change_sets = 0

    @property
    def last(self) -> dict[str, str]:
        """How requests name the change set that was proposed last."""
        return {"StackName": self.name, "ChangeSetName": f"change-{self.change_sets}"}

    def propose(self, kind: str, body: str, **options: Any) -> Any:
        self.change_sets += 1
        self.client.create_change_set(**self.last, ChangeSetType=kind, TemplateBody=body, **options)
        return self.client.describe_change_set(**self.last)

    def execute(self) -> None:
        self.client.execute_change_set(**self.last)

    def carry_out(self, kind: str, body: str, **options: Any) -> None:
        self.propose(kind, body, **options)
        self.execute()

    @property
    def described(self) -> Any:
        [described] = self.client.describe_stacks(StackName=self.name)["Stacks"]
        return described

    @property
    def status(self) -> str:
        return str(self.described["StackStatus"])

    def events(self, stack_id: str | None = None) -> list[tuple[str, str]]:
        """What happened, the first first; the stack's own part under the name `stack`."""
        events = self.client.describe_stack_events(StackName=stack_id or self.name)["StackEvents"]
        names = {self.name: "stack"}
        return [
            (names.get(event["LogicalResourceId"], event["LogicalResourceId"]), event["ResourceStatus"])
            for event in reversed(events)
        ]

    def reason(self, resource: str) -> str:
        events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        [reason] = [
            event["ResourceStatusReason"]
            for event in events
            if event["LogicalResourceId"] == resource and event["ResourceStatus"].endswith("_FAILED")
        ]
        return str(reason)


@pytest.fixture
def stack(cloudformation: Any, name: str) -> Stack:
    return Stack(cloudformation, name)


def actions(change_set: Any) -> list[tuple[str, str]]:
    changes = [change["ResourceChange"] for change in change_set["Changes"]]
    return [(change["Action"], change["LogicalResourceId"]) for change in changes]


def has_bucket(s3: Any, name: str) -> bool:
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        return False
    return True


def test_a_change_set_for_a_new_stack_makes_nothing_until_it_is_carried_out(
    stack: Stack, s3: Any, name: str
) -> None:
    proposed = stack.propose("CREATE", template(Data=bucket(name)))

    assert (proposed["Status"], proposed["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert actions(proposed) == [("Add", "Data")]
    assert (stack.status, has_bucket(s3, name)) == ("REVIEW_IN_PROGRESS", False)

    stack.execute()

    assert (stack.status, has_bucket(s3, name)) == ("CREATE_COMPLETE", True)
    assert stack.events() == [
        ("stack", "REVIEW_IN_PROGRESS"),
        ("stack", "CREATE_IN_PROGRESS"),
        ("Data", "CREATE_IN_PROGRESS"),
        ("Data", "CREATE_COMPLETE"),
        ("stack", "CREATE_COMPLETE"),
    ]


def test_the_waiters_of_boto_are_content(stack: Stack, name: str) -> None:
    stack.propose("CREATE", template(Data=bucket(name)))
    stack.client.get_waiter("change_set_create_complete").wait(**stack.last)
    stack.execute()
    stack.client.get_waiter("stack_create_complete").wait(StackName=name)
    stack_id = stack.described["StackId"]
    stack.client.delete_stack(StackName=name)
    stack.client.get_waiter("stack_delete_complete").wait(StackName=stack_id)

    with pytest.raises(ClientError, match=f"Stack with id {name} does not exist"):
        stack.client.describe_stacks(StackName=name)


def test_a_change_set_tells_what_it_would_do(stack: Stack, name: str) -> None:
    stack.carry_out(
        "CREATE", template(Kept=queue(f"{name}-k"), Changed=queue(f"{name}-c"), Gone=bucket(name))
    )

    changed = queue(f"{name}-c", VisibilityTimeout=90)
    proposed = stack.propose(
        "UPDATE", template(Kept=queue(f"{name}-k"), Changed=changed, New=queue(f"{name}-n"))
    )

    assert [change["ResourceChange"] for change in proposed["Changes"]] == [
        {
            "Action": "Modify",
            "LogicalResourceId": "Changed",
            "PhysicalResourceId": f"https://sqs.us-east-1.amazonaws.com/123456789012/{name}-c",
            "ResourceType": "AWS::SQS::Queue",
            "Replacement": "False",
            "Scope": ["Properties"],
        },
        {"Action": "Add", "LogicalResourceId": "New", "ResourceType": "AWS::SQS::Queue"},
        {
            "Action": "Remove",
            "LogicalResourceId": "Gone",
            "PhysicalResourceId": name,
            "ResourceType": "AWS::S3::Bucket",
        },
    ]


def test_an_update_does_what_its_change_set_told(stack: Stack, s3: Any, sqs: Any, name: str) -> None:
    stack.carry_out("CREATE", template(Changed=queue(f"{name}-c"), Gone=bucket(name)))

    stack.carry_out(
        "UPDATE", template(Changed=queue(f"{name}-c", VisibilityTimeout=90), New=queue(f"{name}-n"))
    )

    url = sqs.get_queue_url(QueueName=f"{name}-c")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "90"}
    assert sqs.get_queue_url(QueueName=f"{name}-n")["QueueUrl"]
    assert not has_bucket(s3, name)
    assert stack.events()[-9:] == [
        ("stack", "UPDATE_IN_PROGRESS"),
        ("Changed", "UPDATE_IN_PROGRESS"),
        ("Changed", "UPDATE_COMPLETE"),
        ("New", "CREATE_IN_PROGRESS"),
        ("New", "CREATE_COMPLETE"),
        ("stack", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
        ("Gone", "DELETE_IN_PROGRESS"),
        ("Gone", "DELETE_COMPLETE"),
        ("stack", "UPDATE_COMPLETE"),
    ]


@pytest.mark.parametrize("policy", [None, "Retain"], ids=["same", "only-a-policy-differs"])
def test_a_change_set_without_changes_fails_and_says_so(stack: Stack, name: str, policy: str | None) -> None:
    stack.carry_out("CREATE", template(Data=bucket(name)))

    proposed = stack.propose("UPDATE", template(Data=bucket(name, policy)))

    assert (proposed["Status"], proposed["StatusReason"]) == ("FAILED", NO_CHANGES)
    with pytest.raises(stack.client.exceptions.InvalidChangeSetStatusException, match="FAILED"):
        stack.execute()


def test_a_change_of_outputs_alone_is_one(stack: Stack, name: str) -> None:
    body = {"Resources": {"Data": bucket(name)}, "Outputs": {"Name": {"Value": {"Ref": "Data"}}}}
    stack.carry_out("CREATE", template(Data=bucket(name)))

    proposed = stack.propose("UPDATE", json.dumps(body))
    stack.execute()

    assert (proposed["Status"], proposed["Changes"]) == ("CREATE_COMPLETE", [])
    assert stack.described["Outputs"] == [{"OutputKey": "Name", "OutputValue": name}]


def test_a_parameter_changes_what_is_made_of_it_and_nothing_else(stack: Stack, name: str) -> None:
    body = template(
        {"Seconds": {"Type": "Number", "Default": 30}, "Unused": {"Type": "String", "Default": ""}},
        Named=queue({"Fn::Sub": f"{name}-${{Seconds}}"}),
        Timed=queue(f"{name}-t", VisibilityTimeout={"Ref": "Seconds"}),
        Other=bucket(name),
    )
    stack.carry_out("CREATE", body)

    unused = stack.propose("UPDATE", body, Parameters=given(Unused="x"))
    used = stack.propose("UPDATE", body, Parameters=given(Seconds="60"))

    assert unused["Status"] == "FAILED"
    assert actions(used) == [("Modify", "Named"), ("Modify", "Timed")]
    assert [change["ResourceChange"]["Replacement"] for change in used["Changes"]] == ["True", "False"]
    assert used["Parameters"] == [
        {"ParameterKey": "Seconds", "ParameterValue": "60"},
        {"ParameterKey": "Unused", "ParameterValue": ""},
    ]


def given(**values: str) -> list[dict[str, Any]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def test_a_parameter_stays_only_when_that_is_said(stack: Stack, name: str) -> None:
    body = template(
        {"Seconds": {"Type": "Number", "Default": 30}},
        Timed=queue(name, VisibilityTimeout={"Ref": "Seconds"}),
    )
    stack.carry_out("CREATE", body, Parameters=given(Seconds="60"))

    kept = stack.propose("UPDATE", body, Parameters=[{"ParameterKey": "Seconds", "UsePreviousValue": True}])
    left_out = stack.propose("UPDATE", body)

    assert kept["Status"] == "FAILED"
    assert actions(left_out) == [("Modify", "Timed")]
    with pytest.raises(ClientError, match="must have values"):
        stack.propose("UPDATE", body, Parameters=[{"ParameterKey": "New", "UsePreviousValue": True}])


def test_a_condition_decides_what_there_is(stack: Stack, s3: Any, name: str) -> None:
    body = json.dumps(
        {
            "Parameters": {"Extra": {"Type": "Number", "Default": 0}},
            "Conditions": {"HasExtra": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Extra"}, 0]}]}},
            "Resources": {"Always": queue(name), "Data": bucket(name) | {"Condition": "HasExtra"}},
        }
    )
    stack.carry_out("CREATE", body)
    assert not has_bucket(s3, name)

    stack.carry_out("UPDATE", body, Parameters=given(Extra="1"))
    assert has_bucket(s3, name)

    stack.carry_out("UPDATE", body, Parameters=given(Extra="0"))
    assert not has_bucket(s3, name)


def test_a_condition_decides_a_value(stack: Stack, sqs: Any, name: str) -> None:
    seconds = {"Fn::If": ["IsLong", 90, {"Ref": "AWS::NoValue"}]}
    body = json.dumps(
        {
            "Parameters": {"Long": {"Type": "String", "Default": "yes"}},
            "Conditions": {"IsLong": {"Fn::Equals": [{"Ref": "Long"}, "yes"]}},
            "Resources": {"Queue": queue(name, DelaySeconds=5, VisibilityTimeout=seconds)},
        }
    )
    stack.carry_out("CREATE", body)

    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "90"}
    assert stack.propose("UPDATE", body, Parameters=given(Long="yes"))["Status"] == "FAILED"
    assert actions(stack.propose("UPDATE", body, Parameters=given(Long="no"))) == [("Modify", "Queue")]


def test_a_list_is_one_whether_given_or_by_default(stack: Stack, s3: Any, name: str) -> None:
    cors = {"CorsRules": [{"AllowedMethods": ["PUT"], "AllowedOrigins": {"Ref": "Origins"}}]}
    body = template(
        {"Origins": {"Type": "CommaDelimitedList", "Default": "https://a.example"}},
        Data=bucket(name, CorsConfiguration=cors),
    )

    stack.carry_out("CREATE", body)
    [by_default] = s3.get_bucket_cors(Bucket=name)["CORSRules"]
    stack.carry_out("UPDATE", body, Parameters=given(Origins="https://b.example, https://c.example"))
    [rule] = s3.get_bucket_cors(Bucket=name)["CORSRules"]

    assert by_default["AllowedOrigins"] == ["https://a.example"]
    assert rule["AllowedOrigins"] == ["https://b.example", "https://c.example"]
    assert stack.described["Parameters"] == given(Origins="https://b.example,https://c.example")


@pytest.mark.parametrize(
    ("slot", "value", "problem"),
    [
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, "a1", r"'P' must match pattern \[a-z\]\+"),
        ({"Type": "String", "AllowedPattern": "a", "ConstraintDescription": "an a"}, "b", "constraint: an a"),
        ({"Type": "String", "AllowedValues": ["a", "b"]}, "c", "'P' must be one of AllowedValues"),
        ({"Type": "Number"}, "many", "'P' must be a number"),
        ({"Type": "Number", "MinValue": 1}, "0", "must be a number not less than 1"),
        ({"Type": "Number", "MaxValue": 1}, "2", "must be a number not greater than 1"),
    ],
    ids=["pattern", "described", "values", "number", "too-small", "too-large"],
)
def test_a_value_that_the_template_does_not_allow_is_refused(
    stack: Stack, name: str, slot: Template, value: str, problem: str
) -> None:
    body = template({"P": slot}, Data=bucket(name))

    with pytest.raises(ClientError, match=problem):
        stack.propose("CREATE", body, Parameters=given(P=value))
    with pytest.raises(ClientError, match="does not exist"):
        stack.client.describe_stacks(StackName=name)


@pytest.mark.parametrize(
    ("values", "problem"),
    [({}, r"\[P\] must have values"), ({"P": "x", "Q": "y"}, r"\[Q\] do not exist in the template")],
    ids=["missing", "unknown"],
)
def test_the_parameters_are_those_of_the_template(
    stack: Stack, name: str, values: dict[str, str], problem: str
) -> None:
    body = template({"P": {"Type": "String"}}, Data=bucket(name))

    with pytest.raises(ClientError, match=problem):
        stack.client.create_stack(StackName=name, TemplateBody=body, Parameters=given(**values))


@pytest.mark.parametrize("body", ["{", "[]", "a: b: c"], ids=["cut-short", "a-list", "no-yaml"])
def test_what_is_no_template_is_refused(stack: Stack, body: str) -> None:
    with pytest.raises(ClientError, match="Template format error"):
        stack.propose("CREATE", body)


def test_a_date_in_a_template_is_text(stack: Stack, s3: Any, name: str) -> None:
    body = f"""
        Resources:
          Data: {{Type: "AWS::S3::Bucket", Properties: {{BucketName: {name}}}}}
          Policy:
            Type: AWS::S3::BucketPolicy
            Properties:
              Bucket: !Ref Data
              PolicyDocument: {{Version: 2012-10-17, Statement: []}}
    """

    stack.carry_out("CREATE", body)

    assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Version"] == "2012-10-17"


def test_a_stack_that_cannot_be_made_is_rolled_back_and_says_why(stack: Stack, s3: Any, name: str) -> None:
    s3.create_bucket(Bucket=f"{name}-theirs")

    stack.carry_out(
        "CREATE",
        template(
            Made=bucket(f"{name}-made"),
            Kept=bucket(f"{name}-kept", "Retain"),
            KeptOnceMade=bucket(f"{name}-once", "RetainExceptOnCreate"),
            Taken=bucket(f"{name}-theirs"),
            Never=bucket(f"{name}-never"),
        ),
    )

    assert stack.status == "ROLLBACK_COMPLETE"
    assert "already exists" in stack.reason("Taken")
    assert stack.events()[-9:] == [
        ("Taken", "CREATE_IN_PROGRESS"),
        ("Taken", "CREATE_FAILED"),
        ("stack", "ROLLBACK_IN_PROGRESS"),
        ("KeptOnceMade", "DELETE_IN_PROGRESS"),
        ("KeptOnceMade", "DELETE_COMPLETE"),
        ("Kept", "DELETE_SKIPPED"),
        ("Made", "DELETE_IN_PROGRESS"),
        ("Made", "DELETE_COMPLETE"),
        ("stack", "ROLLBACK_COMPLETE"),
    ]
    there = {
        bucket for bucket in ("made", "kept", "once", "theirs", "never") if has_bucket(s3, f"{name}-{bucket}")
    }
    assert there == {"kept", "theirs"}


def test_what_needs_a_resource_that_failed_is_not_begun(stack: Stack, s3: Any, name: str) -> None:
    s3.create_bucket(Bucket=name)
    policy = policy_of({"Ref": "Taken"}, "One")

    stack.carry_out("CREATE", template(Needs=policy, Taken=bucket(name)))

    assert stack.events()[2:] == [
        ("Taken", "CREATE_IN_PROGRESS"),
        ("Taken", "CREATE_FAILED"),
        ("stack", "ROLLBACK_IN_PROGRESS"),
        ("stack", "ROLLBACK_COMPLETE"),
    ]
    assert stack.described["StackStatus"] == "ROLLBACK_COMPLETE"


def test_a_stack_that_was_rolled_back_shows_nothing_and_can_only_be_deleted(
    stack: Stack, s3: Any, name: str
) -> None:
    s3.create_bucket(Bucket=name)
    body = {"Resources": {"Taken": bucket(name)}, "Outputs": {"Name": {"Value": {"Ref": "Taken"}}}}
    stack.carry_out("CREATE", json.dumps(body))

    assert "Outputs" not in stack.described
    assert stack.client.describe_stack_resources(StackName=name)["StackResources"] == []
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stack.propose("UPDATE", json.dumps(body))
    with pytest.raises(ClientError, match="already exists and cannot be created again"):
        stack.propose("CREATE", json.dumps(body))
    stack.client.delete_stack(StackName=name)
    assert has_bucket(s3, name)


def test_an_update_that_fails_is_undone(stack: Stack, s3: Any, sqs: Any, name: str) -> None:
    s3.create_bucket(Bucket=name)
    stack.carry_out("CREATE", template(Changed=queue(name, VisibilityTimeout=30)))
    broken = template(Changed=queue(name, VisibilityTimeout=90), New=queue(f"{name}-new"), Taken=bucket(name))

    stack.carry_out("UPDATE", broken)

    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert "already exists" in stack.reason("Taken")
    assert attributes == {"VisibilityTimeout": "30"}
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName=f"{name}-new")
    again = stack.propose("UPDATE", template(Changed=queue(name, VisibilityTimeout=30)))
    assert again["Status"] == "FAILED"


def test_a_rollback_can_fail_too(stack: Stack, sqs: Any, s3: Any, name: str) -> None:
    s3.create_bucket(Bucket=name)
    dead_letters = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}-dead"
    before = template(Changed=queue(name, RedrivePolicy={"deadLetterTargetArn": arn, "maxReceiveCount": 3}))
    stack.carry_out("CREATE", before)
    sqs.delete_queue(QueueUrl=dead_letters)

    stack.carry_out("UPDATE", template(Changed=queue(name, VisibilityTimeout=90), Taken=bucket(name)))

    assert stack.status == "UPDATE_ROLLBACK_FAILED"
    assert stack.described["StackStatusReason"] == "The following resource(s) failed to update: [Changed]. "
    with pytest.raises(ClientError, match="is in UPDATE_ROLLBACK_FAILED state and can not be updated"):
        stack.propose("UPDATE", before)


def test_a_resource_is_not_replaced_here_and_that_is_a_failure(stack: Stack, s3: Any, name: str) -> None:
    stack.carry_out("CREATE", template(Data=bucket(name)))

    stack.carry_out("UPDATE", template(Data=bucket(f"{name}-new")))

    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert "needs another resource" in stack.reason("Data")
    assert (has_bucket(s3, name), has_bucket(s3, f"{name}-new")) == (True, False)


def test_what_is_to_be_retained_is(stack: Stack, s3: Any, name: str) -> None:
    stack.carry_out(
        "CREATE",
        template(
            Kept=bucket(f"{name}-kept", "Retain"),
            AlsoKept=bucket(f"{name}-also", "RetainExceptOnCreate"),
            Gone=bucket(f"{name}-gone", "Delete"),
        ),
    )
    stack_id = stack.described["StackId"]

    stack.client.delete_stack(StackName=name)

    names = ("kept", "also", "gone")
    assert [each for each in names if has_bucket(s3, f"{name}-{each}")] == ["kept", "also"]
    assert stack.events(stack_id)[-6:] == [
        ("stack", "DELETE_IN_PROGRESS"),
        ("Gone", "DELETE_IN_PROGRESS"),
        ("Gone", "DELETE_COMPLETE"),
        ("AlsoKept", "DELETE_SKIPPED"),
        ("Kept", "DELETE_SKIPPED"),
        ("stack", "DELETE_COMPLETE"),
    ]
    [deleted] = stack.client.describe_stacks(StackName=stack_id)["Stacks"]
    assert deleted["StackStatus"] == "DELETE_COMPLETE"
    assert "Outputs" not in deleted


def test_a_resource_that_leaves_the_template_is_retained_too(stack: Stack, s3: Any, name: str) -> None:
    stack.carry_out("CREATE", template(Kept=bucket(name, "Retain"), Other=queue(name)))

    stack.carry_out("UPDATE", template(Other=queue(name)))

    assert has_bucket(s3, name)
    assert ("Kept", "DELETE_SKIPPED") in stack.events()


@pytest.mark.parametrize("leftover", ["an object", "a delete marker"])
def test_a_bucket_that_is_not_empty_stops_the_deletion(
    stack: Stack, s3: Any, name: str, leftover: str
) -> None:
    versioned = bucket(name, VersioningConfiguration={"Status": "Enabled"})
    stack.carry_out("CREATE", template(Full=versioned, Empty=bucket(f"{name}-empty")))
    if leftover == "an object":
        s3.put_object(Bucket=name, Key="a", Body=b"x")
    s3.delete_object(Bucket=name, Key="a")

    stack.client.delete_stack(StackName=name)

    assert stack.status == "DELETE_FAILED"
    assert stack.described["StackStatusReason"] == "The following resource(s) failed to delete: [Full]. "
    assert "The bucket you tried to delete is not empty" in stack.reason("Full")
    assert (has_bucket(s3, name), has_bucket(s3, f"{name}-empty")) == (True, False)


def test_what_could_not_be_deleted_can_be_left(stack: Stack, s3: Any, name: str) -> None:
    stack.carry_out("CREATE", template(Full=bucket(name)))
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    with pytest.raises(ClientError, match="only when the stack is in the DELETE_FAILED state"):
        stack.client.delete_stack(StackName=name, RetainResources=["Full"])
    stack.client.delete_stack(StackName=name)

    stack.client.delete_stack(StackName=name, RetainResources=["Full"])

    with pytest.raises(ClientError, match="does not exist"):
        stack.client.describe_stacks(StackName=name)
    assert has_bucket(s3, name)


def test_what_somebody_has_deleted_meanwhile_does_not_stop_the_deletion(
    stack: Stack, s3: Any, sqs: Any, name: str
) -> None:
    queues = {"Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Statement": []}}
    stack.carry_out(
        "CREATE",
        template(
            Data=bucket(name),
            DataPolicy=policy_of({"Ref": "Data"}, "One"),
            Queue=queue(name),
            QueuePolicy={"Type": "AWS::SQS::QueuePolicy", "Properties": queues},
        ),
    )
    s3.delete_bucket(Bucket=name)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])

    stack.client.delete_stack(StackName=name)

    with pytest.raises(ClientError, match="does not exist"):
        stack.client.describe_stacks(StackName=name)


def test_to_delete_a_stack_that_is_not_there_is_no_error(stack: Stack) -> None:
    assert stack.client.delete_stack(StackName=stack.name)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_there_is_no_update_of_a_stack_that_is_not_there(stack: Stack) -> None:
    with pytest.raises(ClientError, match=rf"Stack \[{stack.name}\] does not exist"):
        stack.propose("UPDATE", template(Data=bucket(stack.name)))


def test_a_change_set_is_told_by_its_stack(stack: Stack, cloudformation: Any, name: str) -> None:
    other = Stack(cloudformation, f"{name}-other")
    stack.propose("CREATE", template(Data=bucket(name)))
    other.propose("CREATE", template(Queue=queue(name)))

    described = cloudformation.describe_change_set(**stack.last)

    assert actions(described) == [("Add", "Data")]
    assert cloudformation.describe_change_set(ChangeSetName=described["ChangeSetId"])["StackName"] == name
    listed = cloudformation.list_change_sets(StackName=name)["Summaries"]
    assert [each["ChangeSetId"] for each in listed] == [described["ChangeSetId"]]


def test_a_change_sets_name_is_taken_until_it_is_deleted(stack: Stack, name: str) -> None:
    request = {"ChangeSetType": "CREATE", "TemplateBody": template(Data=bucket(name))}
    stack.propose("CREATE", request["TemplateBody"])
    with pytest.raises(stack.client.exceptions.AlreadyExistsException):
        stack.client.create_change_set(**stack.last, **request)

    stack.client.delete_change_set(**stack.last)

    with pytest.raises(stack.client.exceptions.ChangeSetNotFoundException, match=r"ChangeSet \[change-1\]"):
        stack.client.describe_change_set(**stack.last)
    assert stack.client.create_change_set(**stack.last, **request)["Id"]


def test_carrying_out_a_change_set_drops_the_others(stack: Stack, name: str) -> None:
    stack.propose("CREATE", template(Data=bucket(name)))
    stack.propose("CREATE", template(Data=bucket(name)))

    stack.execute()

    [left] = stack.client.list_change_sets(StackName=name)["Summaries"]
    assert (left["ChangeSetName"], left["ExecutionStatus"]) == ("change-2", "EXECUTE_COMPLETE")


def test_a_change_set_can_use_the_previous_template_or_one_in_a_bucket(
    stack: Stack, s3: Any, name: str
) -> None:
    body = template({"S": {"Type": "Number", "Default": 30}}, Q=queue(name, VisibilityTimeout={"Ref": "S"}))
    s3.create_bucket(Bucket=f"{name}-templates")
    s3.put_object(Bucket=f"{name}-templates", Key="t.json", Body=body.encode())
    url = f"https://s3.amazonaws.com/{name}-templates/t.json"
    stack.client.create_change_set(**stack.last, ChangeSetType="CREATE", TemplateURL=url)
    stack.execute()

    stack.change_sets += 1
    stack.client.create_change_set(**stack.last, UsePreviousTemplate=True, Parameters=given(S="60"))

    assert actions(stack.client.describe_change_set(**stack.last)) == [("Modify", "Q")]
    with pytest.raises(ClientError, match="Either Template URL or Template Body must be specified"):
        stack.client.create_change_set(StackName=name, ChangeSetName="none")


@pytest.fixture
def left(s3: Any, name: str) -> str:
    """A bucket that an earlier stack has left behind, with what is in it."""
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    return name


def test_existing_resources_are_imported_by_the_way(stack: Stack, s3: Any, left: str) -> None:
    body = template(Data=bucket(left, "Retain"), Other=queue(left))

    proposed = stack.propose("CREATE", body, ImportExistingResources=True)
    stack.execute()

    assert actions(proposed) == [("Import", "Data"), ("Add", "Other")]
    assert stack.status == "CREATE_COMPLETE"
    assert ("Data", "IMPORT_COMPLETE") in stack.events()
    assert s3.list_objects_v2(Bucket=left)["KeyCount"] == 1
    assert stack.propose("UPDATE", body, ImportExistingResources=True)["Status"] == "FAILED"


@pytest.mark.parametrize("kind", ["a name made of the stage", "without a policy", "of another stack"])
def test_what_aws_would_not_import_by_the_way_is_not(
    stack: Stack, cloudformation: Any, left: str, kind: str
) -> None:
    name = {"Fn::Sub": f"{left}${{Nothing}}"} if kind == "a name made of the stage" else left
    policy = None if kind == "without a policy" else "Retain"
    if kind == "of another stack":
        owner = Stack(cloudformation, f"{stack.name}-owner")
        owner.carry_out("CREATE", template(Data=bucket(left, "Retain")), ImportExistingResources=True)
    body = template({"Nothing": {"Type": "String", "Default": ""}}, Data=bucket(name, policy))

    proposed = stack.propose("CREATE", body, ImportExistingResources=True)
    stack.execute()

    assert actions(proposed) == [("Add", "Data")]
    assert (stack.status, "already exists" in stack.reason("Data")) == ("ROLLBACK_COMPLETE", True)


def test_a_secret_is_not_imported_by_the_way_for_its_arn_is_in_no_template(
    stack: Stack, secrets: Any, name: str
) -> None:
    secrets.create_secret(Name=name, SecretString="known")
    secret = {
        "Type": "AWS::SecretsManager::Secret",
        "DeletionPolicy": "Retain",
        "Properties": {"Name": name},
    }

    proposed = stack.propose("CREATE", template(Secret=secret), ImportExistingResources=True)

    assert actions(proposed) == [("Add", "Secret")]


def to_import(logical_id: str, kind: str, **identifier: str) -> dict[str, Any]:
    return {"LogicalResourceId": logical_id, "ResourceType": kind, "ResourceIdentifier": identifier}


def test_what_is_named_is_imported_whatever_its_name_is_made_of(
    stack: Stack, s3: Any, secrets: Any, dynamodb: Any, table: str, left: str
) -> None:
    arn = secrets.create_secret(Name=left, SecretString="known")["ARN"]
    made_of = {"Fn::Sub": f"{left}${{Nothing}}"}
    parameters = {"Nothing": {"Type": "String", "Default": ""}}
    kept = {
        "Data": bucket(made_of, "Retain"),
        "Rows": {
            "Type": "AWS::DynamoDB::Table",
            "DeletionPolicy": "Retain",
            "Properties": {
                "TableName": made_of,
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "file", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "file", "AttributeType": "S"}],
            },
        },
        "Secret": {
            "Type": "AWS::SecretsManager::Secret",
            "DeletionPolicy": "Retain",
            "Properties": {"Name": made_of, "GenerateSecretString": {}},
        },
    }
    imports = [
        to_import("Data", "AWS::S3::Bucket", BucketName=left),
        to_import("Rows", "AWS::DynamoDB::Table", TableName=table),
        to_import("Secret", "AWS::SecretsManager::Secret", Id=arn),
    ]

    stack.carry_out("IMPORT", template(parameters, **kept), ResourcesToImport=imports)
    after_import = stack.status
    stack.carry_out("UPDATE", template(parameters, **kept, More=queue(left)))

    assert (after_import, stack.status) == ("IMPORT_COMPLETE", "UPDATE_COMPLETE")
    assert ("Secret", "IMPORT_COMPLETE") in stack.events()
    assert s3.list_objects_v2(Bucket=left)["KeyCount"] == 1
    assert secrets.get_secret_value(SecretId=left)["SecretString"] == "known"


def test_an_existing_stack_imports_too(stack: Stack, left: str) -> None:
    stack.carry_out("CREATE", template(Queue=queue(left)))

    stack.carry_out(
        "IMPORT",
        template(Queue=queue(left), Data=bucket(left, "Retain")),
        ResourcesToImport=[to_import("Data", "AWS::S3::Bucket", BucketName=left)],
    )

    assert stack.status == "IMPORT_COMPLETE"
    resources = stack.client.list_stack_resources(StackName=stack.name)["StackResourceSummaries"]
    assert {each["LogicalResourceId"] for each in resources} == {"Queue", "Data"}


@pytest.mark.parametrize(
    ("definition", "more", "identifier", "problem"),
    [
        pytest.param("kept", {}, "another", "does not exist", id="not-there"),
        pytest.param("plain", {}, None, "must have a DeletionPolicy", id="no-policy"),
        pytest.param("kept", {"New": queue("new")}, None, r"cannot modify or add \[New\]", id="and-more"),
        pytest.param("none", {"New": queue("new")}, None, "is not in the template", id="not-in-the-template"),
    ],
)
def test_an_import_that_is_not_only_that_is_refused(
    stack: Stack, left: str, definition: str, more: dict[str, Template], identifier: str | None, problem: str
) -> None:
    data = {"kept": {"Data": bucket(left, "Retain")}, "plain": {"Data": bucket(left)}, "none": {}}[definition]
    imports = [to_import("Data", "AWS::S3::Bucket", BucketName=identifier or left)]

    with pytest.raises(ClientError, match=problem):
        stack.propose("IMPORT", template(**data, **more), ResourcesToImport=imports)


def test_an_import_adds_no_outputs(stack: Stack, left: str) -> None:
    body = {"Resources": {"Data": bucket(left, "Retain")}, "Outputs": {"Name": {"Value": {"Ref": "Data"}}}}
    imports = [to_import("Data", "AWS::S3::Bucket", BucketName=left)]

    with pytest.raises(ClientError, match=r"cannot modify or add \[Outputs\]"):
        stack.propose("IMPORT", json.dumps(body), ResourcesToImport=imports)


def test_what_was_imported_survives_a_rollback(stack: Stack, s3: Any, left: str) -> None:
    s3.create_bucket(Bucket=f"{left}-taken")
    body = template(Data=bucket(left, "RetainExceptOnCreate"), Taken=bucket(f"{left}-taken"))

    stack.carry_out("CREATE", body, ImportExistingResources=True)

    assert stack.status == "ROLLBACK_COMPLETE"
    assert has_bucket(s3, left)


def test_a_resource_waits_for_those_that_it_depends_on(stack: Stack, name: str) -> None:
    body = template(
        Last=queue(f"{name}-a") | {"DependsOn": ["Middle", "First"]},
        Middle=queue(f"{name}-b") | {"DependsOn": "First"},
        First=queue(f"{name}-c"),
    )

    stack.carry_out("CREATE", body)
    stack_id = stack.described["StackId"]
    stack.client.delete_stack(StackName=name)

    events = stack.events(stack_id)
    assert [each for each, status in events if status == "CREATE_COMPLETE"] == [
        "First",
        "Middle",
        "Last",
        "stack",
    ]
    assert [each for each, status in events if status == "DELETE_COMPLETE"] == [
        "Last",
        "Middle",
        "First",
        "stack",
    ]


def test_the_old_way_to_update_says_when_there_is_nothing_to_do(stack: Stack, name: str) -> None:
    request = {"StackName": name, "TemplateBody": template(Data=bucket(name))}
    stack.client.create_stack(**request)
    with pytest.raises(stack.client.exceptions.AlreadyExistsException):
        stack.client.create_stack(**request)

    with pytest.raises(ClientError, match="No updates are to be performed"):
        stack.client.update_stack(**request)

    assert stack.status == "CREATE_COMPLETE"


def test_a_secret_parameter_is_not_shown_and_not_forgotten(stack: Stack, secrets: Any, name: str) -> None:
    body = template(
        {"Value": {"Type": "String", "NoEcho": True}},
        Secret={
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {"Name": name, "SecretString": {"Ref": "Value"}},
        },
    )
    stack.carry_out("CREATE", body, Parameters=given(Value="hush"))

    previous = [{"ParameterKey": "Value", "UsePreviousValue": True}]
    again = stack.propose("UPDATE", body, Parameters=previous)

    assert stack.described["Parameters"] == again["Parameters"] == given(Value="****")
    assert again["Status"] == "FAILED"
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "hush"


def policy_of(bucket: Any, sid: str) -> Template:
    document = {"Statement": [{"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}]}
    return {"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": bucket, "PolicyDocument": document}}


def test_a_buckets_policy_is_made_changed_and_deleted(stack: Stack, s3: Any, name: str) -> None:
    def sid() -> str:
        [statement] = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
        return str(statement["Sid"])

    stack.carry_out("CREATE", template(Data=bucket(name), Policy=policy_of({"Ref": "Data"}, "One")))
    made = sid()
    stack.carry_out("UPDATE", template(Data=bucket(name), Policy=policy_of({"Ref": "Data"}, "Two")))
    changed = sid()
    stack.carry_out("UPDATE", template(Data=bucket(name)))

    assert (made, changed) == ("One", "Two")
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        sid()


def test_a_queues_policy_is_made_moved_and_deleted(stack: Stack, sqs: Any, name: str) -> None:
    queues = {"One": queue(f"{name}-1"), "Two": queue(f"{name}-2")}

    def policy(*queues: str) -> Template:
        document = {"Statement": [{"Sid": "Ours"}]}
        properties = {"Queues": [{"Ref": queue} for queue in queues], "PolicyDocument": document}
        return {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}

    def having_one() -> list[bool]:
        urls = [sqs.get_queue_url(QueueName=f"{name}-{number}")["QueueUrl"] for number in (1, 2)]
        return [
            "Attributes" in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]) for url in urls
        ]

    stack.carry_out("CREATE", template(**queues, Policy=policy("One", "Two")))
    made = having_one()
    stack.carry_out("UPDATE", template(**queues, Policy=policy("Two")))
    moved = having_one()
    stack.carry_out("UPDATE", template(**queues))

    assert (made, moved, having_one()) == ([True, True], [False, True], [False, False])


def test_a_secret_is_generated_once(stack: Stack, secrets: Any, name: str) -> None:
    def secret(length: int, description: str) -> Template:
        generate = {"PasswordLength": length, "ExcludePunctuation": True, "ExcludeUppercase": True}
        properties = {"Name": name, "Description": description, "GenerateSecretString": generate}
        return {"Type": "AWS::SecretsManager::Secret", "Properties": properties}

    stack.carry_out("CREATE", template(Secret=secret(20, "one")))
    made = secrets.get_secret_value(SecretId=name)["SecretString"]
    stack.carry_out("UPDATE", template(Secret=secret(30, "two")))
    described = secrets.describe_secret(SecretId=name)

    assert re.fullmatch("[a-z0-9]{20}", made)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == made
    assert described["Description"] == "two"
    stack.client.delete_stack(StackName=name)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.describe_secret(SecretId=name)


def test_a_topic_keeps_its_subscriptions_and_another_address_is_another_one(
    stack: Stack, sns: Any, name: str
) -> None:
    def body(title: str, address: str) -> str:
        topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name, "DisplayName": title}}
        properties = {"TopicArn": {"Ref": "Topic"}, "Protocol": "email", "Endpoint": address}
        return template(Topic=topic, Who={"Type": "AWS::SNS::Subscription", "Properties": properties})

    def addresses() -> list[str]:
        found = sns.list_subscriptions_by_topic(TopicArn=f"arn:aws:sns:us-east-1:123456789012:{name}")
        return [subscription["Endpoint"] for subscription in found["Subscriptions"]]

    stack.carry_out("CREATE", body("one", "a@b.example"))
    stack.carry_out("UPDATE", body("two", "a@b.example"))
    renamed = addresses()
    stack.carry_out("UPDATE", body("two", "c@d.example"))
    moved = addresses()
    without = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name, "DisplayName": "two"}}
    stack.carry_out("UPDATE", template(Topic=without))

    assert (renamed, moved, addresses()) == (["a@b.example"], ["c@d.example"], [])


def alarm(name: str, **properties: Any) -> Template:
    common = {"AlarmName": name, "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": common | properties}


def test_an_alarm_is_made_changed_and_deleted(stack: Stack, cloudwatch: Any, name: str) -> None:
    def thresholds() -> list[float]:
        found = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return [each["Threshold"] for each in found]

    metric = {"Namespace": "AWS/SQS", "MetricName": "Sent", "Statistic": "Sum", "Period": 60}
    outputs = {"Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Alarm", "Arn"]}}}}

    def body(threshold: int) -> str:
        return json.dumps({"Resources": {"Alarm": alarm(name, Threshold=threshold, **metric)}} | outputs)

    stack.carry_out("CREATE", body(1))
    made = thresholds()
    stack.carry_out("UPDATE", body(2))
    [output] = stack.described["Outputs"]

    assert (made, thresholds()) == ([1.0], [2.0])
    assert output["OutputValue"] == f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"
    stack.client.delete_stack(StackName=name)
    assert thresholds() == []


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        (alarm("a", Treshold=1), "unsupported property Treshold"),
        (
            {
                "Type": "AWS::SecretsManager::Secret",
                "Properties": {"Name": "a", "GenerateSecretString": {"SecretStringTemplate": "{}"}},
            },
            "by template is not imitated",
        ),
        ({"Type": "AWS::Sea::Serpent"}, "There is no AWS::Sea::Serpent here"),
        (queue({"Fn::GetAtt": ["Alarm", "Depth"]}), "does not support attribute type Depth"),
        (bucket("odd", WebsiteConfiguration={}), "unsupported property WebsiteConfiguration"),
    ],
    ids=["alarm", "secret", "type", "attribute", "bucket"],
)
def test_what_is_not_understood_is_not_passed_over(stack: Stack, definition: Template, reason: str) -> None:
    stack.carry_out("CREATE", template(Odd=definition, Alarm=alarm(stack.name)))

    assert stack.status == "ROLLBACK_COMPLETE"
    assert reason in stack.reason("Odd")


def test_what_cannot_be_updated_is_not_passed_over(stack: Stack, name: str) -> None:
    def rows(**more: Any) -> str:
        properties = {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "file", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "file", "AttributeType": "S"}],
        }
        return template(Rows={"Type": "AWS::DynamoDB::Table", "Properties": properties | more})

    stack.carry_out("CREATE", rows())

    stack.carry_out("UPDATE", rows(StreamSpecification={"StreamViewType": "KEYS_ONLY"}))

    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert "another stream" in stack.reason("Rows")


@pytest.mark.parametrize(
    ("kind", "identifier", "properties"),
    [
        ("AWS::CloudWatch::Alarm", "AlarmName", {"ComparisonOperator": "x", "EvaluationPeriods": 1}),
        ("AWS::CloudWatch::Dashboard", "DashboardName", {"DashboardBody": "{}"}),
        ("AWS::SNS::Topic", "TopicName", {}),
        ("AWS::SQS::Queue", "QueueName", {}),
    ],
    ids=["alarm", "dashboard", "topic", "queue"],
)
def test_a_name_can_be_had_once(
    stack: Stack, cloudformation: Any, name: str, kind: str, identifier: str, properties: Template
) -> None:
    owner = Stack(cloudformation, f"{name}-owner")
    body = template(Named={"Type": kind, "Properties": {identifier: name, **properties}})
    owner.carry_out("CREATE", body)

    stack.carry_out("CREATE", body)

    assert owner.status == "CREATE_COMPLETE"
    assert "already exists" in stack.reason("Named")
