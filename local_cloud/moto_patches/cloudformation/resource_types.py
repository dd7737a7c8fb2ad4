"""The types of resources that moto's CloudFormation lacks, and how a resource of any type is found."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self
from uuid import uuid4

import moto.cloudformation.parsing as parsing
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException, ValidationError
from moto.cloudwatch.models import (
    CloudWatchBackend,
    Dimension,
    Metric,
    MetricDataQuery,
    MetricStat,
    cloudwatch_backends,
)
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.secretsmanager.utils import random_password
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.utilities.utils import get_partition

Properties = Mapping[str, Any]


class ResourceType(ABC):
    """What moto's CloudFormation asks of a resource and its class."""

    kind: ClassVar[str]
    name_property: ClassVar[str] = ""
    attributes: ClassVar[tuple[str, ...]] = ()
    cf_resource_type: str
    logical_resource_id: str

    def __init__(self, name: str, account_id: str, region_name: str) -> None:
        self.name = name
        self.account_id = account_id
        self.region_name = region_name

    @abstractmethod
    def put(self, properties: Properties) -> None:
        """Make it, or bring it in line with the properties."""

    @abstractmethod
    def delete(self, account_id: str, region_name: str) -> None: ...

    @property
    def physical_resource_id(self) -> str:
        return self.name

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        if attribute_name not in self.attributes:
            raise UnformattedGetAttTemplateException
        return self.physical_resource_id

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in cls.attributes

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Properties, account_id: str, region_name: str, **_: Any
    ) -> Self:
        made = cls(resource_name, account_id, region_name)
        made.put(cloudformation_json["Properties"])
        return made

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Self, cloudformation_json: Properties, **_: Any
    ) -> Self:
        original_resource.put(cloudformation_json["Properties"])
        return original_resource


class BucketPolicy(ResourceType):
    kind = "AWS::S3::BucketPolicy"
    bucket: str

    def put(self, properties: Properties) -> None:
        self.bucket = properties["Bucket"]
        self._backend.put_bucket_policy(self.bucket, json.dumps(properties["PolicyDocument"]).encode())

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        if self.bucket in self._backend.buckets:
            self._backend.delete_bucket_policy(self.bucket)

    @property
    def physical_resource_id(self) -> str:
        return self.bucket

    @property
    def _backend(self) -> Any:
        return s3_backends[self.account_id][get_partition(self.region_name)]


class QueuePolicy(ResourceType):
    kind = "AWS::SQS::QueuePolicy"
    queues: tuple[str, ...] = ()

    def put(self, properties: Properties) -> None:
        before, self.queues = self.queues, tuple(url.rpartition("/")[2] for url in properties["Queues"])
        self._set([name for name in before if name not in self.queues], "")
        self._set(self.queues, json.dumps(properties["PolicyDocument"]))

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        self._set(self.queues, "")

    def _set(self, queues: list[str] | tuple[str, ...], policy: str) -> None:
        backend = sqs_backends[self.account_id][self.region_name]
        for name in queues:
            if name in backend.queues:
                backend.queues[name].policy = policy


class Subscription(ResourceType):
    kind = "AWS::SNS::Subscription"
    arn = ""

    def put(self, properties: Properties) -> None:
        """Another endpoint is another subscription."""
        before = self.arn
        subscription = self._backend.subscribe(
            properties["TopicArn"], properties["Endpoint"], properties["Protocol"]
        )
        self.arn = subscription.arn
        if before != self.arn:
            self._backend.unsubscribe(before)

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        self._backend.unsubscribe(self.arn)

    @property
    def physical_resource_id(self) -> str:
        return self.arn

    @property
    def _backend(self) -> Any:
        return sns_backends[self.account_id][self.region_name]


