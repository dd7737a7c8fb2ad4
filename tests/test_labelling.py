import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import log, rows
from chalicelib.deaths import MOST
from chalicelib.errors import AccessLost, Contended, Deadly, ObjectUnavailable, ServiceFailed, Throttled
from chalicelib.labelling import LOOKS, Labelling
from chalicelib.model import Detector, Outcome, Status
from chalicelib.services import Services
from chalicelib.settings import Settings
from tests.catalogue import Catalogue, Rows
from tests.faults import after, answering, cancelled, json_error, lose_answer, plan, raising, through
from tests.log_lines import log_lines
from tests.pictures import ENCODERS, picture, quarters
from tests.scripted_rekognition import LABELS, MODERATION, TEXT, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


BEHIND = {
    LABELS: {Detector.LABELS, Detector.PROPERTIES},
    MODERATION: {Detector.MODERATION},
    TEXT: {Detector.TEXT},
}

Put = Callable[[str, bytes], str]
Label = Callable[[str], Outcome]


@pytest.fixture
def put(s3: "S3Client", services: Services) -> Put:
    def put(key: str, body: bytes) -> str:
        return s3.put_object(Bucket=services.settings.images_bucket, Key=key, Body=body)["VersionId"]

    return put


@pytest.fixture
def delete(s3: "S3Client", services: Services) -> Callable[..., object]:
    return partial(s3.delete_object, Bucket=services.settings.images_bucket)


@pytest.fixture
def label(services: Services) -> Label:
    return lambda key: services.labelling.label(key)  # made at the first call, after faults are planned


@pytest.fixture
def events(services: Services) -> Any:
    return services.session.events


@pytest.fixture
def counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[tuple[str, str]]]:
    """The metrics of pictures written since, each by its name and what it is counted by."""
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    monkeypatch.setattr(log, "count_access_lost", log.nobody)

    def count(document: Any) -> tuple[str, str]:
        [directive] = document["_aws"]["CloudWatchMetrics"]
        [[_, dimension]] = directive["Dimensions"]
        return directive["Metrics"][0]["Name"], document[dimension]

    return lambda: [count(json.loads(line)) for line in capsys.readouterr().out.splitlines()]


def test_a_new_picture_takes_one_get_one_rekognition_call_and_two_writes(
    put: Put, label: Label, events: Any
) -> None:
    sent: list[str] = []
    events.register("before-call", lambda model, **_: sent.append(model.name))
    put("car.png", picture("Car 98.5", "Wheel 77"))

    outcome = label("car.png")

    assert outcome is Outcome.LABELLED
    assert sent == ["GetObject", "UpdateItem", "DetectLabels", "TransactWriteItems"]


def test_a_duplicate_takes_one_get_a_failed_condition_and_a_fence(
    put: Put, label: Label, events: Any
) -> None:
    sent: list[str] = []
    events.register("before-call", lambda model, **_: sent.append(model.name))
    put("car.png", picture("Car 98.5"))
    label("car.png")
    sent.clear()

    outcome = label("car.png")

    assert outcome is Outcome.DUPLICATE
    assert sent == ["GetObject", "UpdateItem", "UpdateItem"]


def test_the_label_rows_are_the_inverse_of_the_image_row(
    put: Put, label: Label, catalogue: Catalogue
) -> None:
    put("car.png", picture("Car 98.5", "Wheel 77"))

    label("car.png")

    assert catalogue.said("car.png") == catalogue.expected("car.png")


def test_a_new_upload_leaves_no_stale_label(put: Put, label: Label, catalogue: Catalogue) -> None:
    put("pet.png", picture("Dog 90", "Animal 90"))
    label("pet.png")
    put("pet.png", picture("Cat 90", "Animal 90"))

    label("pet.png")

    assert sorted(catalogue.rows("pet.png")) == ["image", "label#animal", "label#cat"]


