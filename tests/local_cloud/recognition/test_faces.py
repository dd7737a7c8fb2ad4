import pytest
from PIL import Image, ImageOps

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.faces import FaceDetector
from tests.local_cloud.recognition.drawing import checks, gradient, noise, picture_of, sample, write

FACE_OF_THE_ASTRONAUT = Box(0.35, 0.14, 0.18, 0.18)


@pytest.fixture(scope="module")
def faces() -> FaceDetector:
    return FaceDetector()


def only_face(found: list[Detection]) -> Box:
    assert [(seen.label, seen.confidence) for seen in found] == [("Face", 90.0)]
    assert found[0].box is not None
    return found[0].box


@pytest.mark.parametrize("side", [200, 512, 1024, 2200])
def test_a_face_is_found_once_and_in_its_place_at_every_size(faces: FaceDetector, side: int) -> None:
    found = faces.detect(picture_of(sample("astronaut.png").resize((side, side))))

    assert only_face(found).overlap(FACE_OF_THE_ASTRONAUT) > 0.7


def test_a_mirrored_face_is_in_the_mirrored_place(faces: FaceDetector) -> None:
    found = faces.detect(picture_of(ImageOps.mirror(sample("astronaut.png"))))

    assert only_face(found).overlap(Box(0.47, 0.14, 0.18, 0.18)) > 0.7


def test_two_people_have_two_faces(faces: FaceDetector) -> None:
    pair = Image.new("RGB", (1024, 512))
    pair.paste(sample("astronaut.png"), (0, 0))
    pair.paste(sample("astronaut.png"), (512, 0))

    left, right = sorted(seen.box.left for seen in faces.detect(picture_of(pair)) if seen.box)

    assert left == pytest.approx(0.17, abs=0.02)
    assert right == pytest.approx(0.67, abs=0.02)


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg"])
@pytest.mark.parametrize("angle", [0, -15, 25])
def test_pictures_without_people_have_no_face(faces: FaceDetector, name: str, angle: int) -> None:
    assert faces.detect(picture_of(sample(name).rotate(angle, expand=True))) == []


@pytest.mark.parametrize(
    "image",
    [
        *(
            pytest.param(noise(seed, grain), id=f"noise {grain}")
            for seed in (1, 2)
            for grain in (1, 6, 12, 40)
        ),
        pytest.param(gradient(0), id="gradient"),
        pytest.param(checks(25), id="checks"),
        pytest.param(write("two eyes, a nose", "and a mouth"), id="writing"),
        pytest.param(Image.new("RGB", (80, 80)), id="smallest"),
        pytest.param(Image.new("RGB", (4000, 80)), id="strip"),
        pytest.param(noise(103, 9, (600, 600)), id="noise that one cascade takes for a face"),
        pytest.param(noise(120, 9, (600, 600)), id="noise that one cascade takes for a face too"),
    ],
)
def test_pictures_of_nothing_have_no_face(faces: FaceDetector, image: Image.Image) -> None:
    assert faces.detect(picture_of(image)) == []
