import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from threading import Barrier
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from chalicelib.claim import UNCLAIMED, Claim, Partial
from chalicelib.detection import MAX_CALLS, Detected
from chalicelib.errors import (
    AccessLost,
    ObjectUnavailable,
    PictureRefused,
    ServiceFailed,
    Throttled,
)
from chalicelib.imaging import MAX_OBJECT_BYTES, MAX_SENT_BYTES, inspect
from chalicelib.model import (
    Box,
    Detector,
    Findings,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Properties,
    StoredObject,
    Word,
)
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.stopwatch import Stopwatch
from tests.faults import Step, answering, json_error, plan, xml_error
from tests.interception import sdk_waiting_by
from tests.pictures import ENCODERS, STORED, UPRIGHT, picture, quarters, seen, turned
from tests.scripted_rekognition import LABELS, MODERATION, TEXT, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OPERATIONS = (LABELS, MODERATION, TEXT)
ONCE_EACH = dict.fromkeys(OPERATIONS, 1)
BOX = Box(0.1, 0.2, 0.5, 0.25)
CAR = Line("Car", 98.0, BOX, (Word("Car", 98.0, BOX),))
WEAPONS = Line("Weapons", 91.0, BOX, (Word("Weapons", 91.0, BOX),))
QUALITY = Properties(sharpness=50.5, brightness=60.5, contrast=70.5)
ALL = Findings(
    labels=(Label("Car", 98.0), Label("Weapons", 91.0)),
    moderation=Moderation(True, (ModerationLabel("Weapons", 91.0, "Violence", 1),)),
    text=(CAR, WEAPONS),
    properties=QUALITY,
    model_versions={"labels": "3.0", "moderation": "7.0", "text": "3.0"},
)
WITHOUT = {
    LABELS: replace(ALL, labels=None, properties=None, model_versions={"moderation": "7.0", "text": "3.0"}),
    MODERATION: replace(ALL, moderation=None, model_versions={"labels": "3.0", "text": "3.0"}),
    TEXT: replace(ALL, text=None, model_versions={"labels": "3.0", "moderation": "7.0"}),
}

Put = Callable[..., StoredObject]
Detect = Callable[..., Detected]


@pytest.fixture
def services(all_detectors: Settings, rekognition: ScriptedRekognition) -> Services:
    return Services(all_detectors)


@pytest.fixture
def put(services: Services, s3: "S3Client") -> Put:
    def put(body: bytes, key: str = "", **more: Any) -> StoredObject:
        """Uploads a picture, and looks at it."""
        key = key or secrets.token_hex(4)
        s3.put_object(Bucket=services.bucket.name, Key=key, Body=body, **more)
        found = services.bucket.look(key)
        assert found is not None
        return found

    return put


@pytest.fixture
def detect(services: Services) -> Detect:
    def detect(
        found: StoredObject, known: Findings | None = None, watch: Stopwatch | None = None
    ) -> Detected:
        before = row_with(found, services, known or Findings())
        return services.detection.detect(found, before, watch or Stopwatch())

    return detect


@pytest.fixture
def sent(services: Services) -> list[str]:
    """The calls that are made from now on; its looks a test takes before."""
    calls: list[str] = []
    services.session.events.register("before-call", lambda model, **_: calls.append(model.name))
    return calls


@pytest.fixture
def hasty() -> Iterator[None]:
    """The SDK tries again at once."""
    with sdk_waiting_by(lambda _: None):
        yield


def row_with(found: StoredObject, services: Services, known: Findings) -> Claim:
    """A row that knows so much of that version already."""
    return replace(UNCLAIMED, partial=Partial(found.version, services.recipe.fingerprint, known))


def dangerous_car(**options: Any) -> bytes:
    return picture("Car 98", "Weapons 91", **options)


