"""Makes the stack of `.chalice/resources.yaml`, the very one that AWS gets, on the endpoint."""

from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError


def create(
    session: boto3.Session, stage: str, template: Path | str, *, endpoint_url: str | None = None
) -> dict[str, str]:
    """Create or update the stage's resources, and return the stack's outputs; raises StackError.

    A template that is already in a bucket may be given by its URL there, which costs less than sending it.
    """
    client = session.client("cloudformation", endpoint_url=endpoint_url)
    stack = f"image-labeller-{stage}-resources"
    source = (
        {"TemplateURL": template} if isinstance(template, str) else {"TemplateBody": template.read_text()}
    )
    parameters = [{"ParameterKey": "Stage", "ParameterValue": stage}]
    request: dict[str, Any] = {"StackName": stack, "Parameters": parameters, **source}
    try:
        client.create_stack(**request)
    except client.exceptions.AlreadyExistsException:
        _update(client, request)
    [made] = client.describe_stacks(StackName=stack)["Stacks"]
    if made["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise StackError(_first_failure(client, stack))
    return {output["OutputKey"]: output["OutputValue"] for output in made.get("Outputs", [])}


class StackError(Exception):
    """A resource could not be made."""


def _first_failure(client: Any, stack: str) -> str:
    events = client.describe_stack_events(StackName=stack)["StackEvents"]
    failures = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    return f"{failures[-1]['LogicalResourceId']}: {failures[-1]['ResourceStatusReason']}"


def _update(client: Any, request: dict[str, Any]) -> None:
    try:
        client.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
