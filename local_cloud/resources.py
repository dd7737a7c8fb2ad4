"""Makes the stack of `.chalice/resources.yaml`, the very one that AWS gets, on the endpoint."""

from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError


def create(
    session: boto3.Session, stage: str, template: Path, *, endpoint_url: str | None = None
) -> dict[str, str]:
    """Create or update the stage's resources, and return the stack's outputs."""
    client = session.client("cloudformation", endpoint_url=endpoint_url)
    stack = f"image-labeller-{stage}-resources"
    request: dict[str, Any] = {
        "StackName": stack,
        "TemplateBody": template.read_text(),
        "Parameters": [{"ParameterKey": "Stage", "ParameterValue": stage}],
    }
    try:
        client.create_stack(**request)
    except client.exceptions.AlreadyExistsException:
        _update(client, request)
    outputs = client.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _update(client: Any, request: dict[str, Any]) -> None:
    try:
        client.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
