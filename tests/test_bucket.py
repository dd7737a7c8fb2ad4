import base64
import hashlib
import io
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from chalicelib.bucket import CHUNK_BYTES, DOWNLOAD_SECONDS, HEAD_BYTES, Bucket
from chalicelib.errors import AccessLost, Contended, ObjectUnavailable, Retryable, ServiceFailed, Throttled
from chalicelib.model import StoredObject, Upload
from chalicelib.services import PRESIGNING
from tests import faults

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})
NAME = f"look-{secrets.token_hex(6)}"
URL = "https://s3.example"
FOUND = StoredObject("car.png", "v1", "e", 100, None, datetime(2026, 1, 2, tzinfo=UTC), {}, b"")

KEYS = [
    "a b.png",
    "a+b.png",
    "100%.png",
    "a%2Fb.png",
    "a/b//c.png",
    "/leading",
    " spaces ",
    "🐶#?&=.png",
    "caf\u00e9.png",
    "cafe\u0301.png",
    "../../a/./b",
    ".",
    "line\nfeed",
    "k" * 1024,
    "🐶" * 256,
]


@pytest.fixture(scope="module")
def versioned(endpoint: object) -> str:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=NAME)
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    return NAME


@pytest.fixture(scope="module")
def unversioned(endpoint: object) -> str:
    boto3.client("s3").create_bucket(Bucket=f"{NAME}-plain")
    return f"{NAME}-plain"


@pytest.fixture
def client(endpoint: object) -> "S3Client":
    return boto3.client("s3", config=ONE_ATTEMPT.merge(PRESIGNING))


@pytest.fixture
def bucket(client: "S3Client", versioned: str) -> Bucket:
    return Bucket(client, versioned)


@pytest.fixture
def key() -> str:
    return f"{secrets.token_hex(6)}.png"


def plan(client: "S3Client", *steps: faults.Step) -> list[Any]:
    return faults.plan(client.meta.events, "s3.GetObject", *steps)


def test_a_look_sees_the_current_version(bucket: Bucket, s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=bucket.name, Key=key, Body=b"old")
    put = s3.put_object(
        Bucket=bucket.name, Key=key, Body=b"new", ContentType="image/png", Metadata={"taken-by": "Ann, B."}
    )

    found = bucket.look(key)

    assert found is not None
    assert datetime.now(UTC) - found.uploaded_at < timedelta(minutes=1)
    assert found == StoredObject(
        key=key,
        version_id=put["VersionId"],
        etag=hashlib.md5(b"new", usedforsecurity=False).hexdigest(),
        size=3,
        content_type="image/png",
        uploaded_at=found.uploaded_at,
        metadata={"taken-by": "Ann, B."},
        head=b"new",
    )


def test_without_versions_the_etag_tells_contents_apart(
    client: "S3Client", unversioned: str, s3: "S3Client", key: str
) -> None:
    s3.put_object(Bucket=unversioned, Key=key, Body=b"x")

    found = Bucket(client, unversioned).look(key)

    assert found is not None
    assert (found.version_id, found.version) == (None, "9dd4e461268c8034f5c8564e155c67a6")


def test_an_object_from_before_versions_has_no_version(client: "S3Client", s3: "S3Client", key: str) -> None:
    name = f"{NAME}-later"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key=key, Body=b"x")
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    found = Bucket(client, name).look(key)

    assert found is not None
    assert found.version_id is None


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_an_object_is_seen_under_exactly_its_key(bucket: Bucket, s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=bucket.name, Key=key, Body=key.encode())

    found = bucket.look(key)

    assert found is not None
    assert (found.key, found.head) == (key, key.encode())
    listed = s3.list_objects_v2(Bucket=bucket.name, Prefix=key)["Contents"]
    assert key in [each["Key"] for each in listed]


