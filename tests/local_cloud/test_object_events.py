import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from local_cloud.object_events import ObjectEvent

PART = b"." * 5 * 1024 * 1024


def names(events: list[ObjectEvent]) -> list[tuple[str, str]]:
    return [(event["eventName"], unquote_plus(event["s3"]["object"]["key"])) for event in events]


def versions(s3: Any, bucket: str) -> list[tuple[str, bool]]:
    listed = s3.list_object_versions(Bucket=bucket)
    both = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    return [(version["VersionId"], version["IsLatest"]) for version in both]


def test_a_put_is_told_in_every_field_that_s3_sends(
    s3: Any, versioned: str, events: list[ObjectEvent]
) -> None:
    put = s3.put_object(Bucket=versioned, Key="red flower.jpg", Body=b"petals")

    [event] = events
    sequencer = event["s3"]["object"].pop("sequencer")
    request_id = event["responseElements"].pop("x-amz-request-id")
    assert int(sequencer, 16) > 0
    assert len(request_id) == 16
    assert datetime.fromisoformat(event.pop("eventTime")).tzinfo
    assert event.pop("responseElements").keys() == {"x-amz-id-2"}
    assert event == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:123456789012"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "local-cloud",
            "bucket": {
                "name": versioned,
                "ownerIdentity": {"principalId": "123456789012"},
                "arn": f"arn:aws:s3:::{versioned}",
            },
            "object": {
                "key": "red+flower.jpg",
                "size": 6,
                "eTag": put["ETag"].strip('"'),
                "versionId": put["VersionId"],
            },
        },
    }


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("red flower.jpg", id="space"),
        pytest.param("a+b.jpg", id="plus"),
        pytest.param("100%.jpg", id="percent"),
        pytest.param("a%2Fb.jpg", id="encoded-slash"),
        pytest.param("a/b//c/.jpg", id="slashes"),
        pytest.param("/leading", id="leading-slash"),
        pytest.param("label#1?x=y&z", id="query-characters"),
        pytest.param("\N{DOG FACE}\N{ZERO WIDTH JOINER}.png", id="emoji"),
        pytest.param("e\N{COMBINING ACUTE ACCENT}", id="nfd"),
        pytest.param("\N{LATIN SMALL LETTER E WITH ACUTE}", id="nfc"),
        pytest.param("trailing ", id="trailing-space"),
        pytest.param("new\nline", id="newline"),
        pytest.param("x" * 1024, id="1024-bytes"),
        pytest.param("ключ/" * 50, id="cyrillic"),
    ],
)
def test_a_key_decodes_once_to_what_was_put(
    s3: Any, bucket: str, events: list[ObjectEvent], key: str
) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")

    assert names(events) == [("ObjectCreated:Put", key)]


def test_an_overwrite_of_an_unversioned_object_is_one_event_without_a_version(
    s3: Any, bucket: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")

    assert names(events) == [("ObjectCreated:Put", "a")] * 2
    assert ["versionId" in event["s3"]["object"] for event in events] == [False, False]


def test_sequencers_rise(s3: Any, bucket: str, events: list[ObjectEvent]) -> None:
    for _ in range(5):
        s3.put_object(Bucket=bucket, Key="a", Body=b"")

    sequencers = [event["s3"]["object"]["sequencer"] for event in events]
    assert sequencers == sorted(set(sequencers))


def test_a_copy_is_told_as_a_copy_of_the_new_version(
    s3: Any, versioned: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=b"12")
    copied = s3.copy_object(Bucket=versioned, Key="b", CopySource={"Bucket": versioned, "Key": "a"})
    s3.copy_object(
        Bucket=versioned, Key="b", CopySource={"Bucket": versioned, "Key": "b"}, MetadataDirective="REPLACE"
    )

    assert names(events) == [
        ("ObjectCreated:Put", "a"),
        ("ObjectCreated:Copy", "b"),
        ("ObjectCreated:Copy", "b"),
    ]
    assert events[1]["s3"]["object"]["versionId"] == copied["VersionId"]


def test_a_multipart_upload_is_told_once_when_it_is_complete(
    s3: Any, versioned: str, events: list[ObjectEvent]
) -> None:
    upload = {"Bucket": versioned, "Key": "a", "UploadId": ""}
    upload["UploadId"] = s3.create_multipart_upload(Bucket=versioned, Key="a")["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in [(1, PART), (2, b"end")]
    ]
    nothing_yet = list(events)

    completed = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    assert nothing_yet == []
    assert names(events) == [("ObjectCreated:CompleteMultipartUpload", "a")]
    assert events[0]["s3"]["object"]["versionId"] == completed["VersionId"]
    assert events[0]["s3"]["object"]["size"] == len(PART) + 3


def test_an_aborted_multipart_upload_is_not_told(s3: Any, bucket: str, events: list[ObjectEvent]) -> None:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="a", UploadId=upload_id, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="a", UploadId=upload_id)

    assert events == []


