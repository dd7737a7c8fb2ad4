import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.model import Detector
from chalicelib.settings import DETECTORS, RESOURCES, Settings, SettingsError

NAMES_100 = ",".join(f"Name {number}" for number in range(100))
MADE: dict[str, Any] = {variable.lower(): f"the {output}" for variable, output in RESOURCES.items()}
NAMED = {"STAGE": "local", **{variable: MADE[variable.lower()] for variable in RESOURCES}}


def test_the_stage_and_what_its_stack_made_are_enough() -> None:
    assert Settings.from_env(NAMED) == Settings(
        stage="local",
        **MADE,
        detect=("labels", "moderation", "text"),
        min_confidence=50.0,
        max_labels=30,
        include_labels=(),
        exclude_labels=(),
        include_categories=(),
        exclude_categories=(),
        hidden_labels=(),
        moderation="flag",
        moderation_labels=(
            ("Explicit", 80.0),
            ("Violence", 80.0),
            ("Visually Disturbing", 80.0),
            ("Hate Symbols", 80.0),
        ),
        min_moderation_confidence=50.0,
        min_text_confidence=80.0,
        max_colors=10,
        reuse="off",
        daily_image_limit=0,
        max_upload_bytes=104_857_600,
        max_pixels=100_000_000,
        upload_url_seconds=900,
        callback_url="",
        callback_hosts=(),
        callback_concurrency=5,
        api_auth="open",
        cors_origin="",
        label_timeout_seconds=140,
        log_level="INFO",
        aws_lambda_function_memory_size=2048,
    )


def test_every_setting_is_read() -> None:
    environ = {
        **{name: f" {value} " for name, value in NAMED.items()},
        "DETECT": "properties, text,moderation",
        "MIN_CONFIDENCE": "12.5",
        "MAX_LABELS": "45",
        "INCLUDE_LABELS": "Dog, Traffic Light,",
        "EXCLUDE_LABELS": "T-Shirt,Mother's Day (US)",
        "INCLUDE_CATEGORIES": "Animals and Pets",
        "EXCLUDE_CATEGORIES": "Sports",
        "HIDDEN_LABELS": "Man, Woman,, Man",
        "MODERATION": "off",
        "MODERATION_LABELS": "Drugs & Tobacco:70.5, Weapons : 95",
        "MIN_MODERATION_CONFIDENCE": "70.5",
        "MIN_TEXT_CONFIDENCE": "0",
        "MAX_COLORS": "20",
        "REUSE": "on",
        "DAILY_IMAGE_LIMIT": "5000",
        "MAX_UPLOAD_BYTES": "1048576",
        "MAX_PIXELS": "1000000",
        "UPLOAD_URL_SECONDS": "60",
        "CALLBACK_URL": "https://hooks.example.com/labels?token=1",
        "CALLBACK_HOSTS": "*.example.com, 192.0.2.1",
        "CALLBACK_CONCURRENCY": "2",
        "API_AUTH": "token",
        "CORS_ORIGIN": "https://shop.example",
        "LABEL_TIMEOUT_SECONDS": "145",
        "LOG_LEVEL": "DEBUG",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "PATH": "/bin",
    }

    assert Settings.from_env(environ) == Settings(
        stage="local",
        **MADE,
        detect=("moderation", "text", "properties"),
        min_confidence=12.5,
        max_labels=45,
        include_labels=("Dog", "Traffic Light"),
        exclude_labels=("T-Shirt", "Mother's Day (US)"),
        include_categories=("Animals and Pets",),
        exclude_categories=("Sports",),
        hidden_labels=("Man", "Woman"),
        moderation="off",
        moderation_labels=(("Drugs & Tobacco", 70.5), ("Weapons", 95.0)),
        min_moderation_confidence=70.5,
        min_text_confidence=0.0,
        max_colors=20,
        reuse="on",
        daily_image_limit=5000,
        max_upload_bytes=1_048_576,
        max_pixels=1_000_000,
        upload_url_seconds=60,
        callback_url="https://hooks.example.com/labels?token=1",
        callback_hosts=("*.example.com", "192.0.2.1"),
        callback_concurrency=2,
        api_auth="token",
        cors_origin="https://shop.example",
        label_timeout_seconds=145,
        log_level="DEBUG",
        aws_lambda_function_memory_size=1024,
    )


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES_BUCKET", "from-the-environment")

    assert Settings.from_env().images_bucket == "from-the-environment"


