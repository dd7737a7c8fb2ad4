from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib.errors import AccessLost
from chalicelib.events import Messages
from chalicelib.model import Outcome, Upload
from chalicelib.services import Services
from tests.catalogue import Catalogue
from tests.faults import after, json_error, plan
from tests.lambda_events import received
from tests.pictures import picture
from tests.scripted_rekognition import LABELS, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "car.png"


def asked_for(services: Services) -> list[str]:
    """The keys that the next message on the queue asks for."""
    messages = Messages(received(services.settings.labelling_queue_url), None)
    return [key for message in messages for key in services.labelling_queue.keys(message)]


def put(s3: "S3Client", services: Services, *labels: str) -> None:
    s3.put_object(Bucket=services.bucket.name, Key=KEY, Body=picture(*labels))


def label(services: Services) -> Outcome:
    return services.labelling.label(KEY)


def labels_of(services: Services) -> list[str]:
    image = services.store.image(KEY, services.now())
    assert image is not None
    return [label.name for label in image.labels]


def test_a_picture_is_asked_about_again_by_todays_settings_and_once(
    s3: "S3Client", services: Services, rekognition: ScriptedRekognition
) -> None:
    put(s3, services, "Car 98", "Wheel 55")
    label(services)
    today = Services(replace(services.settings, min_confidence=60.0))

    asked = today.wishes.relabel(KEY)
    outcomes = [label(today), label(today)]

    assert asked is True
    assert asked_for(services) == [KEY]
    assert outcomes == [Outcome.LABELLED, Outcome.DUPLICATE]
    assert labels_of(today) == ["Car"]
    assert rekognition.asked == {LABELS: 2}


def test_the_answer_stands_until_there_is_another(
    s3: "S3Client", services: Services, catalogue: Catalogue
) -> None:
    put(s3, services, "Car 98")
    label(services)

    services.wishes.relabel(KEY)

    version, _, *labels = catalogue.expected(KEY)
    assert catalogue.said(KEY) == (version, "queued", *labels)


def test_a_failed_picture_gets_another_chance(
    s3: "S3Client", services: Services, rekognition: ScriptedRekognition
) -> None:
    put(s3, services, "Car 98")
    rekognition.failures[LABELS].append((400, "InvalidParameterException"))
    label(services)

    asked = services.wishes.relabel(KEY)

    assert asked is True
    assert label(services) is Outcome.LABELLED


def test_a_wish_that_comes_while_somebody_is_at_work_waits_for_his_commit(
    s3: "S3Client", services: Services, rekognition: ScriptedRekognition
) -> None:
    put(s3, services, "Car 98")
    nested: list[object] = []

    def meanwhile(_: str) -> None:
        rekognition.before = str
        services.wishes.relabel(KEY)
        nested.append(label(services))

    rekognition.before = meanwhile

    outcomes = [label(services), label(services), label(services)]

    assert nested == [Outcome.IN_PROGRESS]
    assert outcomes == [Outcome.LABELLED, Outcome.LABELLED, Outcome.DUPLICATE]
    assert rekognition.asked == {LABELS: 2}


def test_an_object_that_no_event_told_of_is_labelled(s3: "S3Client", services: Services) -> None:
    put(s3, services, "Car 98")

    asked = services.wishes.relabel(KEY)

    assert (asked, asked_for(services)) == (True, [KEY])
    assert label(services) is Outcome.LABELLED


def test_what_is_not_there_cannot_be_labelled(services: Services) -> None:
    asked = services.wishes.relabel(KEY)

    assert (asked, asked_for(services)) == (False, [])


def test_what_is_removed_cannot_be_labelled(s3: "S3Client", services: Services) -> None:
    put(s3, services, "Car 98")
    label(services)
    s3.delete_object(Bucket=services.bucket.name, Key=KEY)
    label(services)

    asked = services.wishes.relabel(KEY)

    assert (asked, asked_for(services)) == (False, [])
    assert label(services) is Outcome.DUPLICATE


def test_an_upload_that_has_not_come_yet_stays_expected(services: Services) -> None:
    key = services.uploads.expect("car.png", Upload()).source_file

    asked = services.wishes.relabel(key)

    image = services.store.image(key, services.now())
    assert (asked, asked_for(services)) == (False, [])
    assert image is not None


def test_a_picture_that_goes_while_it_is_to_be_labelled_again_leaves_nothing(
    s3: "S3Client", services: Services, catalogue: Catalogue
) -> None:
    put(s3, services, "Car 98")
    label(services)
    services.wishes.relabel(KEY)
    s3.delete_object(Bucket=services.bucket.name, Key=KEY)

    outcome = label(services)

    assert outcome is Outcome.REMOVED
    assert "relabel" not in catalogue.rows(KEY)["image"]


def test_a_wish_outlives_a_queue_that_cannot_be_reached(
    s3: "S3Client", services: Services, rekognition: ScriptedRekognition
) -> None:
    put(s3, services, "Car 98")
    label(services)
    plan(services.session.events, "sqs.SendMessage", json_error(403, "AccessDeniedException"))

    with pytest.raises(AccessLost):
        services.wishes.relabel(KEY)

    assert label(services) is Outcome.LABELLED
    assert rekognition.asked == {LABELS: 2}


def test_a_picture_that_is_not_in_quarantine_cannot_be_released_and_nobody_is_told(
    s3: "S3Client", services: Services
) -> None:
    put(s3, services, "Car 98")
    label(services)

    assert services.wishes.release(KEY) is False
    assert services.wishes.release("nobody's.png") is False
    assert asked_for(services) == []


def test_a_removal_of_what_nobody_hides_is_left_to_the_event_of_s3(
    s3: "S3Client", services: Services, catalogue: Catalogue
) -> None:
    put(s3, services, "Car 98")
    label(services)

    services.wishes.remove(KEY)

    assert asked_for(services) == []
    assert services.bucket.has(KEY) is False
    assert label(services) is Outcome.REMOVED


def test_a_removal_of_what_is_not_there_makes_no_row(services: Services, catalogue: Catalogue) -> None:
    services.wishes.remove("nobody's.png")

    assert catalogue.rows("nobody's.png") == {}


@pytest.mark.parametrize("call", ["s3.DeleteObject", "dynamodb.UpdateItem"])
def test_a_removal_takes_a_picture_that_somebody_labels_between_its_steps(
    call: str, s3: "S3Client", services: Services, catalogue: Catalogue
) -> None:
    strict = Services(replace(services.settings, detect=("moderation",), moderation="quarantine"))
    put(s3, services, "Car 98")
    label(strict)
    put(s3, services, "Graphic Violence 99")
    lenient = Services(services.settings)
    sent = plan(lenient.session.events, call, after(lambda: label(strict)))

    lenient.wishes.remove(KEY)
    label(strict)

    assert len(sent) == 1
    assert catalogue.rows(KEY)["image"]["status"] == "removed"
    assert services.bucket.has(KEY) is False
    assert s3.list_objects_v2(Bucket=services.settings.quarantine_bucket)["KeyCount"] == 0


def test_a_release_and_a_removal_are_told_by_the_queue(s3: "S3Client", services: Services) -> None:
    strict = Services(replace(services.settings, detect=("moderation",), moderation="quarantine"))
    put(s3, services, "Graphic Violence 99")
    strict.labelling.label(KEY)

    released = services.wishes.release(KEY)
    told = [asked_for(services), asked_for(services)]
    services.wishes.remove(KEY)

    assert (released, told) == (True, [[KEY], []])
    assert asked_for(services) == [KEY]