@pytest.mark.parametrize("size", [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 3 * HEAD_BYTES])
def test_of_a_large_object_the_size_and_the_first_bytes_are_seen(
    bucket: Bucket, s3: "S3Client", key: str, size: int
) -> None:
    body = secrets.token_bytes(size)
    s3.put_object(Bucket=bucket.name, Key=key, Body=body)

    found = bucket.look(key)

    assert found is not None
    assert (found.size, found.head) == (size, body[: 64 * 1024])


def test_a_look_is_one_ranged_request(bucket: Bucket, client: "S3Client", s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    sent = faults.plan(client.meta.events, "s3")

    bucket.look(key)

    assert [(request.method, request.headers["Range"]) for request in sent] == [("GET", b"bytes=0-65535")]


def test_an_empty_object_is_seen_though_it_has_no_range(
    bucket: Bucket, client: "S3Client", s3: "S3Client", key: str
) -> None:
    put = s3.put_object(Bucket=bucket.name, Key=key, Body=b"", Metadata={"a": "b"})
    sent = plan(client)

    found = bucket.look(key)

    assert found is not None
    assert (found.version_id, found.size, found.head, found.metadata) == (
        put["VersionId"],
        0,
        b"",
        {"a": "b"},
    )
    assert len(sent) == 2


def test_an_empty_object_that_is_overwritten_meanwhile_is_seen_as_it_is_now(
    bucket: Bucket, client: "S3Client", s3: "S3Client", key: str
) -> None:
    body = secrets.token_bytes(3 * HEAD_BYTES)
    s3.put_object(Bucket=bucket.name, Key=key, Body=b"")
    overwrite = faults.after(lambda: s3.put_object(Bucket=bucket.name, Key=key, Body=body))
    plan(client, faults.through, overwrite)

    found = bucket.look(key)

    assert found is not None
    assert (found.size, found.head) == (len(body), body[:HEAD_BYTES])


def test_an_empty_object_that_is_removed_meanwhile_is_gone(
    bucket: Bucket, client: "S3Client", s3: "S3Client", key: str
) -> None:
    s3.put_object(Bucket=bucket.name, Key=key, Body=b"")
    plan(client, faults.through, faults.after(lambda: s3.delete_object(Bucket=bucket.name, Key=key)))

    assert bucket.look(key) is None


def test_access_lost_behind_an_empty_object_is_no_removal(
    bucket: Bucket, client: "S3Client", s3: "S3Client", key: str
) -> None:
    s3.put_object(Bucket=bucket.name, Key=key, Body=b"")
    plan(client, faults.through, faults.xml_error(403, "AccessDenied"))

    with pytest.raises(AccessLost):
        bucket.look(key)


def test_what_was_never_there_is_not_seen(bucket: Bucket) -> None:
    assert bucket.look("never.png") is None


def test_a_removed_delete_marker_shows_what_was_there(bucket: Bucket, s3: "S3Client", key: str) -> None:
    put = s3.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    marker = s3.delete_object(Bucket=bucket.name, Key=key)["VersionId"]

    s3.delete_object(Bucket=bucket.name, Key=key, VersionId=marker)

    found = bucket.look(key)
    assert found is not None
    assert found.version_id == put["VersionId"]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_exactly_that_key_is_deleted(bucket: Bucket, s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=bucket.name, Key=key, Body=b"x")

    bucket.delete(key)

    assert bucket.look(key) is None


def test_deleting_what_is_not_there_is_no_error(bucket: Bucket) -> None:
    bucket.delete("never.png")


@pytest.mark.parametrize(
    "call",
    [lambda b: b.look("k"), lambda b: b.delete("k")],
    ids=["look", "delete"],
)
def test_a_missing_bucket_is_lost_access_and_no_missing_object(
    client: "S3Client", call: Callable[[Bucket], object]
) -> None:
    with pytest.raises(AccessLost):
        call(Bucket(client, f"{NAME}-missing"))


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        pytest.param(faults.xml_error(403, "AccessDenied"), AccessLost, id="403"),
        pytest.param(faults.xml_error(404, "NoSuchBucket"), AccessLost, id="no such bucket"),
        pytest.param(faults.xml_error(400, "ExpiredToken"), AccessLost, id="expired token"),
        pytest.param(faults.xml_error(403, "InvalidAccessKeyId"), AccessLost, id="unknown access key"),
        pytest.param(faults.xml_error(403, "SignatureDoesNotMatch"), AccessLost, id="wrong secret key"),
        pytest.param(faults.xml_error(403, "RequestTimeTooSkewed"), AccessLost, id="wrong clock"),
        pytest.param(faults.xml_error(400, "RequestTimeout"), ServiceFailed, id="request timeout"),
        pytest.param(faults.xml_error(503, "SlowDown"), Throttled, id="slow down"),
        pytest.param(faults.xml_error(500, "InternalError"), ServiceFailed, id="500"),
        pytest.param(faults.answering(503, b""), ServiceFailed, id="503 without a body"),
        pytest.param(faults.answering(502, b"<html>"), ServiceFailed, id="502 in HTML"),
        pytest.param(faults.raising(ReadTimeoutError(endpoint_url=URL)), ServiceFailed, id="timeout"),
        pytest.param(
            faults.raising(EndpointConnectionError(endpoint_url=URL)), ServiceFailed, id="unreachable"
        ),
    ],
)
@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("s3.GetObject", lambda b: b.look("k")),
        ("s3.DeleteObject", lambda b: b.delete("k")),
    ],
    ids=["look", "delete"],
)
def test_an_outage_is_never_a_missing_object(
    bucket: Bucket,
    client: "S3Client",
    operation: str,
    call: Callable[[Bucket], object],
    fault: faults.Step,
    failure: type[Retryable],
) -> None:
    faults.plan(client.meta.events, operation, fault)

    with pytest.raises(Retryable) as raised:
        call(bucket)

    assert type(raised.value) is failure


