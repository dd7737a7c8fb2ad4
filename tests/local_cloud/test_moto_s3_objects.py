"""What S3 documents of copies, conditions and checksums, on moto behind the endpoint."""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import requests

from local_cloud.object_events import ObjectEvent
from tests.local_cloud.conftest import Presign

PICTURE, OTHER = b"picture", b"another picture"
PART = b"p" * 5 * 1024 * 1024
CLI_PART = 8 * 1024 * 1024


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def refused(act: Callable[..., Any], **request: Any) -> tuple[int, str]:
    with pytest.raises(Exception, match="An error occurred") as error:
        act(**request)
    response = error.value.response  # type: ignore[attr-defined]
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def checksums(answer: Any) -> dict[str, str]:
    return {name: answer[name] for name in answer if name.startswith("Checksum")}


def current(s3: Any, bucket: str, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


@pytest.fixture
def quarantine(s3: Any, name: str) -> str:
    """Another bucket, unversioned."""
    s3.create_bucket(Bucket=f"{name}-quarantine")
    return f"{name}-quarantine"


@pytest.fixture(params=["bucket", "versioned"], ids=["unversioned", "versioned"])
def either(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def multipart(s3: Any) -> Callable[..., Any]:
    """Uploads parts and says how that was answered."""

    def upload(bucket: str, key: str, *parts: bytes, **settings: Any) -> Any:
        created = s3.create_multipart_upload(Bucket=bucket, Key=key, **settings)
        upload = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
        algorithm = {"ChecksumAlgorithm": settings.get("ChecksumAlgorithm", "CRC32")}
        done = [
            {"PartNumber": number}
            | {
                name: value
                for name, value in s3.upload_part(**upload, **algorithm, PartNumber=number, Body=part).items()
                if name == "ETag" or name.startswith("ChecksumSHA")
            }
            for number, part in enumerate(parts, 1)
        ]
        return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})

    return upload


def test_a_version_is_copied_whole_with_what_is_said_of_it(s3: Any, versioned: str, quarantine: str) -> None:
    about = {"ContentType": "image/png", "ContentEncoding": "identity", "CacheControl": "no-store"}
    old = s3.put_object(
        Bucket=versioned, Key="a +b.png", Body=PICTURE, Metadata={"who": "me"}, Tagging="t=1", **about
    )
    s3.put_object(Bucket=versioned, Key="a +b.png", Body=OTHER, Tagging="t=2")

    copied = s3.copy_object(
        Bucket=quarantine,
        Key="q",
        CopySource={"Bucket": versioned, "Key": "a +b.png", "VersionId": old["VersionId"]},
        ChecksumAlgorithm="SHA256",
        MetadataDirective="COPY",
        TaggingDirective="COPY",
    )

    result = copied["CopyObjectResult"]
    head = s3.head_object(Bucket=quarantine, Key="q", ChecksumMode="ENABLED")
    tags = s3.get_object_tagging(Bucket=quarantine, Key="q")["TagSet"]
    assert checksums(result) == {"ChecksumSHA256": sha256(PICTURE), "ChecksumType": "FULL_OBJECT"}
    assert checksums(head) == checksums(result)
    assert (copied["CopySourceVersionId"], result["ETag"]) == (old["VersionId"], old["ETag"])
    assert "VersionId" not in copied
    assert {name: head[name] for name in about} == about
    assert (head["Metadata"], tags) == ({"who": "me"}, [{"Key": "t", "Value": "1"}])
    assert current(s3, quarantine, "q") == PICTURE


def test_a_copy_leaves_its_source_as_it_was(s3: Any, versioned: str, quarantine: str) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=PICTURE, ContentEncoding="identity", Metadata={"who": "me"})
    before = s3.head_object(Bucket=versioned, Key="a", ChecksumMode="ENABLED")

    s3.copy_object(
        Bucket=quarantine, Key="q", CopySource=f"{versioned}/a", ChecksumAlgorithm="SHA256",
        MetadataDirective="REPLACE", Metadata={"who": "you"},
    )  # fmt: skip
    s3.copy_object(Bucket=quarantine, Key="r", CopySource=f"{versioned}/a", ChecksumAlgorithm="SHA256")

    after = s3.head_object(Bucket=versioned, Key="a", ChecksumMode="ENABLED")
    del before["ResponseMetadata"], after["ResponseMetadata"]
    assert after == before


