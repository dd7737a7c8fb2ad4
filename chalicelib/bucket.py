"""Adapter: the S3 bucket that pictures land in."""

import base64
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError, IncompleteReadError

from chalicelib.aws_errors import Codes, error_code, translated
from chalicelib.errors import AccessLost, Contended, ObjectUnavailable, ServiceFailed, Throttled
from chalicelib.model import StoredObject, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

    Described = GetObjectOutputTypeDef | HeadObjectOutputTypeDef

HEAD_BYTES = 64 * 1024  # enough for every format's signature, and for the size in most headers
CHUNK_BYTES = 256 * 1024
DOWNLOAD_SECONDS = 20.0  # for 100 MB at 5 MB a second, of which S3 gives many more

CODES: Codes = {
    "ConditionalRequestConflict": Contended,  # with another write or removal of the same key
    "InvalidRequest": AccessLost,  # encrypted with a key that the customer keeps
    "KMS.DisabledException": AccessLost,
    "KMS.InvalidStateException": AccessLost,
    "KMS.NotFoundException": AccessLost,
    "NoSuchBucket": AccessLost,
    "OperationAborted": Contended,
    "SlowDown": Throttled,
    "RequestTimeTooSkewed": AccessLost,
}
BY_STATUS: Codes = {  # the answer to a HEAD has no body, and so no code
    "400": AccessLost,  # credentials that have expired, a key that is disabled or that the customer keeps
    "403": AccessLost,
    "404": ObjectUnavailable,
    "412": ObjectUnavailable,
}
GONE: Codes = {
    "InvalidObjectState": ObjectUnavailable,  # archived meanwhile
    "NoSuchKey": ObjectUnavailable,
    "NoSuchVersion": ObjectUnavailable,
    "PreconditionFailed": ObjectUnavailable,
}


@dataclass(frozen=True)
class PresignedUpload:
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """A line of the bucket's listing."""

    key: str
    etag: str
    uploaded_at: datetime


