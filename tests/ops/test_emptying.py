import secrets
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from ops import emptying
from ops.emptying import Bucket
from ops.problems import Problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ODD_KEYS = [
    "plain.png",
    "a b/ü+%2F&<>'\".png",
    "line\nfeed\tand tab",
    " ends with space ",
    "/",
    "💡" * 256,
]


@pytest.fixture
def s3(session: boto3.Session) -> "S3Client":
    return session.client("s3")


@pytest.fixture
def bucket(s3: "S3Client") -> Bucket:
    """Versioned, and dealt with in small pages."""
    name = f"t-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(s3, name, "123456789012", page=4)


def put(bucket: Bucket, key: str, body: bytes = b"") -> None:
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)


def is_there(bucket: Bucket) -> bool:
    return bucket.name in [each["Name"] for each in bucket.client.list_buckets()["Buckets"]]


def test_every_version_and_every_marker_goes(bucket: Bucket) -> None:
    for key in ("a", "b", "b"):
        put(bucket, key)
    bucket.client.delete_object(Bucket=bucket.name, Key="a")
    said: list[str] = []

    bucket.delete(said.append)

    assert not is_there(bucket)
    assert said == [f"Emptying the bucket {bucket.name} ... 4"]


def test_unfinished_uploads_go(bucket: Bucket) -> None:
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="half")

    bucket.delete(lambda _: None)

    assert not is_there(bucket)


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_any_key_goes(bucket: Bucket, key: str) -> None:
    put(bucket, key)

    bucket.delete(lambda _: None)

    assert not is_there(bucket)


def test_more_than_a_page_goes(bucket: Bucket) -> None:
    for number in range(9):
        put(bucket, str(number))
    said: list[str] = []

    bucket.delete(said.append)

    assert not is_there(bucket)
    assert [line.rpartition(" ")[2] for line in said] == ["4", "8", "9"]


def test_a_bucket_without_versions_goes(s3: "S3Client") -> None:
    bucket = Bucket(s3, f"t-{secrets.token_hex(6)}", "123456789012")
    s3.create_bucket(Bucket=bucket.name)
    put(bucket, "a")

    bucket.delete(lambda _: None)

    assert not is_there(bucket)


class Uploader:
    """Puts something into the bucket whenever somebody is about to delete it."""

    def __init__(self, bucket: Bucket, times: int) -> None:
        self._bucket = bucket
        self._times = times
        bucket.client.meta.events.register("before-call.s3.DeleteBucket", self.upload)

    def upload(self, **_: Any) -> None:
        if self._times:
            self._times -= 1
            put(self._bucket, "late.png")


def test_what_a_signed_url_still_brings_goes_too(bucket: Bucket) -> None:
    Uploader(bucket, times=2)

    bucket.delete(lambda _: None)

    assert not is_there(bucket)


def test_somebody_who_does_not_stop_is_a_problem(bucket: Bucket) -> None:
    Uploader(bucket, times=emptying.ROUNDS)

    with pytest.raises(Problem, match=f"Somebody still writes to the bucket {bucket.name}"):
        bucket.delete(lambda _: None)


def test_an_object_that_cannot_be_deleted_is_a_problem(bucket: Bucket) -> None:
    put(bucket, "held")

    def refuse(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Errors"] = [{"Key": "held", "Code": "AccessDenied", "Message": "Access Denied"}]

    bucket.client.meta.events.register("after-call.s3.DeleteObjects", refuse)

    with pytest.raises(Problem, match=f"'held' in {bucket.name} cannot be deleted: Access Denied"):
        bucket.delete(lambda _: None)


def listed(*keys: str) -> dict[str, Any]:
    return {"Versions": [{"Key": key, "VersionId": "1"} for key in keys]}


def test_what_xml_cannot_spell_is_deleted_by_itself(s3: "S3Client") -> None:
    stubber = Stubber(s3)
    stubber.add_response("list_object_versions", listed("plain", "control\x01"))
    stubber.add_response("delete_object", {}, {"Bucket": "b", "Key": "control\x01", "VersionId": "1"})
    plain = {"Objects": [{"Key": "plain", "VersionId": "1"}], "Quiet": True}
    stubber.add_response("delete_objects", {}, {"Bucket": "b", "Delete": plain, "ExpectedBucketOwner": "1"})
    stubber.add_response("list_object_versions", {})
    stubber.add_response("list_multipart_uploads", {})
    stubber.add_response("delete_bucket", {})

    with stubber:
        Bucket(s3, "b", "1").delete(lambda _: None)

    stubber.assert_no_pending_responses()


def test_where_there_is_nothing_else_xml_is_not_asked(s3: "S3Client") -> None:
    stubber = Stubber(s3)
    stubber.add_response("list_object_versions", listed("control\x01"))
    stubber.add_response("delete_object", {})
    stubber.add_response("list_object_versions", {})
    stubber.add_response("list_multipart_uploads", {})
    stubber.add_client_error("delete_bucket", "AccessDenied")

    with stubber, pytest.raises(ClientError, match="AccessDenied"):
        Bucket(s3, "b", "1").delete(lambda _: None)


def test_what_does_not_go_is_not_tried_for_ever(s3: "S3Client") -> None:
    stubber = Stubber(s3)
    stubber.add_response("list_object_versions", listed("stubborn"))
    stubber.add_response("delete_objects", {})
    stubber.add_response("list_object_versions", listed("stubborn"))

    with stubber, pytest.raises(Problem, match="'stubborn' in the bucket b cannot be deleted"):
        Bucket(s3, "b", "1").delete(lambda _: None)


def test_another_error_stays_what_it_is(s3: "S3Client") -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        Bucket(s3, "nobodys-bucket", "123456789012").delete(lambda _: None)


def test_a_bucket_is_surveyed(bucket: Bucket) -> None:
    assert bucket.survey() == "0 objects and 0 old versions, 0 bytes"
    put(bucket, "a", b"x" * 1500)
    put(bucket, "a", b"x" * 1500)
    put(bucket, "b", b"")
    bucket.client.delete_object(Bucket=bucket.name, Key="b")

    assert bucket.survey() == "1 objects and 2 old versions, 3.0 kB"


def test_a_large_bucket_is_surveyed_in_part(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "PAGES", 1)
    for number in range(5):
        put(bucket, str(number), b"x")

    assert bucket.survey() == "more than 4 objects and 0 old versions, more than 4 bytes"