def test_an_answer_nobody_foresaw_is_a_bug(bucket: Bucket, client: "S3Client") -> None:
    plan(client, faults.xml_error(400, "AuthorizationHeaderMalformed"))

    with pytest.raises(ClientError):
        bucket.look("k")


@pytest.fixture
def half_an_answer() -> Iterator[str]:
    """The address of a server that breaks off in the middle of a body."""
    headers = ["ETag: e", "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT", "Content-Length: 100"]
    head = "\r\n".join(["HTTP/1.1 206 Partial Content", *headers, "", ""])

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(head.encode() + b"x" * 50)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_body_cut_in_mid_stream_is_a_failed_service(half_an_answer: str) -> None:
    client = boto3.client("s3", endpoint_url=half_an_answer, config=ONE_ATTEMPT)

    with pytest.raises(ServiceFailed):
        Bucket(client, "pictures").look("car.png")


def test_a_download_cut_in_mid_stream_is_a_failed_service(half_an_answer: str) -> None:
    client = boto3.client("s3", endpoint_url=half_an_answer, config=ONE_ATTEMPT)

    with pytest.raises(ServiceFailed):
        Bucket(client, "pictures").download(FOUND, io.BytesIO())


@pytest.fixture
def a_stalled_answer() -> Iterator[str]:
    """The address of a server that falls silent in the middle of a body."""
    headers = ["ETag: e", "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT", "Content-Length: 100"]
    head = "\r\n".join(["HTTP/1.1 206 Partial Content", *headers, "", ""])
    given_up = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(head.encode() + b"x" * 50)
            given_up.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        given_up.set()
        thread.join()


@pytest.mark.parametrize(
    "read",
    [lambda bucket: bucket.look("car.png"), lambda bucket: bucket.download(FOUND, io.BytesIO())],
    ids=["look", "download"],
)
def test_a_body_that_stalls_is_a_failed_service(
    read: Callable[[Bucket], object], a_stalled_answer: str
) -> None:
    hasty = ONE_ATTEMPT.merge(Config(read_timeout=0.1))
    client = boto3.client("s3", endpoint_url=a_stalled_answer, config=hasty)

    with pytest.raises(ServiceFailed):
        read(Bucket(client, "pictures"))


# Download


