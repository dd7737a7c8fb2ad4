"""What becomes of an event that a function fails at: told to Lambda by kind of trigger, as Chalice cannot."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib import rows
from chalicelib.aws_errors import error_code
from ops.problems import Problem
from ops.stage import Stage

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

Outputs = Mapping[str, str]  # of the stage's stack
Parameters = dict[str, Any]  # of Lambda's operations

PAUSE, PAUSES = 3.0, 20  # seconds; a minute in all
_SIX_HOURS = 6 * 60 * 60
_ITEM_FAILURES = ["ReportBatchItemFailures"]
_IMAGE_ROWS = {"dynamodb": {"Keys": {"entry": {"S": [rows.IMAGE]}}}}
_AT_REST = ("Enabled", "Disabled")
# A right that was given a moment ago may not have got around yet, and then it is the parameter that is wrong.
_PASSING = ("InvalidParameterValueException", "ResourceConflictException", "ResourceInUseException")


def of_notification(outputs: Outputs) -> Parameters:
    """PutFunctionEventInvokeConfig's for a function that S3 invokes."""
    return {
        "MaximumRetryAttempts": 2,
        "MaximumEventAgeInSeconds": _SIX_HOURS,
        "DestinationConfig": {"OnFailure": {"Destination": outputs["LabellingDeadLettersArn"]}},
    }


def of_schedule(_: Outputs) -> Parameters:
    """PutFunctionEventInvokeConfig's for a function that a schedule invokes: the next run makes up for it."""
    return {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}


def of_stream(outputs: Outputs) -> Parameters:
    """UpdateEventSourceMapping's for the stream of the images table.

    What a later try can heal is tried for hours, so that no outage loses it; what none can heal, and what
    functions die of, the function itself puts aside. A record that not even that can be done with is given up
    well before the stream forgets it after a day: the message that is sent then holds only where in the
    stream the record stands.
    """
    return {
        "FilterCriteria": {"Filters": [{"Pattern": json.dumps(_IMAGE_ROWS)}]},
        "FunctionResponseTypes": _ITEM_FAILURES,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": _SIX_HOURS,
        "DestinationConfig": {"OnFailure": {"Destination": outputs["StreamDeadLettersArn"]}},
    }


def of_queue(_: Outputs) -> Parameters:
    """UpdateEventSourceMapping's for a queue, which has its own rules for what fails."""
    return {"FunctionResponseTypes": _ITEM_FAILURES}


# By what Chalice calls the triggers in its record.
INVOCATIONS: Mapping[str, Callable[[Outputs], Parameters]] = {
    "s3_event": of_notification,
    "cloudwatch_event": of_schedule,
}
MAPPINGS: Mapping[str, Callable[[Outputs], Parameters]] = {
    "dynamodb_event": of_stream,
    "sqs_event": of_queue,
}


@dataclass(frozen=True)
class EventSources:
    client: "LambdaClient"
    stage: Stage
    outputs: Outputs
    pause: Callable[[float], None] = field(default=sleep)

    def finish(self) -> list[str]:
        """Sets what differs, and says what that was."""
        deployed = self.stage.deployed()
        changes = []
        for name, record in deployed.items():
            handler = name.partition("-")[0]  # `notify-dynamodb-event-source`
            kind = record["resource_type"]
            if kind in INVOCATIONS:
                wanted = INVOCATIONS[kind](self.outputs)
                changed = self._set_invocations(deployed[handler]["lambda_arn"], wanted)
            elif kind in MAPPINGS:
                changed = self._set_mapping(record["event_uuid"], MAPPINGS[kind](self.outputs))
            else:
                continue
            if changed:
                changes.append(f"{handler}: set {', '.join(sorted(changed))}")
        return changes

    def _set_invocations(self, function: str, wanted: Parameters) -> Parameters:
        current = self._invocations(function)
        changed = _differences(current, wanted)
        if changed:
            # It is put as a whole; a destination of what succeeds is the deployer's own.
            there, ours = (each.get("DestinationConfig", {}) for each in (current, wanted))
            destinations = {name: where for name, where in {**there, **ours}.items() if where}
            put = {**wanted, **({"DestinationConfig": destinations} if destinations else {})}
            self._insist(self.client.put_function_event_invoke_config, FunctionName=function, **put)
        return changed

    def _set_mapping(self, uuid: str, wanted: Parameters) -> Parameters:
        changed = _differences(self._mapping(uuid), wanted)
        if changed:
            self._insist(self.client.update_event_source_mapping, UUID=uuid, **changed)
        return changed

    def _invocations(self, function: str) -> Mapping[str, Any]:
        try:
            return self.client.get_function_event_invoke_config(FunctionName=function)
        except self.client.exceptions.ResourceNotFoundException:
            return {}

    def _mapping(self, uuid: str) -> Mapping[str, Any]:
        """The mapping, when Lambda has done with it what it was told last."""
        for _ in range(PAUSES):
            mapping = self.client.get_event_source_mapping(UUID=uuid)
            if mapping["State"] in _AT_REST:
                return mapping
            self.pause(PAUSE)
        raise Problem(
            f"Lambda is not ready with the event source mapping {uuid} ({mapping['State']}): "
            "run the same command again in a minute."
        )

    def _insist(self, operation: Callable[..., Any], **parameters: Any) -> None:
        for _ in range(PAUSES):
            try:
                operation(**parameters)
                return
            except ClientError as error:
                if error_code(error) not in _PASSING:
                    raise
                self.pause(PAUSE)
        operation(**parameters)


def _differences(current: Mapping[str, Any], wanted: Parameters) -> Parameters:
    return {name: value for name, value in wanted.items() if not _says(current.get(name), value)}


def _says(current: Any, wanted: Any) -> bool:
    """Whether what is there is what is wanted, whatever else it says too."""
    if isinstance(current, dict) and isinstance(wanted, dict):
        return all(_says(current.get(name), value) for name, value in wanted.items())
    return bool(current == wanted)
