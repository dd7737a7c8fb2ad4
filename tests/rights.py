"""What AWS asks of the caller for each call that the app makes, and whether a policy grants it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from chalice import Chalice
from chalice.app import DynamoDBEventConfig, S3EventConfig, ScheduledEventConfig, SQSEventConfig
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.queue import queue_name
from ops.policies import PolicyDocument
from ops.stage import Stage

PARTITION, REGION = "aws", "us-east-1"
QUEUES = {
    "label_queued_image": "LabellingQueueArn",
    "deliver_callback": "CallbacksQueueArn",
}  # by who takes up their messages


class Right(NamedTuple):
    action: str
    resource: str  # where a policy grants it, a pattern


Params = Mapping[str, Any]
Needs = Callable[[Params], Iterable[Right]]
ACTIONS = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Delete": "dynamodb:DeleteItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
}


def arn(service: str, resource: str) -> str:
    return f"arn:{PARTITION}:{service}:{REGION}:{DEFAULT_ACCOUNT_ID}:{resource}"


def _table(params: Params) -> str:
    return arn("dynamodb", f"table/{params['TableName']}")


def _bucket(name: str) -> str:
    return f"arn:{PARTITION}:s3:::{name}"


def _on_table(action: str) -> Needs:
    return lambda params: [Right(action, _table(params))]


def _query(params: Params) -> Iterator[Right]:
    index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
    yield Right("dynamodb:Query", _table(params) + index)


def _batch(params: Params) -> Iterator[Right]:
    for table in params["RequestItems"]:
        yield Right("dynamodb:BatchGetItem", arn("dynamodb", f"table/{table}"))


def _transaction(params: Params) -> Iterator[Right]:
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    for item in params["TransactItems"]:
        for kind, action in item.items():
            yield Right(ACTIONS[kind], _table(action))


def _on_object(action: str) -> Needs:
    def needs(params: Params) -> Iterator[Right]:
        version = "Version" if "VersionId" in params else ""
        yield Right(action + version, f"{_bucket(params['Bucket'])}/{params['Key']}")

    return needs


def _copy(params: Params) -> Iterator[Right]:
    source = params["CopySource"]
    version = "Version" if "VersionId" in source else ""
    for action in (f"s3:GetObject{version}", f"s3:GetObject{version}Tagging"):
        yield Right(action, f"{_bucket(source['Bucket'])}/{source['Key']}")
    for action in ("s3:PutObject", "s3:PutObjectTagging"):
        yield Right(action, f"{_bucket(params['Bucket'])}/{params['Key']}")


def _read(params: Params) -> Iterator[Right]:
    yield from _on_object("s3:GetObject")(params)
    yield Right("s3:ListBucket", _bucket(params["Bucket"]))  # else a missing object reads as forbidden


def _detection(action: str) -> Needs:
    def needs(params: Params) -> Iterator[Right]:
        yield Right(action, "*")
        place = params["Image"].get("S3Object")
        if place:  # Rekognition reads it with the rights of its caller
            version = "Version" if "Version" in place else ""
            yield Right(f"s3:GetObject{version}", f"{_bucket(place['Bucket'])}/{place['Name']}")

    return needs


def _on_queue(action: str) -> Needs:
    return lambda params: [Right(action, arn("sqs", queue_name(params["QueueUrl"])))]


NEEDS: Mapping[str, Needs] = {
    "dynamodb.BatchGetItem": _batch,
    "dynamodb.DeleteItem": _on_table("dynamodb:DeleteItem"),
    "dynamodb.GetItem": _on_table("dynamodb:GetItem"),
    "dynamodb.PutItem": _on_table("dynamodb:PutItem"),
    "dynamodb.Query": _query,
    "dynamodb.TransactWriteItems": _transaction,
    "dynamodb.UpdateItem": _on_table("dynamodb:UpdateItem"),
    "rekognition.DetectLabels": _detection("rekognition:DetectLabels"),
    "rekognition.DetectModerationLabels": _detection("rekognition:DetectModerationLabels"),
    "rekognition.DetectText": _detection("rekognition:DetectText"),
    "s3.CopyObject": _copy,
    "s3.DeleteObject": _on_object("s3:DeleteObject"),
    "s3.GetObject": _read,
    "s3.HeadObject": _read,
    "s3.ListObjectsV2": lambda params: [Right("s3:ListBucket", _bucket(params["Bucket"]))],
    "s3.PutObject": _on_object("s3:PutObject"),
    "sqs.ChangeMessageVisibility": _on_queue("sqs:ChangeMessageVisibility"),
    "secretsmanager.GetSecretValue": lambda params: [
        Right("secretsmanager:GetSecretValue", params["SecretId"])
    ],
    "sqs.SendMessage": _on_queue("sqs:SendMessage"),
}


def functions(app: Chalice) -> dict[str, Any]:
    """Everything that Chalice makes a Lambda function of, by the name that config.json has for it."""
    behind_triggers = (*app.event_sources, *app.pure_lambda_functions, *app.builtin_auth_handlers)
    handlers = {config.name: app.handler_map[config.name] for config in behind_triggers}
    return {**({"api_handler": app} if app.routes else {}), **handlers}


def implied(app: Chalice, handler: str, values: Mapping[str, str]) -> set[Right]:
    """What Lambda does in the name of a function, which no call of the function's own shows."""
    needed = [*_logging(Stage(values["Stage"]).function_name(handler))]
    for config in app.event_sources:
        if config.name == handler:
            needed += BY_TRIGGER[type(config)](config, values)
    return set(needed)