def test_deleting_an_unversioned_object_is_told_and_a_missing_one_is_not(
    s3: Any, bucket: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_object(Bucket=bucket, Key="a")

    assert names(events[1:]) == [("ObjectRemoved:Delete", "a")]
    assert events[1]["s3"]["object"].keys() == {"key", "sequencer"}


def test_a_delete_marker_is_told_with_its_version(s3: Any, versioned: str, events: list[ObjectEvent]) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=b"x")
    marker = s3.delete_object(Bucket=versioned, Key="a")

    assert names(events[1:]) == [("ObjectRemoved:DeleteMarkerCreated", "a")]
    assert events[1]["s3"]["object"]["versionId"] == marker["VersionId"]


@pytest.mark.parametrize("which", ["old", "current", "marker"])
def test_deleting_one_version_is_told_with_that_version(
    s3: Any, versioned: str, events: list[ObjectEvent], which: str
) -> None:
    ids = {
        "old": s3.put_object(Bucket=versioned, Key="a", Body=b"1")["VersionId"],
        "current": s3.put_object(Bucket=versioned, Key="a", Body=b"2")["VersionId"],
        "marker": s3.delete_object(Bucket=versioned, Key="a")["VersionId"],
    }
    events.clear()

    s3.delete_object(Bucket=versioned, Key="a", VersionId=ids[which])

    assert names(events) == [("ObjectRemoved:Delete", "a")]
    assert events[0]["s3"]["object"]["versionId"] == ids[which]
    assert {version for version, _ in versions(s3, versioned)} == set(ids.values()) - {ids[which]}


def test_a_bucket_with_suspended_versioning_tells_no_version(
    s3: Any, versioned: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=b"numbered")
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    events.clear()

    s3.put_object(Bucket=versioned, Key="a", Body=b"null")
    s3.put_object(Bucket=versioned, Key="a", Body=b"null again")
    s3.delete_object(Bucket=versioned, Key="a")
    s3.delete_object(Bucket=versioned, Key="a", VersionId="null")

    assert names(events) == [
        ("ObjectCreated:Put", "a"),
        ("ObjectCreated:Put", "a"),
        ("ObjectRemoved:DeleteMarkerCreated", "a"),
        ("ObjectRemoved:Delete", "a"),
    ]
    assert not any("versionId" in event["s3"]["object"] for event in events)


@pytest.mark.parametrize("quiet", [False, True])
def test_deleting_in_bulk_is_told_object_by_object(
    s3: Any, versioned: str, events: list[ObjectEvent], quiet: bool
) -> None:
    old = s3.put_object(Bucket=versioned, Key="a b", Body=b"1")["VersionId"]
    s3.put_object(Bucket=versioned, Key="a b", Body=b"2")
    s3.put_object(Bucket=versioned, Key="c&d", Body=b"3")
    events.clear()
    objects = [{"Key": "a b", "VersionId": old}, {"Key": "c&d"}, {"Key": "not there"}]

    s3.delete_objects(Bucket=versioned, Delete={"Objects": objects, "Quiet": quiet})

    assert sorted(names(events)) == [
        ("ObjectRemoved:Delete", "a b"),
        ("ObjectRemoved:DeleteMarkerCreated", "c&d"),
        ("ObjectRemoved:DeleteMarkerCreated", "not there"),
    ]


def test_what_fails_is_not_told(s3: Any, versioned: str, events: list[ObjectEvent]) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=b"1")
    events.clear()

    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=versioned, Key="a", Body=b"2", IfNoneMatch="*")
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchKey"):
        s3.copy_object(Bucket=versioned, Key="b", CopySource={"Bucket": versioned, "Key": "gone"})

    assert events == []


def test_reading_tagging_and_describing_are_not_told(
    s3: Any, versioned: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=versioned, Key="a", Body=b"1")
    events.clear()

    s3.get_object(Bucket=versioned, Key="a")["Body"].read()
    s3.put_object_tagging(Bucket=versioned, Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.put_object_acl(Bucket=versioned, Key="a", ACL="private")
    s3.delete_object_tagging(Bucket=versioned, Key="a")

    assert events == []


def test_the_command_line_is_told_as_any_other_client(
    aws: Callable[..., str], versioned: str, tmp_path: Path, events: list[ObjectEvent]
) -> None:
    (tmp_path / "many").mkdir()
    for name in ("one.png", "two three.png"):
        (tmp_path / "many" / name).write_bytes(b"x")
    (tmp_path / "big.png").write_bytes(os.urandom(9 * 1024 * 1024))

    aws("s3", "cp", str(tmp_path / "big.png"), f"s3://{versioned}/big.png")
    aws("s3", "mv", f"s3://{versioned}/big.png", f"s3://{versioned}/moved.png")
    aws("s3", "sync", str(tmp_path / "many"), f"s3://{versioned}/many")
    aws("s3", "rm", "--recursive", f"s3://{versioned}/many")

    assert names(events[:1]) == [("ObjectCreated:CompleteMultipartUpload", "big.png")]
    assert names(events[1:3])[1] == ("ObjectRemoved:DeleteMarkerCreated", "big.png")
    assert names(events[1:3])[0][1] == "moved.png"
    assert sorted(names(events[3:])) == [
        ("ObjectCreated:Put", "many/one.png"),
        ("ObjectCreated:Put", "many/two three.png"),
        ("ObjectRemoved:DeleteMarkerCreated", "many/one.png"),
        ("ObjectRemoved:DeleteMarkerCreated", "many/two three.png"),
    ]
