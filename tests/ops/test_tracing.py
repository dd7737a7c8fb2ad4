import json
from typing import Any

import boto3
import pytest
from moto.awslambda.models import lambda_backends
from moto.core import DEFAULT_ACCOUNT_ID

from ops import tracing
from ops.inventory import Inventory
from ops.stage import API_HANDLER, Stage
from tests.ops.deployment import Deployment

LABELLER = "label_uploaded_image"


@pytest.fixture
def traced(deployment: Deployment, stage: Stage) -> None:
    """The functions of a stage, as they are after a deployment with tracing."""
    for handler in (API_HANDLER, LABELLER):
        deployment.function(handler)
        function = lambda_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].get_function(stage.function_name(handler))
        function.tracing_config = {"Mode": "Active"}


@pytest.fixture
def told(session: boto3.Session) -> list[Any]:
    """What Lambda is told; moto does not listen to it."""
    told: list[Any] = []
    session.events.register(
        "provide-client-params.lambda.UpdateFunctionConfiguration", lambda params, **_: told.append(params)
    )
    return told


def off(name: str) -> dict[str, Any]:
    return {"FunctionName": name, "TracingConfig": {"Mode": "PassThrough"}}


def configure(stage: Stage, **part: Any) -> None:
    stage.config_file.write_text(json.dumps({"stages": {stage.name: part}}))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("part", [{}, {"xray": False}], ids=["unsaid", "off"])
def test_functions_of_a_stage_without_tracing_stop(
    stage: Stage, inventory: Inventory, told: list[Any], part: dict[str, Any]
) -> None:
    configure(stage, **part)

    changed = tracing.turn_off(inventory)

    assert told == [off(stage.prefix), off(f"{stage.prefix}-{LABELLER}")]
    assert changed == [f"{stage.prefix}: traces no more", f"{stage.prefix}-{LABELLER}: traces no more"]


@pytest.mark.usefixtures("traced")
def test_functions_that_are_to_trace_go_on(stage: Stage, inventory: Inventory, told: list[Any]) -> None:
    configure(stage, xray=False, lambda_functions={LABELLER: {"xray": True}})

    changed = tracing.turn_off(inventory)

    assert told == [off(stage.prefix)]
    assert changed == [f"{stage.prefix}: traces no more"]


def test_functions_that_do_not_trace_are_left_alone(
    deployment: Deployment, inventory: Inventory, told: list[Any]
) -> None:
    deployment.function(API_HANDLER)

    assert (tracing.turn_off(inventory), told) == ([], [])
