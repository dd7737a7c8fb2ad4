import base64
import hashlib
import zlib
from typing import Any

import pytest

BODY = b"picture"


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


GOOD = {
    "ChecksumSHA256": encoded(hashlib.sha256(BODY).digest()),
    "ChecksumSHA1": encoded(hashlib.sha1(BODY, usedforsecurity=False).digest()),
    "ChecksumCRC32": encoded(zlib.crc32(BODY).to_bytes(4, "big")),
    "ContentMD5": encoded(hashlib.md5(BODY, usedforsecurity=False).digest()),
}


@pytest.mark.parametrize("algorithm", GOOD)
def test_an_object_is_kept_only_if_it_is_what_its_checksum_says(s3: Any, bucket: str, algorithm: str) -> None:
    s3.put_object(Bucket=bucket, Key="good", Body=BODY, **{algorithm: GOOD[algorithm]})
    with pytest.raises(s3.exceptions.ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="bad", Body=b"other", **{algorithm: GOOD[algorithm]})

    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["good"]


def test_a_part_is_checked_too(s3: Any, bucket: str) -> None:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]

    with pytest.raises(s3.exceptions.ClientError, match="BadDigest"):
        s3.upload_part(
            Bucket=bucket, Key="a", UploadId=upload_id, PartNumber=1, Body=b"other",
            ChecksumSHA256=GOOD["ChecksumSHA256"],
        )  # fmt: skip


def test_a_checksum_is_told_with_the_object(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=BODY, ChecksumSHA256=GOOD["ChecksumSHA256"])

    head = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == GOOD["ChecksumSHA256"]