def test_the_old_answer_can_be_read_until_the_new_one_is_committed(
    put: Put, label: Label, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("pet.png", picture("Dog 90"))
    label("pet.png")
    put("pet.png", picture("Cat 90"))
    rekognition.failures["DetectLabels"] += [(500, "InternalServerError")] * 3

    with pytest.raises(ServiceFailed):
        label("pet.png")

    image = services.store.image("pet.png", services.now())
    assert image is not None
    assert (image.status, [each.name for each in image.labels]) == ("queued", ["Dog"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "empty", id="no_bytes"),
        pytest.param(b"x", "unsupported_format", id="one_byte"),
        pytest.param(b"This is no picture.", "unsupported_format", id="text"),
        pytest.param(b"%PDF-1.7" + bytes(100), "unsupported_format", id="pdf"),
        pytest.param(picture(size=(79, 200)), "too_small", id="narrow_png"),
        pytest.param(picture(size=(200, 79), fmt="JPEG"), "too_small", id="flat_jpeg"),
        pytest.param(picture(size=(20_000, 5_001)), "too_large", id="over_100_million_pixels"),
    ],
)
def test_an_unfit_picture_has_failed_with_a_reason_and_no_call(
    body: bytes,
    reason: str,
    put: Put,
    label: Label,
    services: Services,
    rekognition: ScriptedRekognition,
) -> None:
    put("unfit", body)

    outcomes = [label("unfit"), label("unfit")]

    image = services.store.image("unfit", services.now())
    assert image is not None
    assert (image.status, image.reason, image.labels) == ("failed", reason, ())
    assert outcomes == [Outcome.FAILED, Outcome.DUPLICATE]
    assert rekognition.calls == {}


@pytest.mark.parametrize("key", ["PHOTO.JPG", "photo.jpeg", "photo", "photo.txt", "photo.png"])
def test_the_bytes_decide_and_not_the_name(key: str, put: Put, label: Label, services: Services) -> None:
    put(key, picture("Dog 90", fmt="JPEG"))

    label(key)

    image = services.store.image(key, services.now())
    assert image is not None
    assert (image.status, image.content_type) == ("labelled", "image/jpeg")


def test_an_archived_picture_has_failed_and_heals_by_another_upload(
    s3: "S3Client", put: Put, label: Label, services: Services, rekognition: ScriptedRekognition
) -> None:
    s3.put_object(
        Bucket=services.settings.images_bucket, Key="old.png", Body=picture(), StorageClass="GLACIER"
    )

    outcome = label("old.png")

    image = services.store.image("old.png", services.now())
    assert image is not None
    assert (outcome, image.status, image.reason) == (Outcome.FAILED, "failed", "archived")
    assert rekognition.calls == {}
    put("old.png", picture("Dog 90"))
    assert label("old.png") is Outcome.LABELLED


