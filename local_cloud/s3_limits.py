"""Limits that S3 has and moto has not: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

from typing import IO

from local_cloud.presigned import RefusedError
from local_cloud.s3_request import S3Request

_LONGEST_KEY = 1024
_LARGEST_METADATA = 2048
_PREFIX = "x-amz-meta-"


def check(request: S3Request, body: IO[bytes]) -> None:
    """Raise RefusedError for names and metadata larger than S3 keeps, sizes being bytes of UTF-8, and for
    what S3 does not do, or would not do as moto does."""
    _check_sizes(request)
    if request.method == "POST" and not request.key and "delete" not in request.query:
        raise _not_implemented(
            "Uploads by a form are not taken here, where nothing would hold them to a policy"
        )
    if request.method == "DELETE" and "if-match" in request.headers and "versionId" in request.query:
        raise _not_implemented("A header you provided implies functionality that is not implemented")
    if request.method == "POST" and "delete" in request.query and b"<ETag>" in body.read():
        raise _not_implemented("Conditions of deleting several objects at once are not known here")
    body.seek(0)


def _check_sizes(request: S3Request) -> None:
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


def _not_implemented(message: str) -> RefusedError:
    return RefusedError(501, "NotImplemented", message)


def _metadata_size(request: S3Request) -> int:
    """Of headers, or of a presigned URL's parameters, which stand for headers."""
    given = {name.lower(): value for name, value in (request.query | request.headers).items()}
    metadata = {name: value for name, value in given.items() if name.startswith(_PREFIX)}
    return sum(len(name.removeprefix(_PREFIX)) + len(value) for name, value in metadata.items())
