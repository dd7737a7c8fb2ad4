from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from chalicelib.model import Outcome
from chalicelib.services import Services
from tests.pictures import picture

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def put(s3: "S3Client", services: Services) -> Callable[[str, bytes], str]:
    def put(key: str, body: bytes) -> str:
        return s3.put_object(Bucket=services.bucket.name, Key=key, Body=body)["VersionId"]

    return put


def test_a_picture_is_labelled(put: Callable[[str, bytes], str], services: Services) -> None:
    put("car.png", picture("Car 98.5", "Wheel 77"))

    outcome = services.labelling.label("car.png")

    assert outcome is Outcome.LABELLED