def test_all_problems_are_in_one_message() -> None:
    environ = {
        **NAMED,
        "STAGE": "Dev-1",
        "IMAGES_BUCKET": "",
        "IMAGES_TABLE": "  ",
        "DETECT": "labels, faces, emotions",
        "MIN_CONFIDENCE": "high",
        "MAX_LABELS": "46",
        "INCLUDE_LABELS": "Dog, Cat#1",
        "MODERATION": "flag",
        "MODERATION_LABELS": "Violence, Weapons:40",
        "MAX_PIXELS": "1e6",
        "UPLOAD_URL_SECONDS": "901",
        "API_AUTH": "key",
        "CORS_ORIGIN": "shop.example",
        "LABEL_TIMEOUT_SECONDS": "1e3",
        "LOG_LEVEL": "verbose",
    }

    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)

    assert str(raised.value) == (
        "DETECT takes labels, moderation, text, properties, not emotions, faces; "
        "STAGE must be up to 15 small letters and digits, a letter first, not 'Dev-1'; "
        "IMAGES_BUCKET is missing; IMAGES_TABLE is missing; "
        "MIN_CONFIDENCE must be a number from 0 to 100, not 'high'; "
        "MAX_LABELS must be a whole number from 1 to 45, not '46'; "
        "INCLUDE_LABELS: 'Cat#1' is none of Rekognition's names; "
        "MODERATION=flag needs moderation in DETECT; "
        "MODERATION_LABELS must be like `Violence:80, Weapons:95`, not 'Violence'; "
        "MODERATION_LABELS: 'Weapons:40' is below MIN_MODERATION_CONFIDENCE, so it is never seen; "
        "MAX_PIXELS must be a whole number from 1000000 to 100000000, not '1e6'; "
        "UPLOAD_URL_SECONDS must be a whole number from 60 to 900, not '901'; "
        "API_AUTH must be one of token, open, not 'key'; "
        "CORS_ORIGIN must be an origin, such as https://shop.example, or *, not 'shop.example'; "
        "LABEL_TIMEOUT_SECONDS must be a whole number from 140 to 150, not '1e3'; "
        "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'verbose'"
    )


