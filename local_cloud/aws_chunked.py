"""Bodies that come in S3's own chunks, with their checksum behind them; moto looks for it in the picture too.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import re
import shutil
import tempfile
from typing import IO

from local_cloud.presigned import RefusedError
from local_cloud.s3_request import S3Request

_IN_MEMORY = 8 * 1024 * 1024
_CHUNK = re.compile(rb"([0-9a-fA-F]+)(?:;.*)?\r\n")
_TRAILER = re.compile(rb"(x-amz-checksum-[a-z0-9]+):([^\s]+)\s*")


def unwrap(request: S3Request, body: IO[bytes]) -> S3Request:
    """The request as if its body had come whole and the trailer among the headers.

    Raises RefusedError for a body that is not what was announced. Signatures of chunks are not looked at.
    """
    if not request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return request
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as whole:
        _decode(body, whole)
        if str(whole.tell()) != request.headers.get("x-amz-decoded-content-length"):
            raise _incomplete()
        trailer = _trailer(request, body)
        _replace(body, whole)
    request.environ.update(
        {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in trailer.items()},
        CONTENT_LENGTH=request.headers["x-amz-decoded-content-length"],
        HTTP_X_AMZ_CONTENT_SHA256="UNSIGNED-PAYLOAD",
    )
    return S3Request(request.environ)


def _decode(body: IO[bytes], whole: IO[bytes]) -> None:
    """Leaves the body at its trailer."""
    while size := _chunk_size(body.readline()):
        data = body.read(size)
        if len(data) < size or body.read(2) != b"\r\n":
            raise _incomplete()
        whole.write(data)


def _chunk_size(line: bytes) -> int:
    chunk = _CHUNK.fullmatch(line)
    if chunk is None:
        raise _incomplete()
    return int(chunk[1], 16)


def _trailer(request: S3Request, body: IO[bytes]) -> dict[str, str]:
    found = [_TRAILER.fullmatch(line) for line in body]
    trailer = {match[1].decode(): match[2].decode("latin-1") for match in found if match}
    if set(trailer) != set(request.headers.get("x-amz-trailer", "").lower().split()):
        raise RefusedError(
            400,
            "MalformedTrailerError",
            "The request contained trailing data that was not well-formed or did not conform to our published"
            " schema.",
        )
    return trailer


def _replace(body: IO[bytes], whole: IO[bytes]) -> None:
    body.seek(0)
    body.truncate()
    whole.seek(0)
    shutil.copyfileobj(whole, body)
    body.seek(0)


def _incomplete() -> RefusedError:
    return RefusedError(400, "IncompleteBody", "The request body terminated unexpectedly")
