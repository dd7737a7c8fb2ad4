import base64
import hashlib
from typing import Any

import boto3
import pytest
import requests

from local_cloud.endpoint import Endpoint
from tests.direct import short_circuit
from tests.local_cloud.conftest import CONFIG

PICTURE = b"picture with x-amz-checksum-sha256:nothing= in it"
SHA256 = base64.b64encode(hashlib.sha256(PICTURE).digest()).decode()
HEADERS = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260102/us-east-1/s3/aws4_request",
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "Content-Encoding": "aws-chunked",
    "x-amz-decoded-content-length": str(len(PICTURE)),
    "x-amz-trailer": "x-amz-checksum-sha256",
}


@pytest.fixture
def streaming(endpoint: Endpoint) -> Any:
    """A client that sends checksums behind its bodies, which boto3 does over TLS only."""
    session = short_circuit(boto3.Session("local", "local", region_name="us-east-1"), endpoint)
    return session.client("s3", endpoint_url="https://s3.us-east-1.amazonaws.com", config=CONFIG)


def chunks(*data: bytes, trailer: bytes = f"x-amz-checksum-sha256:{SHA256}\r\n".encode()) -> bytes:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in data)
    return sent + b"0\r\n" + trailer + b"\r\n"


def put(endpoint: Endpoint, bucket: str, body: bytes, **headers: str | None) -> tuple[int, str]:
    changed = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = requests.put(f"{endpoint.url}/{bucket}/a", data=body, headers=changed, timeout=10)
    return answer.status_code, answer.text.partition("<Code>")[2].partition("<")[0]


def test_the_sdks_own_stream_is_kept_with_its_checksum(streaming: Any, s3: Any, bucket: str) -> None:
    sent: list[Any] = []
    streaming.meta.events.register_first("before-send.s3", lambda request, **_: sent.append(request))

    streaming.put_object(
        Bucket=bucket, Key="a", Body=PICTURE, ChecksumAlgorithm="SHA256", ContentEncoding="identity"
    )

    found = s3.get_object(Bucket=bucket, Key="a")
    assert sent[0].headers["x-amz-trailer"] == b"x-amz-checksum-sha256"
    assert (found["Body"].read(), found["ContentEncoding"]) == (PICTURE, "identity")
    assert (found["ChecksumSHA256"], found["ChecksumType"]) == (SHA256, "FULL_OBJECT")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(chunks(PICTURE), {}, id="one-chunk"),
        pytest.param(chunks(PICTURE[:3], PICTURE[3:]), {}, id="two-chunks"),
        pytest.param(
            chunks(PICTURE).replace(b"\r\n", b";chunk-signature=ab\r\n", 1)
            + b"x-amz-trailer-signature:ab\r\n",
            {"x_amz_content_sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"},
            id="signed",
        ),
    ],
)
def test_chunks_are_put_together(
    endpoint: Endpoint, s3: Any, bucket: str, body: bytes, headers: dict[str, str]
) -> None:
    assert put(endpoint, bucket, body, **headers) == (200, "")

    found = s3.get_object(Bucket=bucket, Key="a")
    assert (found["Body"].read(), found["ChecksumSHA256"]) == (PICTURE, SHA256)
    assert "ContentEncoding" not in found


def test_chunks_without_a_checksum_are_kept_without_one(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    body, kind = chunks(PICTURE, trailer=b""), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

    assert put(endpoint, bucket, body, x_amz_trailer=None, x_amz_content_sha256=kind) == (200, "")

    head = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert (head["ContentLength"], "ChecksumSHA256" in head) == (len(PICTURE), False)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        pytest.param(chunks(b"x" * len(PICTURE)), {}, "BadDigest", id="another-body"),
        pytest.param(chunks(PICTURE)[:30], {}, "IncompleteBody", id="cut"),
        pytest.param(chunks(PICTURE[1:]), {}, "IncompleteBody", id="shorter-than-announced"),
        pytest.param(
            chunks(PICTURE), {"x_amz_decoded_content_length": None}, "IncompleteBody", id="no-length"
        ),
        pytest.param(b"-5\r\nworld\r\n0\r\n\r\n", {}, "IncompleteBody", id="negative-size"),
        pytest.param(PICTURE, {}, "IncompleteBody", id="no-chunks"),
        pytest.param(b"", {}, "IncompleteBody", id="nothing"),
        pytest.param(chunks(PICTURE, trailer=b""), {}, "MalformedTrailerError", id="no-trailer"),
        pytest.param(chunks(PICTURE), {"x_amz_trailer": None}, "MalformedTrailerError", id="unannounced"),
        pytest.param(
            chunks(PICTURE, trailer=b"x-amz-checksum-crc32:AAAAAA==\r\n"),
            {},
            "MalformedTrailerError",
            id="another-trailer",
        ),
    ],
)
def test_chunks_that_are_not_what_was_announced_are_refused(
    endpoint: Endpoint, s3: Any, bucket: str, body: bytes, headers: dict[str, str | None], code: str
) -> None:
    assert put(endpoint, bucket, body, **headers) == (400, code)

    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
