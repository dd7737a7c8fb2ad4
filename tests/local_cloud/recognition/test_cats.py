import pytest

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.cats import CatFaceFinder, tell_cats_from_dogs
from tests.local_cloud.recognition.drawing import mirrored_cat, picture_of, sample

FACE = Box(0.4, 0.2, 0.2, 0.2)
DOG = Detection("Dog", 80, Box(0.1, 0.1, 0.8, 0.8))


def test_a_cats_face_from_the_front_is_found() -> None:
    faces = CatFaceFinder().find(picture_of(mirrored_cat()))

    assert [face.overlap(Box(0.23, 0.33, 0.54, 0.47)) > 0.7 for face in faces] == [True]


@pytest.mark.parametrize("name", ["astronaut.png", "coffee.png", "rocket.jpg"])
def test_other_pictures_have_no_cats_face(name: str) -> None:
    assert CatFaceFinder().find(picture_of(sample(name))) == []


def test_a_dog_with_a_cats_face_is_a_cat() -> None:
    assert tell_cats_from_dogs([DOG], [FACE]) == [Detection("Cat", 80, DOG.box)]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(Detection("Dog", 80, Box(0.7, 0.7, 0.3, 0.3)), id="a dog beside the cat"),
        pytest.param(Detection("Horse", 80, Box(0.1, 0.1, 0.8, 0.8)), id="a horse"),
        pytest.param(Detection("Dog", 80), id="a dog somewhere"),
    ],
)
def test_nothing_else_becomes_a_cat(seen: Detection) -> None:
    assert tell_cats_from_dogs([seen], [FACE]) == [seen]


def test_a_dog_without_a_cats_face_stays_a_dog() -> None:
    assert tell_cats_from_dogs([DOG], []) == [DOG]
