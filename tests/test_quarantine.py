import hashlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.claim import RELEASE
from chalicelib.errors import AccessLost, Contended, ObjectUnavailable, Retryable, ServiceFailed, Throttled
from chalicelib.quarantine import Quarantine
from tests import faults

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = f"shown-{secrets.token_hex(6)}"
HIDDEN = f"{NAME}-hidden"
KEY = "a b+c#?/\N{DOG FACE}.png"


@pytest.fixture
def client(endpoint: object) -> "S3Client":
    return boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(scope="module", autouse=True)
def buckets(endpoint: object) -> None:
    client = boto3.client("s3")
    for name in (NAME, HIDDEN):
        client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})


@pytest.fixture
def quarantine(client: "S3Client") -> Quarantine:
    return Quarantine(client, client, HIDDEN, NAME)


@pytest.fixture
def place() -> str:
    return f"{secrets.token_hex(8)}/version"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def put(s3: "S3Client", body: bytes, **more: Any) -> str:
    return s3.put_object(Bucket=NAME, Key=KEY, Body=body, **more)["VersionId"]


def stored(s3: "S3Client", bucket: str, key: str) -> Any:
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError:
        return None
    return answer["Body"].read(), answer["ContentType"], answer["Metadata"]


def test_that_very_version_is_kept_with_all_that_is_said_of_it(
    quarantine: Quarantine, s3: "S3Client", place: str
) -> None:
    version = put(s3, b"old", ContentType="image/png", Metadata={"by": "Ann"}, Tagging="album=summer")
    put(s3, b"new")

    quarantine.keep(KEY, version, place, sha256(b"old"))

    assert stored(s3, HIDDEN, place) == (b"old", "image/png", {"by": "Ann"})
    assert s3.get_object_tagging(Bucket=HIDDEN, Key=place)["TagSet"] == [{"Key": "album", "Value": "summer"}]
    assert quarantine.has(place)


def test_what_is_kept_already_is_not_copied_again(
    quarantine: Quarantine, client: "S3Client", s3: "S3Client", place: str
) -> None:
    version = put(s3, b"picture")
    quarantine.keep(KEY, version, place, sha256(b"picture"))
    sent = faults.plan(client.meta.events, "s3.CopyObject")

    quarantine.keep(KEY, version, place, sha256(b"picture"))

    assert sent == []


def test_a_copy_that_differs_is_none(quarantine: Quarantine, s3: "S3Client", place: str) -> None:
    version = put(s3, b"picture")

    with pytest.raises(ServiceFailed, match="differs"):
        quarantine.keep(KEY, version, place, sha256(b"other bytes"))


def test_half_a_copy_is_made_whole(quarantine: Quarantine, s3: "S3Client", place: str) -> None:
    version = put(s3, b"picture")
    s3.put_object(Bucket=HIDDEN, Key=place, Body=b"pict", ChecksumAlgorithm="SHA256")

    quarantine.keep(KEY, version, place, sha256(b"picture"))

    assert stored(s3, HIDDEN, place)[0] == b"picture"


def test_a_version_that_is_gone_cannot_be_kept(quarantine: Quarantine, s3: "S3Client", place: str) -> None:
    version = put(s3, b"picture")
    s3.delete_object(Bucket=NAME, Key=KEY, VersionId=version)

    with pytest.raises(ObjectUnavailable):
        quarantine.keep(KEY, version, place, sha256(b"picture"))

    assert not quarantine.has(place)


def test_a_picture_comes_back_with_its_mark_and_all_that_is_said_of_it(
    quarantine: Quarantine, s3: "S3Client", place: str
) -> None:
    version = put(s3, b"picture", ContentType="image/png", Metadata={"by": "Ann"}, Tagging="album=summer")
    quarantine.keep(KEY, version, place, sha256(b"picture"))
    s3.delete_object(Bucket=NAME, Key=KEY)

    quarantine.give_back(place, KEY, "nonce")

    assert stored(s3, NAME, KEY) == (b"picture", "image/png", {"by": "Ann", RELEASE: "nonce"})
    assert s3.get_object_tagging(Bucket=NAME, Key=KEY)["TagSet"] == [{"Key": "album", "Value": "summer"}]


