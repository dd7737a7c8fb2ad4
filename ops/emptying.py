"""Buckets, looked through and emptied: every version, every delete marker, every unfinished upload."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from rich.filesize import decimal

from chalicelib.aws_errors import error_code
from ops.problems import Problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGES = 10  # that are counted
ROUNDS = 5  # a signed URL may still bring something in
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

Version = Mapping[str, Any]


@dataclass(frozen=True)
class Bucket:
    client: "S3Client"
    name: str
    owner: str  # account; requests to somebody else's bucket fail
    page: int = 1000  # versions in a request

    def survey(self) -> str:
        """How many objects there are, and how much, as far as it can be said in a moment."""
        pages = list(islice(self._pages("list_object_versions"), PAGES + 1))
        versions = [version for page in pages[:PAGES] for version in page.get("Versions", [])]
        current = sum(version["IsLatest"] for version in versions)
        size = decimal(sum(version["Size"] for version in versions))
        bound = "more than " if len(pages) > PAGES else ""
        return f"{bound}{current:,} objects and {len(versions) - current:,} old versions, {bound}{size}"

    def delete(self, show: Callable[[str], None]) -> None:
        for _ in range(ROUNDS):
            self._empty(show)
            try:
                self.client.delete_bucket(Bucket=self.name, ExpectedBucketOwner=self.owner)
            except ClientError as error:
                if error_code(error) != "BucketNotEmpty":
                    raise
            else:
                return
        raise Problem(f"Somebody still writes to the bucket {self.name}: run the same command again later.")

    def _empty(self, show: Callable[[str], None]) -> None:
        deleted = 0
        before: list[Version] = []
        while versions := self._first_versions():
            if versions == before:
                raise Problem(f"{versions[0]['Key']!r} in the bucket {self.name} cannot be deleted.")
            self._delete_versions(versions)
            before = versions
            deleted += len(versions)
            show(f"Emptying the bucket {self.name} ... {deleted:,}")
        for page in self._pages("list_multipart_uploads"):
            for upload in page.get("Uploads", []):
                self.client.abort_multipart_upload(
                    Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"]
                )

    def _first_versions(self) -> list[Version]:
        page = self.client.list_object_versions(
            Bucket=self.name, ExpectedBucketOwner=self.owner, MaxKeys=self.page
        )
        return [*page.get("Versions", []), *page.get("DeleteMarkers", [])]

    def _delete_versions(self, versions: Sequence[Version]) -> None:
        """In one request, but for keys that its XML cannot spell."""
        named: list[Any] = [
            {"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions
        ]
        spelled = [version for version in named if not _NOT_IN_XML.search(version["Key"])]
        for version in named:
            if version not in spelled:
                self.client.delete_object(Bucket=self.name, **version)
        if spelled:
            answer = self.client.delete_objects(
                Bucket=self.name, Delete={"Objects": spelled, "Quiet": True}, ExpectedBucketOwner=self.owner
            )
            for error in answer.get("Errors", []):
                raise Problem(f"{error['Key']!r} in {self.name} cannot be deleted: {error['Message']}")

    def _pages(self, operation: Any) -> Iterator[Mapping[str, Any]]:
        pages = self.client.get_paginator(operation).paginate(
            Bucket=self.name, ExpectedBucketOwner=self.owner, PaginationConfig={"PageSize": self.page}
        )
        return iter(pages)
