from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from chalicelib.errors import (
    AccessLost,
    ObjectUnavailable,
    PictureRefused,
    Retryable,
    ServiceFailed,
    Throttled,
)
from chalicelib.imaging import Picture
from chalicelib.model import Box, Instance, Label, StoredObject
from chalicelib.rekognition import DetectedLabels, Rekognition, refuse_unfit
from chalicelib.services import Services
from tests import faults
from tests.pictures import picture
from tests.scripted_rekognition import ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DETECT = "rekognition.DetectLabels"
URL = "https://rekognition.example"
MEGABYTES_15 = 15 * 1024 * 1024

JPEG_80 = Picture("image/jpeg", 80, 80)


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("rekognition", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def put(s3: "S3Client", services: Services) -> Callable[[str, bytes], StoredObject]:
    def put(key: str, body: bytes) -> StoredObject:
        s3.put_object(Bucket=services.bucket.name, Key=key, Body=body)
        found = services.bucket.look(key)
        assert found is not None
        return found

    return put


def stored(size: int = 1000, version_id: str | None = "v1") -> StoredObject:
    return StoredObject("car.png", version_id, "etag", size, None, datetime(2026, 1, 2, tzinfo=UTC), {}, b"")


def test_all_that_rekognition_says_of_a_label_is_kept(
    put: Callable[[str, bytes], StoredObject], services: Services
) -> None:
    car = {
        "Name": "Car",
        "Confidence": 98.71,
        "Categories": [{"Name": "Vehicles and Automotive"}, {"Name": "Transport"}],
        "Parents": [{"Name": "Vehicle"}, {"Name": "Transportation"}],
        "Aliases": [{"Name": "Automobile"}],
        "Instances": [
            {"Confidence": 97.2, "BoundingBox": {"Left": 0.1, "Top": 0.2, "Width": 0.5, "Height": 0.4}},
            {"Confidence": 51.0, "BoundingBox": {"Left": 0.0, "Top": 0.0, "Width": 1.0, "Height": 1.0}},
        ],
    }
    found = put("a car #1/2.png", picture(car, "Wheel 77"))

    detected = services.rekognition.detect_labels(services.bucket.name, found, 50.0, 30)

    assert detected == DetectedLabels(
        labels=(
            Label(
                name="Car",
                confidence=98.71,
                categories=("Vehicles and Automotive", "Transport"),
                parents=("Vehicle", "Transportation"),
                aliases=("Automobile",),
                instances=(
                    Instance(97.2, Box(0.1, 0.2, 0.5, 0.4)),
                    Instance(51.0, Box(0.0, 0.0, 1.0, 1.0)),
                ),
            ),
            Label("Wheel", 77.0),
        ),
        model_version="3.0",
    )


def test_an_instance_without_a_box_is_left_out(
    put: Callable[[str, bytes], StoredObject], services: Services
) -> None:
    found = put("car.png", picture({"Name": "Car", "Confidence": 98.0, "Instances": [{"Confidence": 97.0}]}))

    detected = services.rekognition.detect_labels(services.bucket.name, found, 50.0, 30)

    assert detected.labels == (Label("Car", 98.0),)


def test_a_picture_may_show_nothing(put: Callable[[str, bytes], StoredObject], services: Services) -> None:
    found = put("blank.png", picture())

    detected = services.rekognition.detect_labels(services.bucket.name, found, 50.0, 30)

    assert detected == DetectedLabels((), "3.0")


@pytest.mark.parametrize(
    ("min_confidence", "max_labels", "names"),
    [(0, 30, ["Car", "Wheel", "Road"]), (77.5, 30, ["Car"]), (0, 2, ["Car", "Wheel"])],
    ids=["all", "threshold", "most"],
)
def test_the_threshold_and_the_most_labels_are_asked_of_rekognition(
    put: Callable[[str, bytes], StoredObject],
    services: Services,
    min_confidence: float,
    max_labels: int,
    names: list[str],
) -> None:
    found = put("car.png", picture("Car 98", "Wheel 77", "Road 40"))

    detected = services.rekognition.detect_labels(services.bucket.name, found, min_confidence, max_labels)

    assert [label.name for label in detected.labels] == names


def test_the_version_that_was_looked_at_is_labelled(
    put: Callable[[str, bytes], StoredObject], services: Services, rekognition: ScriptedRekognition
) -> None:
    found = put("car.png", picture("Car 98"))
    put("car.png", picture("Dog 98"))

    detected = services.rekognition.detect_labels(services.bucket.name, found, 50.0, 30)

    assert detected.labels == (Label("Car", 98.0),)
    assert rekognition.calls == {("car.png", found.version_id): 1}


def test_without_versions_the_current_object_is_labelled(
    put: Callable[[str, bytes], StoredObject], services: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98"))

    services.rekognition.detect_labels(services.bucket.name, stored(version_id=None), 50.0, 30)

    assert rekognition.calls == {("car.png", None): 1}


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("AccessDeniedException", AccessLost),
        ("ExpiredTokenException", AccessLost),
        ("InternalServerError", ServiceFailed),
        ("InvalidS3ObjectException", ObjectUnavailable),
        ("ProvisionedThroughputExceededException", Throttled),
        ("ThrottlingException", Throttled),
        ("UnrecognizedClientException", AccessLost),
    ],
)
def test_what_a_retry_can_heal_is_no_refusal(
    client: Any, code: str, status: int, failure: type[Retryable]
) -> None:
    faults.plan(client.meta.events, DETECT, faults.json_error(status, code))

    with pytest.raises(Retryable) as raised:
        Rekognition(client).detect_labels("pictures", stored(), 50.0, 30)

    assert type(raised.value) is failure


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b'{"__type": "ServiceUnavailable"}',
        b'{"__type": "InvalidImageFormatException"}',
    ],
    ids=["no body", "HTML", "JSON", "a refusal's code"],
)
def test_a_server_error_is_never_the_pictures_fault(client: Any, status: int, body: bytes) -> None:
    faults.plan(client.meta.events, DETECT, faults.answering(status, body))

    with pytest.raises(ServiceFailed):
        Rekognition(client).detect_labels("pictures", stored(), 50.0, 30)


