"""What CloudFormation does to a stack, event by event, until it is over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

POLL = 2.0  # seconds
GONE = "DELETE_COMPLETE"
_OVER = ("_COMPLETE", "_FAILED", "_SKIPPED")
_AFTERMATH = ("Resource creation cancelled", "Resource update cancelled")  # of another resource's failure

Event = Mapping[str, Any]


@dataclass
class Operation:
    """Begun before the request that it follows, so that it tells that one's events from earlier ones."""

    client: "CloudFormationClient"
    stack_id: str
    pause: Callable[[float], None]
    since: str = ""
    begun: bool = False
    done: set[str] = field(default_factory=set)
    failures: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        for event in self._newest_first():
            self.since = event["EventId"]
            break

    def follow(self, total: int, console: Console) -> str:
        """Shows what happens, and returns the stack's last status."""
        with _shown(total, console) as show:
            while True:
                self._read(show)
                status = self._status()
                # At first AWS may still answer with the status from before.
                if status == GONE or (self.begun and not status.endswith("_IN_PROGRESS")):
                    self._read(show)
                    return status
                self.pause(POLL)

    @property
    def reasons(self) -> str:
        """Why it failed: the failures that are no consequence of another."""
        causes = [event for event in self.failures if _reason(event) not in _AFTERMATH]
        return "\n".join(
            f"  {event['LogicalResourceId']} ({event['ResourceType']}): {_reason(event)}"
            for event in causes or self.failures
        )

    def _read(self, show: Callable[[Event, Self], None]) -> None:
        for event in self._fresh():
            self.begun = True
            self.since = event["EventId"]
            if event.get("PhysicalResourceId") == self.stack_id:
                continue
            if event["ResourceStatus"].endswith("_FAILED"):
                self.failures.append(event)
            if event["ResourceStatus"].endswith(_OVER):
                self.done.add(event["LogicalResourceId"])
            show(event, self)

    def _fresh(self) -> Sequence[Event]:
        """What has not been read yet, the first first."""
        events = []
        for event in self._newest_first():
            if event["EventId"] == self.since:
                break
            events.append(event)
        return events[::-1]

    def _newest_first(self) -> Iterator[Event]:
        pages = self.client.get_paginator("describe_stack_events").paginate(StackName=self.stack_id)
        return (event for page in pages for event in page["StackEvents"])

    def _status(self) -> str:
        [stack] = self.client.describe_stacks(StackName=self.stack_id)["Stacks"]
        return stack["StackStatus"]


def _reason(event: Event) -> str:
    return str(event.get("ResourceStatusReason", event["ResourceStatus"]))


@contextmanager
def _shown(total: int, console: Console) -> Iterator[Callable[[Event, Operation], None]]:
    """A bar on a terminal; where it goes into a file, a line for each thing that is over."""
    if not console.is_terminal:
        yield lambda event, _: _print(event, console)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda event, operation: progress.update(
            task, completed=len(operation.done), description=event["LogicalResourceId"]
        )


def _print(event: Event, console: Console) -> None:
    if event["ResourceStatus"].endswith(_OVER):
        console.print(f"{event['ResourceStatus']} {event['LogicalResourceId']}")
