from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from local_cloud.recognition.boxes import Box
from local_cloud.recognition.errors import ServiceError
from local_cloud.recognition.objects import ObjectDetector
from tests.local_cloud.recognition.drawing import (
    checks,
    gradient,
    labels_of,
    mirrored_cat,
    noise,
    picture_of,
    sample,
    write,
)

READY = "console.log(JSON.stringify({ ready: true }));\n"
CUP = Box(0.28, 0.04, 0.41, 0.62)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        pytest.param("astronaut.png", ["Person"], id="astronaut"),
        pytest.param("coffee.png", ["Cup"], id="coffee"),
        pytest.param("chelsea.png", ["Cat"], id="cat, no dog"),
        pytest.param("rocket.jpg", [], id="rocket, no clock"),
    ],
)
def test_the_samples_show(objects: ObjectDetector, name: str, labels: list[str]) -> None:
    assert labels_of(objects.detect(picture_of(sample(name)))) == labels


@pytest.mark.parametrize("scale", [0.3, 1, 2])
def test_a_cup_is_in_its_place_at_every_size(objects: ObjectDetector, scale: float) -> None:
    coffee = sample("coffee.png")

    found = objects.detect(picture_of(coffee.resize((round(600 * scale), round(400 * scale)))))

    assert labels_of(found) == ["Cup"]
    assert found[0].box is not None
    assert found[0].box.overlap(CUP) > 0.85
    assert found[0].confidence > 75


def test_a_tall_picture_has_its_boxes_in_place(objects: ObjectDetector) -> None:
    tall = ImageOps.expand(sample("coffee.png").crop((150, 0, 450, 300)), (0, 150, 0, 0), "grey")

    found = objects.detect(picture_of(tall))

    assert labels_of(found) == ["Cup"]
    assert found[0].box is not None
    assert found[0].box.overlap(Box(0.07, 0.37, 0.82, 0.55)) > 0.7


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.new("RGB", (300, 200), "white"), id="white"),
        pytest.param(Image.new("RGB", (80, 80), "navy"), id="navy"),
        pytest.param(Image.new("RGB", (4000, 80)), id="strip"),
        pytest.param(gradient(0), id="gradient"),
        pytest.param(checks(20), id="checks"),
        pytest.param(write("cup, dog, clock"), id="writing"),
        *(
            pytest.param(noise(seed, grain), id=f"noise {grain}")
            for seed in (1, 2)
            for grain in (1, 6, 20, 60)
        ),
    ],
)
def test_pictures_of_nothing_show_nothing(objects: ObjectDetector, image: Image.Image) -> None:
    assert objects.detect(picture_of(image)) == []


def test_many_threads_get_each_their_own_picture(objects: ObjectDetector) -> None:
    pictures = [picture_of(sample(name)) for name in ("coffee.png", "chelsea.png", "astronaut.png")] * 2

    with ThreadPoolExecutor(6) as pool:
        found = [labels_of(detections) for detections in pool.map(objects.detect, pictures)]

    assert found == [["Cup"], ["Cat"], ["Person"]] * 2


def test_without_its_modules_it_says_so_and_sees_nothing(tmp_path: Path) -> None:
    detector = ObjectDetector(tmp_path)

    assert detector.detect(picture_of(sample("coffee.png"))) == []
    assert len(detector.missing) == 1
    assert detector.missing[0].startswith("Everyday objects (cup, car, dog ...) are not recognised: ")


def scripted(folder: Path, script: str) -> ObjectDetector:
    """A detector whose Node helper is a script of the test's own."""
    (folder / "node_modules/@tensorflow/tfjs-core").mkdir(parents=True)
    (folder / "detect.mjs").write_text(script)
    return ObjectDetector(folder)


def test_a_helper_that_never_starts_is_missing_from_then_on(objects: ObjectDetector, tmp_path: Path) -> None:
    assert objects.missing == ()
    detector = scripted(tmp_path, "process.exit(1);")
    before = detector.missing

    found = detector.detect(picture_of(sample("coffee.png")))

    assert (before, found) == ((), [])
    assert [sentence.endswith("the Node helper does not start.") for sentence in detector.missing] == [True]


def test_a_helper_that_dies_of_a_picture_is_an_error_and_not_an_empty_answer(
    objects: ObjectDetector, tmp_path: Path
) -> None:
    assert objects.missing == ()
    detector = scripted(tmp_path, READY + 'process.stdin.on("data", () => process.exit(1));')

    with pytest.raises(ServiceError, match="The object detector ended without an answer"):
        detector.detect(picture_of(sample("coffee.png")))
    assert detector.missing == ()
    detector.close()


@pytest.mark.parametrize(
    ("image", "label"),
    [pytest.param(mirrored_cat(), "Cat", id="cat"), pytest.param(sample("coffee.png"), "Dog", id="cup")],
)
def test_what_is_taken_for_a_dog_and_has_a_cats_face_is_a_cat(
    objects: ObjectDetector, tmp_path: Path, image: Image.Image, label: str
) -> None:
    assert objects.missing == ()
    everything = '{"detections": [[0, 0, 512, 512, 0.6, 16]]}'
    detector = scripted(tmp_path, f"{READY}process.stdin.once('data', () => console.log('{everything}'));")

    found = detector.detect(picture_of(image))

    assert [(seen.label, seen.confidence) for seen in found] == [(label, 90.0)]
    detector.close()