def test_what_a_copy_replaces_it_does_not_keep(s3: Any, versioned: str) -> None:
    s3.put_object(
        Bucket=versioned,
        Key="a",
        Body=PICTURE,
        ContentType="image/png",
        Metadata={"who": "me"},
        Tagging="t=1",
    )

    s3.copy_object(
        Bucket=versioned, Key="b", CopySource=f"{versioned}/a",
        MetadataDirective="REPLACE", Metadata={"from": "quarantine"}, TaggingDirective="REPLACE",
    )  # fmt: skip

    head = s3.head_object(Bucket=versioned, Key="b")
    tags = s3.get_object_tagging(Bucket=versioned, Key="b")["TagSet"]
    assert (head["Metadata"], head["ContentType"], tags) == (
        {"from": "quarantine"},
        "binary/octet-stream",
        [],
    )


def test_a_copy_has_the_checksum_of_its_source_if_it_asks_for_no_other(
    s3: Any, bucket: str, quarantine: str
) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=PICTURE, ChecksumAlgorithm="SHA256")

    copied = s3.copy_object(Bucket=quarantine, Key="q", CopySource=f"{bucket}/a")["CopyObjectResult"]

    head = s3.head_object(Bucket=quarantine, Key="q", ChecksumMode="ENABLED")
    assert checksums(copied) == {"ChecksumSHA256": sha256(PICTURE), "ChecksumType": "FULL_OBJECT"}
    assert checksums(head) == checksums(copied)


def test_the_copy_of_an_object_that_came_in_parts_has_the_checksum_of_the_whole(
    s3: Any, bucket: str, quarantine: str, multipart: Callable[..., Any]
) -> None:
    multipart(bucket, "a", PART, PICTURE, ChecksumAlgorithm="SHA256")

    copied = s3.copy_object(Bucket=quarantine, Key="q", CopySource=f"{bucket}/a")["CopyObjectResult"]

    assert checksums(copied) == {"ChecksumSHA256": sha256(PART + PICTURE), "ChecksumType": "FULL_OBJECT"}
    assert copied["ETag"] == f'"{hashlib.md5(PART + PICTURE, usedforsecurity=False).hexdigest()}"'


def test_a_checksum_that_is_not_computed_here_is_not_made_up(s3: Any, bucket: str, quarantine: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=PICTURE)

    answer = refused(
        s3.copy_object, Bucket=quarantine, Key="q", CopySource=f"{bucket}/a", ChecksumAlgorithm="CRC64NVME"
    )

    assert answer == (501, "NotImplemented")
    assert "Contents" not in s3.list_objects_v2(Bucket=quarantine)


def test_a_source_that_is_gone_is_not_copied(s3: Any, versioned: str, quarantine: str) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=PICTURE)
    marker = s3.delete_object(Bucket=versioned, Key="a")["VersionId"]
    copy = {"Bucket": quarantine, "Key": "q"}
    source = {"Bucket": versioned, "Key": "a"}

    answers = [
        refused(s3.copy_object, **copy, CopySource=source),
        refused(s3.copy_object, **copy, CopySource=source | {"Key": "never"}),
        refused(s3.copy_object, **copy, CopySource=source | {"VersionId": marker}),
        refused(s3.copy_object, **copy, CopySource=source | {"VersionId": "f" * 32}),
    ]

    assert answers == [
        (404, "NoSuchKey"),
        (404, "NoSuchKey"),
        (400, "InvalidRequest"),
        (404, "NoSuchVersion"),
    ]
    assert "Contents" not in s3.list_objects_v2(Bucket=quarantine)


