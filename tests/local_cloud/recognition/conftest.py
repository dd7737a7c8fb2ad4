from collections.abc import Iterator

import pytest

from local_cloud.recognition import Recogniser, local_recogniser
from local_cloud.recognition.objects import ObjectDetector
from local_cloud.recognition.text import TextDetector


@pytest.fixture(scope="session")
def recogniser() -> Iterator[Recogniser]:
    recogniser = local_recogniser()
    yield recogniser
    recogniser.close()


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectDetector]:
    detector = ObjectDetector()
    if detector.missing:
        pytest.skip(detector.missing[0])
    yield detector
    detector.close()


@pytest.fixture(scope="session")
def text() -> TextDetector:
    return TextDetector()