@pytest.mark.parametrize(
    "name", sorted({field.name.upper() for field in dataclasses.fields(Settings)} - set(NAMED))
)
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
        ("MIN_MODERATION_CONFIDENCE", "min_moderation_confidence", "100", 100.0),
        ("MIN_TEXT_CONFIDENCE", "min_text_confidence", "100", 100.0),
        ("MAX_COLORS", "max_colors", "1", 1),
        ("MAX_UPLOAD_BYTES", "max_upload_bytes", "104857600", 104_857_600),
        ("MAX_PIXELS", "max_pixels", "100000000", 100_000_000),
        ("DAILY_IMAGE_LIMIT", "daily_image_limit", "0", 0),
        ("DAILY_IMAGE_LIMIT", "daily_image_limit", "10000000", 10_000_000),
        ("DETECT", "detect", "text, ,text,moderation,", ("moderation", "text")),
        ("MODERATION", "moderation", " off ", "off"),
        ("MODERATION_LABELS", "moderation_labels", "Violence:50", (("Violence", 50.0),)),
        ("MODERATION_LABELS", "moderation_labels", "Violence:100", (("Violence", 100.0),)),
        ("INCLUDE_LABELS", "include_labels", "x" * 50, ("x" * 50,)),
        pytest.param(
            "EXCLUDE_LABELS", "exclude_labels", NAMES_100, tuple(NAMES_100.split(",")), id="100 filters"
        ),
        ("UPLOAD_URL_SECONDS", "upload_url_seconds", "60", 60),
        ("UPLOAD_URL_SECONDS", "upload_url_seconds", "900", 900),
        ("CALLBACK_URL", "callback_url", "https://example.com:8443", "https://example.com:8443"),
        ("CALLBACK_HOSTS", "callback_hosts", "example.com", ("example.com",)),
        ("CALLBACK_CONCURRENCY", "callback_concurrency", "1000", 1000),
        ("LABEL_TIMEOUT_SECONDS", "label_timeout_seconds", "150", 150),
        ("CORS_ORIGIN", "cors_origin", "*", "*"),
        ("CORS_ORIGIN", "cors_origin", "http://localhost:8000", "http://localhost:8000"),
        ("LOG_LEVEL", "log_level", "ERROR", "ERROR"),
        ("STAGE", "stage", "d", "d"),
        ("STAGE", "stage", "d23456789012345", "d23456789012345"),
    ],
)
def test_a_bound_is_still_allowed(name: str, field: str, text: str, value: Any) -> None:
    closed = {**NAMED, "API_AUTH": "token"}  # as it is on any stage

    settings = Settings.from_env({**closed, name: text})

    assert settings == dataclasses.replace(Settings.from_env(closed), **{field: value})


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
        ("MIN_MODERATION_CONFIDENCE", "101"),
        ("MIN_TEXT_CONFIDENCE", "-1"),
        ("MAX_COLORS", "0"),
        ("MAX_COLORS", "21"),
        ("MAX_UPLOAD_BYTES", "104857601"),
        ("MAX_UPLOAD_BYTES", "1048575"),
        ("MAX_PIXELS", "100000001"),
        ("MAX_PIXELS", "999999"),
        ("MODERATION", "quarantaine"),
        ("MODERATION", "Flag"),
        ("DAILY_IMAGE_LIMIT", "-1"),
        ("DAILY_IMAGE_LIMIT", "10000001"),
        ("REUSE", "yes"),
        ("REUSE", "On"),
        ("MODERATION_LABELS", "Violence"),
        ("MODERATION_LABELS", ":80"),
        ("MODERATION_LABELS", "Violence:"),
        ("MODERATION_LABELS", "Violence:101"),
        ("MODERATION_LABELS", "Violence:-80"),
        ("MODERATION_LABELS", "Violence:nan"),
        ("MODERATION_LABELS", "Violence:80;Weapons:90"),
        ("UPLOAD_URL_SECONDS", "59"),
        ("CALLBACK_CONCURRENCY", "1"),
        ("CALLBACK_CONCURRENCY", "1001"),
        ("LABEL_TIMEOUT_SECONDS", "139"),
        ("LABEL_TIMEOUT_SECONDS", "151"),
        ("CORS_ORIGIN", "https://shop.example/"),
        ("CORS_ORIGIN", "https://shop.example, https://b.example"),
        ("CORS_ORIGIN", "https://shop.example\nX: y"),
        ("CORS_ORIGIN", "null"),
        ("LOG_LEVEL", "debug"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "127"),
        ("STAGE", "d234567890123456"),
        ("STAGE", "1st"),
        ("STAGE", "dev-notify"),
        ("STAGE", "dév"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be "):
        Settings.from_env({**NAMED, name: text})


@pytest.mark.parametrize(
    "name", ["INCLUDE_LABELS", "EXCLUDE_LABELS", "INCLUDE_CATEGORIES", "EXCLUDE_CATEGORIES"]
)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Dog, Cat & Co", ": 'Cat & Co' is none of Rekognition's names"),
        ("x" * 51, f": '{'x' * 51}' is none of Rekognition's names"),
        (f"{NAMES_100},Dog", " may have 100 names, not 101"),
    ],
    ids=["sign", "long", "many"],
)
def test_a_filter_that_rekognition_would_refuse_is_refused_at_once(
    name: str, text: str, problem: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({**NAMED, name: text})

    assert str(raised.value) == f"{name}{problem}"


def test_a_detector_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({**NAMED, "DETECT": "labels,Text"})

    assert str(raised.value) == "DETECT takes labels, moderation, text, properties, not Text"


@pytest.mark.parametrize(
    ("environ", "moderation", "flagging"),
    [
        pytest.param({}, "flag", {"Violence": 80.0}, id="unless told otherwise"),
        pytest.param({"MODERATION": "off"}, "off", {}, id="off"),
        pytest.param({"DETECT": "labels"}, "off", {}, id="not detected"),
        pytest.param({"DETECT": "labels", "MODERATION": "off"}, "off", {}, id="not detected and off"),
    ],
)
def test_what_is_detected_is_flagged(
    environ: dict[str, str], moderation: str, flagging: dict[str, float]
) -> None:
    settings = Settings.from_env({**NAMED, "MODERATION_LABELS": "Violence:80", **environ})

    assert (settings.moderation, settings.flagging) == (moderation, flagging)


def test_moderation_without_its_detector_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^MODERATION=flag needs moderation in DETECT$"):
        Settings.from_env({**NAMED, "DETECT": "labels,text", "MODERATION": "flag"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Violance:80", "'Violance' is no moderation label; did you mean 'Violence'?"),
        (
            "Visually disturbed:80",
            "'Visually disturbed' is no moderation label; did you mean 'Visually Disturbing'?",
        ),
        ("Suggestive:80", "'Suggestive' is no moderation label"),
    ],
    ids=["misspelt", "nearly", "of another model"],
)
def test_a_trigger_that_the_taxonomy_lacks_is_refused_with_what_may_be_meant(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({**NAMED, "MODERATION_LABELS": text})

    assert str(raised.value) == f"MODERATION_LABELS: {problem}"


def test_a_trigger_may_be_written_in_any_case() -> None:
    settings = Settings.from_env({**NAMED, "MODERATION_LABELS": "blood & GORE:80"})

    assert settings.flagging == {"blood & GORE": 80.0}


def test_a_trigger_that_is_never_seen_is_refused_but_no_default_is() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({**NAMED, "MODERATION_LABELS": "Violence:30"})

    assert str(raised.value) == (
        "MODERATION_LABELS: 'Violence:30' is below MIN_MODERATION_CONFIDENCE, so it is never seen"
    )
    assert Settings.from_env({**NAMED, "MIN_MODERATION_CONFIDENCE": "90"}).flagging["Violence"] == 80.0


@pytest.mark.parametrize(
    ("stage", "auth", "is_asked"),
    [
        pytest.param("local", {}, False, id="the laptop's"),
        pytest.param("local", {"API_AUTH": "open"}, False, id="the laptop's, open"),
        pytest.param("local", {"API_AUTH": "token"}, True, id="the laptop's, closed"),
        pytest.param("dev", {}, True, id="a deployed one"),
        pytest.param("dev", {"API_AUTH": "token"}, True, id="a deployed one, closed"),
    ],
)
def test_a_token_is_asked_for_everywhere_but_on_a_laptop(
    stage: str, auth: dict[str, str], is_asked: bool
) -> None:
    settings = Settings.from_env({**NAMED, "STAGE": stage, **auth})

    assert settings.api_auth == ("token" if is_asked else "open")


@pytest.mark.parametrize("stage", ["dev", "local2", "Local", ""])
def test_no_stage_but_the_laptops_can_be_open(stage: str) -> None:
    with pytest.raises(SettingsError, match=r"API_AUTH=open is for the stage local alone$"):
        Settings.from_env({**NAMED, "STAGE": stage, "API_AUTH": "open"})


def test_the_detectors_are_those_of_the_model() -> None:
    assert list(DETECTORS) == list(Detector)


@pytest.mark.parametrize(
    ("memory", "megabytes"), [(2048, 1792), (512, 256), (128, 64)], ids=["usual", "small", "too small"]
)
def test_a_conversion_leaves_the_function_what_it_needs_itself(memory: int, megabytes: int) -> None:
    settings = replace(Settings.from_env(NAMED), aws_lambda_function_memory_size=memory)

    assert settings.conversion_bytes == megabytes * 2**20


def test_a_lease_outlives_the_function() -> None:
    assert replace(Settings.from_env(NAMED), label_timeout_seconds=140).lease_seconds == 150


def test_settings_do_not_change() -> None:
    settings = Settings.from_env(NAMED)

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.max_labels = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "hosts", "problem"),
    [
        ("http://example.com/", "", "The URL must begin with https://"),
        ("https://10.0.0.1/", "", "The host is not on the public internet"),
        ("https://127.0.0.1:9000/", "", "The port must be 443 or 8443"),
        ("https://example.com/", "example.org", "The host is not one of those that this service may call"),
        ("example.com", "", "The URL must look like https://example.com/path"),
    ],
)
def test_a_callback_that_could_never_be_sent_is_refused_at_once(url: str, hosts: str, problem: str) -> None:
    environ = {**NAMED, "STAGE": "dev", "CALLBACK_URL": url, "CALLBACK_HOSTS": hosts}

    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)

    assert str(raised.value) == f"CALLBACK_URL: {problem}"


@pytest.mark.parametrize(
    "host", ["https://example.com", "example.com/path", "*", "a.*.example.com", "exämple.com"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({**NAMED, "CALLBACK_HOSTS": f"example.com, {host}"})

    assert str(raised.value) == f"CALLBACK_HOSTS: {host!r} must be like hooks.example.com or *.example.com"


def test_only_the_laptop_may_call_itself_back() -> None:
    url = {"CALLBACK_URL": "http://127.0.0.1:9000/hook"}

    assert Settings.from_env({**NAMED, **url}).callback_rules.loopback
    assert not Settings.from_env({**NAMED, "STAGE": "dev"}).callback_rules.loopback
    with pytest.raises(SettingsError):
        Settings.from_env({**NAMED, "STAGE": "dev", **url})
