import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.cloudformation.models import Event, cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID
from rich.console import Console

from ops.account import Account
from ops.operation import Operation
from ops.stack import Stack
from ops.stage import Stage
from tests.ops.conftest import Screen
from tests.ops.test_stack import queue, template


class CloudFormationAtWork:
    """What is done to a stack, step by step, whenever somebody waits for it."""

    def __init__(self, stack: Stack) -> None:
        self.steps: list[Callable[[], None]] = []
        self._stack = cloudformation_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].get_stack(stack.name)
        self.id: str = self._stack.stack_id

    def then(self, status: str) -> None:
        def step() -> None:
            self._stack.status = status
            self._stack._add_stack_event(status)

        self.steps.append(step)

    def then_resource(self, name: str, status: str, reason: str | None = None) -> None:
        self.steps.append(lambda: self._stack.events.append(self._event(name, status, reason)))

    def pause(self, _: float) -> None:
        self.steps.pop(0)()

    def _event(self, name: str, status: str, reason: str | None) -> Any:
        return Event(
            stack_id=self.id,
            stack_name=self._stack.name,
            logical_resource_id=name,
            physical_resource_id="",
            resource_type="AWS::SQS::Queue",
            resource_status=status,
            resource_status_reason=reason,
            resource_properties=None,
        )


@pytest.fixture
def work(stack: Stack, stage: Stage) -> Iterator[CloudFormationAtWork]:
    stack.apply(template(Queue=queue(stage.prefix)), {}, Screen())
    work = CloudFormationAtWork(stack)
    yield work
    assert work.steps == []


@pytest.fixture
def operation(work: CloudFormationAtWork, account: Account) -> Operation:
    return Operation(account.client("cloudformation"), work.id, work.pause)


def test_it_is_followed_until_it_is_over(
    work: CloudFormationAtWork, operation: Operation, screen: Screen
) -> None:
    work.steps.append(lambda: None)  # AWS still answers with the status from before
    work.then("UPDATE_IN_PROGRESS")
    work.then_resource("Queue", "UPDATE_IN_PROGRESS")
    work.then_resource("Queue", "UPDATE_COMPLETE")
    work.then("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    work.then("UPDATE_COMPLETE")

    assert operation.follow(1, screen) == "UPDATE_COMPLETE"
    assert screen.lines == ["UPDATE_COMPLETE Queue"]


def test_causes_are_told_without_their_consequences(
    work: CloudFormationAtWork, operation: Operation, screen: Screen
) -> None:
    work.then("UPDATE_IN_PROGRESS")
    work.then_resource("Second", "CREATE_FAILED", "Resource creation cancelled")
    work.then_resource("First", "CREATE_FAILED", "The name [x] is taken")
    work.then_resource("Third", "UPDATE_FAILED")
    work.then("UPDATE_ROLLBACK_COMPLETE")

    assert operation.follow(3, screen) == "UPDATE_ROLLBACK_COMPLETE"
    assert operation.reasons.splitlines() == [
        "  First (AWS::SQS::Queue): The name [x] is taken",
        "  Third (AWS::SQS::Queue): UPDATE_FAILED",
    ]


def test_where_there_are_only_consequences_they_are_told(
    work: CloudFormationAtWork, operation: Operation, screen: Screen
) -> None:
    work.then_resource("Second", "CREATE_FAILED", "Resource creation cancelled")

    operation.follow(1, screen)

    assert operation.reasons == "  Second (AWS::SQS::Queue): Resource creation cancelled"


def test_on_a_terminal_there_is_a_bar(work: CloudFormationAtWork, operation: Operation) -> None:
    work.then("UPDATE_IN_PROGRESS")
    work.then_resource("Queue", "UPDATE_COMPLETE")
    work.then("UPDATE_COMPLETE")
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True)

    operation.follow(2, terminal)

    assert isinstance(terminal.file, io.StringIO)
    assert "1/2" in terminal.file.getvalue()
    assert "Queue" in terminal.file.getvalue()
    assert "UPDATE_COMPLETE" not in terminal.file.getvalue()