def found_under(bucket: Bucket, key: str) -> StoredObject:
    found = bucket.look(key)
    assert found is not None
    return found


def downloaded(bucket: Bucket, found: StoredObject) -> bytes:
    file = io.BytesIO()
    bucket.download(found, file)
    return file.getvalue()


@pytest.mark.parametrize("size", [1, HEAD_BYTES + 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
def test_a_download_is_the_whole_of_the_version_that_was_seen(
    size: int, bucket: Bucket, s3: "S3Client", key: str
) -> None:
    body = secrets.token_bytes(size)
    s3.put_object(Bucket=NAME, Key=key, Body=body)
    found = found_under(bucket, key)
    s3.put_object(Bucket=NAME, Key=key, Body=b"what is there meanwhile")

    assert downloaded(bucket, found) == body


def test_an_exotic_key_is_downloaded(bucket: Bucket, s3: "S3Client") -> None:
    key = f"{secrets.token_hex(6)}/a b+%2F🐶\n.png"
    s3.put_object(Bucket=NAME, Key=key, Body=b"body")

    assert downloaded(bucket, found_under(bucket, key)) == b"body"


def test_without_versions_what_was_seen_is_downloaded_or_nothing(
    client: "S3Client", unversioned: str, s3: "S3Client", key: str
) -> None:
    bucket = Bucket(client, unversioned)
    s3.put_object(Bucket=unversioned, Key=key, Body=b"body")
    found = found_under(bucket, key)

    assert downloaded(bucket, found) == b"body"
    s3.put_object(Bucket=unversioned, Key=key, Body=b"what is there meanwhile")
    with pytest.raises(ObjectUnavailable):
        downloaded(bucket, found)


@pytest.mark.parametrize("versions", [True, False], ids=["versioned", "unversioned"])
def test_what_is_gone_meanwhile_is_unavailable(
    versions: bool, client: "S3Client", versioned: str, unversioned: str, s3: "S3Client", key: str
) -> None:
    bucket = Bucket(client, versioned if versions else unversioned)
    version = s3.put_object(Bucket=bucket.name, Key=key, Body=b"body").get("VersionId")
    found = found_under(bucket, key)
    s3.delete_object(Bucket=bucket.name, Key=key, **({"VersionId": version} if version else {}))  # type: ignore[arg-type]

    with pytest.raises(ObjectUnavailable):
        downloaded(bucket, found)


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (403, "InvalidObjectState", ObjectUnavailable),
        (404, "NoSuchVersion", ObjectUnavailable),
        (403, "AccessDenied", AccessLost),
        (404, "NoSuchBucket", AccessLost),
        (400, "KMS.DisabledException", AccessLost),
        (503, "SlowDown", Throttled),
        (500, "InternalError", ServiceFailed),
    ],
)
def test_a_download_that_fails_is_told_by_its_class(
    status: int, code: str, failure: type[Retryable], bucket: Bucket, client: "S3Client"
) -> None:
    plan(client, faults.xml_error(status, code))

    with pytest.raises(Retryable) as raised:
        downloaded(bucket, FOUND)

    assert type(raised.value) is failure


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_an_object_that_somebody_changes_at_the_same_time_is_hidden_by_a_later_try(
    code: str, bucket: Bucket, client: "S3Client"
) -> None:
    faults.plan(client.meta.events, "s3.DeleteObject", faults.xml_error(409, code))

    with pytest.raises(Contended):
        bucket.mark_deleted("car.png", "e")


def test_a_download_that_takes_too_long_is_given_up(client: "S3Client", s3: "S3Client", key: str) -> None:
    times = iter([0.0, DOWNLOAD_SECONDS, DOWNLOAD_SECONDS + 0.1])
    bucket = Bucket(client, NAME, clock=lambda: next(times))
    s3.put_object(Bucket=NAME, Key=key, Body=bytes(4 * CHUNK_BYTES))
    file = io.BytesIO()

    with pytest.raises(ServiceFailed, match="more than 20 seconds"):
        bucket.download(found_under(bucket, key), file)

    assert len(file.getvalue()) == 2 * CHUNK_BYTES


