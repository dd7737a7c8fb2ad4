from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound
from botocore.session import Session

from local_cloud.recognition.errors import ServiceError
from local_cloud.recognition.picture import Picture

MOST_BYTES = 5 * 1024 * 1024
JPEG_SIDES = (4096, 2048, 1024)
JPEG_QUALITY = 90
USUAL_REGION = "us-east-1"
# One attempt: whoever asked retries, and sees AWS's own throttling.
CONFIG = Config(
    ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # not in the stubs
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 1},
)
OPERATIONS = frozenset({"DetectLabels", "DetectModerationLabels", "DetectText"})


class AwsRecogniser:
    """The real Rekognition, for which pictures leave this machine: it is billed to the profile's account.

    The profile's own credentials and region count: those of the environment are the local cloud's dummies,
    and AWS_ENDPOINT_URL points to the local cloud.
    """

    def __init__(self, profile: str, endpoint_url: str | None = None) -> None:
        self._profile = profile
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()

    @property
    def missing(self) -> list[str]:
        try:
            self._connect()
        except ServiceError as error:
            return [error.message]
        return []

    def recognise(self, operation: str, picture: Picture, request: Mapping[str, Any]) -> dict[str, Any]:
        """AWS's answer, or its error as ServiceError; a network that fails is InternalServerError (500)."""
        if operation not in OPERATIONS:
            raise ServiceError("UnknownOperationException", f"{operation} is not passed on to AWS")
        call = getattr(self._connect(), xform_name(operation))
        try:
            answer: dict[str, Any] = call(
                Image={"Bytes": picture.recall(_fit, lambda: _fit(picture))}, **request
            )
        except ClientError as error:
            raise _service_error(error) from error
        except BotoCoreError as error:
            raise ServiceError(
                "InternalServerError", f"Rekognition cannot be reached: {error}", 500
            ) from error
        answer.pop("ResponseMetadata")
        return answer

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def _connect(self) -> Any:
        """The client; ServiceError when the profile, or its credentials, are not there."""
        try:
            with self._lock:
                return self._client
        except (ProfileNotFound, NoCredentialsError) as error:
            sentence = (
                f"RECOGNISER=aws needs the AWS profile {self._profile!r} with credentials: make it with"
                f" aws configure --profile {self._profile}, or name another in RECOGNISER_PROFILE."
            )
            raise ServiceError("AccessDeniedException", sentence) from error

    @cached_property
    def _client(self) -> Any:
        session = Session(profile=self._profile)
        if session.get_credentials() is None:
            raise NoCredentialsError
        region = session.get_scoped_config().get("region", USUAL_REGION)
        return session.create_client("rekognition", region, endpoint_url=self._endpoint_url, config=CONFIG)


def _fit(picture: Picture) -> bytes:
    """The bytes as they are, or, above the 5 MB that Rekognition takes in a request, a smaller JPEG."""
    if len(picture.data) <= MOST_BYTES:
        return picture.data
    jpegs = (_encode(picture, side) for side in JPEG_SIDES)
    return next(jpeg for jpeg in jpegs if len(jpeg) <= MOST_BYTES)


def _encode(picture: Picture, side: int) -> bytes:
    jpeg = io.BytesIO()
    picture.decode(side).save(jpeg, "JPEG", quality=JPEG_QUALITY)
    return jpeg.getvalue()


def _service_error(error: ClientError) -> ServiceError:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return ServiceError(error.response["Error"]["Code"], error.response["Error"]["Message"], status)
