"""Where moto differs from AWS in ways that the app would notice, mended; each patch names AWS's rule."""

from local_cloud.moto_patches import (
    apigateway,
    cloudformation,
    dynamodb,
    lambda_,
    s3,
    s3_objects,
    server,
    sns,
    sqs,
)
from local_cloud.moto_patches.state import STATE
from local_cloud.moto_patches.time import follow

__all__ = ["STATE", "apply", "follow"]


def apply() -> None:
    """Mend the moto of this process; a second call changes nothing."""
    for service in (server, apigateway, cloudformation, dynamodb, lambda_, s3, s3_objects, sns, sqs):
        service.apply()
