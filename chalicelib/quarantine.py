"""Adapter: the S3 bucket that keeps pictures out of sight."""

import base64
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.aws_errors import error_code, translated
from chalicelib.bucket import BY_STATUS, CODES, GONE
from chalicelib.claim import RELEASE
from chalicelib.errors import ServiceFailed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_METADATA = 2048  # bytes of names and values, S3's limit
# Whoever copies an object with other metadata has to name these too, or S3 forgets them.
HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
)


class Quarantine:
    """Every method raises AccessLost, Contended, Throttled or ServiceFailed when S3 does not do it."""

    def __init__(self, client: "S3Client", copying: "S3Client", name: str, images_bucket: str) -> None:
        """The second client has the patience that a copy of a large picture takes."""
        self._client = client
        self._copying = copying
        self._name = name
        self._images_bucket = images_bucket

    def keep(self, key: str, version_id: str | None, place: str, sha256: str) -> None:
        """Copies that version, with its metadata and tags, to a place here, unless it is there already.

        The digest is of the bytes, in hex. Raises ServiceFailed when the copy has another, and
        ObjectUnavailable if the version is not there any more.
        """
        if self._sha256(place) == sha256:
            return
        source: Any = {"Bucket": self._images_bucket, "Key": key}
        source |= {"VersionId": version_id} if version_id else {}
        with translated({**CODES, **GONE}):
            self._copying.copy_object(
                Bucket=self._name, Key=place, CopySource=source, ChecksumAlgorithm="SHA256"
            )
        if self._sha256(place) != sha256:
            raise ServiceFailed("the copy of a picture in quarantine differs from it")

    def has(self, place: str) -> bool:
        return self._head(place) is not None

    def give_back(self, place: str, key: str, nonce: str) -> None:
        """Copies a picture back under its key, marked by the nonce, unless there is an object by now.

        Raises ObjectUnavailable if there is nothing at the place.
        """
        kept = self._head(place) or {}
        headers = {name: kept[name] for name in HEADERS if name in kept}
        with translated({**CODES, **GONE}):
            try:
                self._copying.copy_object(
                    Bucket=self._images_bucket,
                    Key=key,
                    CopySource={"Bucket": self._name, "Key": place},
                    IfNoneMatch="*",
                    MetadataDirective="REPLACE",
                    Metadata=_marked(kept.get("Metadata", {}), nonce),
                    **headers,
                )
            except ClientError as error:
                if error_code(error) != "PreconditionFailed":
                    raise

    def discard(self, place: str) -> None:
        """Deletes a picture for good; this bucket keeps no versions."""
        with translated(CODES):
            self._client.delete_object(Bucket=self._name, Key=place)

    def _sha256(self, place: str) -> str | None:
        checksum = (self._head(place) or {}).get("ChecksumSHA256")
        return base64.b64decode(checksum).hex() if checksum else None

    def _head(self, place: str) -> Any:
        with translated(BY_STATUS):
            try:
                return self._client.head_object(Bucket=self._name, Key=place, ChecksumMode="ENABLED")
            except ClientError as error:
                if error_code(error) not in ("404", "NoSuchKey"):
                    raise
                return None


def _marked(metadata: dict[str, str], nonce: str) -> dict[str, str]:
    """The metadata with the mark, less what would not fit beside it: S3 would refuse the whole."""
    room = MAX_METADATA - len(RELEASE) - len(nonce)
    kept: dict[str, str] = {}
    for name, value in metadata.items():
        room -= len(name.encode()) + len(value.encode())
        if room >= 0 and name != RELEASE:
            kept[name] = value
    return {**kept, RELEASE: nonce}
