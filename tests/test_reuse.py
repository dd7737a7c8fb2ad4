import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image as Pillow

from chalicelib.errors import AccessLost, Throttled
from chalicelib.labelling import Labelling
from chalicelib.model import Image, Outcome, StoredObject
from chalicelib.reuse import LIFE, Result, Reuse
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.state import State
from tests.catalogue import Catalogue
from tests.faults import after, cancelled, json_error, plan, raising
from tests.log_lines import log_lines
from tests.pictures import ENCODERS, encoded, picture
from tests.scripted_rekognition import LABELS, MODERATION, TEXT, ScriptedRekognition
from tests.test_rows import largest_answer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ALL = {LABELS: 1, MODERATION: 1, TEXT: 1}
DENIED = (400, "AccessDeniedException")

Put = Callable[..., str]


@pytest.fixture
def services(thrifty: Services) -> Services:
    return thrifty


@pytest.fixture
def put(s3: "S3Client", services: Services) -> Put:
    def put(key: str, body: bytes, **more: Any) -> str:
        return s3.put_object(Bucket=services.settings.images_bucket, Key=key, Body=body, **more).get(
            "VersionId", ""
        )

    return put


@pytest.fixture
def sent(services: Services) -> list[str]:
    """The calls to S3 and to the table `state`, without looks at objects."""
    calls: list[str] = []

    def note(model: Any, params: Any, **_: Any) -> None:
        if model.service_model.service_name == "s3":
            is_looked_for = "Range" not in params["headers"]
        else:
            is_looked_for = f'"{services.settings.state_table}"'.encode() in params["body"]
        if is_looked_for:
            calls.append(model.name)

    services.session.events.register("before-call", note)
    return calls


@pytest.fixture
def counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """What a metric was counted by."""
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")

    def counted(metric: str) -> list[str]:
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return sorted(line["detector"] for line in lines if metric in line)

    return counted


def label(services: Services, key: str) -> Outcome:
    return services.labelling.label(key)


def image(services: Services, key: str) -> Image:
    found = services.store.image(key, services.now())
    assert found is not None
    return found


def lender(services: Services, key: str) -> str | None:
    return image(services, key).reused_from


def names(services: Services, key: str) -> list[str]:
    return [each.name for each in image(services, key).labels]


def noise(*labels: str, fmt: str = "PNG") -> bytes:
    """A picture that is not seen whole by one look."""
    return encoded(Pillow.effect_noise((400, 400), 100), fmt) + picture(*labels).rpartition(b"`\x82")[2]


def declaring(body: bytes) -> dict[str, str]:
    return {"ChecksumSHA256": b64encode(hashlib.sha256(body).digest()).decode()}


def at(moment: datetime, services: Services) -> Labelling:
    """The labelling of that time, as far as results are concerned."""
    client = services.session.client("dynamodb")
    reuse = Reuse(State(client, services.settings.state_table, lambda: moment))
    return replace(services.labelling, detection=replace(services.detection, reuse=reuse))


def models(labels: str) -> dict[str, Any]:
    seen: dict[str, Any] = {"Labels": [{"Name": f"Seen by {labels}", "Confidence": 90.0}]}
    return {LABELS: {**seen, "LabelModelVersion": labels}}


# What is known


def test_the_same_picture_under_another_key_is_answered_and_costs_nothing(
    put: Put, services: Services, rekognition: ScriptedRekognition, catalogue: Catalogue
) -> None:
    body = picture("Car 98.5", "Violence 91")
    put("first.png", body)
    label(services, "first.png")
    put("a/second.png", body, Metadata={"by": "Ann"})

    outcome = label(services, "a/second.png")

    first, second = image(services, "first.png"), image(services, "a/second.png")
    assert outcome is Outcome.LABELLED
    assert (first.reused_from, second.reused_from) == (None, "first.png")
    for field in ("status", "content_type", "labels", "text", "moderation", "properties", "model_versions"):
        assert getattr(first, field) == getattr(second, field)
    assert second.metadata == {"by": "Ann"}
    assert rekognition.asked == ALL
    assert catalogue.said("a/second.png") == catalogue.expected("a/second.png")