def test_every_detector_tells_what_it_sees(
    put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    detected = detect(put(dangerous_car()))

    assert (detected.findings, detected.failure) == (ALL, None)
    assert rekognition.asked == ONCE_EACH


def test_all_detectors_are_asked_at_the_same_time(
    put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    met = Barrier(MAX_CALLS)  # which breaks if not all come while the first one waits for its answer
    rekognition.before = lambda _: met.wait(30)

    detected = detect(put(dangerous_car()))

    assert (detected.findings, detected.failure) == (ALL, None)
    assert not met.broken


def test_only_what_is_chosen_is_asked(
    put: Put, all_detectors: Settings, rekognition: ScriptedRekognition
) -> None:
    found = put(dangerous_car())
    services = Services(replace(all_detectors, detect=("text",)))

    detected = services.detection.detect(found, UNCLAIMED, Stopwatch())

    assert detected.failure is None
    assert detected.findings == Findings(text=(CAR, WEAPONS), model_versions={"text": "3.0"})
    assert rekognition.asked == {TEXT: 1}


@pytest.mark.parametrize("throttled", OPERATIONS)
def test_who_is_throttled_is_asked_again_after_each_wait_and_nobody_else_is(
    throttled: str, put: Put, services: Services, rekognition: ScriptedRekognition, hasty: None
) -> None:
    rekognition.failures[throttled] += [(400, "ThrottlingException")] * 7
    waits = iter([True, True, False])

    detected = services.detection.detect(put(dangerous_car()), UNCLAIMED, Stopwatch(), lambda: next(waits))

    assert (detected.findings, detected.failure) == (ALL, None)
    assert next(waits) is False
    assert rekognition.asked == {**ONCE_EACH, throttled: 8}


def test_who_is_throttled_when_there_is_no_time_left_is_given_up(
    put: Put, services: Services, rekognition: ScriptedRekognition, hasty: None
) -> None:
    rekognition.failures[TEXT] += [(400, "ThrottlingException")] * 9
    waits = iter([True, False])

    detected = services.detection.detect(put(dangerous_car()), UNCLAIMED, Stopwatch(), lambda: next(waits))

    assert (detected.findings, type(detected.failure)) == (WITHOUT[TEXT], Throttled)
    assert rekognition.asked == {**ONCE_EACH, TEXT: 6}


def test_no_other_failure_is_waited_for(
    put: Put, services: Services, rekognition: ScriptedRekognition, hasty: None
) -> None:
    rekognition.failures[TEXT] += [(500, "InternalServerError")] * 3

    detected = services.detection.detect(put(dangerous_car()), UNCLAIMED, Stopwatch(), lambda: True)

    assert (detected.findings, type(detected.failure)) == (WITHOUT[TEXT], ServiceFailed)


@pytest.mark.parametrize("throttled", OPERATIONS)
def test_what_the_others_answered_is_kept_when_one_is_throttled(
    throttled: str, put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    rekognition.failures[throttled] += [(400, "ThrottlingException")] * 3

    detected = detect(put(dangerous_car()))

    assert isinstance(detected.failure, Throttled)
    assert detected.findings == WITHOUT[throttled]


@pytest.mark.parametrize("missing", OPERATIONS)
def test_only_what_is_missing_is_asked(
    missing: str, put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    detected = detect(put(dangerous_car()), WITHOUT[missing])

    assert (detected.findings, detected.failure) == (ALL, None)
    assert rekognition.asked == {missing: 1}


def test_when_nothing_is_missing_nothing_is_fetched_or_asked(
    put: Put, detect: Detect, sent: list[str]
) -> None:
    found = put(ENCODERS["image/webp"](quarters()))
    sent.clear()

    detected = detect(found, ALL)

    assert (detected.findings, detected.failure) == (ALL, None)
    assert sent == []


FAILURES: dict[str, tuple[int, str, type[Exception]]] = {
    "bug": (400, "SomethingNew", ClientError),
    "refusal": (400, "InvalidImageFormatException", PictureRefused),
    "unreadable": (400, "InvalidS3ObjectException", AccessLost),
    "forbidden": (400, "AccessDeniedException", AccessLost),
}


@pytest.mark.parametrize(("counts", "other"), list(combinations(FAILURES, 2)))
@pytest.mark.parametrize("first", [True, False], ids=["asked first", "asked last"])
def test_of_several_failures_a_bug_counts_then_what_is_final_then_what_explains_the_others(
    counts: str, other: str, first: bool, put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    for operation, name in zip((LABELS, TEXT), (counts, other) if first else (other, counts), strict=True):
        status, code, _ = FAILURES[name]
        rekognition.failures[operation].append((status, code))

    detected = detect(put(dangerous_car()))

    assert type(detected.failure) is FAILURES[counts][2]
    assert detected.findings == Findings(moderation=ALL.moderation, model_versions={"moderation": "7.0"})


@pytest.mark.parametrize(
    ("steps", "failure"),
    [
        pytest.param([], AccessLost, id="it is there"),
        pytest.param([answering(403, b"")], AccessLost, id="nobody may read it"),
        pytest.param([answering(404, b"")], ObjectUnavailable, id="it is gone"),
        pytest.param([answering(503, b"")] * 2, ServiceFailed, id="nobody can tell"),
    ],
)
def test_why_rekognition_cannot_read_an_object_is_asked_of_the_bucket(
    steps: list[Step],
    failure: type[Exception],
    put: Put,
    detect: Detect,
    services: Services,
    rekognition: ScriptedRekognition,
    hasty: None,
) -> None:
    found = put(dangerous_car())
    rekognition.failures[TEXT].append((400, "InvalidS3ObjectException"))
    heads = plan(services.s3.meta.events, "s3.HeadObject", *steps)

    detected = detect(found)

    assert (detected.findings, type(detected.failure)) == (WITHOUT[TEXT], failure)
    assert {parse_qs(urlsplit(head.url).query)["versionId"][0] for head in heads} == {found.version_id}


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png"])
def test_what_rekognition_reads_is_named_with_its_version_and_not_fetched(
    content_type: str, put: Put, detect: Detect, sent: list[str], rekognition: ScriptedRekognition
) -> None:
    found = put(ENCODERS[content_type](quarters()))
    put(b"what is there meanwhile", key=found.key)
    sent.clear()

    detect(found)

    assert sorted(sent) == sorted(OPERATIONS)
    assert set(rekognition.calls) == {(operation, found.key, found.version_id) for operation in OPERATIONS}


@pytest.mark.parametrize("content_type", sorted(set(ENCODERS) - {"image/jpeg", "image/png"}))
def test_what_rekognition_cannot_read_is_fetched_once_and_goes_as_a_jpeg_to_all(
    content_type: str, put: Put, detect: Detect, sent: list[str], rekognition: ScriptedRekognition
) -> None:
    found = put(ENCODERS[content_type](quarters()))
    put(b"what is there meanwhile", key=found.key)
    sent.clear()

    detected = detect(found)

    assert detected.failure is None
    assert sorted(sent) == sorted(["GetObject", *OPERATIONS])
    [jpeg] = set(rekognition.sent)
    assert len(rekognition.sent) == MAX_CALLS
    assert (inspect(jpeg).content_type, seen(jpeg)) == ("image/jpeg", UPRIGHT)
    assert len(jpeg) <= MAX_SENT_BYTES


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(picture(size=(10_001, 80)), id="over 10,000 pixels wide"),
        pytest.param(picture() + bytes(MAX_OBJECT_BYTES), id="over 15 MB"),
    ],
)
def test_what_is_too_large_for_rekognition_goes_smaller(
    body: bytes, put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    detected = detect(put(body))

    assert detected.failure is None
    assert {len(jpeg) <= MAX_SENT_BYTES for jpeg in rekognition.sent} == {True}


@pytest.mark.parametrize("orientation", sorted(STORED))
def test_boxes_are_in_the_frame_that_a_viewer_shows_in_any_orientation(
    orientation: int, put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    of_jpeg = put(turned(orientation, ENCODERS["image/jpeg"]))
    of_png = put(turned(orientation, ENCODERS["image/png"]))

    for found in (of_jpeg, of_png):
        detect(found)

    # Rekognition itself turns a JPEG, and no PNG: one that is to be turned comes to it upright.
    assert {key for _, key, _ in rekognition.calls if key} == {
        of_jpeg.key,
        *([of_png.key] if orientation == 1 else []),
    }
    assert [seen(jpeg) for jpeg in rekognition.sent] == ([] if orientation == 1 else [UPRIGHT] * MAX_CALLS)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "empty", id="no bytes"),
        pytest.param(b"This is no picture.", "unsupported_format", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format", id="SVG"),
        pytest.param(picture(size=(79, 200)), "too_small", id="too narrow"),
        pytest.param(ENCODERS["image/webp"](quarters(size=(200, 79))), "too_small", id="too low a WebP"),
        pytest.param(picture(size=(20_000, 5_001)), "too_large", id="a bomb"),
    ],
)
def test_what_the_look_refuses_is_neither_fetched_nor_shown_to_rekognition(
    body: bytes, reason: str, put: Put, detect: Detect, sent: list[str]
) -> None:
    found = put(body)
    sent.clear()

    detected = detect(found)

    assert isinstance(detected.failure, PictureRefused)
    assert (detected.failure.reason, detected.findings, sent) == (reason, Findings(), [])


def test_an_archived_picture_is_refused(put: Put, detect: Detect, sent: list[str]) -> None:
    found = put(picture(), StorageClass="GLACIER")
    sent.clear()

    detected = detect(found)

    assert isinstance(detected.failure, PictureRefused)
    assert (detected.failure.reason, sent) == ("archived", [])


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_upload_bytes": 1024}, "too_large"), ({"max_pixels": 160 * 120 - 1}, "too_large"), ({}, None)],
    ids=["bytes", "pixels", "within both"],
)
def test_the_settings_say_what_is_too_large(
    limits: dict[str, int], reason: str | None, put: Put, all_detectors: Settings
) -> None:
    found = put(ENCODERS["image/bmp"](quarters()))
    services = Services(replace(all_detectors, **limits))  # type: ignore[arg-type]

    detected = services.detection.detect(found, UNCLAIMED, Stopwatch())

    assert getattr(detected.failure, "reason", None) == reason


def test_a_picture_that_cannot_be_decoded_is_refused_without_a_call(
    put: Put, detect: Detect, rekognition: ScriptedRekognition
) -> None:
    whole = ENCODERS["image/tiff"](quarters())

    detected = detect(put(whole[: len(whole) // 2]))

    assert isinstance(detected.failure, PictureRefused)
    assert (detected.failure.reason, rekognition.asked) == ("unreadable", {})


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (404, "NoSuchVersion", ObjectUnavailable),
        (403, "AccessDenied", AccessLost),
        (500, "InternalError", ServiceFailed),
        (418, "SomethingNew", ClientError),
    ],
)
def test_a_download_that_fails_costs_nothing_of_what_is_known(
    status: int, code: str, failure: type[Exception], put: Put, detect: Detect, services: Services
) -> None:
    found = put(ENCODERS["image/webp"](quarters()))
    plan(services.s3.meta.events, "s3.GetObject", *[xml_error(status, code)] * 2)

    detected = detect(found, WITHOUT[TEXT])

    assert (type(detected.failure), detected.findings) == (failure, WITHOUT[TEXT])


@pytest.mark.parametrize(
    ("triggers", "flagged"),
    [
        pytest.param((("Weapons", 91.0),), True, id="the name"),
        pytest.param((("Violence", 91.0),), True, id="the name above it"),
        pytest.param((("Weapons", 91.1),), False, id="not sure enough"),
        pytest.param((("Gambling", 50.0),), False, id="another name"),
        pytest.param((), False, id="none"),
    ],
)
def test_the_settings_say_what_flags_a_picture(
    triggers: tuple[tuple[str, float], ...], flagged: bool, put: Put, all_detectors: Settings
) -> None:
    services = Services(replace(all_detectors, moderation_labels=triggers))

    detected = services.detection.detect(put(dangerous_car()), UNCLAIMED, Stopwatch())

    assert detected.findings.moderation is not None
    assert detected.findings.moderation.flagged is flagged


def test_what_is_known_of_moderation_is_judged_by_todays_settings(put: Put, all_detectors: Settings) -> None:
    services = Services(replace(all_detectors, moderation="off"))

    found = put(dangerous_car())

    detected = services.detection.detect(found, row_with(found, services, ALL), Stopwatch())

    assert ALL.moderation is not None
    assert detected.findings.moderation == replace(ALL.moderation, flagged=False)


def test_each_detector_has_its_time_though_two_share_a_call(put: Put, detect: Detect) -> None:
    watch = Stopwatch()

    detect(put(dangerous_car()), watch=watch)

    assert set(watch.detectors) == set(Detector)
    assert watch.detectors[Detector.LABELS] == watch.detectors[Detector.PROPERTIES]


def test_every_detector_that_answered_is_counted_as_it_is_billed(
    put: Put, services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    events: Any = services.session.events
    plan(events, "rekognition.DetectText", json_error(400, "AccessDeniedException"))
    watch = Stopwatch()

    services.detection.detect(put(dangerous_car()), UNCLAIMED, watch)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = {line["detector"]: line["DetectorMilliseconds"] for line in lines}
    assert counted == {
        detector: [watch.detectors[detector]]
        for detector in (Detector.LABELS, Detector.PROPERTIES, Detector.MODERATION)
    }
    assert len(lines) == len(counted)