@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url=URL),
        EndpointConnectionError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_service_out_of_reach_is_a_failed_service(client: Any, error: Exception) -> None:
    faults.plan(client.meta.events, DETECT, faults.raising(error))

    with pytest.raises(ServiceFailed):
        Rekognition(client).detect_labels("pictures", stored(), 50.0, 30)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ImageTooLargeException", "too_large"),
        ("InvalidImageFormatException", "unreadable"),
        ("InvalidParameterException", "rejected"),
    ],
)
def test_a_refusal_is_final_after_one_attempt(services: Services, code: str, reason: str) -> None:
    sent = faults.plan(services.session.events, DETECT, faults.json_error(400, code))

    with pytest.raises(PictureRefused) as raised:
        services.rekognition.detect_labels("pictures", stored(), 50.0, 30)

    assert (raised.value.reason, len(sent)) == (reason, 1)


@pytest.mark.parametrize(
    "code", ["HumanLoopQuotaExceededException", "ResourceNotFoundException", "ValidationException"]
)
def test_what_this_app_should_never_hear_is_a_bug(client: Any, code: str) -> None:
    faults.plan(client.meta.events, DETECT, faults.json_error(400, code))

    with pytest.raises(ClientError, match=code):
        Rekognition(client).detect_labels("pictures", stored(), 50.0, 30)


@pytest.mark.parametrize(
    ("size", "seen", "reason"),
    [
        pytest.param(0, Picture(None), "empty", id="empty"),
        pytest.param(1, Picture(None), "unsupported_format", id="no picture"),
        pytest.param(MEGABYTES_15 + 1, Picture(None), "unsupported_format", id="no picture, and large"),
        pytest.param(MEGABYTES_15 + 1, JPEG_80, "too_large", id="one byte too many"),
        pytest.param(1000, Picture("image/png", 10_001, 80), "too_large", id="too wide"),
        pytest.param(1000, Picture("image/png", 80, 10_001), "too_large", id="too high"),
        pytest.param(1000, Picture("image/png", 10_001, 79), "too_large", id="too wide and too low"),
        pytest.param(1000, Picture("image/jpeg", 79, 80), "too_small", id="too narrow"),
        pytest.param(1000, Picture("image/jpeg", 80, 79), "too_small", id="too low"),
        pytest.param(1000, Picture("image/jpeg", 79, None), "too_small", id="too narrow, height unknown"),
    ],
)
def test_what_rekognition_would_refuse_is_refused_before_a_call(
    size: int, seen: Picture, reason: str
) -> None:
    with pytest.raises(PictureRefused) as raised:
        refuse_unfit(stored(size), seen)

    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        pytest.param(MEGABYTES_15, JPEG_80, id="as large as may be"),
        pytest.param(1, Picture("image/png", 10_000, 10_000), id="as many pixels as may be"),
        pytest.param(1, Picture("image/jpeg"), id="sides unknown"),
        pytest.param(1, Picture("image/jpeg", 80, None), id="height unknown"),
    ],
)
def test_what_rekognition_may_take_is_not_refused(size: int, seen: Picture) -> None:
    refuse_unfit(stored(size), seen)
