from pathlib import Path

import pytest
from PIL import Image

from local_cloud.recognition.classifier import Classifier
from local_cloud.recognition.errors import ConfigurationError
from tests.local_cloud.recognition.drawing import picture_of
from tests.local_cloud.recognition.onnx_models import FLOAT, FLOAT16, INT64, UINT8, mean_colour_model

RED = Image.new("RGB", (120, 90), (250, 10, 10))
GREEN = Image.new("RGB", (90, 300), (10, 250, 10))


def classifier(folder: Path, model: bytes, names: str = "tomato\ncup\nsky\n") -> Classifier:
    (folder / "model.onnx").write_bytes(model)
    (folder / "names.txt").write_text(names, encoding="utf-8")
    return Classifier(folder / "model.onnx", folder / "names.txt")


@pytest.mark.parametrize("channels_first", [True, False], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("side", [32, 224, "height"], ids=str)
@pytest.mark.parametrize("number", [FLOAT, UINT8, FLOAT16], ids=["float", "uint8", "float16"])
def test_the_input_is_made_as_the_model_wants_it(
    tmp_path: Path, channels_first: bool, side: int | str, number: int
) -> None:
    model = mean_colour_model(channels_first=channels_first, side=side, number=number)
    three_classes = classifier(tmp_path, model)

    assert three_classes.detect(picture_of(RED))[0].label == "tomato"
    assert three_classes.detect(picture_of(GREEN))[0].label == "Cup"


def test_scores_become_probabilities(tmp_path: Path) -> None:
    found = classifier(tmp_path, mean_colour_model()).detect(picture_of(RED))

    assert [(seen.label, seen.box) for seen in found] == [("tomato", None)]
    assert found[0].confidence == pytest.approx(96.1, abs=0.2)


def test_probabilities_stay_what_they_are(tmp_path: Path) -> None:
    logits = classifier(tmp_path, mean_colour_model()).detect(picture_of(RED))
    probabilities = classifier(tmp_path, mean_colour_model(softmax=True)).detect(picture_of(RED))

    assert [seen.label for seen in probabilities] == ["tomato"]
    assert probabilities[0].confidence == pytest.approx(logits[0].confidence, abs=0.01)


def test_every_class_that_may_be_it_is_named(tmp_path: Path) -> None:
    grey = Image.new("RGB", (100, 100), (124, 116, 104))

    found = classifier(tmp_path, mean_colour_model()).detect(picture_of(grey))

    assert {seen.label for seen in found} == {"tomato", "Cup", "sky"}
    assert all(30 < seen.confidence < 36 for seen in found)


def test_the_middle_of_the_picture_is_looked_at(tmp_path: Path) -> None:
    wide = Image.new("RGB", (600, 100), (10, 10, 250))
    wide.paste((250, 10, 10), (250, 0, 350, 100))

    assert classifier(tmp_path, mean_colour_model()).detect(picture_of(wide))[0].label == "tomato"


@pytest.mark.parametrize(
    ("model", "names", "sentence"),
    [
        pytest.param(mean_colour_model(), "a\nb\n", "tells 3 classes apart, and .* names 2", id="two names"),
        pytest.param(
            mean_colour_model(), "a\nb\nc\nd", "tells 3 classes apart, and .* names 4", id="four names"
        ),
        pytest.param(mean_colour_model(), "", "tells 3 classes apart, and .* names 0", id="no names"),
        pytest.param(mean_colour_model(), "a\n\nb\nc", "has an empty line", id="empty line"),
        pytest.param(b"", "a\nb\nc", "no ONNX model that can be loaded", id="empty model"),
        pytest.param(b"junk", "a\nb\nc", "no ONNX model that can be loaded", id="junk"),
        pytest.param(mean_colour_model()[:90], "a\nb\nc", "no ONNX model that can be loaded", id="cut off"),
        pytest.param(mean_colour_model(number=INT64), "a\nb\nc", "no image classifier", id="integers"),
        pytest.param(
            mean_colour_model(shape=[1, 32]), "a\nb\nc", "(no image classifier|loaded)", id="no picture"
        ),
        pytest.param(mean_colour_model(shape=[1, 1, 32, 32]), "a\nb\nc", "no image classifier", id="grey"),
        pytest.param(
            mean_colour_model(shape=[4, 3, 32, 32]), "a\nb\nc", "no image classifier", id="batch of 4"
        ),
    ],
)
def test_what_cannot_work_is_said_at_once(tmp_path: Path, model: bytes, names: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        classifier(tmp_path, model, names)


def test_a_wrong_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\n")

    with pytest.raises(ConfigurationError, match=r"LOCAL_MODEL \(.*nowhere.onnx\) is not there"):
        Classifier(tmp_path / "nowhere.onnx", tmp_path / "names.txt")
    with pytest.raises(ConfigurationError, match=r"LOCAL_MODEL_CLASSES \(.*nowhere.txt\) cannot be read"):
        Classifier(tmp_path / "nowhere.onnx", tmp_path / "nowhere.txt")


def test_class_names_are_unicode_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"caf\xe9\n")

    with pytest.raises(ConfigurationError, match="cannot be read"):
        Classifier(tmp_path / "model.onnx", tmp_path / "names.txt")