def _logging(function_name: str) -> Iterator[Right]:
    stream = arn("logs", f"log-group:/aws/lambda/{function_name}:log-stream:2026/01/02/[$LATEST]0123")
    for action in ("CreateLogGroup", "CreateLogStream", "PutLogEvents"):
        yield Right(f"logs:{action}", stream)


def _polling(config: SQSEventConfig, values: Mapping[str, str]) -> Iterator[Right]:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    queue = values[QUEUES[config.name]]
    for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
        yield Right(f"sqs:{action}", queue)


def _reading(_: DynamoDBEventConfig, values: Mapping[str, str]) -> Iterator[Right]:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
    for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"):
        yield Right(f"dynamodb:{action}", values["ImagesStreamArn"])
    yield Right("sqs:SendMessage", values["StreamDeadLettersArn"])  # the on-failure destination


def _asynchronous(_: S3EventConfig, values: Mapping[str, str]) -> Iterator[Right]:
    yield Right("sqs:SendMessage", values["LabellingDeadLettersArn"])  # the on-failure destination


BY_TRIGGER: Mapping[type, Callable[[Any, Mapping[str, str]], Iterable[Right]]] = {
    S3EventConfig: _asynchronous,
    SQSEventConfig: _polling,
    DynamoDBEventConfig: _reading,
    ScheduledEventConfig: lambda *_: [],  # finish sets no destination for it
}
TRACING = {Right("xray:PutTraceSegments", "*"), Right("xray:PutTelemetryRecords", "*")}


def grants(policy: PolicyDocument) -> set[Right]:
    return {
        Right(action, resource)
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }


def allows(policy: PolicyDocument, right: Right) -> bool:
    return any(covers(grant, right) for grant in grants(policy))


def lacking(policy: PolicyDocument, rights: Iterable[Right]) -> set[Right]:
    return {right for right in rights if not allows(policy, right)}


def unused(policy: PolicyDocument, rights: Iterable[Right]) -> set[Right]:
    rights = set(rights)
    return {grant for grant in grants(policy) if not any(covers(grant, right) for right in rights)}


def covers(grant: Right, right: Right) -> bool:
    """Whether IAM lets a request for this right pass by this grant."""
    return _same_action(grant.action, right.action) and _is_in(grant.resource, right.resource)


def _same_action(pattern: str, action: str) -> bool:
    return bool(_glob(pattern.lower()).fullmatch(action.lower()))


def _is_in(pattern: str, resource: str) -> bool:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    if pattern == "*":
        return True
    parts, segments = pattern.split(":", 5), resource.split(":", 5)
    return len(parts) == len(segments) and all(
        _glob(part).fullmatch(segment) for part, segment in zip(parts, segments, strict=True)
    )


@cache
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
