import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from local_cloud.endpoint import Endpoint, PortInUseError
from local_cloud.object_events import ObjectEvent


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Recognition:
    """Answers as told, and remembers what it was asked."""

    reply: Answer
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    def answer(self, target: str, body: bytes) -> Answer:
        self.asked.append((target, body))
        return self.reply


def rekognition(endpoint: Endpoint, session: boto3.Session) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return session.client("rekognition", endpoint_url=endpoint.url, config=config)


def send(method: str, url: str, body: Any, headers: dict[str, str] | None = None) -> requests.Response:
    """Signed in its headers, as SDKs do."""
    request = AWSRequest(method, url)
    S3SigV4Auth(Credentials("local", "local"), "s3", "us-east-1").add_auth(request)
    return requests.request(
        method, url, data=body, headers=dict(request.headers) | (headers or {}), timeout=5
    )


def raw(endpoint: Endpoint, request: bytes) -> bytes:
    host, port = endpoint.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_it_listens_on_loopback_only(endpoint: Endpoint) -> None:
    assert endpoint.url.startswith("http://127.0.0.1:")


def test_a_port_in_use_is_named(endpoint: Endpoint) -> None:
    port = int(endpoint.url.rsplit(":", 1)[1])

    with pytest.raises(PortInUseError, match=f"Port {port} on 127.0.0.1 is in use") as refused:
        Endpoint(port).start()

    assert refused.value.port == port


def test_a_stopped_endpoint_gives_its_port_back() -> None:
    first = Endpoint(0).start()
    port = int(first.url.rsplit(":", 1)[1])
    first.stop()

    second = Endpoint(port).start()
    second.stop()
    second.stop()

    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/", timeout=1)


def test_recognition_is_asked_with_the_request_as_it_came(session: boto3.Session) -> None:
    labels = {"Labels": [{"Name": "Dog", "Confidence": 98.5}]}
    recognition = Recognition(
        Answer(200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(labels).encode())
    )

    with Endpoint(0, rekognition=recognition) as endpoint:
        answer = rekognition(endpoint, session).detect_labels(Image={"Bytes": b"\xff"}, MaxLabels=3)

    [(target, body)] = recognition.asked
    assert answer["Labels"] == labels["Labels"]
    assert target == "RekognitionService.DetectLabels"
    assert json.loads(body) == {"Image": {"Bytes": "/w=="}, "MaxLabels": 3}


