"""Where moto differs from AWS in ways that the app would notice, mended; each patch names AWS's rule."""

from local_cloud.moto_patches import (
    apigateway,
    cloudformation,
    dynamodb,
    dynamodb_expressions,
    dynamodb_limits,
    lambda_,
    s3,
    s3_objects,
    server,
    sns,
    sqs,
    sqs_limits,
)
from local_cloud.moto_patches.state import STATE
from local_cloud.moto_patches.time import follow

__all__ = ["STATE", "apply", "follow"]

_SERVICES = (
    server,
    apigateway,
    cloudformation,
    dynamodb,
    dynamodb_expressions,
    dynamodb_limits,
    lambda_,
    s3,
    s3_objects,
    sns,
    sqs,
    sqs_limits,
)


def apply() -> None:
    """Mend the moto of this process; a second call changes nothing."""
    for service in _SERVICES:
        service.apply()
