"""Limits that S3 has and moto has not: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

from local_cloud.presigned import RefusedError
from local_cloud.s3_request import S3Request

_LONGEST_KEY = 1024
_LARGEST_METADATA = 2048
_PREFIX = "x-amz-meta-"


def check(request: S3Request) -> None:
    """Raise RefusedError for names and metadata larger than S3 keeps; sizes are bytes of UTF-8."""
    if (size := len(request.key.encode())) > _LONGEST_KEY:
        raise RefusedError(
            400, "KeyTooLongError", "Your key is too long", Size=str(size), MaxSizeAllowed=str(_LONGEST_KEY)
        )
    if (size := _metadata_size(request)) > _LARGEST_METADATA:
        raise RefusedError(
            400,
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            Size=str(size),
            MaxSizeAllowed=str(_LARGEST_METADATA),
        )


def _metadata_size(request: S3Request) -> int:
    metadata = {name: value for name, value in request.headers.items() if name.startswith(_PREFIX)}
    return sum(len(name.removeprefix(_PREFIX)) + len(value) for name, value in metadata.items())
