"""The CloudFormation stack of a stage's resources: made, changed and removed, while one looks on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from time import sleep
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from ops.operation import GONE, POLL, Operation
from ops.problems import Problem, code

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

# After a first try that failed there is a stack that cannot be changed, only deleted.
STILLBORN = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}
STUCK = {"UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"}
PROPOSED = "REVIEW_IN_PROGRESS"  # someone made a change set for it, and nothing else yet
WHOLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
USABLE = {*WHOLE, "UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}
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
            if code(error) != "ValidationError":
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

    def apply(self, template: str, parameters: Mapping[str, str | None], console: Console) -> list[Change]:
        """Makes or changes the stack, and returns how; a parameter that is None stays as it is."""
        before = self._ready(console)
        change_set = self._propose(before, template, _values(parameters, before))
        changes = self._accepted(change_set)
        if changes:
            console.print(_plan(changes))
            self._execute(change_set, len(changes), console)
        return changes

    def delete(self, console: Console) -> None:
        """Removes the stack, and of its resources what it is not told to keep."""
        found = self.describe()
        if not found:
            return
        operation = self._operation(found)
        resources = self.client.get_paginator("list_stack_resources").paginate(StackName=found["StackId"])
        total = sum(len(page["StackResourceSummaries"]) for page in resources)
        self.client.delete_stack(StackName=found["StackId"])
        status = operation.follow(total, console)
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
            raise Problem(
                f"The stack {self.name} is stuck ({status}): mend what its events name, run "
                f"`aws cloudformation continue-update-rollback --stack-name {self.name}`, "
                "and then the same command again."
            )
        if status in STILLBORN:
            console.print(f"Deleting the stack {self.name}, of which an earlier try left {status} ...")
            self.delete(console)
        return {} if status in (*STILLBORN, PROPOSED) else found

    def _propose(
        self, before: Mapping[str, Any], template: str, parameters: Sequence[Any]
    ) -> Mapping[str, Any]:
        change_set = self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"resources-{token_hex(8)}",
            ChangeSetType="UPDATE" if before else "CREATE",
            TemplateBody=template,
            Parameters=parameters,
            ImportExistingResources=True,  # what an earlier stack of this name has left behind
        )["Id"]
        while True:
            described = self.client.describe_change_set(ChangeSetName=change_set)
            if described["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                return described
            self.pause(POLL)

    def _accepted(self, change_set: Mapping[str, Any]) -> list[Change]:
        """What the change set would do; one that would do nothing, or cannot be carried out, is deleted."""
        if change_set["Status"] != "FAILED":
            return list(self._changes(change_set))
        reason = change_set.get("StatusReason", "")
        refusal = None if any(text in reason for text in _UNCHANGED) else self._refusal(change_set, reason)
        self.client.delete_change_set(ChangeSetName=change_set["ChangeSetId"])
        if refusal is None:
            return []
        raise Problem(f"CloudFormation refuses to change the stack {self.name}:\n{refusal}")

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

    def _execute(self, change_set: Mapping[str, Any], total: int, console: Console) -> None:
        operation = self._operation(change_set)
        self.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        status = operation.follow(total, console)
        if status not in WHOLE:
            raise Problem(
                f"CloudFormation could not make the stack {self.name} ({status}):\n{operation.reasons}\n"
                "Mend that, and run the same command again."
            )

    def _operation(self, on: Mapping[str, Any]) -> Operation:
        return Operation(self.client, on["StackId"], self.pause)


def _values(parameters: Mapping[str, str | None], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {parameter["ParameterKey"] for parameter in before.get("Parameters", [])}
    return [
        {"ParameterKey": name, "UsePreviousValue": True}
        if value is None
        else {"ParameterKey": name, "ParameterValue": value}
        for name, value in parameters.items()
        if value is not None or name in known
    ]


def _plan(changes: Sequence[Change]) -> Table:
    table = Table("", "resource", "type", "name", box=None)
    for change in changes:
        table.add_row(change.outcome, change.resource, change.kind, change.name)
    return table