class Secret(ResourceType):
    kind = "AWS::SecretsManager::Secret"
    name_property = "Name"
    attributes = ("Id",)

    def put(self, properties: Properties) -> None:
        if _secret_named(self.name, self._backend) is None:
            self._create(properties)
        self._found.description = properties.get("Description")

    def _create(self, properties: Properties) -> None:
        """Its value is made once; a later template does not change what was generated."""
        value = properties.get("SecretString") or _random(properties.get("GenerateSecretString", {}))
        self._backend.create_secret(
            name=self.name,
            secret_string=value,
            secret_binary=None,
            description=properties.get("Description"),
            tags=properties.get("Tags"),
            kms_key_id=None,
            client_request_token=str(uuid4()),
            replica_regions=[],
            force_overwrite=False,
        )

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        self._backend.secrets.pop(self.name)

    @property
    def physical_resource_id(self) -> str:
        return str(self._found.arn)

    @property
    def _found(self) -> Any:
        return _secret_named(self.name, self._backend)

    @property
    def _backend(self) -> Any:
        return secretsmanager_backends[self.account_id][self.region_name]


def _secret_named(name: str, backend: Any) -> Any:
    """At once, where moto looks through all secrets for one that has the name or the ARN."""
    return dict.get(backend.secrets, name)


def _random(wanted: Properties) -> str:
    if "SecretStringTemplate" in wanted:
        raise ValidationError(message="A secret by template is not imitated here")
    value: str = random_password(
        int(wanted.get("PasswordLength", 32)),
        wanted.get("ExcludeCharacters", ""),
        wanted.get("ExcludeNumbers", False),
        wanted.get("ExcludePunctuation", False),
        wanted.get("ExcludeUppercase", False),
        wanted.get("ExcludeLowercase", False),
        wanted.get("IncludeSpace", False),
        wanted.get("RequireEachIncludedType", True),
    )
    return value


class Alarm(ResourceType):
    kind = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    attributes = ("Arn",)

    def put(self, properties: Properties) -> None:
        settings = {argument: properties.get(name) for name, argument in _ALARM.items()}
        queries = [_query(metric) for metric in properties.get("Metrics", [])]
        self._backend.put_metric_alarm(
            name=self.name,
            dimensions=properties.get("Dimensions", []),
            metric_data_queries=queries,
            tags=properties.get("Tags"),
            **settings | {"alarm_actions": properties.get("AlarmActions", [])},
        )

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        self._backend.delete_alarms([self.name])

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        super().get_cfn_attribute(attribute_name)
        return self._backend.alarms[self.name].alarm_arn

    @property
    def _backend(self) -> CloudWatchBackend:
        return cloudwatch_backends[self.account_id][self.region_name]


_ALARM = {
    "ActionsEnabled": "actions_enabled",
    "AlarmActions": "alarm_actions",
    "AlarmDescription": "description",
    "ComparisonOperator": "comparison_operator",
    "DatapointsToAlarm": "datapoints_to_alarm",
    "EvaluateLowSampleCountPercentile": "evaluate_low_sample_count_percentile",
    "EvaluationPeriods": "evaluation_periods",
    "ExtendedStatistic": "extended_statistic",
    "InsufficientDataActions": "insufficient_data_actions",
    "MetricName": "metric_name",
    "Namespace": "namespace",
    "OKActions": "ok_actions",
    "Period": "period",
    "Statistic": "statistic",
    "Threshold": "threshold",
    "ThresholdMetricId": "threshold_metric_id",
    "TreatMissingData": "treat_missing_data",
    "Unit": "unit",
}


def _query(metric: Properties) -> MetricDataQuery:
    return MetricDataQuery(
        query_id=metric["Id"],
        label=metric.get("Label"),
        period=metric.get("Period"),
        return_data=metric.get("ReturnData", True),
        expression=metric.get("Expression"),
        metric_stat=_stat(metric["MetricStat"]) if "MetricStat" in metric else None,
    )


def _stat(stat: Properties) -> MetricStat:
    dimensions = [Dimension(each["Name"], each["Value"]) for each in stat["Metric"].get("Dimensions", [])]
    metric = Metric(stat["Metric"]["MetricName"], stat["Metric"]["Namespace"], dimensions)
    return MetricStat(metric, stat["Period"], stat["Stat"], stat.get("Unit"))


_TYPES: tuple[type[ResourceType], ...] = (Alarm, BucketPolicy, QueuePolicy, Secret, Subscription)