def test_a_copy_back_is_made_where_nothing_is(
    s3: Any, versioned: str, quarantine: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=quarantine, Key="q", Body=PICTURE)
    s3.put_object(Bucket=versioned, Key="a", Body=OTHER)
    back = {
        "Bucket": versioned,
        "Key": "a",
        "CopySource": f"{quarantine}/q",
        "IfNoneMatch": "*",
        "MetadataDirective": "REPLACE",
        "Metadata": {"released": "yes"},
    }

    over_another = refused(s3.copy_object, **back)
    s3.delete_object(Bucket=versioned, Key="a")
    copied = s3.copy_object(**back)
    again = refused(s3.copy_object, **back)
    where_none_ever_was = s3.copy_object(**back | {"Key": "b"})

    assert over_another == again == (412, "PreconditionFailed")
    assert current(s3, versioned, "a") == current(s3, versioned, "b") == PICTURE
    assert s3.head_object(Bucket=versioned, Key="a")["Metadata"] == {"released": "yes"}
    assert [
        (event["eventName"], event["s3"]["object"]["key"], event["s3"]["object"].get("versionId"))
        for event in events[-2:]
    ] == [
        ("ObjectCreated:Copy", "a", copied["VersionId"]),
        ("ObjectCreated:Copy", "b", where_none_ever_was["VersionId"]),
    ]


def test_a_copy_over_what_is_expected_there_holds_to_it(s3: Any, either: str, quarantine: str) -> None:
    s3.put_object(Bucket=quarantine, Key="q", Body=PICTURE)
    etag = s3.put_object(Bucket=either, Key="a", Body=OTHER)["ETag"]
    copy = {"Bucket": either, "Key": "a", "CopySource": f"{quarantine}/q", "IfMatch": etag}

    s3.copy_object(**copy)
    mismatch = refused(s3.copy_object, **copy)
    s3.delete_object(Bucket=either, Key="a")
    gone = refused(s3.copy_object, **copy)

    assert (mismatch, gone) == ((412, "PreconditionFailed"), (404, "NoSuchKey"))


def test_a_put_over_what_is_expected_there_holds_to_it(s3: Any, either: str) -> None:
    etag = s3.put_object(Bucket=either, Key="a", Body=OTHER)["ETag"]
    put = {"Bucket": either, "Key": "a", "Body": PICTURE, "IfMatch": etag}

    s3.put_object(**put)
    mismatch = refused(s3.put_object, **put)
    s3.delete_object(Bucket=either, Key="a")
    gone = refused(s3.put_object, **put)

    assert (mismatch, gone) == ((412, "PreconditionFailed"), (404, "NoSuchKey"))


@pytest.mark.parametrize("condition", ["etag", "unquoted", "*"])
def test_a_delete_of_what_is_expected_there_is_done(
    s3: Any, versioned: str, condition: str, events: list[ObjectEvent]
) -> None:
    put = s3.put_object(Bucket=versioned, Key="a", Body=PICTURE)
    conditions = {"etag": put["ETag"], "unquoted": put["ETag"].strip('"'), "*": "*"}

    deleted = s3.delete_object(Bucket=versioned, Key="a", IfMatch=conditions[condition])

    listed = s3.list_object_versions(Bucket=versioned)
    assert deleted["DeleteMarker"] is True
    assert [marker["VersionId"] for marker in listed["DeleteMarkers"]] == [deleted["VersionId"]]
    assert [version["VersionId"] for version in listed["Versions"]] == [put["VersionId"]]
    assert [event["eventName"] for event in events][-1] == "ObjectRemoved:DeleteMarkerCreated"
    assert events[-1]["s3"]["object"]["versionId"] == deleted["VersionId"]


def test_a_delete_looks_at_the_current_version_only(s3: Any, versioned: str) -> None:
    old = s3.put_object(Bucket=versioned, Key="a", Body=PICTURE)
    s3.put_object(Bucket=versioned, Key="a", Body=OTHER)

    answer = refused(s3.delete_object, Bucket=versioned, Key="a", IfMatch=old["ETag"])

    assert answer == (412, "PreconditionFailed")
    assert current(s3, versioned, "a") == OTHER
    assert "DeleteMarkers" not in s3.list_object_versions(Bucket=versioned)


@pytest.mark.parametrize("condition", ["etag", "*"])
def test_a_conditional_delete_where_nothing_is_finds_nothing(
    s3: Any, versioned: str, bucket: str, condition: str, events: list[ObjectEvent]
) -> None:
    etag = s3.put_object(Bucket=versioned, Key="a", Body=PICTURE)["ETag"]
    marker = s3.delete_object(Bucket=versioned, Key="a")["VersionId"]
    events.clear()
    expected = {"IfMatch": etag if condition == "etag" else "*"}

    answers = [
        refused(s3.delete_object, Bucket=versioned, Key="a", **expected),
        refused(s3.delete_object, Bucket=versioned, Key="never", **expected),
    ]

    assert answers == [(404, "NoSuchKey")] * 2
    markers = s3.list_object_versions(Bucket=versioned)["DeleteMarkers"]
    assert [(found["Key"], found["VersionId"]) for found in markers] == [("a", marker)]
    assert events == []


