from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib.claim import RELEASE, Claim, place_of
from chalicelib.deaths import Deaths
from chalicelib.errors import Deadly, Retryable, ServiceFailed
from chalicelib.model import Outcome, StoredObject
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.catalogue import Catalogue
from tests.crash_points import Crash, Mortal, When
from tests.direct import short_circuit, straight_to
from tests.faults import after, json_error, plan
from tests.interception import Call, Layer, intercept, sdk_waiting_by
from tests.pictures import picture
from tests.scripted_rekognition import LABELS, MODERATION, TEXT, ScriptedRekognition
from tests.test_interleaving import StrandPool, Worker, current, interleavings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EXHAUSTIVE_PREEMPTIONS = 2  # by fewer no removal gets lost

KEY = "a b.png"
BAD = picture("Graphic Violence 99", "Dog 90")
GOOD = picture("Cat 95")


@dataclass(frozen=True)
class Stage:
    """A stage that puts away what is flagged, and what can be seen of it from outside."""

    services: Services
    s3: "S3Client"
    catalogue: Catalogue

    def put(self, body: bytes = BAD, **more: Any) -> str:
        return self.s3.put_object(Bucket=self.shown, Key=KEY, Body=body, **more)["VersionId"]

    def delete(self) -> None:
        self.s3.delete_object(Bucket=self.shown, Key=KEY)

    def label(self) -> Outcome:
        return self.services.labelling.label(KEY)

    def exhaust(self, rekognition: ScriptedRekognition) -> None:
        """The last try, while Rekognition answers nothing."""
        rekognition.failures[LABELS] += 3 * [(500, "InternalServerError")]  # for each of the SDK's attempts
        with sdk_waiting_by(lambda _: None), pytest.raises(ServiceFailed):
            self.services.labelling.label(KEY, is_last_try=True)

    @property
    def shown(self) -> str:
        return self.services.settings.images_bucket

    @property
    def visible(self) -> bytes | None:
        """What somebody who knows the key can get."""
        try:
            return self.s3.get_object(Bucket=self.shown, Key=KEY)["Body"].read()
        except ClientError:
            return None

    @property
    def versions(self) -> list[str]:
        listed = self.s3.list_object_versions(Bucket=self.shown, Prefix=KEY)
        return [each["VersionId"] for each in listed.get("Versions", [])]

    @property
    def put_away(self) -> list[bytes]:
        bucket = self.services.settings.quarantine_bucket
        listed = self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [self.s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed]

    @property
    def row(self) -> dict[str, Any]:
        return dict(self.catalogue.rows(KEY)["image"])

    @property
    def entries(self) -> list[str]:
        return sorted(self.catalogue.rows(KEY))

    @property
    def state(self) -> Any:
        """What a picture comes to: status, what can be seen, what is put away, its rows."""
        return self.row["status"], self.visible, self.put_away, self.entries


PUT_AWAY: Any = ("quarantined", None, [BAD], ["image"])
LABELLED: Any = ("labelled", BAD, [], ["image", "label#dog", "label#graphic violence"])
REMOVED: Any = ("removed", None, [], ["image"])


@pytest.fixture
def strict(settings: Settings) -> Settings:
    return replace(settings, detect=("labels", "moderation"), moderation="quarantine")


@pytest.fixture
def session(endpoint: Endpoint) -> boto3.Session:
    """There is so much to ask for that it takes no sockets."""
    return short_circuit(boto3.Session(), endpoint)


@pytest.fixture
def services(strict: Settings, endpoint: Endpoint, rekognition: ScriptedRekognition) -> Services:
    return over(straight_to(endpoint), strict)


def over(layer: Layer, settings: Settings) -> Services:
    services = Services(settings)
    intercept(services.session, layer)
    return services


@pytest.fixture
def stage(services: Services, session: boto3.Session) -> Stage:
    s3 = session.client("s3")
    return Stage(services, s3, Catalogue(services, s3, session.client("dynamodb")))


