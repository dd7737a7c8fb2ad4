"""`python -m ops resources`: the stack of a stage, and what follows from it in .chalice."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ops import adoption, configuration, record, tracing
from ops.account import Account
from ops.inventory import Inventory
from ops.signing_secret import unchanged
from ops.stack import Stack
from ops.stage import Stage

TEMPLATE = ".chalice/resources.yaml"


def run(
    stage: Stage,
    parameters: Mapping[str, Any],
    xray: bool | None,
    console: Console,
    *,
    any_region: bool = False,
) -> None:
    """Makes what is missing; of the template's parameters those that are None stay as they are."""
    account = Account()
    stage.check_home(account)
    if not any_region:
        account.check_region()
    configuration.check(stage)
    stack = Stack(account.client("cloudformation"), stage.stack_name)
    template = (stage.project / TEMPLATE).read_text(encoding="utf-8")
    inventory = Inventory(stage, account)
    with unchanged(inventory, console):
        changes = stack.apply(
            template,
            {"Stage": stage.name, **_texts(parameters)},
            console,
            left_behind=lambda: adoption.find(template, inventory),
        )
    console.print(f"The stack {stack.name} {'is as planned' if changes else 'needs no change'}.")
    if any(change.kind == "AWS::SNS::Subscription" and change.action != "Remove" for change in changes):
        console.print("AWS sends a mail to the address for alarms: they come after it is confirmed there.")
    outputs = stack.outputs
    written = configuration.write(stage, account, outputs, xray)
    for line in written or ["The stage in .chalice needs no change."]:
        console.print(line)
    for line in [*record.restore(inventory, outputs), *tracing.turn_off(inventory)]:
        console.print(line)


def _texts(parameters: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(value) for name, value in parameters.items()}


def _text(value: Any) -> str | None:
    """As CloudFormation takes it; an option that was not given is None, or an empty tuple if repeatable."""
    if isinstance(value, tuple):
        return ",".join(value) or None
    return value if value is None else str(value)
