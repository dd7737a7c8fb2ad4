import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import boto3
import pytest
import requests
from botocore.config import Config

from local_cloud.clock import ManualClock
from local_cloud.endpoint import Endpoint
from local_cloud.object_events import ObjectEvent

BODY = b"\x89PNG picture"
SHA256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
DECLARED = {
    "ContentLength": len(BODY),
    "ContentType": "image/png",
    "ChecksumSHA256": SHA256,
    "IfNoneMatch": "*",
    "Metadata": {"callback": "https://a.example/b c"},
}
HEADERS = {
    "Content-Type": "image/png",
    "If-None-Match": "*",
    "x-amz-checksum-sha256": SHA256,
    "x-amz-meta-callback": "https://a.example/b c",
}

Sign = Callable[..., str]


@pytest.fixture
def sign(endpoint: Endpoint, session: boto3.Session, bucket: str) -> Sign:
    config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
    client = session.client("s3", endpoint_url=endpoint.url, config=config)

    def url(operation: str = "put_object", expires: int = 900, **params: Any) -> str:
        key = {"Bucket": bucket, "Key": "a b/c+d%.png"}
        return client.generate_presigned_url(operation, Params=key | params, ExpiresIn=expires)

    return url


def put(url: str, body: bytes = BODY, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.put(url, data=body, headers=HEADERS if headers is None else headers, timeout=5)


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


def changed(url: str, **query: str) -> str:
    parts = urlsplit(url)
    kept = {name: value for name, [value] in parse_qs(parts.query).items()} | query
    return urlunsplit(parts._replace(query=urlencode(kept)))


def test_what_was_signed_is_taken_and_kept(s3: Any, bucket: str, sign: Sign) -> None:
    answer = put(sign(**DECLARED))

    stored = s3.get_object(Bucket=bucket, Key="a b/c+d%.png", ChecksumMode="ENABLED")
    assert answer.status_code == 200, answer.text
    assert stored["Body"].read() == BODY
    assert stored["ContentType"] == "image/png"
    assert stored["ChecksumSHA256"] == SHA256
    assert stored["Metadata"] == {"callback": "https://a.example/b c"}


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        pytest.param({"Content-Type": "text/html"}, BODY, (403, "SignatureDoesNotMatch"), id="another-type"),
        pytest.param({"Content-Type": None}, BODY, (403, "SignatureDoesNotMatch"), id="no-type"),
        pytest.param({}, BODY + b".", (403, "SignatureDoesNotMatch"), id="longer"),
        pytest.param({}, BODY[1:], (403, "SignatureDoesNotMatch"), id="shorter"),
        pytest.param({}, b"?" + BODY[1:], (400, "BadDigest"), id="other-bytes-of-that-length"),
        pytest.param({"If-None-Match": None}, BODY, (403, "SignatureDoesNotMatch"), id="may-overwrite"),
        pytest.param({"x-amz-checksum-sha256": None}, BODY, (403, "SignatureDoesNotMatch"), id="no-checksum"),
        pytest.param(
            {"x-amz-meta-callback": "https://evil.example"},
            BODY,
            (403, "SignatureDoesNotMatch"),
            id="metadata",
        ),
        pytest.param({"x-amz-meta-more": "1"}, BODY, (403, "AccessDenied"), id="more-metadata"),
        pytest.param({"x-amz-acl": "public-read"}, BODY, (403, "AccessDenied"), id="unsigned-acl"),
        pytest.param({"x-amz-tagging": "a=b"}, BODY, (403, "AccessDenied"), id="unsigned-tags"),
        pytest.param({"x-amz-copy-source": "/b/k"}, BODY, (403, "AccessDenied"), id="unsigned-copy-source"),
        pytest.param({"Host": "evil.example"}, BODY, (403, "SignatureDoesNotMatch"), id="another-host"),
    ],
)
def test_what_was_not_signed_is_refused(
    s3: Any,
    bucket: str,
    sign: Sign,
    events: list[ObjectEvent],
    headers: dict[str, str | None],
    body: bytes,
    expected: tuple[int, str],
) -> None:
    merged = {name: value for name, value in (HEADERS | headers).items() if value is not None}

    answer = put(sign(**DECLARED), body, merged)

    assert code(answer) == expected
    assert events == []
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_refusal_names_the_headers_that_were_not_signed(sign: Sign) -> None:
    answer = put(sign(), headers={"x-amz-acl": "public-read", "x-amz-tagging": "a=b"})

    assert "There were headers present in the request which were not signed" in answer.text
    assert "<HeadersNotSigned>x-amz-acl, x-amz-tagging</HeadersNotSigned>" in answer.text


def test_a_body_in_chunks_has_no_length_and_is_refused(sign: Sign) -> None:
    answer = requests.put(sign(**DECLARED), data=iter([BODY]), headers=HEADERS, timeout=5)

    assert code(answer) == (411, "MissingContentLength")