def test_a_conditional_delete_in_an_unversioned_bucket(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=PICTURE)["ETag"]

    mismatch = refused(s3.delete_object, Bucket=bucket, Key="a", IfMatch='"other"')
    s3.delete_object(Bucket=bucket, Key="a", IfMatch=etag)
    gone = refused(s3.delete_object, Bucket=bucket, Key="a", IfMatch=etag)

    assert (mismatch, gone) == ((412, "PreconditionFailed"), (404, "NoSuchKey"))
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_condition_and_a_version_are_not_taken_together(s3: Any, versioned: str) -> None:
    put = s3.put_object(Bucket=versioned, Key="a", Body=PICTURE)
    request = {"Bucket": versioned, "Key": "a", "VersionId": put["VersionId"], "IfMatch": put["ETag"]}

    answer = refused(s3.delete_object, **request)

    assert answer == (501, "NotImplemented")
    assert current(s3, versioned, "a") == PICTURE


def test_a_condition_in_a_batch_is_not_passed_over(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="<ETag>", Body=PICTURE)
    s3.put_object(Bucket=bucket, Key="a", Body=PICTURE)

    answer = refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "a", "ETag": '"other"'}]})
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "<ETag>"}]})

    assert answer == (501, "NotImplemented")
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]


def test_one_version_is_deleted_for_good(s3: Any, versioned: str, events: list[ObjectEvent]) -> None:
    old, new = (s3.put_object(Bucket=versioned, Key="a", Body=body) for body in (PICTURE, OTHER))

    deleted = s3.delete_object(Bucket=versioned, Key="a", VersionId=new["VersionId"])
    again = s3.delete_object(Bucket=versioned, Key="a", VersionId=new["VersionId"])

    assert (deleted["VersionId"], deleted.get("DeleteMarker", False)) == (new["VersionId"], False)
    assert again["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert current(s3, versioned, "a") == PICTURE
    assert [event["eventName"] for event in events[2:]] == ["ObjectRemoved:Delete"]
    assert events[2]["s3"]["object"]["versionId"] == new["VersionId"]
    assert s3.head_object(Bucket=versioned, Key="a")["VersionId"] == old["VersionId"]


def test_a_delete_marker_is_deleted_as_such(s3: Any, versioned: str) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=PICTURE)
    marker = s3.delete_object(Bucket=versioned, Key="a")["VersionId"]

    deleted = s3.delete_object(Bucket=versioned, Key="a", VersionId=marker)

    assert (deleted["VersionId"], deleted["DeleteMarker"]) == (marker, True)
    assert current(s3, versioned, "a") == PICTURE


def test_an_unversioned_bucket_knows_the_null_version_only(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=PICTURE)
    place = {"Bucket": bucket, "Key": "a"}

    answers = [
        refused(act, **place, VersionId="f" * 32) for act in (s3.get_object, s3.head_object, s3.delete_object)
    ]

    assert answers == [(400, "InvalidArgument"), (400, "400"), (400, "InvalidArgument")]
    assert s3.head_object(**place, VersionId="null")["ContentLength"] == len(PICTURE)
    assert s3.get_object(**place, VersionId="null")["Body"].read() == PICTURE
    s3.delete_object(**place, VersionId="null")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_checksum_is_told_to_who_asks_for_it(s3: Any, either: str) -> None:
    put = s3.put_object(Bucket=either, Key="a", Body=PICTURE, ChecksumSHA256=sha256(PICTURE))

    whole = {"ChecksumSHA256": sha256(PICTURE), "ChecksumType": "FULL_OBJECT"}
    place = {"Bucket": either, "Key": "a"}
    assert checksums(put) == whole
    assert checksums(s3.head_object(**place, ChecksumMode="ENABLED")) == whole
    assert checksums(s3.get_object(**place, ChecksumMode="ENABLED")) == whole
    assert checksums(s3.head_object(**place)) == {}


