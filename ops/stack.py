"""The CloudFormation stack of a stage's resources: made, changed and removed, while one looks on."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from time import sleep
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from rich.console import Console

from chalicelib.aws_errors import error_code
from ops.adoption import Adoption
from ops.listing import listing
from ops.operation import GONE, POLL, Operation
from ops.problems import Problem

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

# After a first try that failed there is a stack that cannot be changed, only deleted.
STILLBORN = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}
STUCK = {
    "UPDATE_FAILED": "run `aws cloudformation rollback-stack --stack-name {name}`",
    "UPDATE_ROLLBACK_FAILED": (
        "mend what its events name, run `aws cloudformation continue-update-rollback --stack-name {name}`"
    ),
    "IMPORT_ROLLBACK_FAILED": (
        "run `aws cloudformation delete-stack --stack-name {name}`, which keeps the data"
    ),
}
PROPOSED = "REVIEW_IN_PROGRESS"  # someone made a change set for it, and nothing else yet
WHOLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
USABLE = {*WHOLE, "UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}
# SQS makes no queue of a name within a minute of the last one's deletion.
_TOO_SOON = re.compile(r"QueueDeletedRecently|wait 60 seconds after deleting a queue")
_UNCHANGED = ("didn't contain changes", "No updates are to be performed")
_OUTCOMES = {
    "Add": "new",
    "Import": "taken up again",
    "Modify": "changed",
    "Remove": "removed",
    "Dynamic": "changed, if need be",
}


@dataclass(frozen=True)
class Change:
    action: str
    resource: str
    kind: str
    name: str
    replaced: bool

    @property
    def outcome(self) -> str:
        return "replaced" if self.replaced else _OUTCOMES.get(self.action, self.action)


OUTPUTS = Change("Modify", "Outputs", "", "", replaced=False)  # alone, they are not among the changes


@dataclass(frozen=True)
class Stack:
    client: "CloudFormationClient"
    name: str
    pause: Callable[[float], None] = field(default=sleep)

    def describe(self) -> Mapping[str, Any]:
        """Empty where there is no stack."""
        try:
            [found] = self.client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if error_code(error) != "ValidationError":
                raise
            return {}
        return found

    @property
    def status(self) -> str | None:
        return self.describe().get("StackStatus")

    @property
    def outputs(self) -> dict[str, str]:
        outputs = self.describe().get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def apply(
        self,
        template: str,
        parameters: Mapping[str, str | None],
        console: Console,
        left_behind: Callable[[], Adoption | None] = lambda: None,
    ) -> list[Change]:
        """Makes or changes the stack, and returns how; a parameter that is None stays as it is."""
        before = self._ready(console)
        taken_up: list[Change] = []
        if not before and (adoption := left_behind()):
            change_set = self._propose(
                "IMPORT", adoption.template, _values(parameters, before), ResourcesToImport=adoption.resources
            )
            taken_up = self._carry_out(change_set, console)
            before = self.describe()
        kind = "UPDATE" if before else "CREATE"
        change_set = self._propose(kind, template, _values(parameters, before))
        return taken_up + self._carry_out(change_set, console)

    def delete(self, console: Console) -> None:
        """Removes the stack, and of its resources what it is not told to keep."""
        found = self.describe()
        if not found:
            return
        operation, size = self._operation(found), self._size(found)
        self.client.delete_stack(StackName=found["StackId"])
        status = operation.follow(size, console)
        if status != GONE:
            raise Problem(
                f"CloudFormation could not delete the stack {self.name} ({status}):\n{operation.reasons}\n"
                "Mend that, and run the same command again."
            )

    def refuse_if_busy(self, status: str) -> None:
        if status.endswith("_IN_PROGRESS") and status != PROPOSED:
            raise Problem(
                f"CloudFormation is at work on the stack {self.name} ({status}): "
                "wait until it has finished, and run the same command again."
            )

    def _ready(self, console: Console) -> Mapping[str, Any]:
        """The stack as it can be changed; empty where it must be made, after what is left of a failed try."""
        found = self.describe()
        status = found.get("StackStatus", PROPOSED)
        self.refuse_if_busy(status)
        if status in STUCK:
            way_out = STUCK[status].format(name=self.name)
            raise Problem(
                f"The stack {self.name} is stuck ({status}): {way_out}, wait until that is done, "
                "and then run the same command again."
            )
        if status == PROPOSED:
            return {}
        if status in STILLBORN or (status == "IMPORT_ROLLBACK_COMPLETE" and not self._size(found)):
            console.print(f"Deleting the stack {self.name}, of which an earlier try left {status} ...")
            self.delete(console)
            return {}
        return found

    def _propose(self, kind: Any, template: str, parameters: Sequence[Any], **more: Any) -> Mapping[str, Any]:
        change_set = self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"resources-{token_hex(8)}",
            ChangeSetType=kind,
            TemplateBody=template,
            Parameters=parameters,
            **more,
        )["Id"]
        while True:
            described = self.client.describe_change_set(ChangeSetName=change_set)
            if described["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                return described
            self.pause(POLL)

    def _carry_out(self, change_set: Mapping[str, Any], console: Console) -> list[Change]:
        if not self._is_of_use(change_set):
            return []
        changes = list(self._changes(change_set)) or [OUTPUTS]
        rows = [(change.outcome, change.resource, change.kind, change.name) for change in changes]
        console.print(listing("", "resource", "type", "name", rows=rows))
        operation = self._operation(change_set)
        self.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        status = operation.follow(len(changes), console)
        if status not in WHOLE:
            raise Problem(
                f"CloudFormation could not make the stack {self.name} ({status}):\n{operation.reasons}\n"
                f"{_advice(operation.reasons)}, and run the same command again."
            )
        return changes

    def _is_of_use(self, change_set: Mapping[str, Any]) -> bool:
        """Whether it can be carried out; if it would change nothing, it is deleted."""
        if change_set["Status"] != "FAILED":
            return True
        reason = change_set.get("StatusReason", "")
        refusal = None if any(text in reason for text in _UNCHANGED) else self._refusal(change_set, reason)
        self.client.delete_change_set(ChangeSetName=change_set["ChangeSetId"])
        if refusal is not None:
            raise Problem(f"CloudFormation refuses to change the stack {self.name}:\n{refusal}")
        return False

    def _changes(self, change_set: Mapping[str, Any]) -> Iterator[Change]:
        while True:
            for entry in change_set.get("Changes", []):
                change = entry["ResourceChange"]
                yield Change(
                    change["Action"],
                    change["LogicalResourceId"],
                    change["ResourceType"],
                    change.get("PhysicalResourceId", ""),
                    replaced=change.get("Replacement") == "True",
                )
            if "NextToken" not in change_set:
                return
            change_set = self.client.describe_change_set(
                ChangeSetName=change_set["ChangeSetId"], NextToken=change_set["NextToken"]
            )

    def _refusal(self, change_set: Mapping[str, Any], reason: str) -> str:
        """Why there can be no such change; where AWS validates early, the reason only says where to ask."""
        if "DescribeEvents" not in reason:
            return f"  {reason}"
        pages = self.client.get_paginator("describe_events").paginate(
            ChangeSetName=change_set["ChangeSetId"], Filters={"FailedEvents": True}
        )
        return "\n".join(
            f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event['ValidationStatusReason']}"
            for page in pages
            for event in page["OperationEvents"]
            if "ValidationStatusReason" in event
        )

    def _size(self, found: Mapping[str, Any]) -> int:
        pages = self.client.get_paginator("list_stack_resources").paginate(StackName=found["StackId"])
        return sum(len(page["StackResourceSummaries"]) for page in pages)

    def _operation(self, on: Mapping[str, Any]) -> Operation:
        return Operation(self.client, on["StackId"], self.pause)


def _advice(reasons: str) -> str:
    return "Wait a minute" if _TOO_SOON.search(reasons) else "Mend that"


def _values(parameters: Mapping[str, str | None], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {parameter["ParameterKey"] for parameter in before.get("Parameters", [])}
    return [
        {"ParameterKey": name, "UsePreviousValue": True}
        if value is None
        else {"ParameterKey": name, "ParameterValue": value}
        for name, value in parameters.items()
        if value is not None or name in known
    ]