def test_the_same_picture_under_the_same_key_says_so_too(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    for _ in range(2):
        put("car.png", picture("Car 98.5"))
        label(services, "car.png")

    assert lender(services, "car.png") == "car.png"
    assert rekognition.asked == ALL


def test_all_who_reuse_name_whose_result_it_is(put: Put, services: Services) -> None:
    for key in ("1.png", "2.png", "3.png"):
        put(key, picture("Car 98.5"))
        label(services, key)

    assert [lender(services, key) for key in ("1.png", "2.png", "3.png")] == [None, "1.png", "1.png"]


def test_a_result_outlives_the_picture_that_it_was_seen_in(
    put: Put, services: Services, s3: "S3Client", rekognition: ScriptedRekognition
) -> None:
    put("gone.png", picture("Car 98.5"))
    label(services, "gone.png")
    s3.delete_object(Bucket=services.bucket.name, Key="gone.png")
    label(services, "gone.png")
    put("car.png", picture("Car 98.5"))

    label(services, "car.png")

    assert lender(services, "car.png") == "gone.png"
    assert rekognition.asked == ALL


def test_another_picture_under_the_key_has_a_result_of_its_own(put: Put, services: Services) -> None:
    put("1.png", picture("Car 98.5"))
    put("2.png", picture("Car 98.5"))
    label(services, "1.png")
    label(services, "2.png")
    put("2.png", picture("Dog 90"))

    label(services, "2.png")

    assert (lender(services, "2.png"), names(services, "2.png")) == (None, ["Dog"])


def test_other_bytes_are_another_picture_though_they_show_the_same(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    put("2.png", picture("Car 98.5") + b" ")
    label(services, "1.png")

    label(services, "2.png")

    assert lender(services, "2.png") is None
    assert rekognition.asked == dict.fromkeys(ALL, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"detect": ("labels", "moderation", "text")},
        {"min_confidence": 50.5},
        {"max_labels": 29},
        {"include_labels": ("Car",)},
        {"exclude_labels": ("Dog",)},
        {"include_categories": ("Vehicles and Automotive",)},
        {"exclude_categories": ("Animals and Pets",)},
        {"min_moderation_confidence": 50.5},
        {"min_text_confidence": 79.5},
        {"max_colors": 9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_result_does_not_answer_another_question(
    change: dict[str, Any], put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    body = picture("Car 98.5")
    other = Services(replace(services.settings, **change))
    put("1.png", body)
    label(services, "1.png")
    put("2.png", body)

    label(other, "2.png")

    assert lender(services, "2.png") is None
    assert rekognition.asked == dict.fromkeys(ALL, 2)
    put("3.png", body)
    label(services, "3.png")
    assert lender(services, "3.png") == "1.png"


def test_what_a_result_means_is_judged_by_todays_settings(put: Put, services: Services) -> None:
    strict = Services(replace(services.settings, moderation_labels=(("Weapons", 90.0),)))
    for key, each in {"1.png": services, "2.png": strict, "3.png": services}.items():
        put(key, picture("Weapons 91"))
        label(each, key)

    assert [lender(services, key) for key in ("1.png", "2.png", "3.png")] == [None, "1.png", "1.png"]
    flags = [moderation and moderation.flagged for moderation in map(moderation_of(services), "123")]
    assert flags == [True, True, True]
    lenient = Services(replace(services.settings, moderation_labels=(("Weapons", 92.0),)))
    put("4.png", picture("Weapons 91"))
    label(lenient, "4.png")
    assert (lender(services, "4.png"), moderation_of(services)("4").flagged) == ("1.png", False)


def moderation_of(services: Services) -> Callable[[str], Any]:
    return lambda number: image(services, f"{number}.png").moderation


# Until when


def test_a_result_serves_for_thirty_days(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    for key in ("1.png", "2.png", "3.png"):
        put(key, picture("Car 98.5"))
    made = services.now()
    at(made, services).label("1.png")

    at(made + LIFE - timedelta(seconds=1), services).label("2.png")
    at(made + LIFE, services).label("3.png")

    assert [lender(services, key) for key in ("1.png", "2.png", "3.png")] == [None, "1.png", None]
    assert timedelta(days=30) == LIFE
    assert rekognition.asked == dict.fromkeys(ALL, 2)


@pytest.fixture
def labels_only(services: Services) -> Services:
    return Services(replace(services.settings, detect=("labels",)))


@pytest.mark.parametrize(
    ("old", "new"), [("3.0", "3.1"), ("9.0", "10.0"), ("3", "3.0.1"), ("alpha", "beta"), ("local-1", "3.0")]
)
def test_a_result_ends_when_any_answer_shows_a_newer_model(
    old: str, new: str, put: Put, labels_only: Services, rekognition: ScriptedRekognition
) -> None:
    for key in ("1.png", "2.png", "4.png"):
        put(key, picture("Car 98.5"))
    put("3.png", picture("Dog 90"))
    rekognition.answers |= models(old)
    label(labels_only, "1.png")
    label(labels_only, "2.png")

    rekognition.answers |= models(new)
    label(labels_only, "3.png")
    label(labels_only, "4.png")

    keys = ("1.png", "2.png", "3.png", "4.png")
    assert [lender(labels_only, key) for key in keys] == [None, "1.png", None, None]
    assert names(labels_only, "4.png") == [f"Seen by {new}"]
    assert rekognition.asked == {LABELS: 3}


def test_an_old_model_that_still_answers_brings_no_old_result_back(
    put: Put, labels_only: Services, rekognition: ScriptedRekognition
) -> None:
    for key in ("1.png", "4.png"):
        put(key, picture("Car 98.5"))
    put("2.png", picture("Dog 90"))
    put("3.png", picture("Cat 90"))
    for key, model in (("1.png", "3.0"), ("2.png", "3.1"), ("3.png", "3.0"), ("4.png", "3.1")):
        rekognition.answers |= models(model)
        label(labels_only, key)

    assert (lender(labels_only, "4.png"), names(labels_only, "4.png")) == (None, ["Seen by 3.1"])


def test_the_newer_result_serves_from_then_on(
    put: Put, labels_only: Services, rekognition: ScriptedRekognition
) -> None:
    for key, model in (("1.png", "3.0"), ("2.png", "3.1"), ("3.png", "3.1")):
        put(key, picture("Car 98.5"))
        rekognition.answers |= models(model)
        services = Services(replace(labels_only.settings))
        if key == "2.png":
            services.detection.reuse.state.set("models", "newest", {"labels": "3.1"}, LIFE)  # type: ignore[union-attr]
        label(services, key)

    assert [lender(labels_only, key) for key in ("1.png", "2.png", "3.png")] == [None, None, "2.png"]


def test_a_newer_model_is_seen_even_in_an_answer_that_is_not_whole(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    label(services, "1.png")
    put("2.png", picture("Dog 90"))
    rekognition.answers[TEXT] = {"TextDetections": [], "TextModelVersion": "3.1"}
    rekognition.failures[LABELS].append(DENIED)
    with pytest.raises(AccessLost):
        label(services, "2.png")
    put("3.png", picture("Car 98.5"))

    label(services, "3.png")

    assert lender(services, "3.png") is None


# By what a picture is known


def test_a_declared_checksum_saves_the_download(
    put: Put, services: Services, sent: list[str], rekognition: ScriptedRekognition
) -> None:
    body = noise("Car 98.5")
    for key in ("1.png", "2.png"):
        put(key, body, **declaring(body))
        label(services, key)

    first = ["HeadObject", "GetItem", "GetItem", "UpdateItem", "PutItem"]
    assert sent == [*first, "HeadObject", "GetItem", "GetItem"]
    assert lender(services, "2.png") == "1.png"
    assert rekognition.asked == ALL


def test_without_one_the_picture_is_downloaded_once(put: Put, services: Services, sent: list[str]) -> None:
    body = noise("Car 98.5")
    put("1.png", body, **declaring(body))
    label(services, "1.png")
    sent.clear()
    put("2.png", body)

    label(services, "2.png")

    assert sent == ["HeadObject", "GetObject", "GetItem", "GetItem"]
    assert lender(services, "2.png") == "1.png"


def test_a_small_picture_is_known_by_the_look_alone(put: Put, services: Services, sent: list[str]) -> None:
    for key in ("1.png", "2.png"):
        put(key, picture("Car 98.5"))
        label(services, key)

    first = ["GetItem", "GetItem", "UpdateItem", "PutItem"]
    assert sent == [*first, "GetItem", "GetItem"]


@pytest.mark.parametrize("content_type", ["image/webp", "image/bmp"])
def test_what_is_converted_is_downloaded_once_for_both(
    content_type: str, put: Put, services: Services, sent: list[str], rekognition: ScriptedRekognition
) -> None:
    rekognition.answers |= models("3.0") | {LABELS: {**models("3.0")[LABELS], "ImageProperties": {}}}
    body = ENCODERS[content_type](Pillow.effect_noise((500, 500), 100).convert("RGB"))
    put("1", body)
    label(services, "1")
    first = sent.copy()
    sent.clear()
    put("2", body)

    label(services, "2")

    assert first.count("GetObject") == sent.count("GetObject") == 1
    assert lender(services, "2") == "1"
    assert len(rekognition.sent) == len(ALL)


def test_a_forged_checksum_is_refused_by_s3(put: Put, services: Services) -> None:
    clean, other = picture("Car 98.5"), picture("Violence 99")

    with pytest.raises(ClientError, match="BadDigest"):
        put("forged.png", other, **declaring(clean))

    assert services.bucket.look("forged.png") is None


def test_a_checksum_of_checksums_is_not_what_a_picture_is_known_by(
    put: Put, services: Services, s3: "S3Client", sent: list[str]
) -> None:
    body = noise("Car 98.5")
    put("1.png", body)
    label(services, "1.png")
    place: Any = {"Bucket": services.bucket.name, "Key": "2.png"}
    place["UploadId"] = s3.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3.upload_part(**place, PartNumber=1, Body=body, ChecksumAlgorithm="SHA256")
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})  # type: ignore[typeddict-item]
    sent.clear()

    label(services, "2.png")

    assert sent[:2] == ["HeadObject", "GetObject"]
    assert lender(services, "2.png") == "1.png"


def test_where_the_bucket_keeps_no_versions_nothing_is_reused(
    put: Put, services: Services, s3: "S3Client", rekognition: ScriptedRekognition
) -> None:
    s3.put_bucket_versioning(Bucket=services.bucket.name, VersioningConfiguration={"Status": "Suspended"})
    for key in ("1.png", "2.png"):
        put(key, picture("Car 98.5"))
        label(services, key)

    assert lender(services, "2.png") is None
    assert rekognition.asked == dict.fromkeys(ALL, 2)


@pytest.mark.parametrize("body", [b"", b"%PDF-1.7" + bytes(100_000)], ids=["empty", "no picture"])
def test_what_is_refused_by_the_look_is_neither_fetched_nor_looked_up(
    body: bytes, put: Put, services: Services, sent: list[str]
) -> None:
    put("unfit", body)
    sent.clear()

    outcome = label(services, "unfit")

    assert (outcome, sent) == (Outcome.FAILED, ["GetObject"] if not body else [])  # a look at what is empty


# What is kept


def test_what_rekognition_refuses_is_asked_of_every_copy(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    body = picture("Car 98.5")
    put("1.png", body)
    put("2.png", body)
    rekognition.failures[TEXT].append((400, "InvalidImageFormatException"))

    outcomes = [label(services, "1.png"), label(services, "2.png")]

    assert outcomes == [Outcome.FAILED, Outcome.LABELLED]
    assert rekognition.asked == dict.fromkeys(ALL, 2)


def test_only_what_is_whole_serves_others(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    body = picture("Car 98.5")
    for key in ("1.png", "2.png", "3.png"):
        put(key, body)
    rekognition.failures[TEXT] += [DENIED] * 2

    for key in ("1.png", "2.png"):
        with pytest.raises(AccessLost):
            label(services, key)
    for key in ("1.png", "2.png", "3.png"):
        label(services, key)

    assert [lender(services, key) for key in ("1.png", "2.png", "3.png")] == [None, "1.png", "1.png"]
    assert rekognition.asked == {LABELS: 2, MODERATION: 2, TEXT: 3}
    assert image(services, "1.png").text == image(services, "2.png").text != ()


def test_a_crash_before_the_commit_costs_no_second_call(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("car.png", picture("Car 98.5"))
    crash = type("Crash", (BaseException,), {})
    plan(services.session.events, "dynamodb.TransactWriteItems", raising(crash()))
    with pytest.raises(crash):
        label(services, "car.png")
    later = services.now() + timedelta(seconds=services.settings.lease_seconds + 1)

    outcome = replace(services.labelling, now=lambda: later).label("car.png")

    assert outcome is Outcome.LABELLED
    assert lender(services, "car.png") is None
    assert rekognition.asked == ALL


def test_whose_result_it_is_is_not_forgotten_when_the_commit_fails(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    for key in ("1.png", "2.png"):
        put(key, picture("Car 98.5"))
    label(services, "1.png")
    plan(services.session.events, "dynamodb.TransactWriteItems", *[cancelled("ThrottlingError")] * 5)
    again = Services(services.settings)
    plan(again.session.events, "dynamodb.TransactWriteItems", *[cancelled("ThrottlingError")] * 5)
    with pytest.raises(Throttled):
        label(again, "2.png")

    label(again, "2.png")

    assert lender(services, "2.png") == "1.png"
    assert rekognition.asked == ALL


def test_the_largest_result_has_room(services: Services) -> None:
    findings = largest_answer().findings
    reuse = services.detection.reuse
    assert reuse is not None
    found = StoredObject("k" * 1024, "v" * 1024, "e", 1, None, services.now(), {}, b"x")
    contents: Any = Known(found)
    recipe = replace(services.recipe, detectors=findings.told)

    reuse.keep(contents, recipe, findings)

    assert reuse.find(contents, recipe) == Result(found.key, found.version, findings)


def test_what_was_seen_by_a_model_that_is_not_known_serves_nobody(services: Services) -> None:
    findings = largest_answer().findings
    reuse = services.detection.reuse
    assert reuse is not None
    contents: Any = Known(StoredObject("k", "v", "e", 1, None, services.now(), {}, b"x"))
    recipe = replace(services.recipe, detectors=findings.told)

    reuse.keep(contents, recipe, replace(findings, model_versions={"labels": "3.0", "text": "3.0"}))

    assert reuse.find(contents, recipe) is None


class Known:
    sha256 = "0" * 64

    def __init__(self, found: StoredObject) -> None:
        self.found = found


def test_what_an_earlier_version_of_the_app_kept_in_a_way_of_its_own_is_asked_again(
    put: Put, services: Services, catalogue: Catalogue, rekognition: ScriptedRekognition
) -> None:
    body = picture("Car 98.5")
    put("1.png", body)
    label(services, "1.png")
    catalogue.dynamodb.put_item(
        TableName=services.settings.state_table,
        Item={
            "name": {"S": f"reuse#{hashlib.sha256(body).hexdigest()}"},
            "entry": {"S": services.recipe.fingerprint},
            "findings": {"S": "some"},
        },
    )
    put("2.png", body)

    label(services, "2.png")

    assert lender(services, "2.png") is None
    assert names(services, "2.png") == ["Car"]


# Another answer is wanted


def test_who_wants_another_answer_gets_one_and_so_does_everybody_after_him(
    put: Put, labels_only: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    label(labels_only, "1.png")
    rekognition.answers |= models("3.0")
    labels_only.claims.ask_again("1.png", "wish", labels_only.now())

    outcome = label(labels_only, "1.png")

    put("2.png", picture("Car 98.5"))
    label(labels_only, "2.png")
    assert outcome is Outcome.LABELLED
    assert [names(labels_only, key) for key in ("1.png", "2.png")] == [["Seen by 3.0"]] * 2
    assert [lender(labels_only, key) for key in ("1.png", "2.png")] == [None, "1.png"]
    assert rekognition.asked == {LABELS: 2}


def test_a_wish_is_remembered_by_the_next_try(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    label(services, "1.png")
    services.claims.ask_again("1.png", "wish", services.now())
    rekognition.failures |= {LABELS: [DENIED], TEXT: [DENIED]}
    with pytest.raises(AccessLost):
        label(services, "1.png")

    outcome = label(services, "1.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 3, MODERATION: 2, TEXT: 3}
    assert lender(services, "1.png") is None


def test_a_wish_is_remembered_after_a_crash(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    label(services, "1.png")
    services.claims.ask_again("1.png", "wish", services.now())
    crash = type("Crash", (BaseException,), {})
    crashing = Services(services.settings)
    plan(crashing.session.events, "rekognition.DetectText", raising(crash()))
    with pytest.raises(crash):
        label(crashing, "1.png")
    rekognition.calls.clear()
    later = services.now() + timedelta(seconds=services.settings.lease_seconds + 1)

    outcome = replace(services.labelling, now=lambda: later).label("1.png")

    assert outcome is Outcome.LABELLED
    assert rekognition.asked == ALL


def test_once_the_wish_came_true_the_picture_is_reused_as_any(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    label(services, "1.png")
    services.claims.ask_again("1.png", "wish", services.now())
    label(services, "1.png")
    rekognition.calls.clear()
    put("1.png", picture("Car 98.5"))

    label(services, "1.png")

    assert lender(services, "1.png") == "1.png"
    assert rekognition.asked == {}


# When the table or S3 fails


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (json_error(400, "AccessDeniedException"), "access_lost"),
        (json_error(400, "ThrottlingException"), "throttled"),
        (json_error(500, "InternalServerError"), "service_failed"),
    ],
    ids=["access", "throttled", "500"],
)
def test_a_table_that_fails_costs_calls_and_no_picture_its_answer(
    fault: Any, outcome: str, put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    put("2.png", picture("Car 98.5"))
    label(services, "1.png")
    failing = Services(services.settings)
    _ = failing.labelling
    plan(failing.state._client.meta.events, "dynamodb", *[fault] * 9)

    with log_lines() as lines:
        result = label(failing, "2.png")

    assert result is Outcome.LABELLED
    assert lines.facts("level", "image", "outcome", "reuse")[:2] == [
        {"level": "WARNING", "image": "2.png", "outcome": outcome, "reuse": "not_looked_up"},
        {"level": "WARNING", "image": "2.png", "outcome": outcome, "reuse": "not_kept"},
    ]
    assert (lender(services, "2.png"), names(services, "2.png")) == (None, ["Car"])
    assert rekognition.asked == dict.fromkeys(ALL, 2)


def test_a_bug_in_keeping_a_result_loses_no_answer(
    put: Put, services: Services, rekognition: ScriptedRekognition
) -> None:
    put("1.png", picture("Car 98.5"))
    _ = services.labelling
    plan(services.state._client.meta.events, "dynamodb.PutItem", json_error(400, "ValidationException"))

    with log_lines() as lines:
        outcome = label(services, "1.png")

    assert outcome is Outcome.LABELLED
    assert [(line["level"], line["outcome"]) for line in lines.all] == [
        ("ERROR", "crashed"),
        ("INFO", "labelled"),
    ]


def test_a_picture_that_goes_before_it_is_known_is_removed(
    put: Put, services: Services, s3: "S3Client", catalogue: Catalogue, rekognition: ScriptedRekognition
) -> None:
    version = put("1.png", noise("Car 98.5"))
    gone = after(
        lambda: s3.delete_object(Bucket=services.settings.images_bucket, Key="1.png", VersionId=version)
    )
    plan(services.session.events, "s3.HeadObject", gone)

    outcome = label(services, "1.png")

    assert outcome is Outcome.REMOVED
    assert rekognition.asked == {}


# What is told


def test_every_detector_that_need_not_be_asked_is_counted(
    put: Put, services: Services, counted: Callable[[str], list[str]]
) -> None:
    put("1.png", picture("Car 98.5"))
    label(services, "1.png")
    assert counted("ReuseHits") == []
    put("2.png", picture("Car 98.5"))

    label(services, "2.png")

    assert counted("ReuseHits") == ["labels", "moderation", "properties", "text"]


def test_a_line_says_whose_result_it_is(put: Put, services: Services) -> None:
    with log_lines() as lines:
        for key in ("1.png", "2.png"):
            put(key, picture("Car 98.5"))
            label(services, key)

    assert [line.get("reused_from") for line in lines.all] == [None, "1.png"]
    assert [set(line) & {"detectors"} for line in lines.all] == [{"detectors"}, set()]


def test_nothing_is_kept_unless_it_is_wanted(
    put: Put, all_detectors: Settings, sent: list[str], rekognition: ScriptedRekognition
) -> None:
    services = Services(all_detectors)
    for key in ("1.png", "2.png"):
        put(key, noise("Car 98.5"))
        label(services, key)

    assert services.settings.reuse == "off"
    assert sent == []
    assert rekognition.asked == dict.fromkeys(ALL, 2)