def test_who_has_taken_too_long_to_label_a_picture_leaves_it_to_the_next_try_to_put_it_away(
    stage: Stage,
) -> None:
    stage.put()
    slow = replace(stage.services.labelling, quarantine_seconds=-1)

    with pytest.raises(ServiceFailed):
        slow.label(KEY)

    assert stage.label() is Outcome.QUARANTINED


def test_what_is_flagged_is_put_away(stage: Stage) -> None:
    stage.put()

    outcome = stage.label()

    assert outcome is Outcome.QUARANTINED
    assert stage.state == PUT_AWAY
    assert stage.versions == []


def test_what_is_not_flagged_stays(stage: Stage) -> None:
    stage.put(GOOD)

    stage.label()

    assert stage.state == ("labelled", GOOD, [], ["image", "label#cat"])


@pytest.mark.parametrize("moderation", ["flag", "off"])
def test_where_nothing_is_to_be_put_away_nothing_is(
    moderation: str, stage: Stage, services: Services
) -> None:
    lenient = Services(replace(services.settings, moderation=moderation))
    stage.put()

    lenient.labelling.label(KEY)

    assert stage.state == LABELLED


def test_what_was_only_flagged_is_put_away_once_it_is_labelled_again_where_it_is_to_be(
    stage: Stage, services: Services
) -> None:
    lenient = Services(replace(services.settings, moderation="flag"))
    stage.put()
    lenient.labelling.label(KEY)
    lenient.wishes.relabel(KEY)

    outcomes = [stage.label(), stage.label()]

    assert outcomes == [Outcome.QUARANTINED, Outcome.DUPLICATE]
    assert stage.state == PUT_AWAY


def test_a_wish_that_ends_in_quarantine_is_none_for_the_next_upload(
    stage: Stage, services: Services, rekognition: ScriptedRekognition, unhurried: None
) -> None:
    thrifty = Services(replace(services.settings, reuse="on"))
    lenient = Services(replace(services.settings, moderation="flag"))
    stage.s3.put_object(Bucket=stage.shown, Key="other.png", Body=GOOD)
    thrifty.labelling.label("other.png")
    stage.put()
    lenient.labelling.label(KEY)
    lenient.wishes.relabel(KEY)
    stage.label()
    stage.put(GOOD)
    rekognition.calls.clear()

    outcome = thrifty.labelling.label(KEY)

    assert (outcome, rekognition.asked) == (Outcome.LABELLED, {})


def test_the_row_says_what_it_is_there_for_and_shows_no_label(stage: Stage, services: Services) -> None:
    stage.put()

    stage.label()

    image = services.store.image(KEY, services.now())
    assert image is not None
    assert (image.status, image.labels, image.labelled_at) == ("quarantined", (), None)
    assert image.moderation is not None
    assert image.moderation.flagged
    assert [label.name for label in image.moderation.labels] == ["Graphic Violence"]


def test_a_picture_that_was_labelled_before_answers_no_search_any_more(
    stage: Stage, services: Services
) -> None:
    stage.put(GOOD)
    stage.label()
    stage.put()

    stage.label()
    first = stage.state
    stage.label()

    assert [first, stage.state] == [PUT_AWAY] * 2
    assert list(services.store.showing("cat", 0, (), 20)) == []


def test_the_version_below_is_never_served_while_the_one_above_is_put_away(
    stage: Stage, services: Services
) -> None:
    stage.put(GOOD)
    stage.label()
    stage.put()
    seen: list[bytes | None] = []
    plan(services.s3.meta.events, "s3.DeleteObject", *2 * [after(lambda: seen.append(stage.visible))])

    stage.label()

    assert [*seen, stage.visible] == [BAD, None, None]


def test_metadata_and_tags_are_put_away_too(stage: Stage, services: Services) -> None:
    stage.put(Metadata={"by": "Ann"}, ContentType="image/png", Tagging="album=summer")

    stage.label()

    found = replace(_found(stage), version_id=stage.row["version_id"])
    kept: Any = {"Bucket": services.settings.quarantine_bucket, "Key": place_of(found)}
    assert stage.s3.head_object(**kept)["Metadata"] == {"by": "Ann"}
    assert stage.s3.get_object_tagging(**kept)["TagSet"] == [{"Key": "album", "Value": "summer"}]


