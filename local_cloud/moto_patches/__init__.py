"""Where moto differs from AWS in ways that the app would notice, mended; each patch names AWS's rule."""

import logging
import warnings

from local_cloud.moto_patches import apigateway, dynamodb, lambda_, s3, server, sqs
from local_cloud.moto_patches.state import STATE
from local_cloud.moto_patches.time import follow

__all__ = ["STATE", "apply", "follow"]


def apply() -> None:
    """Mend the moto of this process; a second call changes nothing."""
    # Of what the template says, a bucket policy is the one thing that has no meaning here.
    warnings.filterwarnings("ignore", "Tried to parse AWS::S3::BucketPolicy", UserWarning)
    logging.getLogger("moto").addFilter(_is_no_bucket_policy)
    for service in (server, apigateway, dynamodb, lambda_, s3, sqs):
        service.apply()


def _is_no_bucket_policy(record: logging.LogRecord) -> bool:
    return "AWS::S3::BucketPolicy" not in record.getMessage()
