import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib.bucket import HEAD_BYTES, Bucket
from chalicelib.contents import Contents
from chalicelib.errors import ServiceFailed
from tests.faults import answering, plan

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGE = secrets.token_bytes(HEAD_BYTES + 1)

Open = Callable[..., Contents]


@pytest.fixture(scope="module")
def name(endpoint: object) -> str:
    name = f"contents-{secrets.token_hex(6)}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def client(endpoint: object) -> "S3Client":
    return boto3.client("s3")


@pytest.fixture
def open_(client: "S3Client", name: str, s3: "S3Client") -> Open:
    def open_(body: bytes, **more: Any) -> Contents:
        """Uploads a picture, and looks at it."""
        bucket, key = Bucket(client, name), secrets.token_hex(4)
        s3.put_object(Bucket=name, Key=key, Body=body, **more)
        found = bucket.look(key)
        assert found is not None
        return Contents(bucket, found)

    return open_


@pytest.fixture
def sent(client: "S3Client") -> list[str]:
    """The calls that are made, without the look."""
    calls: list[str] = []

    def note(model: Any, params: Any, **_: Any) -> None:
        if "Range" not in params["headers"]:
            calls.append(model.name)

    client.meta.events.register("before-call", note)
    return calls


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_what_nobody_needs_is_not_fetched(open_: Open, sent: list[str]) -> None:
    with open_(LARGE):
        pass

    assert sent == []


def test_a_picture_that_was_seen_whole_is_known_without_a_call(open_: Open, sent: list[str]) -> None:
    with open_(LARGE[:HEAD_BYTES]) as contents:
        assert contents.sha256 == sha256(LARGE[:HEAD_BYTES])

    assert sent == []


def test_a_picture_with_a_checksum_is_known_without_a_download(open_: Open, sent: list[str]) -> None:
    declared = b64encode(hashlib.sha256(LARGE).digest()).decode()

    with open_(LARGE, ChecksumSHA256=declared) as contents:
        assert [contents.sha256, contents.sha256] == [sha256(LARGE)] * 2

    assert sent == ["HeadObject"]


def test_a_picture_without_a_checksum_is_downloaded_once_for_all_purposes(
    open_: Open, sent: list[str]
) -> None:
    with open_(LARGE) as contents:
        known = [contents.sha256, contents.sha256]
        contents.file.seek(0)
        read = contents.file.read()

    assert known == [sha256(LARGE)] * 2
    assert read == LARGE
    assert sent == ["HeadObject", "GetObject"]


def test_what_was_read_first_is_known_all_the_same(open_: Open, sent: list[str]) -> None:
    with open_(LARGE) as contents:
        contents.file.seek(7)

        assert contents.sha256 == sha256(LARGE)

    assert sent == ["GetObject", "HeadObject"]


def test_nothing_stays_open(open_: Open) -> None:
    with open_(LARGE) as contents:
        file = contents.file

    assert file.closed


def test_a_download_that_fails_leaves_nothing_open_and_is_begun_anew(
    open_: Open, client: "S3Client", sent: list[str]
) -> None:
    contents = open_(LARGE)
    plan(client.meta.events, "s3.GetObject", *[answering(500, b"")] * 5)

    with contents:
        with pytest.raises(ServiceFailed):
            _ = contents.file
        contents.file.seek(0)
        assert contents.file.read() == LARGE

    assert sent == ["GetObject", "GetObject"]
