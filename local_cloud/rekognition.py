from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from local_cloud.aws_json import Reply, refusal, reply
from local_cloud.recognition import Recogniser
from local_cloud.recognition.errors import (
    InvalidRequest,
    MalformedRequest,
    ServiceError,
    TooLarge,
    TooSmall,
    Unreadable,
)
from local_cloud.recognition.memory import Memory
from local_cloud.recognition.picture import Picture, read_picture
from local_cloud.recognition.request import read_request, service_model

ReadObject = Callable[[str, str, str | None], bytes | None]

MOST_BYTES = 5 * 1024 * 1024
MOST_OBJECT_BYTES = 15 * 1024 * 1024
# At 15 MB of file and 12 MB of pixels each at most.
PICTURES_REMEMBERED = 8
CODES: Mapping[type[Exception], str] = {
    Unreadable: "InvalidImageFormatException",
    TooLarge: "ImageTooLargeException",
    TooSmall: "InvalidParameterException",
    InvalidRequest: "InvalidParameterException",
    MalformedRequest: "SerializationException",
}


class LocalRekognition:
    """Amazon Rekognition's protocol (AWS JSON 1.1), limits and error codes around a recogniser.

    The last pictures are remembered by their digest: whoever asks several things of one has it decoded and
    its text read once.
    """

    def __init__(self, read_object: ReadObject, recogniser: Recogniser) -> None:
        self._read_object = read_object
        self._recogniser = recogniser
        self._pictures = Memory(PICTURES_REMEMBERED)

    def answer(self, target: str, body: bytes) -> Reply:
        """The reply to a POST: target is its X-Amz-Target, such as "RekognitionService.DetectLabels"."""
        try:
            return reply(200, self._recognise(_read_operation(target), body))
        except ServiceError as error:
            return refusal(error.status, error.code, error.message)
        except tuple(CODES) as error:
            return refusal(400, CODES[type(error)], str(error))

    def _recognise(self, operation: str, body: bytes) -> dict[str, Any]:
        request = read_request(operation, body)
        if "Image" not in request:
            raise ServiceError("UnknownOperationException", f"{operation} is not there on the laptop")
        picture = self._remember(self._read_image(request.pop("Image")))
        return self._recogniser.recognise(operation, picture, request)

    def _remember(self, data: bytes) -> Picture:
        return self._pictures.recall(sha256(data).digest(), lambda: read_picture(data))

    def _read_image(self, image: Mapping[str, Any]) -> bytes:
        if len(image) != 1:
            raise InvalidRequest("Image must have either Bytes or S3Object")
        if "Bytes" in image:
            return _limit(image["Bytes"], MOST_BYTES)
        return _limit(self._read_s3_object(image["S3Object"]), MOST_OBJECT_BYTES)

    def _read_s3_object(self, place: Mapping[str, str]) -> bytes:
        if "Bucket" not in place or "Name" not in place:
            raise InvalidRequest("S3Object must have Bucket and Name")
        data = self._read_object(place["Bucket"], place["Name"], place.get("Version"))
        if data is None:
            raise ServiceError(
                "InvalidS3ObjectException",
                "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
            )
        return data


def _read_operation(target: str) -> str:
    service, _, operation = target.partition(".")
    if service != "RekognitionService" or operation not in service_model().operation_names:
        raise ServiceError("UnknownOperationException", f"{target!r} is no operation of Rekognition")
    return operation


def _limit(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise TooLarge(f"Image has {len(data)} bytes; at most {most} are allowed here")
    return data