# Checksum


def put_in_parts(s3: "S3Client", key: str, body: bytes, **checksum: Any) -> None:
    upload = s3.create_multipart_upload(Bucket=NAME, Key=key, **checksum)["UploadId"]
    place: Any = {"Bucket": NAME, "Key": key, "UploadId": upload}
    part = s3.upload_part(**place, PartNumber=1, Body=body)
    sums = {name: value for name, value in part.items() if name.startswith("Checksum")}
    parts: Any = [{"PartNumber": 1, "ETag": part["ETag"], **sums}]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})


def test_a_checksum_that_came_with_a_picture_is_known_of_that_very_version(
    bucket: Bucket, s3: "S3Client", key: str
) -> None:
    s3.put_object(Bucket=NAME, Key=key, Body=b"bytes", ChecksumSHA256=CHECKSUM)
    found = found_under(bucket, key)
    s3.put_object(Bucket=NAME, Key=key, Body=b"what is there meanwhile", ChecksumAlgorithm="SHA256")

    assert bucket.sha256(found) == DECLARED.sha256


def test_a_copy_has_the_checksum_of_what_it_is_copied_from(bucket: Bucket, s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=NAME, Key=f"first-{key}", Body=b"bytes", ChecksumSHA256=CHECKSUM)
    s3.copy_object(Bucket=NAME, Key=key, CopySource={"Bucket": NAME, "Key": f"first-{key}"})

    assert bucket.sha256(found_under(bucket, key)) == DECLARED.sha256


def test_another_checksum_is_none(bucket: Bucket, s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=NAME, Key=key, Body=b"bytes", ChecksumAlgorithm="CRC32")

    assert bucket.sha256(found_under(bucket, key)) is None


def test_a_checksum_of_checksums_says_nothing_of_the_bytes(bucket: Bucket, s3: "S3Client", key: str) -> None:
    put_in_parts(s3, key, b"bytes", ChecksumAlgorithm="SHA256")

    [stored] = [s3.head_object(Bucket=NAME, Key=key, ChecksumMode="ENABLED")]
    assert (stored["ChecksumType"], stored["ChecksumSHA256"][-2:]) == ("COMPOSITE", "-1")
    assert bucket.sha256(found_under(bucket, key)) is None


def test_a_checksum_of_an_unknown_kind_is_none(bucket: Bucket, client: "S3Client") -> None:
    def without_type(request: Any) -> Any:
        answer: Any = faults.answering(200, b"")(request)
        answer.headers["x-amz-checksum-sha256"] = CHECKSUM
        return answer

    faults.plan(client.meta.events, "s3.HeadObject", without_type)

    assert bucket.sha256(FOUND) is None


def test_without_versions_what_was_seen_has_a_checksum_or_nothing(
    client: "S3Client", unversioned: str, s3: "S3Client", key: str
) -> None:
    bucket = Bucket(client, unversioned)
    s3.put_object(Bucket=unversioned, Key=key, Body=b"bytes", ChecksumSHA256=CHECKSUM)
    found = found_under(bucket, key)

    assert bucket.sha256(found) == DECLARED.sha256
    s3.put_object(Bucket=unversioned, Key=key, Body=b"what is there meanwhile")
    with pytest.raises(ObjectUnavailable):
        bucket.sha256(found)


def test_what_is_gone_meanwhile_has_no_checksum(bucket: Bucket, s3: "S3Client", key: str) -> None:
    version = s3.put_object(Bucket=NAME, Key=key, Body=b"bytes")["VersionId"]
    found = found_under(bucket, key)
    s3.delete_object(Bucket=NAME, Key=key, VersionId=version)

    with pytest.raises(ObjectUnavailable):
        bucket.sha256(found)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, AccessLost),
        (403, AccessLost),
        (404, ObjectUnavailable),
        (412, ObjectUnavailable),
        (500, ServiceFailed),
        (503, ServiceFailed),
    ],
)
def test_a_question_for_a_checksum_that_fails_is_told_by_its_class(
    status: int, failure: type[Retryable], bucket: Bucket, client: "S3Client"
) -> None:
    # After a 400 the SDK looks whether the bucket is in another region, and asks once more.
    faults.plan(client.meta.events, "s3.HeadObject", *[faults.answering(status, b"")] * 2)

    with pytest.raises(Retryable) as raised:
        bucket.sha256(FOUND)

    assert type(raised.value) is failure


