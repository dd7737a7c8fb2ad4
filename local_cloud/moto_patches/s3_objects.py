"""S3's objects: conditions, copies and checksums."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote

import moto.s3.models as s3_models
import moto.s3.responses as s3_responses
from moto.s3.exceptions import InvalidVersion, MissingKey, PreconditionFailed, S3ClientError
from werkzeug.datastructures import Headers

from local_cloud.moto_patches.mending import Function, mend

Answer = tuple[int, dict[str, Any], Any]


def apply() -> None:
    mend(s3_models.FakeKey, "__init__", _make_key)
    mend(s3_models.S3Backend, "get_object", _get_object)
    mend(s3_responses.S3Response, "put_object", _answer_put_object)
    mend(s3_responses.S3Response, "head_object", _answer_head_object)
    mend(s3_responses.S3Response, "delete_object", _answer_delete_object)
    mend(s3_responses.S3Response, "copy_object", _answer_copy_object)


def _make_key(original: Function) -> Function:
    """The checksum of what comes at once is that of the whole."""

    def make_key(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.checksum_type = self.checksum_type or "FULL_OBJECT"

    return make_key


def _get_object(original: Function) -> Function:
    """Where versioning never was there is the null version only (moto: no such version)."""

    def get_object(
        self: Any, bucket_name: str, key_name: str, version_id: str | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        check_version(self.get_bucket(bucket_name), version_id)
        return original(self, bucket_name, key_name, version_id, *args, **kwargs)

    return get_object


def check_version(bucket: Any, version_id: str | None) -> None:
    if version_id not in (None, "null") and not bucket.versioning_status:
        raise InvalidVersion(version_id)


@contextmanager
def as_versioned(bucket: Any) -> Iterator[None]:
    """moto looks for a version only where versioning is on at the moment."""
    status = bucket.versioning_status
    bucket.versioning_status = "Enabled"
    try:
        yield
    finally:
        bucket.versioning_status = status


def _answer_put_object(original: Function) -> Function:
    """The type of the checksum is told with it."""

    def put_object(self: Any) -> Answer:
        status, headers, body = original(self)
        if any(name.startswith("x-amz-checksum-") for name in headers):
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        return status, headers, body

    return put_object


def _answer_head_object(original: Function) -> Function:
    """A checksum of parts is told as such (moto: only with the object itself), and a version can be asked for
    wherever versioning was, the null version everywhere (moto: where versioning is on)."""

    def head_object(
        self: Any, bucket_name: str, query: dict[str, Any], key_name: str, headers: Any
    ) -> Answer:
        [version_id] = query.get("versionId", [None])
        key = self.backend.get_object(bucket_name, key_name, version_id)
        with as_versioned(self.backend.get_bucket(bucket_name)):
            status, answer, body = original(self, bucket_name, query, key_name, headers)
        if status == 200 and headers.get("x-amz-checksum-mode") == "ENABLED" and "partNumber" not in query:
            answer |= _checksum(key)
        return status, answer, body

    return head_object


def _checksum(key: Any) -> dict[str, str]:
    if not key.checksum_algorithm:
        return {}
    parts = f"-{key.checksum_parts}" if key.checksum_type == "COMPOSITE" else ""
    return {
        f"x-amz-checksum-{key.checksum_algorithm.lower()}": f"{key.checksum_value}{parts}",
        "x-amz-checksum-type": key.checksum_type,
    }


def _answer_delete_object(original: Function) -> Function:
    """If-Match: `*` means any object that is there (moto: an ETag). Where none is, under a delete marker too,
    none is found; that the user guide says 412 is not so: https://github.com/localstack/localstack/issues/13894"""

    def delete_object(self: Any) -> Any:
        if self.headers.get("If-Match") == "*":
            if self.backend.get_object(self.bucket_name, self.parse_key_name()) is None:
                raise MissingKey(self.parse_key_name())
            self.headers = Headers(self.headers)
            del self.headers["If-Match"]
        return original(self)

    return delete_object


def _answer_copy_object(original: Function) -> Function:
    """A copy may ask for what stands at either end of it (moto: only for what its source is not); its
    checksum is of the whole: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""

    def copy_object(self: Any) -> Answer:
        source = _source(self)
        _check_source(self, source)
        _check_destination(self)
        if source and source.checksum_type == "COMPOSITE" and "x-amz-checksum-algorithm" not in self.headers:
            self.headers = Headers(self.headers)
            self.headers["x-amz-checksum-algorithm"] = source.checksum_algorithm
        status, headers, body = original(self)
        headers.pop("Checksum", None)
        if self.backend.get_object(self.bucket_name, self.parse_key_name()).checksum_algorithm:
            body = _with_checksum_type(body)
            headers["content-length"] = str(len(body))
        return status, headers, body

    return copy_object


def _source(response: Any) -> Any:
    path, _, query = response.headers["x-amz-copy-source"].partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    version_id = dict(parse_qsl(query)).get("versionId")
    source = response.backend.get_object(bucket, key, version_id, return_delete_marker=bool(version_id))
    if isinstance(source, s3_models.FakeDeleteMarker):
        raise S3ClientError(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        )
    return source


def _check_source(response: Any, source: Any) -> None:
    condition = response.headers.get("x-amz-copy-source-if-match")
    if source and condition and not _meets(source, condition):
        raise PreconditionFailed("x-amz-copy-source-If-Match")


def _check_destination(response: Any) -> None:
    there = response.backend.get_object(response.bucket_name, response.parse_key_name())
    if response.headers.get("If-None-Match") == "*" and there:
        raise PreconditionFailed("If-None-Match")
    if condition := response.headers.get("If-Match"):
        if there is None:
            raise MissingKey(response.parse_key_name())
        if not _meets(there, condition):
            raise PreconditionFailed("If-Match")


def _meets(key: Any, condition: str) -> bool:
    return condition == "*" or condition.strip('"') == key.etag.strip('"')


def _with_checksum_type(body: str | bytes) -> bytes:
    text = body.encode() if isinstance(body, str) else body
    end = b"</CopyObjectResult>"
    return text.replace(end, b"<ChecksumType>FULL_OBJECT</ChecksumType>" + end)