class Bucket:
    def __init__(self, client: "S3Client", name: str, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._name = name
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    def look(self, key: str) -> StoredObject | None:
        """The current object under a key, by one GET of its first 64 kB; None when there is none.

        Raises AccessLost, Throttled or ServiceFailed. A HEAD would have no body to tell a lost bucket from a
        missing object. Without s3:ListBucket S3 answers 403 for a missing key, so that right is needed:
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        with translated(CODES):
            try:
                return self._get(key, {"Range": f"bytes=0-{HEAD_BYTES - 1}"})
            except ClientError as error:
                code = error_code(error)
                if code not in ("NoSuchKey", "InvalidRange", "InvalidObjectState"):
                    raise
            if code == "InvalidRange":
                return self._look_at_empty(key)
            if code == "InvalidObjectState":
                return self._look_at_archived(key)
            return None

    def download(self, found: StoredObject, file: BinaryIO) -> None:
        """Writes the whole of that very version into the file.

        Raises ObjectUnavailable if it is not there any more, AccessLost, Throttled or ServiceFailed.
        """
        end = self._clock() + DOWNLOAD_SECONDS
        with translated({**CODES, **GONE}):
            response = self._client.get_object(Bucket=self._name, Key=found.key, **_pinned(found))
            with closing(response["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    file.write(chunk)
                    if self._clock() > end:
                        raise ServiceFailed(f"a download took more than {DOWNLOAD_SECONDS:.0f} seconds")

    def entries(self, after: str, most: int) -> list[Entry]:
        """The current objects behind a key, in the order of their keys: fewer only where the bucket ends.

        S3 may fill a page with fewer than were asked for, and then says that there are more.
        """
        paginator = self._client.get_paginator("list_objects_v2")
        steps: Any = {"MaxItems": most, "PageSize": most}
        with translated(CODES):
            pages = [*paginator.paginate(Bucket=self._name, StartAfter=after, PaginationConfig=steps)]
        return [
            Entry(each["Key"], each["ETag"].strip('"'), each["LastModified"])
            for page in pages
            for each in page.get("Contents", [])
        ]

    def has(self, key: str) -> bool:
        """Whether there is an object under the key now.

        Raises AccessLost, also for what is encrypted with a key that the customer keeps, Throttled or
        ServiceFailed.
        """
        with translated({**BY_STATUS, **CODES}):
            try:
                self._client.head_object(Bucket=self._name, Key=key)
            except ClientError as error:
                if error_code(error) not in ("404", "NoSuchKey"):
                    raise
                return False
        return True

    def sha256(self, found: StoredObject) -> str | None:
        """In hex, of that very version, where S3 has checked the whole of it by that when it came.

        Of an upload in parts S3 keeps a checksum of the parts' checksums, which says nothing of the bytes:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
        Raises ObjectUnavailable if the version is not there any more, AccessLost, Throttled or ServiceFailed.
        """
        with translated(BY_STATUS):
            response = self._client.head_object(
                Bucket=self._name, Key=found.key, ChecksumMode="ENABLED", **_pinned(found)
            )
        if response.get("ChecksumType") != "FULL_OBJECT" or "ChecksumSHA256" not in response:
            return None
        return base64.b64decode(response["ChecksumSHA256"]).hex()

    def version(self, key: str, version_id: str | None, etag: str) -> StoredObject | None:
        """That version, without its bytes; None when it is not there any more."""
        pinned: Any = {"VersionId": version_id} if version_id else {"IfMatch": f'"{etag}"'}
        with translated({**BY_STATUS, **CODES}):
            try:
                response = self._client.head_object(Bucket=self._name, Key=key, **pinned)
            except ClientError as error:
                if error_code(error) not in ("404", "412", "NoSuchKey", "NoSuchVersion"):
                    raise
                return None
        return _stored_object(key, response, b"")

    def mark_deleted(self, key: str, etag: str) -> None:
        """Removes the current object, by a delete marker where there are versions, if it has that content.

        Raises Contended if others change it at the same time, AccessLost, Throttled or ServiceFailed.
        """
        with translated(CODES):
            try:
                self._client.delete_object(Bucket=self._name, Key=key, IfMatch=f'"{etag}"')
            except ClientError as error:
                if error_code(error) not in ("NoSuchKey", "PreconditionFailed"):
                    raise

    def delete_version(self, key: str, version_id: str) -> None:
        """Deletes that version for good."""
        with translated(CODES):
            self._client.delete_object(Bucket=self._name, Key=key, VersionId=version_id)

    def delete(self, key: str) -> None:
        """Removes the current object: by a delete marker where the bucket keeps versions."""
        with translated(CODES):
            self._client.delete_object(Bucket=self._name, Key=key)

    def presign_upload(self, key: str, upload: Upload, seconds: int) -> PresignedUpload:
        """A URL for one PUT within so many seconds, and the headers that the client must send with it.

        S3 refuses the upload when a declared header differs, or when the key already holds an object.
        """
        params = _upload_params(upload)
        url = self._client.generate_presigned_url(
            "put_object", Params={"Bucket": self._name, "Key": key, **params}, ExpiresIn=seconds
        )
        return PresignedUpload(url, _upload_headers(upload))

    def _look_at_empty(self, key: str) -> StoredObject | None:
        # A ranged GET of an empty object answers 416; by now there may be another object, or none.
        try:
            return self._get(key, {})
        except ClientError as error:
            if error_code(error) != "NoSuchKey":
                raise
            return None

    def _look_at_archived(self, key: str) -> StoredObject:
        response = self._client.head_object(Bucket=self._name, Key=key)
        return replace(_stored_object(key, response, b""), is_archived=True)

    def _get(self, key: str, extra: dict[str, Any]) -> StoredObject:
        response = self._client.get_object(Bucket=self._name, Key=key, **extra)
        return _stored_object(key, response, _first_bytes(response))


def _stored_object(key: str, response: "Described", head: bytes) -> StoredObject:
    return StoredObject(
        key=key,
        version_id=_version_id(response),
        etag=response["ETag"].strip('"'),
        size=_total_size(response),
        content_type=response.get("ContentType"),
        uploaded_at=response["LastModified"],
        metadata=response.get("Metadata", {}),
        head=head,
    )


def _first_bytes(response: "GetObjectOutputTypeDef") -> bytes:
    expected = min(HEAD_BYTES, response["ContentLength"])
    with closing(response["Body"]) as body:  # itself a context manager, it gives out what it guards
        head = body.read(expected)
    if len(head) < expected:  # a read of so many bytes does not tell that the connection broke
        raise IncompleteReadError(actual_bytes=len(head), expected_bytes=expected)
    return head


def _version_id(response: "Described") -> str | None:
    version_id = response.get("VersionId", "null")
    return None if version_id == "null" else version_id


def _total_size(response: "Described") -> int:
    content_range = response.get("ContentRange")
    return int(content_range.rpartition("/")[2]) if content_range else response["ContentLength"]


def _upload_params(upload: Upload) -> dict[str, Any]:
    declared = {
        "ContentType": upload.content_type,
        "ContentLength": upload.size,
        "ChecksumSHA256": _base64_of_hex(upload.sha256),
        "Metadata": dict(upload.metadata),
        "IfNoneMatch": "*",
    }
    return {name: value for name, value in declared.items() if value}


def _upload_headers(upload: Upload) -> dict[str, str]:
    declared = {
        "Content-Type": upload.content_type,
        "Content-Length": upload.size and str(upload.size),
        "If-None-Match": "*",
        "x-amz-checksum-sha256": _base64_of_hex(upload.sha256),
        **{f"x-amz-meta-{name}": value for name, value in upload.metadata.items()},
    }
    return {name: value for name, value in declared.items() if value}


def _pinned(found: StoredObject) -> Any:
    """What holds a request to that version."""
    return {"VersionId": found.version_id} if found.version_id else {"IfMatch": f'"{found.etag}"'}


def _base64_of_hex(digest: str | None) -> str | None:
    return base64.b64encode(bytes.fromhex(digest)).decode() if digest else None
