from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from local_cloud.recognition import ConfigurationError, local_recogniser, recogniser_from
from local_cloud.recognition.aws import AwsRecogniser
from local_cloud.recognition.local import LocalRecogniser
from local_cloud.recognition.picture import read_picture
from tests.local_cloud.recognition.drawing import encode, picture_of
from tests.local_cloud.recognition.onnx_models import mean_colour_model


@pytest.mark.parametrize("environment", [{}, {"RECOGNISER": ""}, {"RECOGNISER": "local"}])
def test_this_machine_recognises_unless_told_otherwise(environment: dict[str, str]) -> None:
    recogniser = recogniser_from(environment)

    assert isinstance(recogniser, LocalRecogniser)
    recogniser.close()


def test_aws_recognises_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[photos]\naws_access_key_id = a\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    recogniser = recogniser_from({"RECOGNISER": "aws", "RECOGNISER_PROFILE": "photos"})

    assert isinstance(recogniser, AwsRecogniser)


def test_aws_without_credentials_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")

    with pytest.raises(ConfigurationError, match="needs the AWS profile 'default' with credentials"):
        recogniser_from({"RECOGNISER": "aws"})


def test_another_recogniser_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="RECOGNISER is local or aws, not 'azure'"):
        recogniser_from({"RECOGNISER": "azure"})


@pytest.mark.parametrize("name", ["LOCAL_MODEL", "LOCAL_MODEL_CLASSES"])
def test_a_model_without_names_or_names_without_a_model_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="LOCAL_MODEL and LOCAL_MODEL_CLASSES belong together"):
        recogniser_from({name: "somewhere"})


def test_a_model_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("tomato\n")

    with pytest.raises(ConfigurationError, match=r"nowhere.onnx\) is not there"):
        recogniser_from({"LOCAL_MODEL": "nowhere.onnx", "LOCAL_MODEL_CLASSES": str(tmp_path / "names.txt")})


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, "Gambling"),
        ({"LOCAL_MODERATION_MARK": ""}, "Gambling"),
        ({"LOCAL_MODERATION_MARK": "try"}, "Alcohol"),
    ],
)
def test_the_mark_begins_with_the_users_own_word(environment: dict[str, str], found: str) -> None:
    notes = PngInfo()
    notes.add_text("Comment", "moderation: Gambling\ntry: Alcohol")
    picture = read_picture(encode(Image.new("RGB", (100, 100)), pnginfo=notes))
    recogniser = recogniser_from(environment)

    answer = recogniser.recognise("DetectModerationLabels", picture, {})

    assert [label["Name"] for label in answer["ModerationLabels"]] == [found]
    recogniser.close()


def test_the_users_own_classes_are_labels_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(mean_colour_model())
    (tmp_path / "names.txt").write_text("tomato\nmeadow\nsky\n")
    recogniser = local_recogniser(tmp_path / "model.onnx", tmp_path / "names.txt")

    answer = recogniser.recognise("DetectLabels", picture_of(Image.new("RGB", (100, 100), "red")), {})

    assert [(label["Name"], label["Instances"], label["Parents"]) for label in answer["Labels"]] == [
        ("tomato", [], [])
    ]
    recogniser.close()
