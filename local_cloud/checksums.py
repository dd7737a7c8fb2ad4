"""S3 keeps no object that differs from the checksum that came with it; moto keeps any.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from local_cloud.presigned import RefusedError
from local_cloud.s3_request import S3Request

_BLOCK = 1024 * 1024


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_ALGORITHMS: dict[str, tuple[str, Callable[[], Any]]] = {
    "x-amz-checksum-sha256": ("SHA256", hashlib.sha256),
    "x-amz-checksum-sha1": ("SHA1", lambda: hashlib.sha1(usedforsecurity=False)),
    "x-amz-checksum-crc32": ("CRC32", _Crc32),
    "content-md5": ("Content-MD5", lambda: hashlib.md5(usedforsecurity=False)),
}


def check(request: S3Request, body: IO[bytes]) -> None:
    """Raise RefusedError when the body of an upload is not what its checksum says."""
    if request.method != "PUT" or "x-amz-decoded-content-length" in request.headers:
        return  # what is sent in chunks carries its checksum at its end
    for name, (algorithm, make) in _ALGORITHMS.items():
        declared = request.headers.get(name) or request.query.get(name)
        if declared and _digest(body, make()) != declared:
            raise RefusedError(
                400, "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
            )


def remember(request: S3Request) -> None:
    """Let moto keep a checksum that came without the header that SDKs send beside it."""
    given = [name for name in _ALGORITHMS if name in request.headers and name != "content-md5"]
    if given and request.method == "PUT":
        request.environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", _ALGORITHMS[given[0]][0])


def _digest(body: IO[bytes], digest: Any) -> str:
    for block in _blocks(body):
        digest.update(block)
    return base64.b64encode(digest.digest()).decode()


def _blocks(body: IO[bytes]) -> Iterator[bytes]:
    body.seek(0)
    yield from iter(lambda: body.read(_BLOCK), b"")
    body.seek(0)