def apply() -> None:
    parsing.get_model_map().update({each.kind: each for each in _TYPES})
    names = parsing.get_name_type_map()
    names.update({each.kind: each.name_property for each in _TYPES})
    names["AWS::CloudWatch::Dashboard"] = "DashboardName"
    parsing.resource_name_property_from_type = names.get


IDENTIFIERS = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicArn",
    "AWS::SQS::Queue": "QueueUrl",
    "AWS::SecretsManager::Secret": "Id",
}
"""By what a resource of a type is identified, as its schema says (`primaryIdentifier`); a name, where that is
what the template gives, and else what only its making tells."""


PROPERTIES = {
    "AWS::CloudWatch::Alarm": {"AlarmName", "Dimensions", "Metrics", "Tags", *_ALARM},
    "AWS::CloudWatch::Dashboard": {"DashboardBody", "DashboardName"},
    "AWS::DynamoDB::Table": {
        "AttributeDefinitions",
        "BillingMode",
        "DeletionProtectionEnabled",
        "GlobalSecondaryIndexes",
        "KeySchema",
        "LocalSecondaryIndexes",
        "PointInTimeRecoverySpecification",
        "ProvisionedThroughput",
        "SSESpecification",
        "StreamSpecification",
        "TableName",
        "Tags",
        "TimeToLiveSpecification",
    },
    "AWS::S3::Bucket": {
        "BucketEncryption",
        "BucketName",
        "CorsConfiguration",
        "LifecycleConfiguration",
        "OwnershipControls",
        "PublicAccessBlockConfiguration",
        "Tags",
        "VersioningConfiguration",
    },
    "AWS::S3::BucketPolicy": {"Bucket", "PolicyDocument"},
    "AWS::SNS::Subscription": {"Endpoint", "Protocol", "TopicArn"},
    "AWS::SNS::Topic": {"DisplayName", "TopicName"},
    "AWS::SQS::QueuePolicy": {"PolicyDocument", "Queues"},
    "AWS::SecretsManager::Secret": {"Description", "GenerateSecretString", "Name", "SecretString", "Tags"},
}
"""What moto or a patch of it takes notice of; of the other types, all that there is."""


def check(kind: str, properties: Properties) -> None:
    """Raises ValidationError for what would be passed over without a word."""
    unknown = set(properties) - PROPERTIES.get(kind, set(properties))
    if unknown:
        raise ValidationError(message=f"Encountered unsupported property {min(unknown)}")


def find(kind: str, name: str, account_id: str, region_name: str) -> Any:
    """The resource of this type that has the name (or ARN, or URL), or None; also None for types without."""
    finder = _FINDERS.get(kind)
    return finder(name, account_id, region_name) if finder else None


def _secret(name: str, account_id: str, region_name: str) -> Secret | None:
    backend = secretsmanager_backends[account_id][region_name]
    found = backend.secrets.get(name) if name.startswith("arn:") else _secret_named(name, backend)
    return Secret(found.name, account_id, region_name) if found else None


def _alarm(name: str, account_id: str, region_name: str) -> Alarm | None:
    found = name in cloudwatch_backends[account_id][region_name].alarms
    return Alarm(name, account_id, region_name) if found else None


def _topic(name: str, account_id: str, region_name: str) -> Any:
    arn = name if ":" in name else f"arn:{get_partition(region_name)}:sns:{region_name}:{account_id}:{name}"
    return sns_backends[account_id][region_name].topics.get(arn)


_FINDERS: dict[str, Callable[[str, str, str], Any]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::Dashboard": lambda name, account, region: cloudwatch_backends[account][
        region
    ].dashboards.get(name),
    "AWS::DynamoDB::Table": lambda name, account, region: dynamodb_backends[account][region].tables.get(name),
    "AWS::S3::Bucket": lambda name, account, region: s3_backends[account][get_partition(region)].buckets.get(
        name
    ),
    "AWS::SNS::Topic": _topic,
    "AWS::SQS::Queue": lambda name, account, region: sqs_backends[account][region].queues.get(
        name.rpartition("/")[2]
    ),
    "AWS::SecretsManager::Secret": _secret,
}
