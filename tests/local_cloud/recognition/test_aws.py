import base64
import io
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from local_cloud.recognition import aws as aws_module
from local_cloud.recognition.aws import AwsRecogniser
from local_cloud.recognition.errors import ServiceError
from local_cloud.recognition.picture import read_picture
from local_cloud.rekognition import LocalRekognition
from tests.local_cloud.recognition.drawing import SAMPLES, encode, sample

COFFEE = (SAMPLES / "coffee.png").read_bytes()
ANSWER = {"Labels": [{"Name": "Coffee Cup", "Confidence": 99.5}], "LabelModelVersion": "3.0"}


@dataclass
class Call:
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def sent_bytes(self) -> bytes:
        return base64.b64decode(self.body["Image"]["Bytes"])


@dataclass
class StandIn:
    """What answers in place of AWS, and what it was asked."""

    url: str = ""
    status: int = 200
    answer: dict[str, Any] = field(default_factory=lambda: ANSWER)
    calls: list[Call] = field(default_factory=list)


@pytest.fixture
def aws() -> Iterator[StandIn]:
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            stand_in.calls.append(Call(dict(self.headers), json.loads(body)))
            answer = json.dumps(stand_in.answer).encode()
            self.send_response(stand_in.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        yield stand_in
        server.shutdown()


@pytest.fixture(autouse=True)
def environment_of_the_local_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n"
        "[photos]\naws_access_key_id = AKIAPHOTOS\naws_secret_access_key = s\n"
    )
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n[profile photos]\n[profile empty]\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_the_picture_and_the_wishes_are_sent_as_they_are(aws: StandIn) -> None:
    wishes = {"MinConfidence": 70, "MaxLabels": 5, "Features": ["GENERAL_LABELS", "IMAGE_PROPERTIES"]}

    answer = AwsRecogniser("default", aws.url).recognise("DetectLabels", read_picture(COFFEE), wishes)

    assert answer == ANSWER
    assert aws.calls[0].headers["X-Amz-Target"] == "RekognitionService.DetectLabels"
    assert aws.calls[0].body == {"Image": {"Bytes": base64.b64encode(COFFEE).decode()}, **wishes}


@pytest.mark.parametrize("operation", ["DetectModerationLabels", "DetectText"])
def test_other_operations_are_passed_on_too(aws: StandIn, operation: str) -> None:
    aws.answer = {}

    AwsRecogniser("default", aws.url).recognise(operation, read_picture(COFFEE), {})

    assert aws.calls[0].headers["X-Amz-Target"] == f"RekognitionService.{operation}"


def test_an_operation_for_other_things_than_labelling_is_not_passed_on(aws: StandIn) -> None:
    with pytest.raises(ServiceError, match="IndexFaces is not passed on to AWS"):
        AwsRecogniser("default", aws.url).recognise("IndexFaces", read_picture(COFFEE), {})

    assert aws.calls == []


@pytest.mark.parametrize(
    ("profile", "signer"),
    [("default", "AKIADEFAULT/{}/eu-west-1/rekognition"), ("photos", "AKIAPHOTOS/{}/us-east-1/rekognition")],
)
def test_the_profile_signs_and_not_the_environment(aws: StandIn, profile: str, signer: str) -> None:
    AwsRecogniser(profile, aws.url).recognise("DetectLabels", read_picture(COFFEE), {})

    headers = aws.calls[0].headers
    assert signer.format(headers["X-Amz-Date"][:8]) in headers["Authorization"]


def test_the_endpoint_of_the_local_cloud_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", "http://127.0.0.1:1")

    client = AwsRecogniser("default")._connect()

    assert client.meta.endpoint_url == "https://rekognition.eu-west-1.amazonaws.com"
    client.close()


def test_a_picture_over_5_mb_is_sent_as_a_smaller_jpeg(aws: StandIn) -> None:
    random = np.random.default_rng(1)
    large = encode(Image.fromarray(random.integers(0, 256, (1500, 1800, 3), np.uint8)))
    assert len(large) > 5 * 1024 * 1024

    AwsRecogniser("default", aws.url).recognise("DetectLabels", read_picture(large), {})

    sent = Image.open(io.BytesIO(aws.calls[0].sent_bytes))
    assert sent.format == "JPEG"
    assert sent.width / sent.height == pytest.approx(1.2, abs=0.01)
    assert len(aws.calls[0].sent_bytes) <= 5 * 1024 * 1024


def test_a_picture_over_5_mb_is_made_smaller_once_for_all_operations(
    aws: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = Mock(spec=aws_module._fit, side_effect=aws_module._fit)
    monkeypatch.setattr(aws_module, "_fit", fit)
    large = read_picture(encode(sample("coffee.png"), "JPEG") + b"\0" * 5 * 1024 * 1024)
    recogniser = AwsRecogniser("default", aws.url)

    for operation in sorted(aws_module.OPERATIONS):
        recogniser.recognise(operation, large, {})

    assert fit.call_count == 1
    assert len({call.sent_bytes for call in aws.calls}) == 1
    assert len(aws.calls) == 3


def test_a_large_jpeg_is_sent_upright(aws: StandIn) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = encode(sample("coffee.png"), "JPEG", exif=exif) + b"\0" * 5 * 1024 * 1024

    AwsRecogniser("default", aws.url).recognise("DetectLabels", read_picture(large), {})

    assert Image.open(io.BytesIO(aws.calls[0].sent_bytes)).size == (400, 600)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (400, "InvalidImageFormatException"),
        (400, "AccessDeniedException"),
        (500, "InternalServerError"),
    ],
)
def test_an_error_of_aws_is_passed_on_and_not_tried_again(aws: StandIn, status: int, code: str) -> None:
    aws.status, aws.answer = status, {"__type": code, "Message": "Slow down"}
    rekognition = LocalRekognition(lambda *_: COFFEE, AwsRecogniser("default", aws.url))

    reply = rekognition.answer(
        "RekognitionService.DetectLabels", b'{"Image": {"S3Object": {"Bucket": "abc", "Name": "x"}}}'
    )

    assert (reply.status, json.loads(reply.body)) == (status, {"__type": code, "Message": "Slow down"})
    assert len(aws.calls) == 1


def test_a_network_that_fails_can_be_tried_again() -> None:
    with pytest.raises(ServiceError, match="Rekognition cannot be reached") as raised:
        AwsRecogniser("default", "http://127.0.0.1:1").recognise("DetectLabels", read_picture(COFFEE), {})

    assert (raised.value.code, raised.value.status) == ("InternalServerError", 500)


@pytest.mark.parametrize("profile", ["nobody", "empty"])
def test_a_profile_that_cannot_sign_is_named_in_one_sentence(profile: str) -> None:
    recogniser = AwsRecogniser(profile)

    with pytest.raises(ServiceError) as raised:
        recogniser.recognise("DetectLabels", read_picture(COFFEE), {})

    assert raised.value.code == "AccessDeniedException"
    assert recogniser.missing == [raised.value.message]
    assert raised.value.message == (
        f"RECOGNISER=aws needs the AWS profile {profile!r} with credentials: make it with"
        f" aws configure --profile {profile}, or name another in RECOGNISER_PROFILE."
    )


def test_nothing_is_missing_with_a_profile() -> None:
    assert AwsRecogniser("photos").missing == []


def test_without_any_configuration_the_default_profile_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nowhere"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "nowhere"))

    assert "needs the AWS profile 'default' with credentials" in AwsRecogniser("default").missing[0]