def test_what_rekognition_refuses_has_failed_and_is_not_asked_again(
    put: Put, label: Label, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("torn.png", picture())
    rekognition.failures["DetectLabels"].append((400, "InvalidImageFormatException"))

    outcomes = [label("torn.png"), label("torn.png")]

    image = services.store.image("torn.png", services.now())
    assert image is not None
    assert (image.status, image.reason) == ("failed", "unreadable")
    assert outcomes == [Outcome.FAILED, Outcome.DUPLICATE]
    assert list(rekognition.calls.values()) == [1]


def test_a_picture_that_follows_an_unfit_one_is_labelled(
    put: Put, label: Label, catalogue: Catalogue
) -> None:
    put("second-try", b"no picture")
    label("second-try")
    put("second-try", picture("Dog 90"))

    label("second-try")

    assert catalogue.said("second-try") == catalogue.expected("second-try")
    assert "reason" not in catalogue.rows("second-try")["image"]


def test_a_removal_takes_the_rows_and_leaves_a_tombstone_for_a_day(
    put: Put, label: Label, delete: Callable[..., object], catalogue: Catalogue, services: Services
) -> None:
    put("gone.png", picture("Dog 90"))
    label("gone.png")
    delete(Key="gone.png")

    outcome = label("gone.png")

    rows = catalogue.rows("gone.png")
    assert outcome is Outcome.REMOVED
    assert [row["status"] for row in rows.values()] == ["removed"]
    life = float(rows["image"]["expires_at"]) - services.now().timestamp()
    assert life == pytest.approx(24 * 3600, abs=60)


def test_an_event_for_an_object_that_never_was_ends_quietly(label: Label, services: Services) -> None:
    outcomes = [label("never.png"), label("never.png")]

    assert outcomes == [Outcome.REMOVED, Outcome.DUPLICATE]
    assert services.store.image("never.png", services.now()) is None


def test_deleting_an_old_version_changes_nothing_and_costs_nothing(
    put: Put,
    label: Label,
    delete: Callable[..., object],
    catalogue: Catalogue,
    rekognition: ScriptedRekognition,
) -> None:
    old = put("pet.png", picture("Dog 90"))
    put("pet.png", picture("Cat 90"))
    label("pet.png")
    before = catalogue.rows("pet.png")
    delete(Key="pet.png", VersionId=old)

    outcome = label("pet.png")

    assert outcome is Outcome.DUPLICATE
    assert without_fence(catalogue.rows("pet.png")) == without_fence(before)
    assert list(rekognition.calls.values()) == [1]


def test_deleting_the_current_version_shows_what_is_current_then(
    put: Put, label: Label, delete: Callable[..., object], catalogue: Catalogue
) -> None:
    put("pet.png", picture("Dog 90"))
    current = put("pet.png", picture("Cat 90"))
    label("pet.png")
    delete(Key="pet.png", VersionId=current)

    label("pet.png")

    assert sorted(catalogue.rows("pet.png")) == ["image", "label#dog"]


def test_where_the_bucket_keeps_no_versions_the_etag_tells_contents_apart(
    s3: "S3Client", put: Put, label: Label, services: Services, rekognition: ScriptedRekognition
) -> None:
    s3.put_bucket_versioning(
        Bucket=services.settings.images_bucket, VersioningConfiguration={"Status": "Suspended"}
    )
    s3.put_object(Bucket=services.settings.images_bucket, Key="pet.png", Body=picture("Dog 90"))
    first = [label("pet.png"), label("pet.png")]
    s3.put_object(Bucket=services.settings.images_bucket, Key="pet.png", Body=picture("Cat 90"))

    second = [label("pet.png"), label("pet.png")]

    image = services.store.image("pet.png", services.now())
    assert image is not None
    assert [each.name for each in image.labels] == ["Cat"]
    assert first == second == [Outcome.LABELLED, Outcome.DUPLICATE]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "ThrottlingException", Throttled),
        (500, "InternalServerError", ServiceFailed),
        (400, "AccessDeniedException", AccessLost),
    ],
)
def test_what_a_retry_can_heal_is_raised_and_the_next_try_need_not_wait(
    status: int,
    code: str,
    error: type[Exception],
    put: Put,
    label: Label,
    services: Services,
    rekognition: ScriptedRekognition,
) -> None:
    put("car.png", picture("Car 90"))
    rekognition.failures["DetectLabels"] += [(status, code)] * (1 if code == "AccessDeniedException" else 3)

    with pytest.raises(error):
        label("car.png")

    image = services.store.image("car.png", services.now())
    assert image is not None
    assert (image.status, image.reason) == ("queued", None)
    assert label("car.png") is Outcome.LABELLED


