"""Lambda."""

from typing import Any

import moto.awslambda.models as lambda_models
import moto.dynamodb.models as dynamodb_models
import moto.iam.models as iam_models
import moto.sqs.models as sqs_models
from moto.awslambda.exceptions import InvalidParameterValueException
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.utilities.utils import get_partition

from local_cloud.moto_patches.mending import Function, mend

_OF_STREAMS = {
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "TumblingWindowInSeconds": 0,
}
_OF_ALL = {"FunctionResponseTypes": [], "MaximumBatchingWindowInSeconds": 0}
_POLLING = {
    "dynamodb": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
    "sqs": ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
}


def apply() -> None:
    mend(lambda_models.LambdaFunction, "invoke", _invoke)
    mend(lambda_models.EventSourceMapping, "get_configuration", _get_configuration)
    backend = lambda_models.LambdaBackend
    mend(backend, "create_event_source_mapping", _create_event_source_mapping)
    mend(backend, "update_event_source_mapping", _update_event_source_mapping)
    mend(backend, "put_function_event_invoke_config", _put_function_event_invoke_config)


def _invoke(original: Function) -> Function:  # noqa: ARG001 - it would run the function in Docker
    """A function is deployed here to be looked at; events go to the app by the pump."""

    def invoke(self: Any, *args: Any) -> Any:  # noqa: ARG001
        raise InvalidParameterValueException("Deployed functions are not run here.")

    return invoke


def _get_configuration(original: Function) -> Function:
    """Every setting of a mapping has a value (moto: only those that were set)."""

    def get_configuration(self: Any) -> dict[str, Any]:
        defaults = _OF_ALL | (_OF_STREAMS if _service(self.event_source_arn) == "dynamodb" else {})
        return {**defaults, **original(self)}

    return get_configuration


def _create_event_source_mapping(original: Function) -> Function:
    """A function must be allowed to poll its source, and a queue must hide a message for as long as the
    function may take. Nothing is delivered (moto: at once, in Docker, and then gone from the queue)."""

    def create_event_source_mapping(self: Any, spec: dict[str, Any]) -> Any:
        function = self.get_function(spec["FunctionName"])
        source = spec["EventSourceArn"]
        _check_settings(source, spec)
        for action in _POLLING.get(_service(source), ()):
            _check_permission(function, action, source)
        holder = _queue(function, source) or _table(function, source)
        if isinstance(holder, sqs_models.Queue) and holder.visibility_timeout < function.timeout:
            raise InvalidParameterValueException(
                f"Queue visibility timeout: {holder.visibility_timeout} seconds "
                f"is less than Function timeout: {function.timeout} seconds"
            )
        mapping = original(self, spec)
        if holder:
            holder.lambda_event_source_mappings.clear()
        _check_destination(function, spec)
        return mapping

    return create_event_source_mapping


def _update_event_source_mapping(original: Function) -> Function:
    def update_event_source_mapping(self: Any, uuid: str, spec: dict[str, Any]) -> Any:
        if mapping := self.get_event_source_mapping(uuid):
            _check_settings(mapping.event_source_arn, spec)
            _check_destination(self.get_function(mapping.function_arn), spec)
        return original(self, uuid, spec)

    return update_event_source_mapping


def _put_function_event_invoke_config(original: Function) -> Function:
    """A function has one such configuration (moto: keeps the first for ever)."""

    def put_function_event_invoke_config(self: Any, name: str, config: dict[str, Any]) -> Any:
        function = self.get_function(name)
        _check_destination(function, config)
        function.event_invoke_config.clear()
        destinations = {"OnSuccess": {}, "OnFailure": {}, **config.get("DestinationConfig", {})}
        return original(self, name, {**config, "DestinationConfig": destinations})

    return put_function_event_invoke_config


def _service(arn: str) -> str:
    return arn.split(":")[2]


def _check_settings(source: str, spec: dict[str, Any]) -> None:
    foreign = sorted(_OF_STREAMS.keys() & spec.keys())
    if _service(source) == "sqs" and foreign:
        raise InvalidParameterValueException(
            f"Unsupported {foreign[0]} parameter for given event source mapping type."
        )


def _check_destination(function: Any, config: dict[str, Any]) -> None:
    destination = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    if destination and _service(destination) == "sqs":
        _check_permission(function, "sqs:SendMessage", destination)


def _check_permission(function: Any, action: str, resource: str) -> None:
    role = iam_models.iam_backends[function.account_id][get_partition(function.region)].get_role_by_arn(
        function.role
    )
    documents = [*role.policies.values(), *role.managed_policies.values()]
    results = {IAMPolicy(document).is_action_permitted(action, resource) for document in documents}
    if PermissionResult.PERMITTED not in results or PermissionResult.DENIED in results:
        raise InvalidParameterValueException(
            f"The provided execution role does not have permissions to call {action} on {resource}"
        )


def _queue(function: Any, arn: str) -> Any:
    queues = sqs_models.sqs_backends[function.account_id][function.region].queues.values()
    return next((queue for queue in queues if queue.queue_arn == arn), None)


def _table(function: Any, arn: str) -> Any:
    tables = dynamodb_models.dynamodb_backends[function.account_id][function.region].tables.values()
    return next(
        (table for table in tables if arn == f"{table.table_arn}/stream/{table.latest_stream_label}"), None
    )
