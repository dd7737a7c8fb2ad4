"""Tracing by X-Ray, which Chalice turns on, but never off.

It is turned off before `chalice deploy` takes the right to send traces away: Lambda may refuse to change a
function that is to send them and has no right to.
"""

from chalice.config import Config

from ops.inventory import Inventory

ACTIVE, OFF = "Active", "PassThrough"


def turn_off(inventory: Inventory) -> list[str]:
    """Tells the functions that trace, and should not by config.json, to stop; a line for each."""
    stage, client = inventory.stage, inventory.account.client("lambda")
    document = stage.document()
    changed = []
    for function in inventory.functions:
        name = function["FunctionName"]
        wanted = Config(stage.name, stage.handler(name), config_from_disk=document).xray_enabled
        if wanted or function.get("TracingConfig", {}).get("Mode") != ACTIVE:
            continue
        client.update_function_configuration(FunctionName=name, TracingConfig={"Mode": OFF})
        client.get_waiter("function_updated").wait(FunctionName=name)
        changed.append(f"{name}: traces no more")
    return changed