def test_an_object_that_rekognition_cannot_read_and_is_there_is_the_operators_to_mend_and_tried_again(
    put: Put, label: Label, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 90"))
    rekognition.failures["DetectLabels"].append((400, "InvalidS3ObjectException"))

    with pytest.raises(AccessLost):
        label("car.png")

    assert label("car.png") is Outcome.LABELLED


def test_an_object_deleted_just_before_the_call_is_removed_without_a_retry(
    put: Put, label: Label, delete: Callable[..., object], events: Any, catalogue: Catalogue
) -> None:
    put("car.png", picture("Car 90"))
    plan(
        events,
        "rekognition.DetectLabels",
        after(lambda: delete_for_good(catalogue, "car.png")),
    )

    outcome = label("car.png")

    assert outcome is Outcome.REMOVED
    assert catalogue.said("car.png") == catalogue.expected("car.png")


def test_an_object_that_is_gone_at_the_last_try_has_not_failed(
    put: Put, services: Services, events: Any, catalogue: Catalogue
) -> None:
    put("car.png", picture("Car 90"))
    plan(events, "rekognition.DetectLabels", after(lambda: delete_for_good(catalogue, "car.png")))
    written = plan(events, "dynamodb.TransactWriteItems")

    outcome = services.labelling.label("car.png", is_last_try=True)

    assert outcome is Outcome.REMOVED
    assert [request for request in written if "exhausted" in str(request.body)] == []


def test_a_live_lease_of_another_run_is_no_success(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 90"))
    found = services.bucket.look("car.png")
    assert found is not None
    services.claims.claim(found, "another run", None, services.now(), 70)

    outcome = services.labelling.label("car.png")

    assert outcome is Outcome.IN_PROGRESS
    assert rekognition.calls == {}


def test_a_lease_that_ran_out_is_taken_over(put: Put, services: Services) -> None:
    put("car.png", picture("Car 90"))
    found = services.bucket.look("car.png")
    assert found is not None
    services.claims.claim(found, "a dead run", None, services.now() - timedelta(seconds=71), 70)

    outcome = services.labelling.label("car.png")

    assert outcome is Outcome.LABELLED


def test_who_cannot_count_a_death_lets_go_of_the_row_and_leaves_the_count_to_the_next_try(
    put: Put, services: Services
) -> None:
    put("car.png", picture("Car 90"))
    found = services.bucket.look("car.png")
    assert found is not None
    services.claims.claim(found, "a dead run", None, services.now() - timedelta(seconds=71), 70)
    failing = json_error(500, "InternalServerError")
    counts = plan(services.state._client.meta.events, "dynamodb.UpdateItem", failing)

    with pytest.raises(ServiceFailed):
        services.labelling.label("car.png")

    image = services.store.image("car.png", services.now())
    assert image is not None
    assert (image.status, len(counts)) == (Status.QUEUED, 1)
    assert services.labelling.label("car.png") is Outcome.LABELLED
    assert len(counts) == 2


@pytest.mark.usefixtures("unhurried")
def test_a_picture_that_too_many_died_of_is_asked_about_again_for_another_wish(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 90"))
    services.labelling.label("car.png")
    services.wishes.relabel("car.png")
    labelling = replace(services.labelling, lease_seconds=0)
    crashes = [raising(CrashError())] * (1 + MOST)
    plan(services.dynamodb.meta.events, "dynamodb.TransactWriteItems", *crashes)
    for _ in crashes:
        with pytest.raises(CrashError):
            labelling.label("car.png")
    with pytest.raises(Deadly):
        labelling.label("car.png")

    services.wishes.relabel("car.png")

    assert labelling.label("car.png") is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 1 + len(crashes) + 1}


@pytest.mark.parametrize("operation", ["UpdateItem", "TransactWriteItems"])
def test_a_lost_answer_is_recognised_as_our_own_write(
    operation: str,
    put: Put,
    label: Label,
    events: Any,
    catalogue: Catalogue,
    rekognition: ScriptedRekognition,
) -> None:
    put("car.png", picture("Car 90"))
    plan(events, f"dynamodb.{operation}", lose_answer)

    outcome = label("car.png")

    assert outcome is Outcome.LABELLED
    assert catalogue.said("car.png") == catalogue.expected("car.png")
    assert list(rekognition.calls.values()) == [1]


def test_a_commit_in_conflict_is_tried_again_without_a_second_rekognition_call(
    put: Put, label: Label, events: Any, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 90"))
    plan(events, "dynamodb.TransactWriteItems", cancelled("TransactionConflict", "None"))

    outcome = label("car.png")

    assert outcome is Outcome.LABELLED
    assert list(rekognition.calls.values()) == [1]


def test_a_commit_that_fails_releases_the_lease(put: Put, label: Label, events: Any) -> None:
    put("car.png", picture("Car 90"))
    throttled = json_error(400, "ThrottlingException")
    plan(events, "dynamodb.TransactWriteItems", *[cancelled("ThrottlingError")] * 5, throttled)

    with pytest.raises(Throttled):
        label("car.png")

    assert label("car.png") is Outcome.LABELLED


def test_a_release_that_fails_too_does_not_hide_what_failed_first(
    put: Put, label: Label, events: Any, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 90"))
    rekognition.failures["DetectLabels"].append((400, "AccessDeniedException"))
    plan(events, "dynamodb.UpdateItem", through, *[json_error(500, "InternalServerError")] * 2)

    with pytest.raises(AccessLost):
        label("car.png")


def test_a_row_that_changes_at_every_look_is_left_to_a_later_try(
    put: Put, label: Label, events: Any, catalogue: Catalogue
) -> None:
    put("car.png", picture("Car 90"))
    snatch = after(lambda: claim_as_another(catalogue, "car.png"))
    plan(events, "dynamodb.UpdateItem", *[snatch] * LOOKS)

    with pytest.raises(Contended):
        label("car.png")


def test_an_error_that_nobody_foresaw_stays_what_it_is(put: Put, label: Label, events: Any) -> None:
    put("car.png", picture("Car 90"))
    plan(events, "rekognition.DetectLabels", json_error(400, "SomethingNew"))

    with pytest.raises(ClientError, match="SomethingNew"):
        label("car.png")


@pytest.mark.parametrize(
    ("body", "facts", "detectors"),
    [
        pytest.param(picture("Car 90"), {"outcome": "labelled"}, {"labels"}, id="labelled"),
        pytest.param(b"", {"outcome": "failed", "reason": "empty"}, set(), id="failed"),
    ],
)
def test_each_outcome_is_one_line(
    body: bytes, facts: dict[str, str], detectors: set[str], put: Put, label: Label
) -> None:
    put("car.png", body)

    with log_lines() as lines:
        label("car.png")

    [line] = lines.all
    assert lines.facts("level", "message", "image", "outcome", "reason") == [
        {"level": "INFO", "message": facts["outcome"], "image": "car.png", **facts}
    ]
    assert isinstance(line["milliseconds"], int)
    assert line.get("detectors", {}).keys() == detectors


def test_what_a_retry_can_heal_is_one_line_that_says_how_long_each_detector_took(
    put: Put, label: Label, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 90"))
    rekognition.failures["DetectLabels"].append((400, "AccessDeniedException"))

    with log_lines() as lines, pytest.raises(AccessLost) as raised:
        label("car.png")

    [line] = lines.all
    assert lines.facts("level", "message", "image", "outcome") == [
        {"level": "WARNING", "message": str(raised.value), "image": "car.png", "outcome": "access_lost"}
    ]
    assert line["milliseconds"] >= line["detectors"]["labels"]


def test_a_bug_is_one_line_that_says_where(put: Put, services: Services, events: Any) -> None:
    put("car.png", picture("Car 90"))
    plan(events, "rekognition.DetectLabels", json_error(400, "SomethingNew"))

    with log_lines() as lines, pytest.raises(ClientError):
        services.labelling.label("car.png")

    [line] = lines.all
    assert (line["level"], line["image"], line["outcome"]) == ("ERROR", "car.png", "crashed")
    assert "detect_labels" in line["exception"]


def test_images_are_counted_by_outcome_and_billed_calls_by_detector(
    put: Put, label: Label, rekognition: ScriptedRekognition, counted: Callable[[], list[Any]]
) -> None:
    put("car.png", picture("Car 90"))
    put("notes.png", b"no picture")
    rekognition.failures["DetectLabels"] += [(500, "InternalServerError"), (400, "ThrottlingException")]

    for key in ("car.png", "car.png", "notes.png", "gone.png"):
        label(key)

    assert counted() == [
        ("DetectorCalls", "labels"),  # once, though its first two attempts failed
        ("Images", "labelled"),
        ("Images", "duplicate"),
        ("Images", "failed"),
        ("Images", "removed"),
    ]


def test_a_call_that_was_refused_or_failed_is_not_counted_as_billed(
    put: Put, label: Label, rekognition: ScriptedRekognition, counted: Callable[[], list[Any]]
) -> None:
    put("torn.png", picture())
    put("car.png", picture("Car 90"))
    rekognition.failures["DetectLabels"] += [
        (400, "InvalidImageFormatException"),
        (400, "AccessDeniedException"),
    ]

    label("torn.png")
    with pytest.raises(AccessLost):
        label("car.png")

    assert counted() == [("Images", "failed"), ("Images", "access_lost")]


def test_a_call_whose_answer_came_too_late_to_be_kept_is_billed_all_the_same(
    put: Put, label: Label, events: Any, catalogue: Catalogue, counted: Callable[[], list[Any]]
) -> None:
    put("car.png", picture("Car 90"))
    snatch = after(lambda: claim_as_another(catalogue, "car.png"))
    plan(events, "dynamodb.TransactWriteItems", snatch)

    label("car.png")

    assert counted() == [("DetectorCalls", "labels"), ("Images", "superseded")]


# With all detectors


@pytest.fixture
def thorough(all_detectors: Settings, rekognition: ScriptedRekognition) -> Services:
    return Services(all_detectors)


@pytest.fixture
def kept(catalogue: Catalogue) -> Callable[[str], set[str]]:
    """The detectors whose answers stand in the row for the next try."""

    def kept(key: str) -> set[str]:
        partial = rows.read_claim(catalogue.rows(key)["image"]).partial
        return set(partial.findings.told) if partial else set()

    return kept


def answer_of(services: Services, key: str) -> Any:
    """What the API would say of the picture: its status, and what each detector saw."""
    image = services.store.image(key, services.now())
    assert image is not None
    return (
        image.status,
        [label.name for label in image.labels],
        image.text and [line.line for line in image.text],
        image.moderation and [label.name for label in image.moderation.labels],
        image.properties and image.properties.sharpness,
    )


def test_all_detectors_take_one_get_three_calls_and_two_writes(put: Put, thorough: Services) -> None:
    sent: list[str] = []
    thorough.session.events.register("before-call", lambda model, **_: sent.append(model.name))
    put("car.png", picture("Car 98.5", "Violence 91"))

    outcome = thorough.labelling.label("car.png")

    assert outcome is Outcome.LABELLED
    assert sent[:2] == ["GetObject", "UpdateItem"]
    assert set(sent[2:5]) == {LABELS, MODERATION, TEXT}
    assert sent[5:] == ["TransactWriteItems"]
    names = ["Car", "Violence"]
    assert answer_of(thorough, "car.png") == ("labelled", names, names, ["Violence"], 50.5)


@pytest.mark.parametrize("throttled", [LABELS, MODERATION, TEXT])
def test_what_answered_is_kept_when_another_is_throttled_and_not_paid_for_again(
    throttled: str,
    put: Put,
    thorough: Services,
    rekognition: ScriptedRekognition,
    catalogue: Catalogue,
    kept: Callable[[str], set[str]],
) -> None:
    put("car.png", picture("Car 98.5", "Violence 91"))
    rekognition.failures[throttled] += [(400, "ThrottlingException")] * 3
    with pytest.raises(Throttled):
        thorough.labelling.label("car.png")
    between = answer_of(thorough, "car.png")
    kept_between = kept("car.png")
    first = rekognition.asked
    rekognition.calls.clear()

    outcomes = [thorough.labelling.label("car.png"), thorough.labelling.label("car.png")]

    assert outcomes == [Outcome.LABELLED, Outcome.DUPLICATE]
    assert first == {LABELS: 1, MODERATION: 1, TEXT: 1, throttled: 3}
    assert rekognition.asked == {throttled: 1}
    assert between == ("queued", [], None, None, None)
    assert kept_between == set(Detector) - BEHIND[throttled]
    assert kept("car.png") == set()
    names = ["Car", "Violence"]
    assert answer_of(thorough, "car.png") == ("labelled", names, names, ["Violence"], 50.5)
    assert catalogue.said("car.png") == catalogue.expected("car.png")


def test_one_after_the_other_may_fail_and_nothing_is_paid_for_twice(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    denied = (400, "AccessDeniedException")
    rekognition.failures |= {LABELS: [denied], MODERATION: [denied] * 2, TEXT: [denied] * 3}

    for _ in range(3):
        with pytest.raises(AccessLost):
            thorough.labelling.label("car.png")
    outcome = thorough.labelling.label("car.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 2, MODERATION: 3, TEXT: 4}


def test_when_only_the_commit_fails_no_detector_is_asked_again(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    plan(thorough.session.events, "dynamodb.TransactWriteItems", *[cancelled("ThrottlingError")] * 5)
    with pytest.raises(Throttled):
        thorough.labelling.label("car.png")

    outcome = thorough.labelling.label("car.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 1, MODERATION: 1, TEXT: 1}


def test_a_crash_costs_only_what_was_asked_since_the_last_try(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))
    crash = plan_crash(thorough, "dynamodb.TransactWriteItems")
    with pytest.raises(AccessLost):
        thorough.labelling.label("car.png")
    with pytest.raises(crash):
        thorough.labelling.label("car.png")
    rekognition.calls.clear()

    outcomes = [thorough.labelling.label("car.png"), after_the_lease(thorough).label("car.png")]

    assert outcomes == [Outcome.IN_PROGRESS, Outcome.LABELLED]
    assert rekognition.asked == {TEXT: 1}


def test_a_crash_of_one_detector_is_a_crash(put: Put, thorough: Services) -> None:
    put("car.png", picture("Car 98.5"))
    crash = plan_crash(thorough, "rekognition.DetectText")

    with pytest.raises(crash):
        thorough.labelling.label("car.png")

    assert thorough.labelling.label("car.png") is Outcome.IN_PROGRESS
    assert after_the_lease(thorough).label("car.png") is Outcome.LABELLED


def test_a_bug_in_one_detector_costs_nothing_of_what_the_others_answered(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    rekognition.failures[TEXT].append((400, "SomethingNew"))
    with pytest.raises(ClientError, match="SomethingNew"):
        thorough.labelling.label("car.png")

    outcome = thorough.labelling.label("car.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 1, MODERATION: 1, TEXT: 2}


def test_what_was_kept_of_a_version_says_nothing_of_the_next(
    put: Put, thorough: Services, rekognition: ScriptedRekognition, kept: Callable[[str], set[str]]
) -> None:
    put("pet.png", picture("Dog 90"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))
    with pytest.raises(AccessLost):
        thorough.labelling.label("pet.png")
    version = put("pet.png", picture("Cat 90"))
    rekognition.calls.clear()

    outcome = thorough.labelling.label("pet.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.calls == {(call, "pet.png", version): 1 for call in (LABELS, MODERATION, TEXT)}
    assert answer_of(thorough, "pet.png") == ("labelled", ["Cat"], ["Cat"], [], 50.5)
    assert kept("pet.png") == set()


def test_what_was_kept_still_serves_a_version_that_is_current_again(
    put: Put, thorough: Services, rekognition: ScriptedRekognition, delete: Callable[..., object]
) -> None:
    put("pet.png", picture("Dog 90"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))
    with pytest.raises(AccessLost):
        thorough.labelling.label("pet.png")
    version = put("pet.png", picture("Cat 90"))
    delete(Key="pet.png", VersionId=version)
    rekognition.calls.clear()

    outcome = thorough.labelling.label("pet.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {TEXT: 1}


def test_what_was_kept_does_not_answer_another_question(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5", "Wheel 55"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))
    with pytest.raises(AccessLost):
        thorough.labelling.label("car.png")
    rekognition.calls.clear()
    stricter = Services(replace(thorough.settings, min_confidence=60.0))

    outcome = stricter.labelling.label("car.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 1, MODERATION: 1, TEXT: 1}
    assert answer_of(stricter, "car.png")[1] == ["Car"]


def test_what_was_kept_goes_with_the_object(
    put: Put,
    thorough: Services,
    rekognition: ScriptedRekognition,
    delete: Callable[..., object],
    catalogue: Catalogue,
) -> None:
    put("car.png", picture("Car 98.5"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))
    with pytest.raises(AccessLost):
        thorough.labelling.label("car.png")
    delete(Key="car.png")

    outcome = thorough.labelling.label("car.png")

    assert outcome is Outcome.REMOVED
    assert "partial" not in catalogue.rows("car.png")["image"]


def test_the_old_answer_stands_whole_beside_what_is_kept_of_the_new_one(
    put: Put, thorough: Services, rekognition: ScriptedRekognition, kept: Callable[[str], set[str]]
) -> None:
    put("pet.png", picture("Dog 90"))
    thorough.labelling.label("pet.png")
    put("pet.png", picture("Cat 90"))
    rekognition.failures[LABELS].append((400, "AccessDeniedException"))

    with pytest.raises(AccessLost):
        thorough.labelling.label("pet.png")

    assert kept("pet.png") == {Detector.MODERATION, Detector.TEXT}
    assert answer_of(thorough, "pet.png") == ("queued", ["Dog"], ["Dog"], [], 50.5)


@pytest.mark.parametrize("refusing", [LABELS, MODERATION, TEXT])
def test_what_one_detector_refuses_has_failed(
    refusing: str, put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("torn.png", picture("Car 98.5"))
    others = {LABELS, MODERATION, TEXT} - {refusing}
    rekognition.failures[refusing].append((400, "InvalidImageFormatException"))
    rekognition.failures[min(others)].append((400, "AccessDeniedException"))

    outcomes = [thorough.labelling.label("torn.png"), thorough.labelling.label("torn.png")]

    image = thorough.store.image("torn.png", thorough.now())
    assert image is not None
    assert (image.status, image.reason) == ("failed", "unreadable")
    assert answer_of(thorough, "torn.png") == ("failed", [], None, None, None)
    assert outcomes == [Outcome.FAILED, Outcome.DUPLICATE]
    assert rekognition.asked == {LABELS: 1, MODERATION: 1, TEXT: 1}


def test_an_object_deleted_while_it_is_looked_at_is_removed_whatever_else_failed(
    put: Put, thorough: Services, rekognition: ScriptedRekognition, catalogue: Catalogue
) -> None:
    put("car.png", picture("Car 90"))
    rekognition.failures[LABELS].append((400, "AccessDeniedException"))
    step = after(lambda: delete_for_good(catalogue, "car.png"))
    plan(thorough.session.events, "rekognition.DetectText", step)

    outcome = thorough.labelling.label("car.png")

    assert outcome is Outcome.REMOVED
    assert catalogue.said("car.png") == catalogue.expected("car.png")


def test_an_object_that_s3_does_not_tell_of_costs_nothing_of_what_the_others_answered(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    rekognition.failures[TEXT].append((400, "InvalidS3ObjectException"))
    plan(thorough.session.events, "s3.HeadObject", answering(404, b""))
    plan(thorough.session.events, "s3.GetObject", through, *[answering(503, b"")] * 2)

    with log_lines() as lines, pytest.raises(ObjectUnavailable):
        thorough.labelling.label("car.png")

    assert [line["outcome"] for line in lines.all] == ["not_looked_at", "object_unavailable"]
    assert thorough.labelling.label("car.png") is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 1, MODERATION: 1, TEXT: 2}


def test_an_object_overwritten_before_its_download_is_looked_at_anew(
    put: Put, thorough: Services, catalogue: Catalogue, rekognition: ScriptedRekognition
) -> None:
    put("pet", ENCODERS["image/webp"](quarters()))

    def overwrite() -> None:
        delete_for_good(catalogue, "pet")
        put("pet", picture("Cat 90"))

    plan(thorough.session.events, "s3.GetObject", through, after(overwrite))

    outcome = thorough.labelling.label("pet")

    assert outcome is Outcome.LABELLED
    assert answer_of(thorough, "pet") == ("labelled", ["Cat"], ["Cat"], [], 50.5)
    assert rekognition.sent == []


@pytest.mark.parametrize("content_type", ENCODERS)
def test_a_picture_of_any_format_is_labelled_as_what_it_is(
    content_type: str, put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    rekognition.answers[LABELS] = {"Labels": [{"Name": "Dog", "Confidence": 90.5}], "ImageProperties": {}}
    put("upload.bin", ENCODERS[content_type](quarters()))

    outcome = thorough.labelling.label("upload.bin")

    image = thorough.store.image("upload.bin", thorough.now())
    assert image is not None
    assert (outcome, image.status, image.content_type) == (Outcome.LABELLED, "labelled", content_type)
    assert [(each.name, each.confidence) for each in image.labels] == [("Dog", 90.5)]


def test_a_line_says_how_long_each_detector_took(
    put: Put, thorough: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))

    with log_lines() as lines:
        with pytest.raises(AccessLost):
            thorough.labelling.label("car.png")
        thorough.labelling.label("car.png")

    assert [set(line["detectors"]) for line in lines.all] == [set(Detector), {"text"}]


def test_a_detector_that_is_not_asked_again_is_not_counted_again(
    put: Put,
    thorough: Services,
    rekognition: ScriptedRekognition,
    counted: Callable[[], list[tuple[str, str]]],
) -> None:
    put("car.png", picture("Car 98.5"))
    rekognition.failures[TEXT].append((400, "AccessDeniedException"))

    with pytest.raises(AccessLost):
        thorough.labelling.label("car.png")
    thorough.labelling.label("car.png")

    assert counted() == [
        ("DetectorCalls", "labels"),
        ("DetectorCalls", "properties"),
        ("DetectorCalls", "moderation"),
        ("Images", "access_lost"),
        ("DetectorCalls", "text"),
        ("Images", "labelled"),
    ]


class CrashError(BaseException):
    """What no code of ours may catch."""


def plan_crash(services: Services, operation: str) -> type[CrashError]:
    """The next such call never comes back."""
    plan(services.session.events, operation, raising(CrashError()))
    return CrashError


def after_the_lease(services: Services) -> Labelling:
    later = timedelta(seconds=services.settings.lease_seconds + 1)
    return replace(services.labelling, now=lambda: services.now() + later)


def without_fence(rows: Rows) -> Rows:
    return {
        entry: {name: value for name, value in row.items() if name != "fence"} for entry, row in rows.items()
    }


def delete_for_good(catalogue: Catalogue, key: str) -> None:
    bucket = catalogue.services.bucket.name
    version = catalogue.s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    catalogue.s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


def claim_as_another(catalogue: Catalogue, key: str) -> None:
    """Somebody else, who sees another version at each look."""
    catalogue.dynamodb.put_item(
        TableName=catalogue.services.settings.images_table,
        Item={
            "source_file": {"S": key},
            "entry": {"S": "image"},
            "status": {"S": "processing"},
            "run": {"S": secrets.token_hex(16)},
        },
    )