def test_a_part_of_an_object_has_no_checksum(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=PICTURE, ChecksumSHA256=sha256(PICTURE))

    part = s3.get_object(Bucket=bucket, Key="a", Range="bytes=0-2", ChecksumMode="ENABLED")
    all_of_it = s3.get_object(Bucket=bucket, Key="a", Range="bytes=0-65535", ChecksumMode="ENABLED")

    assert (part["Body"].read(), checksums(part)) == (b"pic", {})
    assert checksums(all_of_it) == {"ChecksumSHA256": sha256(PICTURE), "ChecksumType": "FULL_OBJECT"}
    assert (part["ContentRange"], all_of_it["ContentRange"]) == ("bytes 0-2/7", "bytes 0-6/7")


def test_an_object_that_came_without_a_checksum_has_no_sha256(s3: Any, bucket: str) -> None:
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a"})
    requests.put(url, data=PICTURE, timeout=10).raise_for_status()

    head = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert "ChecksumSHA256" not in head


@pytest.mark.parametrize("where", ["header", "query"])
def test_the_checksum_of_a_presigned_upload_is_kept_and_held_to(
    s3: Any, bucket: str, where: str, presign: Presign
) -> None:
    checksum = {"ChecksumSHA256": sha256(PICTURE)}
    url = presign("put_object", in_query=where == "query", Bucket=bucket, Key="a", **checksum)
    headers = {"x-amz-checksum-sha256": sha256(PICTURE)} if where == "header" else {}

    answers = [requests.put(url, data=data, headers=headers, timeout=10) for data in (OTHER, PICTURE)]

    assert [answer.status_code for answer in answers] == [400, 200]
    assert checksums(s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")) == {
        **checksum,
        "ChecksumType": "FULL_OBJECT",
    }


def test_the_command_line_uploads_with_the_checksum_it_is_told(
    s3: Any, bucket: str, aws: Callable[..., str], tmp_path: Any
) -> None:
    (tmp_path / "small").write_bytes(PICTURE)
    large_file = PART + PICTURE + PART
    (tmp_path / "large").write_bytes(large_file)

    for name in ("small", "large"):
        aws(
            "s3", "cp", str(tmp_path / name), f"s3://{bucket}/{name}", "--checksum-algorithm", "SHA256",
            "--quiet",
        )  # fmt: skip

    small, large = (
        s3.head_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED") for name in ("small", "large")
    )
    digests = b"".join(
        hashlib.sha256(part).digest() for part in (large_file[:CLI_PART], large_file[CLI_PART:])
    )
    assert checksums(small) == {"ChecksumSHA256": sha256(PICTURE), "ChecksumType": "FULL_OBJECT"}
    assert checksums(large) == {"ChecksumSHA256": f"{sha256(digests)}-2", "ChecksumType": "COMPOSITE"}


def test_an_object_that_came_in_parts_has_the_checksum_of_their_checksums(
    s3: Any, either: str, multipart: Callable[..., Any]
) -> None:
    multipart(either, "a", PART, PICTURE, ChecksumAlgorithm="SHA256")

    digests = hashlib.sha256(PART).digest() + hashlib.sha256(PICTURE).digest()
    composite = {"ChecksumSHA256": f"{sha256(digests)}-2", "ChecksumType": "COMPOSITE"}
    place = {"Bucket": either, "Key": "a", "ChecksumMode": "ENABLED"}
    assert checksums(s3.head_object(**place)) == composite
    assert checksums(s3.get_object(**place)) == composite
    assert checksums(s3.get_object(**place, Range="bytes=0-9")) == {}


def test_no_sha256_of_the_whole_comes_of_parts(s3: Any, bucket: str) -> None:
    request = {"Bucket": bucket, "Key": "a", "ChecksumAlgorithm": "SHA256"}

    assert refused(s3.create_multipart_upload, **request, ChecksumType="FULL_OBJECT") == (
        400,
        "InvalidRequest",
    )
    s3.create_multipart_upload(**request, ChecksumType="COMPOSITE")


def test_two_checksums_are_one_too_many(s3: Any, bucket: str) -> None:
    both = {"ChecksumSHA256": sha256(PICTURE), "ChecksumCRC32": crc32(PICTURE)}

    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=PICTURE, **both) == (400, "InvalidRequest")
