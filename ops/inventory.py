"""What stands on AWS of a stage, found by its names, whatever is noted of it here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws_errors import error_code
from ops.account import Account
from ops.configuration import SIZES
from ops.stage import APP, Stage

Found = Mapping[str, Any]

_ABSENT = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFoundException",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}
_DEPTHS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


@dataclass(frozen=True)
class Queue:
    name: str
    visible: int
    in_flight: int
    delayed: int

    @property
    def messages(self) -> int:
        return self.visible + self.in_flight + self.delayed


def unless_absent(request: Callable[..., Found], **what: Any) -> Found | None:
    """What AWS answers; None where there is no such thing."""
    try:
        return request(**what)
    except ClientError as error:
        if error_code(error) not in _ABSENT:
            raise
        return None


@dataclass(frozen=True)
class Inventory:
    stage: Stage
    account: Account

    @property
    def functions(self) -> list[Found]:
        """Those that Chalice has made for the stage, by its tag."""
        client = self.account.client("lambda")
        named = [
            each
            for each in _all(client, "list_functions", "Functions")
            if self.stage.owns(each["FunctionName"])
        ]
        mark = f":stage={self.stage.name}:app={APP}"
        return [
            each
            for each in sorted(named, key=lambda function: function["FunctionName"])
            if client.list_tags(Resource=each["FunctionArn"])["Tags"].get("aws-chalice", "").endswith(mark)
        ]

    @property
    def apis(self) -> list[Found]:
        """The REST APIs that call the stage's function, whether they have got an address yet or not."""
        client = self.account.client("apigateway")
        named = [api for api in _all(client, "get_rest_apis", "items") if api["name"] == APP]
        ours = f":function:{self.stage.prefix}/"
        return [api for api in named if any(ours in uri for uri in _integrations(client, api["id"]))]

    def mappings(self, function: Found) -> list[Found]:
        """The event source mappings of a function."""
        client = self.account.client("lambda")
        operation, key = "list_event_source_mappings", "EventSourceMappings"
        found = _all(client, operation, key, FunctionName=function["FunctionArn"])
        return [each for each in found if each["State"] != "Deleting"]

    @property
    def rules(self) -> list[str]:
        """Those of EventBridge that Chalice has made: they bear the names of the functions that they call."""
        ours = {f"{self.stage.prefix}-{handler}-event" for handler in self._handlers}
        client = self.account.client("events")
        found = _all(client, "list_rules", "Rules", NamePrefix=f"{self.stage.prefix}-")
        return [rule["Name"] for rule in found if rule["Name"] in ours]

    @property
    def roles(self) -> list[str]:
        """Those that Chalice has made: their one policy bears their own name."""
        list_policies = self.account.client("iam").list_role_policies
        policies = {role: unless_absent(list_policies, RoleName=role) for role in sorted(self._role_names())}
        return [role for role, listed in policies.items() if listed and role in listed["PolicyNames"]]

    @property
    def log_groups(self) -> list[str]:
        client, prefix = self.account.client("logs"), "/aws/lambda/"
        groups = _all(
            client, "describe_log_groups", "logGroups", logGroupNamePrefix=prefix + self.stage.prefix
        )
        names = [group["logGroupName"] for group in groups]
        return [name for name in names if self.stage.owns(name.removeprefix(prefix))]

    @property
    def queues(self) -> list[Queue]:
        client = self.account.client("sqs")
        urls = _all(client, "list_queues", "QueueUrls", QueueNamePrefix=f"{self.stage.prefix}-")
        found = (_queue(client, url) for url in sorted(urls))
        return [queue for queue in found if queue]

    @property
    def alarms(self) -> list[Found]:
        client = self.account.client("cloudwatch")
        return _all(client, "describe_alarms", "MetricAlarms", AlarmNamePrefix=f"{self.stage.prefix}-")

    @property
    def buckets(self) -> list[str]:
        head = self.account.client("s3").head_bucket
        names = self.stage.buckets(self.account.id, self.account.region)
        return [
            name for name in names if unless_absent(head, Bucket=name, ExpectedBucketOwner=self.account.id)
        ]

    @property
    def tables(self) -> list[str]:
        describe = self.account.client("dynamodb").describe_table
        return [name for name in self.stage.tables if unless_absent(describe, TableName=name)]

    @property
    def secrets(self) -> dict[str, str]:
        """Their ARNs, by name."""
        describe = self.account.client("secretsmanager").describe_secret
        found = {name: unless_absent(describe, SecretId=name) for name in [self.stage.secret]}
        return {name: each["ARN"] for name, each in found.items() if each}

    def _role_names(self) -> set[str]:
        in_use = {function["Role"].rpartition("/")[2] for function in self.functions}
        return {*map(self.stage.role_name, self._handlers), *filter(self.stage.owns, in_use)}

    @property
    def _handlers(self) -> set[str]:
        return {*SIZES, *self.stage.handlers}


def _all(client: Any, operation: str, key: str, **what: Any) -> list[Any]:
    return [each for page in client.get_paginator(operation).paginate(**what) for each in page.get(key, [])]


def _integrations(client: Any, api: str) -> Iterator[str]:
    for resource in _all(client, "get_resources", "items", restApiId=api, embed=["methods"]):
        for method in resource.get("resourceMethods", {}).values():
            yield method.get("methodIntegration", {}).get("uri", "")


def _queue(client: Any, url: str) -> Queue | None:
    """None where it was deleted a moment ago: SQS may list it for a minute more."""
    told = unless_absent(client.get_queue_attributes, QueueUrl=url, AttributeNames=[*_DEPTHS.values()])
    if told is None:
        return None
    depths = {name: int(told["Attributes"][attribute]) for name, attribute in _DEPTHS.items()}
    return Queue(url.rpartition("/")[2], **depths)