DECLARED = Upload("image/png", 5, hashlib.sha256(b"bytes").hexdigest(), {"by": "Ann B.", "n": "1"})
CHECKSUM = base64.b64encode(hashlib.sha256(b"bytes").digest()).decode()

UPLOADS = [
    pytest.param(Upload(), {"If-None-Match": "*"}, id="nothing"),
    pytest.param(
        Upload(content_type="image/webp"), {"Content-Type": "image/webp", "If-None-Match": "*"}, id="type"
    ),
    pytest.param(Upload(size=5), {"Content-Length": "5", "If-None-Match": "*"}, id="size"),
    pytest.param(
        Upload(sha256=DECLARED.sha256),
        {"x-amz-checksum-sha256": CHECKSUM, "If-None-Match": "*"},
        id="checksum",
    ),
    pytest.param(
        Upload(metadata={"by": "Ann B."}), {"x-amz-meta-by": "Ann B.", "If-None-Match": "*"}, id="metadata"
    ),
    pytest.param(
        DECLARED,
        {
            "Content-Type": "image/png",
            "Content-Length": "5",
            "If-None-Match": "*",
            "x-amz-checksum-sha256": CHECKSUM,
            "x-amz-meta-by": "Ann B.",
            "x-amz-meta-n": "1",
        },
        id="everything",
    ),
]


