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


_ALGORITHMS: dict[str, Callable[[], Any]] = {
    "SHA256": hashlib.sha256,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "CRC32": _Crc32,
    "Content-MD5": lambda: hashlib.md5(usedforsecurity=False),
}
_HEADERS = {f"x-amz-checksum-{name.lower()}": name for name in _ALGORITHMS if name != "Content-MD5"}


def check(request: S3Request, body: IO[bytes]) -> None:
    """Raise RefusedError when a body is not what its checksum says, and for checksums that cannot be had."""
    _check_algorithm(request)
    if request.method != "PUT":
        return
    given = _given(request)
    if len(given) > 1:
        raise _invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    if "content-md5" in request.headers:
        given["Content-MD5"] = request.headers["content-md5"]
    for algorithm, declared in given.items():
        if _digest(body, _ALGORITHMS[algorithm]()) != declared:
            raise RefusedError(
                400, "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
            )


def remember(request: S3Request) -> None:
    """Let moto keep a checksum that stands in the URL, or without the header that SDKs send beside it."""
    if request.method == "PUT":
        for algorithm, value in _given(request).items():
            request.environ[f"HTTP_X_AMZ_CHECKSUM_{algorithm}"] = value
            request.environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = algorithm


def _given(request: S3Request) -> dict[str, str]:
    """By algorithm; what was presigned elsewhere than in Python has its headers in the URL."""
    named = {name.lower(): value for name, value in (request.query | request.headers).items()}
    return {algorithm: named[name] for name, algorithm in _HEADERS.items() if name in named}


def _check_algorithm(request: S3Request) -> None:
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").upper()
    if "x-amz-copy-source" in request.headers and algorithm not in ("", *_HEADERS.values()):
        raise RefusedError(501, "NotImplemented", f"{algorithm} is not computed here.")
    if algorithm.startswith("SHA") and request.headers.get("x-amz-checksum-type") == "FULL_OBJECT":
        raise _invalid(
            f"The FULL_OBJECT checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )


def _invalid(message: str) -> RefusedError:
    return RefusedError(400, "InvalidRequest", message)


def _digest(body: IO[bytes], digest: Any) -> str:
    for block in _blocks(body):
        digest.update(block)
    return base64.b64encode(digest.digest()).decode()


def _blocks(body: IO[bytes]) -> Iterator[bytes]:
    body.seek(0)
    yield from iter(lambda: body.read(_BLOCK), b"")
    body.seek(0)