def _found(stage: Stage) -> Any:
    return StoredObject(KEY, None, stage.row["etag"], 0, None, stage.services.now(), {}, b"")


def test_the_event_of_its_removal_changes_nothing(stage: Stage, rekognition: ScriptedRekognition) -> None:
    stage.put()
    stage.label()

    outcomes = [stage.label(), stage.label()]

    assert outcomes == [Outcome.DUPLICATE] * 2
    assert stage.state == PUT_AWAY
    assert rekognition.asked == {LABELS: 1, MODERATION: 1}


def test_deleting_the_key_again_changes_nothing(stage: Stage) -> None:
    stage.put()
    stage.label()
    stage.delete()

    stage.label()

    assert stage.state == PUT_AWAY


def test_what_was_overwritten_meanwhile_leaves_the_newer_one_alone(stage: Stage, services: Services) -> None:
    stage.put()
    plan(services.session.events, "s3.CopyObject", after(lambda: stage.put(GOOD)))

    stage.label()
    stage.label()

    assert stage.state == ("labelled", GOOD, [], ["image", "label#cat"])
    assert len(stage.versions) == 1


def test_what_was_overwritten_by_the_same_bytes_is_put_away_too(stage: Stage, services: Services) -> None:
    stage.put()
    plan(services.session.events, "s3.CopyObject", after(lambda: stage.put()))

    stage.label()
    stage.label()

    assert stage.visible is None
    assert stage.row["status"] == "quarantined"


def test_a_new_upload_replaces_what_is_put_away(stage: Stage) -> None:
    stage.put()
    stage.label()
    stage.put(GOOD)

    outcome = stage.label()

    assert outcome is Outcome.LABELLED
    assert stage.state == ("labelled", GOOD, [], ["image", "label#cat"])


def test_another_picture_that_is_flagged_replaces_what_is_put_away(stage: Stage) -> None:
    other = picture("Graphic Violence 90")
    stage.put()
    stage.label()
    stage.put(other)

    stage.label()

    assert stage.state == ("quarantined", None, [other], ["image"])


def test_a_released_picture_is_labelled_without_being_moderated_or_paid_for_again(
    stage: Stage, services: Services, rekognition: ScriptedRekognition
) -> None:
    stage.put(Metadata={"by": "Ann"})
    stage.label()

    released = services.wishes.release(KEY)
    outcome = stage.label()

    assert (released, outcome) == (True, Outcome.LABELLED)
    assert stage.state == LABELLED
    assert rekognition.asked == {LABELS: 1, MODERATION: 1}
    image = services.store.image(KEY, services.now())
    assert image is not None
    assert image.moderation is not None
    assert (image.moderation.flagged, image.metadata) == (True, {"by": "Ann"})


def test_a_released_picture_gets_todays_answer_and_keeps_its_moderation(
    stage: Stage, services: Services, rekognition: ScriptedRekognition
) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    today = Services(replace(services.settings, detect=("labels", "moderation", "text")))

    today.labelling.label(KEY)

    assert stage.state == LABELLED
    assert rekognition.asked == {LABELS: 2, MODERATION: 1, TEXT: 1}


def test_a_released_picture_stays_released_when_it_is_labelled_again(
    stage: Stage, services: Services, rekognition: ScriptedRekognition
) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    stage.label()
    services.wishes.relabel(KEY)

    stage.label()

    assert stage.state == LABELLED
    assert rekognition.asked == {LABELS: 2, MODERATION: 1}