def test_recognition_may_ask_the_endpoint_itself(session: boto3.Session) -> None:
    with Endpoint(0) as endpoint:
        s3 = session.client("s3", endpoint_url=endpoint.url)
        s3.create_bucket(Bucket="of-recognition")
        s3.put_object(Bucket="of-recognition", Key="a", Body=b"{}")

        class Reader:
            def answer(self, *_: object) -> Answer:
                return Answer(200, {}, s3.get_object(Bucket="of-recognition", Key="a")["Body"].read())

        endpoint._rekognition = Reader()
        answer = rekognition(endpoint, session).detect_labels(Image={"Bytes": b"x"})

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_an_upload_that_trickles_in_blocks_nobody(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    host, port = endpoint.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as slow:
        slow.sendall(f"PUT /{bucket}/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode())

        started = monotonic()
        s3.put_object(Bucket=bucket, Key="fast", Body=b"x")

    assert monotonic() - started < 3
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["fast"]


def test_an_upload_cut_short_stores_nothing(
    endpoint: Endpoint, s3: Any, bucket: str, events: list[ObjectEvent]
) -> None:
    answer = raw(
        endpoint, f"PUT /{bucket}/short HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode()
    )

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"<Code>IncompleteBody</Code>" in answer
    assert events == []
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("length", ["-5", "five", "1e3", "0x10"])
def test_a_length_that_is_no_number_is_refused(endpoint: Endpoint, bucket: str, length: str) -> None:
    head = f"PUT /{bucket}/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nabc"

    assert raw(endpoint, head.encode()).startswith(b"HTTP/1.1 400")


def test_a_broken_chunk_is_refused(endpoint: Endpoint, bucket: str) -> None:
    head = f"PUT /{bucket}/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"

    assert raw(endpoint, head.encode()).startswith(b"HTTP/1.1 400")


def test_what_moto_stumbles_over_is_an_internal_error_in_the_service_s_own_words(
    dynamodb: Any, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("moto.dynamodb.responses.DynamoHandler.list_tables", stumble)
    monkeypatch.setattr("moto.s3.responses.S3Response.put_object", stumble)

    with pytest.raises(dynamodb.exceptions.InternalServerError, match="Please try again"):
        dynamodb.list_tables()
    with pytest.raises(s3.exceptions.ClientError, match="InternalError"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    assert "ZeroDivisionError" in caplog.text


def test_without_recognition_rekognition_says_so(endpoint: Endpoint, session: boto3.Session) -> None:
    with pytest.raises(Exception, match="501"):
        rekognition(endpoint, session).detect_labels(Image={"Bytes": b"x"})


def test_of_many_conditional_writes_at_once_exactly_one_wins(
    s3: Any, bucket: str, events: list[ObjectEvent]
) -> None:
    def put(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="a", Body=str(number).encode(), IfNoneMatch="*")
        except s3.exceptions.ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(24)))

    assert won.count(True) == 1
    assert len(events) == 1


@pytest.mark.parametrize("streaming", ["unsigned-trailer", "signed-chunks"])
def test_aws_chunked_uploads_are_stored_without_their_chunk_framing(
    endpoint: Endpoint, s3: Any, bucket: str, streaming: str
) -> None:
    framed, kind, trailer = {
        "unsigned-trailer": (
            b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            {"x-amz-trailer": "x-amz-checksum-crc32"},
        ),
        "signed-chunks": (
            b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            {},
        ),
    }[streaming]
    headers = {
        "x-amz-decoded-content-length": "5",
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": kind,
        **trailer,
    }

    answer = send("PUT", f"{endpoint.url}/{bucket}/a", iter([framed]), headers)

    assert answer.status_code == 200, answer.text
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"


def test_an_upload_that_waits_for_100_continue_gets_it(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    host, port = endpoint.url.removeprefix("http://").split(":")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a"})
    path = url.removeprefix(endpoint.url)
    head = f"PUT {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode())
        first = connection.recv(65536)
        connection.sendall(b"hello")
        rest = b"".join(iter(lambda: connection.recv(65536), b""))

    assert first.startswith(b"HTTP/1.1 100 Continue")
    assert b"HTTP/1.1 200" in rest
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", "image/png"],
)
def test_the_body_of_a_put_is_the_object_whatever_it_calls_itself(
    s3: Any, bucket: str, content_type: str
) -> None:
    body = b"key=a&Action=SendMessage&\xff\xd8\xff"

    s3.put_object(Bucket=bucket, Key="a", Body=body, ContentType=content_type)

    stored = s3.get_object(Bucket=bucket, Key="a")
    assert (stored["Body"].read(), stored["ContentType"]) == (body, content_type)


def test_a_long_poll_leaves_the_others_alone_and_ends_when_a_message_comes(sqs: Any, name: str) -> None:
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    started = monotonic()
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=10)
        threading.Event().wait(0.2)
        sqs.send_message(QueueUrl=queue, MessageBody="hello")
        received = polled.result()

    assert [message["Body"] for message in received["Messages"]] == ["hello"]
    assert monotonic() - started < 5


def test_a_web_page_elsewhere_may_not_read_what_no_bucket_rule_allows(
    endpoint: Endpoint, s3: Any, bucket: str
) -> None:
    rule = {"AllowedMethods": ["PUT"], "AllowedOrigins": ["http://127.0.0.1:8080"], "AllowedHeaders": ["*"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    asked = {"Access-Control-Request-Method": "PUT"}

    ours = requests.options(
        f"{endpoint.url}/{bucket}/a", headers=asked | {"Origin": "http://127.0.0.1:8080"}, timeout=5
    )
    theirs = requests.options(
        f"{endpoint.url}/{bucket}/a", headers=asked | {"Origin": "https://evil.example"}, timeout=5
    )

    assert ours.headers["Access-Control-Allow-Origin"] == "http://127.0.0.1:8080"
    assert theirs.status_code == 403
    assert "Access-Control-Allow-Origin" not in theirs.headers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/{bucket}?delete", b"<not-xml", id="bulk-delete-not-xml"),
        pytest.param("POST", "/{bucket}?delete", b"<Delete/>", id="bulk-delete-of-nothing"),
        pytest.param("POST", "/{bucket}/a?uploadId=none", b"", id="completion-of-no-upload"),
        pytest.param("POST", "/{bucket}", b"", id="form-without-fields"),
        pytest.param("PUT", "/{bucket}?cors", b"\x00", id="cors-not-xml"),
        pytest.param("BREW", "/{bucket}/a", b"", id="unknown-method"),
    ],
)
def test_a_senseless_request_is_answered_with_an_error(
    endpoint: Endpoint, s3: Any, bucket: str, method: str, path: str, body: bytes
) -> None:
    answer = send(method, endpoint.url + path.format(bucket=bucket), body)

    assert 400 <= answer.status_code <= 501
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_motos_own_controls_are_closed(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    answer = requests.post(f"{endpoint.url}/moto-api/reset", timeout=5)

    assert answer.status_code == 403
    s3.head_bucket(Bucket=bucket)


def test_the_command_line_finds_what_was_put(aws: Callable[..., str], dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item={"file": {"S": "car.png"}, "entry": {"S": "image"}})

    found = aws(
        "dynamodb", "query", "--table-name", table, "--key-condition-expression", "#f = :f",
        "--expression-attribute-names", '{"#f": "file"}',
        "--expression-attribute-values", '{":f": {"S": "car.png"}}',
    )  # fmt: skip

    assert json.loads(found)["Items"] == [{"file": {"S": "car.png"}, "entry": {"S": "image"}}]


def test_the_head_of_an_object_tells_its_length(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="car.png", Body=bytes(1234))

    assert s3.head_object(Bucket=bucket, Key="car.png")["ContentLength"] == 1234


def test_the_command_line_brings_back_what_it_put(
    aws: Callable[..., str], bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "there").write_bytes(bytes(range(256)) * 1000)

    aws("s3", "cp", f"{tmp_path}/there", f"s3://{bucket}/car.png")
    aws("s3", "cp", f"s3://{bucket}/car.png", f"{tmp_path}/back")

    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
