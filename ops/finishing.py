"""`finish`: what a deployment needs and Chalice cannot set, set after each `chalice deploy`."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console

from chalicelib.aws_errors import error_code
from ops.account import Account
from ops.event_sources import EventSources
from ops.gateway import Gateway
from ops.log_groups import LogGroups
from ops.problems import Problem
from ops.stack import Stack
from ops.stage import Stage

OUTPUTS = {"ApiBurstLimit", "ApiRateLimit", "LabellingDeadLettersArn", "StreamDeadLettersArn"}
_GONE = ("NotFoundException", "ResourceNotFoundException")


def finish(stage: Stage, console: Console) -> None:
    account = Account()
    stage.check_home(account)
    outputs = _outputs(stage, account)
    api = _api(stage)
    try:
        changes = [
            *EventSources(account.client("lambda"), stage, outputs).finish(),
            *LogGroups(account.client("logs"), stage).finish(),
            *Gateway(account.client("apigateway"), api["rest_api_id"], _api_stage(api), outputs).finish(),
        ]
    except ClientError as error:
        if error_code(error) not in _GONE:
            raise
        raise Problem(
            f"Something that {stage.deployed_file} notes is not on AWS any more ({error}): "
            f"run `chalice deploy --stage {stage.name}`, which makes it anew."
        ) from error
    for change in changes:
        console.print(change)
    if not changes:
        console.print(f"The stage {stage.name} is finished; nothing had to change.")


def _outputs(stage: Stage, account: Account) -> Mapping[str, str]:
    outputs = Stack(account.client("cloudformation"), stage.stack_name).outputs
    if missing := sorted(OUTPUTS - outputs.keys()):
        raise Problem(
            f"There is no stack {stage.stack_name} in {account}, or it has no output {missing[0]}: "
            f"run `python -m ops resources --stage {stage.name}` first."
        )
    return outputs


def _api(stage: Stage) -> Mapping[str, Any]:
    api = stage.deployed().get("rest_api")
    if api is None:
        raise Problem(
            f"{stage.deployed_file} notes no API: run `python -m ops resources --stage {stage.name}`, "
            f"which finds what there is on AWS, and `chalice deploy --stage {stage.name}` first."
        )
    return api


def _api_stage(api: Mapping[str, Any]) -> str:
    return str(api["rest_api_url"]).rstrip("/").rpartition("/")[2]