def test_a_release_is_for_that_version_and_once(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    stage.label()
    mark = stage.s3.head_object(Bucket=stage.shown, Key=KEY)["Metadata"][RELEASE]
    stage.put(Metadata={RELEASE: mark})

    stage.label()

    assert stage.state == PUT_AWAY


@pytest.mark.parametrize("mark", ["", "forged", "None"])
def test_a_forged_mark_releases_nothing(mark: str, stage: Stage) -> None:
    stage.put(Metadata={RELEASE: mark})

    stage.label()

    assert stage.state == PUT_AWAY


def test_a_release_gives_way_to_a_new_upload(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    stage.put(GOOD)

    stage.label()

    assert stage.state == ("labelled", GOOD, [], ["image", "label#cat"])
    assert services.wishes.release(KEY) is False


def test_a_released_picture_that_is_removed_leaves_nothing(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    stage.label()
    stage.delete()

    outcome = stage.label()

    assert outcome is Outcome.REMOVED
    assert stage.state == REMOVED


def test_only_what_is_put_away_can_be_released(stage: Stage, services: Services) -> None:
    before = services.wishes.release(KEY)
    stage.put(GOOD)
    stage.label()

    assert (before, services.wishes.release(KEY)) == (False, False)


def test_what_is_to_be_removed_cannot_be_released(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()
    services.wishes.remove(KEY)

    released = services.wishes.release(KEY)

    assert released is False
    assert stage.label() is Outcome.REMOVED
    assert (*stage.state, stage.versions) == (*REMOVED, [])


def test_what_is_to_be_released_can_still_be_removed(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)

    services.wishes.remove(KEY)

    assert stage.label() is Outcome.REMOVED
    assert (*stage.state, stage.versions) == (*REMOVED, [])


def test_what_is_put_away_cannot_be_labelled_again_before_it_is_released(
    stage: Stage, services: Services
) -> None:
    stage.put()
    stage.label()

    assert services.wishes.relabel(KEY) is False


def test_a_removal_leaves_it_in_neither_bucket(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()

    services.wishes.remove(KEY)
    outcome = stage.label()

    assert outcome is Outcome.REMOVED
    assert (*stage.state, stage.versions) == (*REMOVED, [])


def test_a_removal_half_way_is_done_by_who_is_at_work(stage: Stage, services: Services) -> None:
    stage.put()
    plan(
        services.session.events,
        "s3.CopyObject",
        after(lambda: Services(services.settings).wishes.remove(KEY)),
    )

    outcomes = [stage.label(), stage.label()]

    assert outcomes == [Outcome.REMOVED, Outcome.DUPLICATE]
    assert (*stage.state, stage.versions) == (*REMOVED, [])


def test_a_wish_for_another_answer_does_not_take_up_what_has_been_put_away_meanwhile(
    stage: Stage, services: Services
) -> None:
    stage.put()
    plan(
        services.session.events,
        "dynamodb.TransactWriteItems",
        after(lambda: Services(services.settings).wishes.relabel(KEY)),
    )

    outcomes = [stage.label(), stage.label()]

    assert outcomes == [Outcome.QUARANTINED, Outcome.DUPLICATE]
    assert stage.state == PUT_AWAY


def test_a_removal_before_there_is_a_row_that_could_say_so_is_not_lost(
    stage: Stage, services: Services
) -> None:
    stage.put()
    plan(
        services.session.events,
        "dynamodb.UpdateItem",
        after(lambda: Services(services.settings).wishes.remove(KEY)),
    )

    outcomes = [stage.label(), stage.label()]

    assert outcomes == [Outcome.REMOVED, Outcome.DUPLICATE]
    assert stage.state == REMOVED


def test_a_removal_of_what_is_stuck_half_way_leaves_nothing_behind_its_marker(
    stage: Stage, services: Services
) -> None:
    stage.put()
    get_stuck(stage)

    services.wishes.remove(KEY)
    outcome = stage.label()

    assert outcome is Outcome.REMOVED
    assert (*stage.state, stage.versions) == (*REMOVED, [])


def get_stuck(stage: Stage) -> None:
    """On its way to quarantine, where nobody may write."""
    copying = stage.services.quarantining.quarantine._copying
    plan(copying.meta.events, "s3.CopyObject", json_error(403, "AccessDenied"))
    with pytest.raises(Retryable):
        stage.label()


def raise_deadly(*_: object) -> None:
    raise Deadly


def test_a_removal_amid_a_release_takes_what_comes_out(stage: Stage, services: Services) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    plan(
        services.quarantining.quarantine._copying.meta.events,
        "s3.CopyObject",
        after(lambda: Services(services.settings).wishes.remove(KEY)),
    )

    outcome = stage.label()

    assert outcome is Outcome.REMOVED
    assert stage.state == REMOVED


def test_a_released_picture_that_functions_died_of_can_be_labelled_again(
    stage: Stage, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    with monkeypatch.context() as patch:
        patch.setattr(Claim, "is_suspect", lambda *_: True)
        patch.setattr(Deaths, "count", raise_deadly)
        with pytest.raises(Deadly):
            stage.label()
        assert stage.row["status"] == "failed"

        services.wishes.relabel(KEY)

    assert stage.label() is Outcome.LABELLED
    assert stage.state == LABELLED


@pytest.mark.parametrize("call", ["rekognition.DetectLabels", "rekognition.DetectModerationLabels"])
@pytest.mark.parametrize("first", [[], [BAD]], ids=["the first version", "with one in quarantine"])
def test_a_removal_wins_over_who_is_about_to_put_it_away(
    first: list[bytes], call: str, stage: Stage, services: Services
) -> None:
    for body in first:
        stage.put(body)
        stage.label()
    stage.put()
    removed = plan(
        services.rekognition._client.meta.events,
        call,
        after(lambda: Services(services.settings).wishes.remove(KEY)),
    )

    outcomes = [stage.label(), stage.label()]

    assert len(removed) == 1
    assert outcomes == [Outcome.REMOVED, Outcome.DUPLICATE]
    assert stage.state == REMOVED


def test_a_removal_of_before_does_not_take_what_is_uploaded_since(stage: Stage, services: Services) -> None:
    stage.put(GOOD)
    stage.label()
    services.wishes.remove(KEY)
    stage.put()

    outcomes = [stage.label(), stage.label()]

    assert outcomes == [Outcome.QUARANTINED, Outcome.DUPLICATE]
    assert stage.state == PUT_AWAY


def test_a_released_picture_that_is_exhausted_later_stays_released(
    stage: Stage, services: Services, rekognition: ScriptedRekognition
) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    stage.label()
    services.wishes.relabel(KEY)
    stage.exhaust(rekognition)

    outcome = stage.label()

    assert outcome is Outcome.LABELLED
    assert stage.state == LABELLED


def test_a_release_that_is_exhausted_comes_true_when_it_is_tried_again(
    stage: Stage,
    services: Services,
    rekognition: ScriptedRekognition,
    strict: Settings,
    endpoint: Endpoint,
) -> None:
    stage.put()
    stage.label()
    services.wishes.release(KEY)
    stricter = over(straight_to(endpoint), replace(strict, min_confidence=60.0))  # so that all is asked again
    today = replace(stage, services=stricter)
    today.exhaust(rekognition)
    assert stage.row["status"] == "failed"

    outcome = today.label()

    assert outcome is Outcome.LABELLED
    assert stage.state == LABELLED


@pytest.mark.parametrize(
    ("then", "end"),
    [
        (Stage.label, ("labelled", GOOD, [], ["image", "label#cat"])),
        (lambda stage: stage.services.wishes.remove(KEY), REMOVED),
        (Stage.delete, REMOVED),
    ],
    ids=["tried again", "removed", "deleted"],
)
def test_an_exhausted_upload_leaves_nothing_in_quarantine_of_what_was_there(
    then: Callable[[Stage], object], end: Any, stage: Stage, rekognition: ScriptedRekognition
) -> None:
    stage.put()
    stage.label()
    stage.put(GOOD)
    stage.exhaust(rekognition)

    then(stage)
    stage.label()

    assert stage.state == end


def test_what_is_gone_from_quarantine_by_other_hands_is_removed_when_it_is_released(
    stage: Stage, services: Services
) -> None:
    stage.put()
    stage.label()
    bucket = services.settings.quarantine_bucket
    for each in stage.s3.list_objects_v2(Bucket=bucket)["Contents"]:
        stage.s3.delete_object(Bucket=bucket, Key=each["Key"])
    services.wishes.release(KEY)

    outcome = stage.label()

    assert outcome is Outcome.REMOVED
    assert stage.state == REMOVED


def test_a_version_that_somebody_deletes_on_its_way_is_removed(stage: Stage, services: Services) -> None:
    version = stage.put()
    gone = after(lambda: stage.s3.delete_object(Bucket=stage.shown, Key=KEY, VersionId=version))
    plan(services.session.events, "s3.CopyObject", gone)

    outcome = stage.label()

    assert outcome is Outcome.REMOVED
    assert stage.state == REMOVED


def test_one_step_that_fails_is_tried_again_from_there(
    stage: Stage, rekognition: ScriptedRekognition
) -> None:
    stage.put()

    get_stuck(stage)

    assert stage.row["status"] == "quarantining"
    assert stage.label() is Outcome.QUARANTINED
    assert stage.state == PUT_AWAY
    assert rekognition.asked == {LABELS: 1, MODERATION: 1}


@dataclass(frozen=True)
class Crashing:
    """A function that dies at its n-th AWS call, and those that come after it."""

    mortal: Mortal
    services: Services
    later: Services

    def label(self) -> None:
        self.services.labelling.label(KEY)

    def finish(self) -> None:
        """What recovery sees to, once the lease is over."""
        self.mortal.live()
        for _ in range(2):
            self.later.labelling.label(KEY)


@pytest.fixture
def crashing(stage: Stage, strict: Settings, endpoint: Endpoint) -> Crashing:
    mortal = Mortal(straight_to(endpoint))
    services, later = over(mortal, strict), over(mortal, strict)
    lease = timedelta(seconds=strict.lease_seconds + 10)
    vars(later)["labelling"] = replace(later.labelling, now=lambda: services.now() + lease)
    return Crashing(mortal, services, later)


def points(calls: int, exhaustive: bool) -> Iterator[tuple[int, When]]:
    every = [(number, when) for number in range(1, calls + 1) for when in When]
    yield from every if exhaustive else every[::6]


def put_away_and_unwanted(stage: Stage) -> None:
    stage.put()
    stage.label()
    stage.services.wishes.remove(KEY)


def stuck_and_unwanted(stage: Stage) -> None:
    stage.put()
    get_stuck(stage)
    stage.services.wishes.remove(KEY)


SCENARIOS: dict[str, tuple[Callable[[Stage], object], Any]] = {
    "into quarantine": (lambda stage: stage.put(), PUT_AWAY),
    "out of it": (lambda stage: (stage.put(), stage.label(), stage.services.wishes.release(KEY)), LABELLED),
    "gone for good": (put_away_and_unwanted, REMOVED),
    "stuck on its way, then removed": (stuck_and_unwanted, REMOVED),
    "replaced": (
        lambda stage: (stage.put(), stage.label(), stage.put(GOOD)),
        ("labelled", GOOD, [], ["image", "label#cat"]),
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("begin", "end"), SCENARIOS.values(), ids=SCENARIOS)
def test_a_crash_at_any_call_leaves_neither_a_lost_picture_nor_a_served_one(
    begin: Callable[[Stage], object], end: Any, stage: Stage, crashing: Crashing, exhaustive: bool
) -> None:
    begin(stage)
    crashing.label()
    calls = len(crashing.mortal.calls)
    left = len(stage.versions)
    assert (stage.state, left) == (end, 1 if stage.visible else 0)
    assert calls >= 5

    for number, when in points(calls, exhaustive):
        clear(stage)
        begin(stage)
        crashing.mortal.crash_at(number, when)
        with pytest.raises(Crash):
            crashing.label()
        if end in (PUT_AWAY, LABELLED):
            assert BAD in [stage.visible, *stage.put_away], (number, when)

        crashing.finish()

        assert (stage.state, len(stage.versions)) == (end, left), (number, when)


Wish = Callable[[Services], object]
WISHES: dict[str, tuple[Wish, Any]] = {
    "a release": (lambda services: services.wishes.release(KEY), LABELLED),
    "a removal": (lambda services: services.wishes.remove(KEY), REMOVED),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("ask", "end"), WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("insists", [True, False], ids=["who asks again", "who asks once"])
def test_an_api_that_dies_over_a_wish_does_it_in_full_for_whoever_asks_again_or_not_at_all(
    ask: Wish, end: Any, insists: bool, stage: Stage, crashing: Crashing
) -> None:
    stage.put()
    stage.label()
    crashing.mortal.live()
    ask(crashing.services)
    calls = len(crashing.mortal.calls)
    assert calls >= 2

    for number, when in product(range(1, calls + 1), When):
        clear(stage)
        stage.put()
        stage.label()
        crashing.mortal.crash_at(number, when)
        with pytest.raises(Crash):
            ask(crashing.services)
        crashing.mortal.live()
        if insists:
            ask(crashing.services)

        crashing.finish()

        assert stage.state in ([end] if insists else [end, PUT_AWAY]), (number, when)


Step = Callable[[Stage], object]


def nothing(_: Stage) -> None:
    """Happens meanwhile."""


def want_it_gone(stage: Stage) -> None:
    stage.services.wishes.remove(KEY)


RACES: dict[str, tuple[list[Step], Step, Any]] = {
    "a new upload": (
        [Stage.put],
        lambda stage: stage.put(GOOD),
        ("labelled", GOOD, [], ["image", "label#cat"]),
    ),
    "a removal": ([Stage.put], want_it_gone, REMOVED),
    "a deletion by S3": ([Stage.put], Stage.delete, None),
    "somebody with the same message": ([Stage.put], nothing, PUT_AWAY),
    "somebody who releases it too": (
        [Stage.put, Stage.label, lambda stage: stage.services.wishes.release(KEY)],
        nothing,
        LABELLED,
    ),
    "a new upload while it comes back": (
        [Stage.put, Stage.label, lambda stage: stage.services.wishes.release(KEY)],
        lambda stage: stage.put(GOOD),
        ("labelled", GOOD, [], ["image", "label#cat"]),
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("first", "then", "end"), RACES.values(), ids=RACES)
def test_no_interleaving_leaves_a_picture_in_the_wrong_place(
    first: list[Step],
    then: Step,
    end: Any,
    stage: Stage,
    strict: Settings,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    exhaustive: bool,
) -> None:
    monkeypatch.setattr("chalicelib.detection.ThreadPoolExecutor", StrandPool)
    pair = [over(stopping_before(straight_to(endpoint)), strict) for _ in range(2)]

    def start(_: str) -> list[Worker]:
        clear(stage)
        for step in first:
            step(stage)
        return [
            Worker(pair[0], KEY, may_fail=(Retryable,)),
            Worker(pair[1], KEY, before=lambda: then(stage), may_fail=(Retryable,)),
        ]

    every = interleavings(start, EXHAUSTIVE_PREEMPTIONS if exhaustive else 1)
    for _, choices in islice(every, None if exhaustive else 5):
        for _ in range(2):  # what recovery and S3's own events see to
            stage.label()
        assert stage.state in ([end] if end else [PUT_AWAY, REMOVED]), choices
        assert not (stage.put_away and stage.versions), choices


def stopping_before(below: Layer) -> Layer:
    def send(call: Call) -> Any:
        current.get().stop()
        return below(call)

    return send


def clear(stage: Stage) -> None:
    for version in stage.versions:
        stage.s3.delete_object(Bucket=stage.shown, Key=KEY, VersionId=version)
    for each in stage.s3.list_objects_v2(Bucket=stage.services.settings.quarantine_bucket).get(
        "Contents", []
    ):
        stage.s3.delete_object(Bucket=stage.services.settings.quarantine_bucket, Key=each["Key"])
    stage.catalogue.forget(KEY)