def test_an_object_that_is_there_is_not_overwritten(s3: Any, bucket: str, sign: Sign) -> None:
    url = sign(**DECLARED)

    answers = [put(url), put(url)]

    assert [answer.status_code for answer in answers] == [200, 412]
    assert code(answers[1]) == (412, "PreconditionFailed")


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda url: url.replace("c%2Bd", "e"), id="another-key"),
        pytest.param(lambda url: url.replace("/a%20b/", "/a%2520b/"), id="key-encoded-twice"),
        pytest.param(lambda url: changed(url, **{"X-Amz-Expires": "604800"}), id="longer-life"),
        pytest.param(lambda url: changed(url, **{"X-Amz-SignedHeaders": "host"}), id="fewer-headers"),
        pytest.param(lambda url: changed(url, **{"X-Amz-Signature": "0" * 64}), id="no-signature"),
        pytest.param(lambda url: changed(url, versionId="1"), id="another-parameter"),
        pytest.param(lambda url: url + "&tagging", id="another-operation"),
    ],
)
def test_a_changed_url_is_refused(sign: Sign, tamper: Callable[[str], str]) -> None:
    answer = put(tamper(sign(ContentType="image/png")), headers={"Content-Type": "image/png"})

    assert code(answer) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "POST"])
def test_a_url_is_good_for_its_method_only(sign: Sign, method: str) -> None:
    answer = requests.request(method, sign(), timeout=5)

    assert answer.status_code == 403


def test_a_url_for_reading_reads_and_does_not_write(s3: Any, bucket: str, sign: Sign) -> None:
    s3.put_object(Bucket=bucket, Key="a b/c+d%.png", Body=BODY)
    url = sign("get_object", ResponseContentDisposition='attachment; filename="a b.png"')

    read = requests.get(url, timeout=5)

    assert (read.status_code, read.content) == (200, BODY)
    assert read.headers["Content-Disposition"] == 'attachment; filename="a b.png"'
    assert code(put(url, headers={})) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("age", [timedelta(seconds=901), timedelta(days=400)])
def test_an_expired_url_is_refused(
    endpoint: Endpoint, sign: Sign, monkeypatch: pytest.MonkeyPatch, age: timedelta
) -> None:
    url = sign(**DECLARED)
    later = replace(endpoint._authentication, clock=ManualClock(datetime.now(UTC) + age))
    monkeypatch.setattr(endpoint, "_authentication", later)

    answer = put(url)

    assert code(answer) == (403, "AccessDenied")
    assert "<Message>Request has expired</Message><X-Amz-Expires>900</X-Amz-Expires>" in answer.text


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"X-Amz-Expires": "-1"}, id="negative-life"),
        pytest.param({"X-Amz-Expires": "604801"}, id="more-than-a-week"),
        pytest.param({"X-Amz-Expires": "soon"}, id="life-no-number"),
        pytest.param({"X-Amz-Date": "yesterday"}, id="no-date"),
        pytest.param({"X-Amz-Algorithm": "none"}, id="no-algorithm"),
    ],
)
def test_senseless_parameters_are_named(sign: Sign, query: dict[str, str]) -> None:
    answer = put(changed(sign(), **query), headers={})

    assert code(answer) == (400, "AuthorizationQueryParametersError")


def test_a_url_of_tomorrow_is_not_yet_valid(sign: Sign) -> None:
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%dT%H%M%SZ}"

    answer = put(changed(sign(), **{"X-Amz-Date": tomorrow}), headers={})

    assert code(answer) == (403, "AccessDenied")
    assert "Request is not yet valid" in answer.text


def test_a_url_signed_with_another_key_is_refused(endpoint: Endpoint, bucket: str) -> None:
    config = Config(signature_version="s3v4")
    stranger = boto3.client(
        "s3", "us-east-1", endpoint_url=endpoint.url, config=config,
        aws_access_key_id="stranger", aws_secret_access_key="local",
    )  # fmt: skip
    forger = boto3.client(
        "s3", "us-east-1", endpoint_url=endpoint.url, config=config,
        aws_access_key_id="local", aws_secret_access_key="guessed",
    )  # fmt: skip
    params = {"Bucket": bucket, "Key": "a"}

    urls = [client.generate_presigned_url("put_object", Params=params) for client in (stranger, forger)]

    assert [code(put(url, headers={})) for url in urls] == [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
    ]


def test_signature_version_2_is_refused_as_new_buckets_do(
    endpoint: Endpoint, session: boto3.Session, bucket: str
) -> None:
    client = session.client("s3", endpoint_url=endpoint.url, config=Config(signature_version="s3"))

    answer = put(
        client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a"}), headers={}
    )

    assert code(answer) == (400, "InvalidRequest")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_nobody_gets_in_unsigned(endpoint: Endpoint, s3: Any, bucket: str, method: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=BODY)

    answer = requests.request(method, f"{endpoint.url}/{bucket}/a", timeout=5)

    assert answer.status_code == 403
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == BODY


@pytest.mark.parametrize("length", [1024, 1])
def test_keys_of_any_length_can_be_signed(s3: Any, bucket: str, sign: Sign, length: int) -> None:
    key = "\N{DOG FACE}" * (length // 4) or "x"

    answer = put(sign(Key=key), headers={})

    assert answer.status_code == 200
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