@pytest.fixture
def in_frankfurt(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket as it is on AWS."""
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    return Bucket(boto3.client("s3", region_name="eu-central-1", config=PRESIGNING), "pictures")


@pytest.mark.parametrize(("upload", "headers"), UPLOADS)
def test_exactly_what_is_declared_is_signed(
    in_frankfurt: Bucket, upload: Upload, headers: dict[str, str]
) -> None:
    presigned = in_frankfurt.presign_upload("a b/ü+.png", upload, 300)

    url = urlsplit(presigned.url)
    query = parse_qs(url.query)
    assert (url.scheme, url.netloc) == ("https", "pictures.s3.eu-central-1.amazonaws.com")
    assert url.path == "/a%20b/%C3%BC%2B.png"
    assert set(query) == {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["300"]
    assert query["X-Amz-SignedHeaders"] == [";".join(sorted({"host", *map(str.lower, headers)}))]
    assert presigned.headers == headers


@pytest.mark.parametrize(("upload", "headers"), UPLOADS)
def test_what_is_declared_can_be_uploaded_once(
    bucket: Bucket, s3: "S3Client", key: str, upload: Upload, headers: dict[str, str]
) -> None:
    presigned = bucket.presign_upload(key, upload, 300)

    statuses = [
        requests.put(presigned.url, data=b"bytes", headers=dict(presigned.headers), timeout=10).status_code
        for _ in range(2)
    ]

    stored = s3.get_object(Bucket=bucket.name, Key=key)
    assert statuses == [200, 412]
    assert (stored["Body"].read(), stored["Metadata"]) == (b"bytes", upload.metadata)
    assert stored["ContentType"] == (upload.content_type or "binary/octet-stream")


def test_a_signature_asks_for_nothing_over_the_network(in_frankfurt: Bucket) -> None:
    sent = faults.plan(in_frankfurt._client.meta.events, "s3", faults.answering(500, b""))

    in_frankfurt.presign_upload("car.png", DECLARED, 300)

    assert sent == []


def test_an_archived_object_is_seen_but_cannot_be_read(bucket: Bucket, s3: "S3Client", key: str) -> None:
    put = s3.put_object(Bucket=bucket.name, Key=key, Body=b"12345", StorageClass="GLACIER")

    found = bucket.look(key)

    assert found is not None
    assert (found.version_id, found.size, found.is_archived) == (put["VersionId"], 5, True)


@pytest.mark.parametrize("code", ["KMS.DisabledException", "KMS.NotFoundException", "InvalidRequest"])
def test_a_lost_key_is_lost_access(bucket: Bucket, client: "S3Client", code: str) -> None:
    faults.plan(client.meta.events, "s3.GetObject", faults.xml_error(400, code))

    with pytest.raises(AccessLost):
        bucket.look("secret.png")


@pytest.fixture
def empty(client: "S3Client") -> Bucket:
    name = f"empty-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(client, name)


def test_the_listing_has_what_is_current_in_the_order_of_its_keys(empty: Bucket, s3: "S3Client") -> None:
    for key in ("b", "a", "c", "gone"):
        s3.put_object(Bucket=empty.name, Key=key, Body=b"old")
        s3.put_object(Bucket=empty.name, Key=key, Body=b"new")
    s3.delete_object(Bucket=empty.name, Key="gone")

    entries = empty.entries("", 10)

    assert [entry.key for entry in entries] == ["a", "b", "c"]
    assert {entry.etag for entry in entries} == {hashlib.md5(b"new", usedforsecurity=False).hexdigest()}
    found = empty.look("a")
    assert found is not None
    assert abs(found.uploaded_at - entries[0].uploaded_at) <= timedelta(seconds=1)


def test_the_listing_goes_on_behind_a_key(empty: Bucket, s3: "S3Client") -> None:
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=empty.name, Key=key, Body=b"x")

    pages = [empty.entries("", 2), empty.entries("b", 2), empty.entries("c", 2)]

    assert [[entry.key for entry in page] for page in pages] == [["a", "b"], ["c"], []]


@pytest.mark.parametrize("size", [1, 2])
def test_the_listing_goes_on_behind_a_page_that_is_shorter_than_was_asked_for(
    size: int, empty: Bucket, client: "S3Client", s3: "S3Client"
) -> None:
    for key in ("a", "b", "c", "d"):
        s3.put_object(Bucket=empty.name, Key=key, Body=b"x")
    client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=size)
    )

    pages = [empty.entries("", 3), empty.entries("c", 3)]

    assert [[entry.key for entry in page] for page in pages] == [["a", "b", "c"], ["d"]]


def test_the_listing_spells_every_key_as_it_is(empty: Bucket, s3: "S3Client") -> None:
    for key in KEYS:
        s3.put_object(Bucket=empty.name, Key=key, Body=b"x")

    assert sorted(entry.key for entry in empty.entries("", 1000)) == sorted(KEYS)


@pytest.mark.parametrize("object_key", KEYS)
def test_whether_there_is_an_object(object_key: str, empty: Bucket, s3: "S3Client") -> None:
    before = empty.has(object_key)
    s3.put_object(Bucket=empty.name, Key=object_key, Body=b"x")
    there = empty.has(object_key)
    s3.delete_object(Bucket=empty.name, Key=object_key)

    assert (before, there, empty.has(object_key)) == (False, True, False)


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        pytest.param(faults.answering(400, b""), AccessLost, id="encrypted with the customer's key"),
        pytest.param(faults.answering(403, b""), AccessLost, id="forbidden"),
        pytest.param(faults.answering(503, b""), ServiceFailed, id="outage"),
    ],
)
def test_whether_there_is_an_object_cannot_be_told(
    step: faults.Step, failure: type[Retryable], bucket: Bucket, client: "S3Client"
) -> None:
    # After a 400 the SDK looks whether the bucket is in another region, and asks once more.
    faults.plan(client.meta.events, "s3.HeadObject", step, step)

    with pytest.raises(Retryable) as raised:
        bucket.has("car.png")

    assert type(raised.value) is failure


def test_a_bucket_that_is_not_there_has_no_listing(client: "S3Client") -> None:
    with pytest.raises(AccessLost):
        Bucket(client, "nobodys-bucket").entries("", 10)
