import pytest
from PIL import Image

from local_cloud.recognition import Recogniser
from local_cloud.recognition.boxes import Detection
from local_cloud.recognition.errors import Unreadable
from local_cloud.recognition.local import LocalRecogniser
from local_cloud.recognition.objects import ObjectDetector
from local_cloud.recognition.picture import Picture, read_picture
from tests.local_cloud.recognition.drawing import SAMPLES, checks, encode, gradient, noise, picture_of, write


class Spy:
    """A detector that sees nothing, lacks something, and remembers what was asked of it."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.calls: list[str] = []

    def detect(self, picture: Picture) -> list[Detection]:
        self.calls.append(f"detect {picture.width} x {picture.height}")
        return []

    def warm_up(self) -> None:
        self.calls.append("warm up")

    def close(self) -> None:
        self.calls.append("close")


def names(recogniser: Recogniser, picture: Picture, least: float = 50) -> set[str]:
    answer = recogniser.recognise("DetectLabels", picture, {"MinConfidence": least})
    return {label["Name"] for label in answer["Labels"]}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("astronaut.png", {"Person", "Face", "Head"}),
        ("coffee.png", {"Cup"}),
        ("chelsea.png", {"Cat", "Animal", "Mammal", "Pet"}),
        ("rocket.jpg", set()),
    ],
)
def test_the_samples_show(
    recogniser: Recogniser, objects: ObjectDetector, name: str, labels: set[str]
) -> None:
    assert objects.missing == ()
    assert names(recogniser, read_picture((SAMPLES / name).read_bytes())) == labels


def test_a_face_and_its_person_are_one_label_each(recogniser: Recogniser, objects: ObjectDetector) -> None:
    assert objects.missing == ()
    picture = read_picture((SAMPLES / "astronaut.png").read_bytes())

    labels = recogniser.recognise("DetectLabels", picture, {})["Labels"]

    assert [(label["Name"], len(label["Instances"])) for label in labels] == [
        ("Person", 1),
        ("Face", 1),
        ("Head", 0),
    ]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.new("RGB", (100, 100), "white"), id="white"),
        pytest.param(Image.new("RGB", (300, 100)), id="black"),
        pytest.param(gradient(1), id="gradient"),
        pytest.param(checks(50), id="checks"),
        *(pytest.param(noise(7, grain), id=f"noise {grain}") for grain in (1, 6, 20)),
    ],
)
def test_it_claims_nothing_it_did_not_see(recogniser: Recogniser, image: Image.Image) -> None:
    assert names(recogniser, picture_of(image), least=0) == set()


def test_a_written_page_is_text_and_document(recogniser: Recogniser) -> None:
    page = write(*["Every picture tells a story"] * 6, size=(400, 240), height=20)

    assert names(recogniser, picture_of(page)) == {"Text", "Document"}


def test_a_cut_off_picture_is_unreadable(recogniser: Recogniser) -> None:
    data = (SAMPLES / "coffee.png").read_bytes()[:50_000]

    with pytest.raises(Unreadable):
        recogniser.recognise("DetectLabels", read_picture(data), {})


def test_all_detectors_look_are_warmed_up_and_closed() -> None:
    first, second = Spy(), Spy()
    recogniser = LocalRecogniser([first, second])

    recogniser.warm_up()
    recogniser.recognise("DetectLabels", read_picture(encode(Image.new("RGB", (90, 80)))), {})
    recogniser.close()

    assert first.calls == second.calls == ["warm up", "detect 90 x 80", "close"]


def test_what_is_missing_is_said_for_every_detector() -> None:
    recogniser = LocalRecogniser([Spy(), Spy("No cups."), Spy("No text.")])

    assert recogniser.missing == ["No cups.", "No text."]
    recogniser.close()
