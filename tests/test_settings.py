import dataclasses
from typing import Any

import pytest

from chalicelib.settings import Settings, SettingsError

NAMED = {"STAGE": "local", "IMAGES_BUCKET": "pictures", "IMAGES_TABLE": "images"}


def test_stage_bucket_and_table_are_enough() -> None:
    assert Settings.from_env(NAMED) == Settings(
        stage="local",
        images_bucket="pictures",
        images_table="images",
        min_confidence=50.0,
        max_labels=30,
        upload_url_seconds=900,
        label_timeout_seconds=60,
        log_level="INFO",
    )


def test_every_setting_is_read() -> None:
    environ = {
        "STAGE": "local",
        "IMAGES_BUCKET": " pictures ",
        "IMAGES_TABLE": "images",
        "MIN_CONFIDENCE": "12.5",
        "MAX_LABELS": "45",
        "UPLOAD_URL_SECONDS": "60",
        "LABEL_TIMEOUT_SECONDS": "120",
        "LOG_LEVEL": "DEBUG",
        "PATH": "/bin",
    }

    assert Settings.from_env(environ) == Settings(
        stage="local",
        images_bucket="pictures",
        images_table="images",
        min_confidence=12.5,
        max_labels=45,
        upload_url_seconds=60,
        label_timeout_seconds=120,
        log_level="DEBUG",
    )


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES_BUCKET", "from-the-environment")

    assert Settings.from_env().images_bucket == "from-the-environment"


def test_all_problems_are_in_one_message() -> None:
    environ = {
        "STAGE": "Dev-1",
        "IMAGES_TABLE": "  ",
        "MIN_CONFIDENCE": "high",
        "MAX_LABELS": "46",
        "UPLOAD_URL_SECONDS": "901",
        "LABEL_TIMEOUT_SECONDS": "1e3",
        "LOG_LEVEL": "verbose",
    }

    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)

    assert str(raised.value) == (
        "STAGE must be up to 15 small letters and digits, a letter first, not 'Dev-1'; "
        "IMAGES_BUCKET is missing; IMAGES_TABLE is missing; "
        "MIN_CONFIDENCE must be a number from 0 to 100, not 'high'; "
        "MAX_LABELS must be a whole number from 1 to 45, not '46'; "
        "UPLOAD_URL_SECONDS must be a whole number from 60 to 900, not '901'; "
        "LABEL_TIMEOUT_SECONDS must be a whole number from 60 to 150, not '1e3'; "
        "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'verbose'"
    )


@pytest.mark.parametrize("name", ["MIN_CONFIDENCE", "MAX_LABELS", "UPLOAD_URL_SECONDS", "LOG_LEVEL"])
@pytest.mark.parametrize("blank", ["", "  "], ids=["empty", "spaces"])
def test_a_blank_value_is_none(name: str, blank: str) -> None:
    assert Settings.from_env({**NAMED, name: blank}) == Settings.from_env(NAMED)


@pytest.mark.parametrize(
    ("name", "field", "text", "value"),
    [
        ("MIN_CONFIDENCE", "min_confidence", "0", 0.0),
        ("MIN_CONFIDENCE", "min_confidence", "100", 100.0),
        ("MAX_LABELS", "max_labels", "1", 1),
        ("MAX_LABELS", "max_labels", " 45 ", 45),
        ("UPLOAD_URL_SECONDS", "upload_url_seconds", "60", 60),
        ("UPLOAD_URL_SECONDS", "upload_url_seconds", "900", 900),
        ("LABEL_TIMEOUT_SECONDS", "label_timeout_seconds", "150", 150),
        ("LOG_LEVEL", "log_level", "ERROR", "ERROR"),
        ("STAGE", "stage", "d", "d"),
        ("STAGE", "stage", "d23456789012345", "d23456789012345"),
    ],
)
def test_a_bound_is_still_allowed(name: str, field: str, text: str, value: Any) -> None:
    settings = Settings.from_env({**NAMED, name: text})

    assert settings == dataclasses.replace(Settings.from_env(NAMED), **{field: value})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MIN_CONFIDENCE", "-0.1"),
        ("MIN_CONFIDENCE", "100.1"),
        ("MIN_CONFIDENCE", "nan"),
        ("MIN_CONFIDENCE", "inf"),
        ("MIN_CONFIDENCE", "50 %"),
        ("MAX_LABELS", "0"),
        ("MAX_LABELS", "-1"),
        ("MAX_LABELS", "1.0"),
        ("MAX_LABELS", "٣"),
        ("MAX_LABELS", "²"),
        pytest.param("MAX_LABELS", "9" * 5000, id="more digits than int() takes"),
        ("UPLOAD_URL_SECONDS", "59"),
        ("LABEL_TIMEOUT_SECONDS", "59"),
        ("LABEL_TIMEOUT_SECONDS", "151"),
        ("LOG_LEVEL", "debug"),
        ("STAGE", "d234567890123456"),
        ("STAGE", "1st"),
        ("STAGE", "dev-notify"),
        ("STAGE", "dév"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings.from_env({**NAMED, name: text})


def test_a_lease_outlives_the_function() -> None:
    assert Settings("local", "pictures", "images", label_timeout_seconds=60).lease_seconds == 70


def test_settings_do_not_change() -> None:
    settings = Settings("local", "pictures", "images")

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.max_labels = 1  # type: ignore[misc]