def test_a_picture_comes_back_with_the_headers_that_it_was_uploaded_with(
    quarantine: Quarantine, s3: "S3Client", place: str
) -> None:
    headers = {
        "CacheControl": "max-age=60",
        "ContentDisposition": "inline",
        "ContentEncoding": "identity",
        "ContentLanguage": "de",
        "ContentType": "image/png",
        "Expires": datetime(2030, 1, 1, tzinfo=UTC),
    }
    quarantine.keep(KEY, put(s3, b"picture", **headers), place, sha256(b"picture"))
    s3.delete_object(Bucket=NAME, Key=KEY)

    quarantine.give_back(place, KEY, "nonce")

    back = s3.head_object(Bucket=NAME, Key=KEY)
    assert {name: back.get(name) for name in headers} == headers


def test_a_picture_that_was_uploaded_meanwhile_is_not_overwritten(
    quarantine: Quarantine, s3: "S3Client", place: str
) -> None:
    quarantine.keep(KEY, put(s3, b"picture"), place, sha256(b"picture"))
    put(s3, b"newer")

    quarantine.give_back(place, KEY, "nonce")

    assert stored(s3, NAME, KEY)[0] == b"newer"


def test_a_forged_mark_is_replaced(quarantine: Quarantine, s3: "S3Client", place: str) -> None:
    quarantine.keep(KEY, put(s3, b"picture", Metadata={RELEASE: "forged"}), place, sha256(b"picture"))
    s3.delete_object(Bucket=NAME, Key=KEY)

    quarantine.give_back(place, KEY, "nonce")

    assert stored(s3, NAME, KEY)[2] == {RELEASE: "nonce"}


def test_metadata_that_leave_no_room_for_the_mark_are_cut(
    quarantine: Quarantine, s3: "S3Client", place: str
) -> None:
    full = {"a": "x" * 1000, "b": "y" * 1046}
    quarantine.keep(KEY, put(s3, b"picture", Metadata=full), place, sha256(b"picture"))
    s3.delete_object(Bucket=NAME, Key=KEY)

    quarantine.give_back(place, KEY, "nonce")

    assert stored(s3, NAME, KEY)[2] == {"a": "x" * 1000, RELEASE: "nonce"}


def test_what_is_not_there_does_not_come_back(quarantine: Quarantine, s3: "S3Client", place: str) -> None:
    s3.delete_object(Bucket=NAME, Key=KEY)

    with pytest.raises(ObjectUnavailable):
        quarantine.give_back(place, KEY, "nonce")


def test_what_is_discarded_is_gone(quarantine: Quarantine, s3: "S3Client", place: str) -> None:
    quarantine.keep(KEY, put(s3, b"picture"), place, sha256(b"picture"))

    quarantine.discard(place)
    quarantine.discard(place)

    assert not quarantine.has(place)


@pytest.mark.parametrize(
    ("operation", "step", "failure"),
    [
        pytest.param("CopyObject", faults.xml_error(403, "AccessDenied"), AccessLost, id="no right to copy"),
        pytest.param("CopyObject", faults.xml_error(503, "SlowDown"), Throttled, id="copies throttled"),
        pytest.param("CopyObject", faults.xml_error(500, "InternalError"), ServiceFailed, id="no copies"),
        pytest.param("HeadObject", faults.answering(403, b""), AccessLost, id="no right to look"),
        pytest.param("HeadObject", faults.answering(503, b""), ServiceFailed, id="no looks"),
    ],
)
def test_a_failure_is_told_by_its_class(
    operation: str,
    step: faults.Step,
    failure: type[Retryable],
    quarantine: Quarantine,
    client: "S3Client",
    s3: "S3Client",
    place: str,
) -> None:
    version = put(s3, b"picture")
    faults.plan(client.meta.events, f"s3.{operation}", step)

    with pytest.raises(Retryable) as raised:
        quarantine.keep(KEY, version, place, sha256(b"picture"))

    assert type(raised.value) is failure


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_a_picture_whose_key_is_written_at_the_same_time_comes_back_by_a_later_try(
    code: str, quarantine: Quarantine, client: "S3Client", s3: "S3Client", place: str
) -> None:
    quarantine.keep(KEY, put(s3, b"picture"), place, sha256(b"picture"))
    s3.delete_object(Bucket=NAME, Key=KEY)
    faults.plan(client.meta.events, "s3.CopyObject", faults.xml_error(409, code))

    with pytest.raises(Contended):
        quarantine.give_back(place, KEY, "nonce")

    quarantine.give_back(place, KEY, "nonce")
    assert stored(s3, NAME, KEY)[0] == b"picture"
