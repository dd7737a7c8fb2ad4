import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from chalicelib import rows
from chalicelib.errors import AccessLost, Contended, Retryable, ServiceFailed, Throttled
from chalicelib.model import (
    VISIBLE,
    Answer,
    Box,
    Claim,
    Color,
    Findings,
    Image,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Partial,
    Properties,
    Region,
    Status,
    StoredObject,
    Summary,
    TopLabel,
    Upload,
    Word,
)
from chalicelib.patience import PAUSES
from chalicelib.settings import MAX_LABELS, Settings
from chalicelib.store import UNCLAIMED, Attempt, Listed, Position, Recorded, Standing, Store
from tests import faults
from tests.test_rows import largest_answer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = "a/car #1.png"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
LATER = NOW + timedelta(minutes=5)
LATER_STILL = timedelta(minutes=1)
FOUND = StoredObject(KEY, "v1", "e1", 48_123, "text/plain", NOW - timedelta(seconds=4), {"by": "Ann"}, b"")
NEWER = replace(FOUND, version_id="v2", etag="e2")
LEASE = NOW.timestamp() + 70

CAR = Label(
    "Car", 98.71, ("Transport",), ("Vehicle",), ("Automobile",), (Instance(97.2, Box(0.1, 0.2, 0.5, 0.4)),)
)
WHEEL = Label("Wheel", 77.0)
BOX = Box(0.1, 0.2, 0.5, 0.4)
FINDINGS = Findings(
    labels=(CAR, WHEEL),
    moderation=Moderation(True, (ModerationLabel("Weapons", 91.0, "Violence", 2),), ("Illustrated",)),
    text=(Line("TAXI", 99.1, BOX, (Word("TAXI", 99.1, BOX),)),),
    properties=Properties((Color("#008080", "teal", "green", 62.5),), 50.5, foreground=Region(contrast=1.0)),
    model_versions={"labels": "3.0", "moderation": "7.0", "text": "3.0"},
)
ANSWER = Answer(Status.LABELLED, None, "image/png", FINDINGS)
TEXT_ONLY = Findings(text=FINDINGS.text, model_versions={"text": "3.0"})
KEPT = Partial("v1", "today's", TEXT_ONLY)
NOTHING = Partial("v1", "today's", Findings())
IMAGE = Image(
    KEY,
    Status.LABELLED,
    None,
    "image/png",
    48_123,
    "v1",
    "e1",
    "2026-01-02T03:04:01Z",
    "2026-01-02T03:04:05Z",
    (CAR, WHEEL),
    FINDINGS.text,
    FINDINGS.moderation,
    FINDINGS.properties,
    {"labels": "3.0", "moderation": "7.0", "text": "3.0"},
    {"by": "Ann"},
)

TRANSACT = "dynamodb.TransactWriteItems"
UPDATE = "dynamodb.UpdateItem"
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})
TIMEOUT = ReadTimeoutError(endpoint_url="https://dynamodb.example")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://dynamodb.example")


Faulty = Callable[[faults.Step], Store]


class Bench:
    """A store on a table of its own, and the moves that tests begin with."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self.client = client
        self.table = table
        self.pauses: list[float] = []
        self.store = Store(client, table, sleep=self.pauses.append)

    def plan(self, operation: str, *steps: faults.Step) -> list[Any]:
        return faults.plan(self.client.meta.events, operation, *steps)

    def claim(self, found: StoredObject, run: str, row: Claim | None = None) -> Attempt:
        return self.store.claim(found, run, row, NOW, lease_seconds=70)

    def label(self, found: StoredObject, answer: Answer, now: datetime = NOW) -> Claim:
        """Claims on what is there, commits, and returns the row as it then is."""
        row = self.row(found.key)
        run = secrets.token_hex(4)
        assert self.claim(found, run, row).won
        assert self.store.commit(found, run, answer, row.label_keys, now, wish=row.relabel)
        return self.row(found.key)

    def row(self, key: str) -> Claim:
        return rows.read_claim(self.rows(key).get("image", {}))

    def rows(self, key: str = KEY) -> dict[str, dict[str, Any]]:
        items = self.client.query(
            TableName=self.table,
            KeyConditionExpression="source_file = :key",
            ExpressionAttributeValues={":key": {"S": key}},
        )["Items"]
        return {row["entry"]: row for row in map(rows.unmarshal, items)}


@pytest.fixture
def bench(settings: Settings) -> Bench:
    client = boto3.client("dynamodb", config=ONE_ATTEMPT)
    return Bench(client, settings.images_table)


def text(request: Any) -> str:
    body: bytes = request.body
    return body.decode()


def labelled(*labels: Label) -> Answer:
    return Answer(Status.LABELLED, None, "image/png", Findings(labels, model_versions={"labels": "3.0"}))


def numbered(first: int, count: int) -> tuple[Label, ...]:
    return tuple(Label(f"Label {n}", 99.0 - n / 10) for n in range(first, first + count))


# Claim


def test_the_first_claim_finds_no_row_and_makes_one(bench: Bench) -> None:
    attempt = bench.claim(FOUND, "r1")

    assert attempt == Attempt(True, UNCLAIMED)
    assert bench.rows() == {
        "image": {
            "source_file": KEY,
            "entry": "image",
            "status": "processing",
            "status_key": "processing#0",
            "updated_at": rows.status_fields(KEY, Status.PROCESSING, NOW)["updated_at"],
            "run": "r1",
            "run_version": "v1",
            "lease_until": rows.unmarshal(rows.marshal({"at": LEASE}))["at"],
        }
    }


def test_a_claim_that_did_not_see_the_other_is_lost_and_changes_nothing(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    before = bench.rows()

    attempt = bench.claim(NEWER, "r2")

    assert attempt == Attempt(False, Claim("r1", None, "v1", LEASE, ()))
    assert bench.rows() == before


def test_a_claim_on_the_run_that_was_read_is_won_and_keeps_the_answer(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)

    attempt = bench.claim(NEWER, "r2", row)

    assert attempt == Attempt(True, row)
    assert bench.row(KEY) == Claim("r2", row.run, "v2", LEASE, ("car", "wheel"), labelled="v1")
    assert bench.store.image(KEY, NOW) == replace(IMAGE, status=Status.PROCESSING)


def test_a_claim_on_a_run_that_is_past_is_lost(bench: Bench) -> None:
    past = bench.label(FOUND, ANSWER)
    current = bench.label(NEWER, ANSWER)

    attempt = bench.claim(FOUND, "r3", past)

    assert attempt == Attempt(False, current)
    assert bench.row(KEY) == current


def test_a_claim_on_a_row_that_was_committed_meanwhile_is_lost(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    read = bench.row(KEY)
    bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    attempt = bench.claim(NEWER, "r2", read)

    assert attempt == Attempt(False, Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1"))


def test_a_claim_on_a_row_that_has_expired_meanwhile_is_lost_to_nobody(bench: Bench) -> None:
    attempt = bench.claim(FOUND, "r2", Claim("r1", "r1", None, 0, ()))

    assert attempt == Attempt(False, UNCLAIMED)
    assert bench.rows() == {}


def test_what_is_uploaded_does_not_expire(bench: Bench) -> None:
    bench.store.expect_upload(KEY, Upload("image/png", 5), LATER, NOW)

    attempt = bench.claim(FOUND, "r1")

    assert attempt == Attempt(True, UNCLAIMED)
    assert "expires_at" not in bench.rows()["image"]
    assert bench.store.image(KEY, LATER) is not None


def test_a_claim_without_versions_is_for_the_etag(bench: Bench) -> None:
    bench.claim(replace(FOUND, version_id=None), "r1")

    assert bench.row(KEY).version == "e1"


@pytest.mark.parametrize("before", [None, ANSWER], ids=["first", "again"])
def test_a_claim_whose_answer_is_lost_is_recognised_as_ours(bench: Bench, before: Answer | None) -> None:
    row = bench.label(FOUND, before) if before else None
    patient = Store(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, UPDATE, faults.lose_answer)

    attempt = patient.claim(NEWER, "r2", row, NOW, 70)

    now = replace(row or UNCLAIMED, run="r2", version="v2", lease_until=LEASE)
    assert attempt == Attempt(True, now)
    assert len(sent) == 2


# Release


def test_a_release_ends_our_lease(bench: Bench) -> None:
    bench.claim(FOUND, "r1")

    bench.store.release(KEY, "r1", UNCLAIMED, NOTHING, NOW)

    assert bench.row(KEY) == Claim("r1", None, "v1", 0, ())
    assert not bench.row(KEY).is_held("v1", NOW.timestamp())


def test_a_release_leaves_another_run_its_lease(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claim(NEWER, "r2", bench.row(KEY))

    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)

    assert bench.row(KEY) == Claim("r2", None, "v2", LEASE, ())


def test_a_release_of_a_row_that_is_gone_makes_none(bench: Bench) -> None:
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)

    assert bench.rows() == {}


def test_a_release_keeps_what_need_not_be_asked_again_beside_the_answer_that_stands(bench: Bench) -> None:
    before = bench.label(FOUND, ANSWER)
    bench.claim(FOUND, "r2", before)

    bench.store.release(KEY, "r2", before, KEPT, NOW)

    assert bench.row(KEY) == Claim("r2", before.run, "v1", 0, ("car", "wheel"), partial=KEPT, labelled="v1")
    assert bench.store.image(KEY, NOW) == replace(IMAGE, status=Status.QUEUED)


def test_a_claim_takes_over_what_need_not_be_asked_again(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)

    attempt = bench.claim(FOUND, "r2", bench.row(KEY))

    assert (attempt.won, attempt.row.partial, bench.row(KEY).partial) == (True, KEPT, KEPT)


def test_a_release_that_knows_nothing_leaves_nothing_of_the_one_before(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)
    bench.claim(NEWER, "r2", bench.row(KEY))

    bench.store.release(KEY, "r2", UNCLAIMED, NOTHING, NOW)

    assert bench.row(KEY).partial is None


def test_a_commit_leaves_nothing_of_what_was_kept_for_it(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)

    row = bench.label(FOUND, ANSWER)

    assert row.partial is None


def test_a_removal_leaves_nothing_of_what_was_kept(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)

    bench.store.bury(KEY, "r2", bench.row(KEY), NOW)

    assert "partial" not in bench.rows()["image"]


def test_a_release_after_a_commit_that_nobody_heard_of_leaves_it_as_it_is(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.plan(TRANSACT, faults.lose_answer)
    with pytest.raises(ServiceFailed):
        bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    bench.store.release(KEY, "r1", UNCLAIMED, Partial("v1", "today's", FINDINGS), NOW)

    assert bench.row(KEY) == Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1")
    assert bench.store.image(KEY, NOW) == IMAGE


def test_the_largest_answer_has_room_beside_it_for_another(bench: Bench) -> None:
    answer = largest_answer()
    before = bench.label(FOUND, answer)
    bench.claim(NEWER, "r2", before)

    bench.store.release(KEY, "r2", before, Partial("v2", "today's", answer.findings), NOW)

    assert bench.row(KEY).partial == Partial("v2", "today's", answer.findings)


# Commit


def test_a_commit_writes_the_answer_and_a_row_for_each_label(bench: Bench) -> None:
    bench.claim(FOUND, "r1")

    committed = bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    fields = rows.unmarshal(rows.marshal(rows.answer_fields(FOUND, "r1", ANSWER, NOW)))
    label_rows = [rows.unmarshal(rows.marshal(row)) for row in rows.label_rows(FOUND, ANSWER, NOW)]
    assert committed is True
    assert bench.rows() == {
        "image": {"source_file": KEY, "entry": "image", "run": "r1", "run_version": "v1", **fields},
        **{row["entry"]: row for row in label_rows},
    }
    assert bench.store.image(KEY, NOW) == IMAGE
    assert bench.row(KEY) == Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1")


def test_a_commit_leaves_no_label_and_no_field_of_the_one_before(bench: Bench) -> None:
    bench.label(FOUND, Answer(Status.FAILED, "unreadable", "image/png"))
    bench.label(FOUND, ANSWER)

    bench.label(NEWER, labelled(WHEEL, Label("Road", 60.0)))

    assert set(bench.rows()) == {"image", "label#wheel", "label#road"}
    assert bench.rows()["image"]["version_id"] == "v2"
    assert "reason" not in bench.rows()["image"]


def test_a_commit_leaves_nothing_of_detectors_that_are_not_asked_any_more(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)

    bench.label(NEWER, labelled(WHEEL))

    image = bench.store.image(KEY, NOW)
    assert image is not None
    assert (image.text, image.moderation, image.properties) == (None, None, None)
    assert image.model_versions == {"labels": "3.0"}


def test_a_failure_leaves_no_label_and_no_time_of_labelling(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)

    bench.label(NEWER, Answer(Status.FAILED, "unsupported_format", None))

    assert set(bench.rows()) == {"image"}
    assert bench.store.image(KEY, NOW) == Image(
        KEY,
        Status.FAILED,
        "unsupported_format",
        size=48_123,
        version_id="v2",
        etag="e2",
        uploaded_at="2026-01-02T03:04:01Z",
        metadata={"by": "Ann"},
    )


def test_a_commit_on_a_row_that_another_claimed_writes_nothing(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claim(NEWER, "r2", bench.row(KEY))
    before = bench.rows()

    committed = bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    assert committed is False
    assert bench.rows() == before


def test_a_commit_on_a_row_that_is_gone_writes_nothing(bench: Bench) -> None:
    assert bench.store.commit(FOUND, "r1", ANSWER, (), NOW) is False
    assert bench.rows() == {}


def test_a_commit_whose_answer_is_lost_is_ours_even_when_another_claimed_since(bench: Bench) -> None:
    bench.claim(FOUND, "r1")

    def applied_but_throttled(request: Any) -> Any:
        faults.send(request)
        bench.claim(NEWER, "r2", bench.row(KEY))
        return faults.json_error(400, "ThrottlingException")(request)

    sent = bench.plan(TRANSACT, applied_but_throttled)

    committed = bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    assert (committed, len(sent)) == (True, 2)
    assert bench.row(KEY) == Claim("r2", "r1", "v2", LEASE, ("car", "wheel"), labelled="v1")


def test_a_commit_whose_answer_is_lost_is_repeated_under_the_same_token(bench: Bench) -> None:
    patient = Store(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, TRANSACT, faults.lose_answer)
    bench.claim(FOUND, "r1")

    committed = patient.commit(FOUND, "r1", ANSWER, (), NOW)

    assert committed is True
    assert sent[0].body == sent[1].body
    assert "ClientRequestToken" in text(sent[0])
    assert bench.store.image(KEY, NOW) == IMAGE


def test_labels_whose_names_fold_to_one_key_share_a_row_whatever_was_there(bench: Bench) -> None:
    bench.label(FOUND, labelled(Label("CAFE\u0301", 70.0)))

    bench.label(NEWER, labelled(Label("Caf\u00e9", 80.0)))

    assert set(bench.rows()) == {"image", "label#caf\u00e9"}
    assert bench.rows()["label#caf\u00e9"]["label_name"] == "Caf\u00e9"


def test_a_commit_that_changes_every_label_fits_a_transaction(bench: Bench) -> None:
    bench.label(FOUND, labelled(*numbered(0, MAX_LABELS)))
    sent = bench.plan(TRANSACT)

    bench.label(NEWER, labelled(*numbered(100, MAX_LABELS)))

    assert text(sent[0]).count('"TableName"') == 1 + 2 * MAX_LABELS <= 100
    assert set(bench.rows()) == {"image", *(f"label#label {n}" for n in range(100, 100 + MAX_LABELS))}


def test_the_largest_answer_is_committed(bench: Bench) -> None:
    row = bench.label(FOUND, largest_answer())

    assert len(bench.rows()) == 1 + MAX_LABELS
    assert len(row.label_keys) == MAX_LABELS


# Bury


def test_a_removal_leaves_a_tombstone_and_no_label(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)

    attempt = bench.store.bury(KEY, "r2", row, NOW)

    assert attempt == Attempt(True, row)
    assert bench.rows() == {
        "image": {
            "source_file": KEY,
            "entry": "image",
            "status": "removed",
            "run": "r2",
            "committed_run": "r2",
            "expires_at": int((NOW + timedelta(days=1)).timestamp()),
            "schema": 1,
        }
    }
    assert bench.row(KEY).answers(None)


def test_a_removal_of_what_was_never_seen_leaves_a_tombstone_too(bench: Bench) -> None:
    attempt = bench.store.bury(KEY, "r1", None, NOW)

    assert attempt == Attempt(True, UNCLAIMED)
    assert bench.row(KEY).answers(None)


def test_a_removal_that_did_not_see_the_claim_is_lost(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)
    before = bench.rows()

    attempt = bench.store.bury(KEY, "r2", None, NOW)

    assert attempt == Attempt(False, row)
    assert bench.rows() == before


def test_a_removal_on_a_run_that_is_past_is_lost(bench: Bench) -> None:
    past = bench.label(FOUND, ANSWER)
    current = bench.label(NEWER, ANSWER)

    attempt = bench.store.bury(KEY, "r3", past, NOW)

    assert attempt == Attempt(False, current)
    assert set(bench.rows()) == {"image", "label#car", "label#wheel"}


def test_a_removal_of_a_row_that_was_committed_meanwhile_leaves_its_labels(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    read = bench.row(KEY)
    bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    attempt = bench.store.bury(KEY, "r2", read, NOW)

    assert attempt == Attempt(False, Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1"))
    assert set(bench.rows()) == {"image", "label#car", "label#wheel"}


def test_a_removal_with_as_many_labels_as_there_may_be(bench: Bench) -> None:
    row = bench.label(FOUND, labelled(*numbered(0, MAX_LABELS)))

    bench.store.bury(KEY, "r2", row, NOW)

    assert set(bench.rows()) == {"image"}


def test_a_removal_whose_answer_is_lost_is_recognised_as_ours(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)

    def applied_but_throttled(request: Any) -> Any:
        faults.send(request)
        return faults.json_error(400, "ThrottlingException")(request)

    bench.plan(TRANSACT, applied_but_throttled)

    attempt = bench.store.bury(KEY, "r2", row, NOW)

    assert attempt == Attempt(True, Claim("r2", "r2", None, 0, ()))
    assert set(bench.rows()) == {"image"}


def test_what_comes_back_is_claimed_on_its_tombstone_which_then_stays(bench: Bench) -> None:
    bench.store.bury(KEY, "r1", None, NOW)

    attempt = bench.claim(FOUND, "r2", bench.row(KEY))

    assert attempt == Attempt(True, Claim("r1", "r1", None, 0, ()))
    assert "expires_at" not in bench.rows()["image"]


# What stands for long


def test_images_are_found_by_how_long_they_have_had_their_status(bench: Bench) -> None:
    for minute, key in enumerate(("c", "a", "b")):
        bench.label(replace(FOUND, key=key), ANSWER, NOW + timedelta(minutes=minute))

    overdue = bench.store.unchanged_since(Status.LABELLED, NOW + timedelta(minutes=2), 10)

    assert [each.source_file for each in overdue] == ["c", "a"]
    assert bench.store.unchanged_since(Status.FAILED, LATER, 10) == []
    assert bench.store.unchanged_since(Status.LABELLED, LATER, 1) == overdue[:1]


def test_images_of_a_status_are_walked_through_in_steps(bench: Bench) -> None:
    for minute, key in enumerate(("c", "a", "b")):
        bench.label(replace(FOUND, key=key), ANSWER, NOW + timedelta(minutes=minute))

    first = bench.store.standing(Status.LABELLED, "", 2)
    second = bench.store.standing(Status.LABELLED, first[-1].updated_at, 2)

    assert [each.source_file for each in [*first, *second]] == ["c", "a", "b"]


def test_a_touched_image_stands_at_the_end_of_its_new_list(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    [row] = bench.store.unchanged_since(Status.PROCESSING, LATER, 10)

    bench.store.touch(row, Status.QUEUED, LATER)

    assert bench.store.unchanged_since(Status.PROCESSING, LATER + LATER_STILL, 10) == []
    [moved] = bench.store.unchanged_since(Status.QUEUED, LATER + LATER_STILL, 10)
    assert (moved.source_file, moved.updated_at > row.updated_at) == (KEY, True)
    assert bench.row(KEY).run == "r1"


def test_an_image_that_has_changed_is_not_touched(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    [row] = bench.store.unchanged_since(Status.PROCESSING, LATER, 10)
    bench.label(FOUND, ANSWER, LATER)
    before = bench.rows()

    bench.store.touch(row, Status.QUEUED, LATER + LATER_STILL)

    assert bench.rows() == before


def test_rows_tell_of_which_objects_they_are(bench: Bench) -> None:
    keys = [f"{number:03}" for number in range(150)]
    bench.label(replace(FOUND, key=keys[0]), ANSWER)
    bench.label(replace(FOUND, key=keys[149]), ANSWER)
    bench.store.expect_upload(keys[7], Upload(), LATER, NOW)

    recorded = bench.store.recorded(keys)

    labelled = Recorded(Status.LABELLED, "e1", FOUND.uploaded_at.replace(microsecond=0))
    assert recorded == {
        keys[0]: labelled,
        keys[149]: labelled,
        keys[7]: Recorded(Status.AWAITING_UPLOAD, None, None),
    }
    assert bench.store.recorded([]) == {}


def test_keys_that_dynamodb_had_no_time_for_are_asked_for_again(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    rest = {bench.table: {"Keys": [rows.marshal(rows.image_key(KEY))]}}
    some = json.dumps({"Responses": {bench.table: []}, "UnprocessedKeys": rest}).encode()
    sent = bench.plan("dynamodb.BatchGetItem", faults.answering(200, some))

    recorded = bench.store.recorded([KEY, "nobody's"])

    assert list(recorded) == [KEY]
    assert len(sent) == 2


def test_a_batch_of_which_nothing_was_read_is_throttled(bench: Bench) -> None:
    rest = {bench.table: {"Keys": [rows.marshal(rows.image_key(KEY))]}}
    none = json.dumps({"Responses": {}, "UnprocessedKeys": rest}).encode()
    bench.plan("dynamodb.BatchGetItem", faults.answering(200, none))

    with pytest.raises(Throttled):
        bench.store.recorded([KEY])


@pytest.mark.parametrize(
    ("etag", "seconds", "same"),
    [("e1", 0, True), ("e1", 1, True), ("e1", 2, False), ("e1", -2, False), ("e2", 0, False)],
)
def test_an_object_is_known_by_its_content_and_its_time(etag: str, seconds: int, same: bool) -> None:
    recorded = Recorded(Status.LABELLED, "e1", NOW)

    assert recorded.is_of(etag, NOW + timedelta(seconds=seconds)) is same
    assert not replace(recorded, uploaded_at=None).is_of("e1", NOW)


# Faults

CALLS: dict[str, Callable[[Store], object]] = {
    "expect_upload": lambda store: store.expect_upload(KEY, Upload(), LATER, NOW),
    "claim": lambda store: store.claim(FOUND, "r1", None, NOW, 70),
    "release": lambda store: store.release(KEY, "r1", UNCLAIMED, KEPT, NOW),
    "commit": lambda store: store.commit(FOUND, "r1", ANSWER, (), NOW),
    "bury": lambda store: store.bury(KEY, "r1", None, NOW),
    "ask_again": lambda store: store.ask_again(KEY, "t1"),
    "touch": lambda store: store.touch(Standing(KEY, "then"), Status.QUEUED, NOW),
    "recorded": lambda store: store.recorded([KEY]),
    "standing": lambda store: store.standing(Status.LABELLED, "", 10),
    "unchanged_since": lambda store: store.unchanged_since(Status.LABELLED, NOW, 10),
    "image": lambda store: store.image(KEY, NOW),
    "newest": lambda store: list(store.newest(VISIBLE, (), 20, NOW)),
    "showing": lambda store: list(store.showing("car", 0, (), 20)),
}


@pytest.fixture(scope="module")
def faulty(endpoint: object) -> Faulty:
    """A store whose every call meets this fault."""
    client = boto3.client("dynamodb", config=ONE_ATTEMPT)
    current: list[faults.Step] = []
    events: Any = client.meta.events
    events.register_first("before-send", lambda request, **_: current[-1](request))

    def make(fault: faults.Step) -> Store:
        current.append(fault)
        return Store(client, "images", sleep=lambda _: None)

    return make


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        pytest.param(faults.json_error(400, "AccessDeniedException"), AccessLost, id="access denied"),
        pytest.param(faults.json_error(400, "ExpiredTokenException"), AccessLost, id="expired token"),
        pytest.param(faults.json_error(400, "UnrecognizedClientException"), AccessLost, id="unknown client"),
        pytest.param(faults.json_error(400, "ResourceNotFoundException"), AccessLost, id="no table"),
        pytest.param(
            faults.json_error(400, "ProvisionedThroughputExceededException"), Throttled, id="throughput"
        ),
        pytest.param(faults.json_error(400, "RequestLimitExceeded"), Throttled, id="request limit"),
        pytest.param(faults.json_error(400, "ThrottlingException"), Throttled, id="throttling"),
        pytest.param(faults.json_error(400, "TransactionConflictException"), Contended, id="conflict"),
        pytest.param(faults.json_error(400, "TransactionInProgressException"), Contended, id="in progress"),
        pytest.param(faults.json_error(500, "InternalServerError"), ServiceFailed, id="500"),
        pytest.param(faults.answering(503, b"<html>"), ServiceFailed, id="503 in HTML"),
        pytest.param(faults.raising(TIMEOUT), ServiceFailed, id="timeout"),
        pytest.param(faults.raising(UNREACHABLE), ServiceFailed, id="unreachable"),
    ],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_outage_is_told_by_its_class(
    faulty: Faulty, call: Callable[[Store], object], fault: faults.Step, failure: type[Retryable]
) -> None:
    with pytest.raises(Retryable) as raised:
        call(faulty(fault))

    assert type(raised.value) is failure


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_request_that_dynamodb_finds_wrong_is_a_bug(
    faulty: Faulty, call: Callable[[Store], object]
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        call(faulty(faults.json_error(400, "ValidationException")))


PASSING = [
    pytest.param(faults.cancelled("None", "TransactionConflict", "None"), Contended, id="conflict"),
    pytest.param(faults.cancelled("TransactionConflict", "None"), Contended, id="conflict on the image row"),
    pytest.param(faults.cancelled("None", "ThrottlingError"), Throttled, id="throttling"),
    pytest.param(faults.cancelled("None", "ProvisionedThroughputExceeded"), Throttled, id="throughput"),
    pytest.param(faults.json_error(400, "TransactionInProgressException"), Contended, id="in progress"),
    pytest.param(faults.json_error(400, "ThrottlingException"), Throttled, id="throttled as a whole"),
]


@pytest.mark.parametrize(("fault", "failure"), PASSING)
def test_a_passing_failure_of_a_transaction_is_sat_out(
    bench: Bench, fault: faults.Step, failure: type[Retryable]
) -> None:
    bench.claim(FOUND, "r1")
    sent = bench.plan(TRANSACT, *[fault] * len(PAUSES))

    committed = bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    assert (committed, len(sent)) == (True, 1 + len(PAUSES))
    assert all(0 <= pause <= most for pause, most in zip(bench.pauses, PAUSES, strict=True))
    assert bench.store.image(KEY, NOW) == IMAGE


@pytest.mark.parametrize(("fault", "failure"), PASSING)
def test_a_failure_that_does_not_pass_is_raised_after_the_last_pause(
    bench: Bench, fault: faults.Step, failure: type[Retryable]
) -> None:
    row = bench.label(FOUND, ANSWER)
    before = bench.rows()
    sent = bench.plan(TRANSACT, *[fault] * 99)

    with pytest.raises(Retryable) as raised:
        bench.store.bury(KEY, "r2", row, NOW)

    assert type(raised.value) is failure
    assert (len(sent), len(bench.pauses)) == (1 + len(PAUSES), len(PAUSES))
    assert bench.rows() == before


def test_a_failed_condition_is_not_sat_out(bench: Bench) -> None:
    sent = bench.plan(TRANSACT, faults.cancelled("ConditionalCheckFailed", "TransactionConflict"))

    assert bench.store.commit(FOUND, "r1", ANSWER, (), NOW) is False
    assert (len(sent), bench.pauses) == (1, [])


@pytest.mark.parametrize("fault", [faults.raising(TIMEOUT), faults.json_error(500, "InternalServerError")])
def test_an_outage_is_not_sat_out_a_second_time(bench: Bench, fault: faults.Step) -> None:
    sent = bench.plan(TRANSACT, fault)

    with pytest.raises(ServiceFailed):
        bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    assert (len(sent), bench.pauses) == (1, [])


@pytest.mark.parametrize("reason", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_a_transaction_that_can_never_pass_is_a_bug(bench: Bench, reason: str) -> None:
    sent = bench.plan(TRANSACT, faults.cancelled("None", reason))

    with pytest.raises(ClientError, match="TransactionCanceledException"):
        bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    assert (len(sent), bench.pauses) == (1, [])


# Image


def test_an_expected_upload_is_an_image_until_it_expires(bench: Bench) -> None:
    bench.store.expect_upload(KEY, Upload("image/png", 5, None, {"by": "Ann"}), LATER, NOW)

    expected = Image(KEY, Status.AWAITING_UPLOAD, content_type="image/png", size=5, metadata={"by": "Ann"})
    assert bench.store.image(KEY, NOW) == expected
    assert bench.store.image(KEY, LATER) is None


def test_what_is_unknown_or_removed_is_no_image(bench: Bench) -> None:
    bench.store.bury("removed.png", "r1", None, NOW)

    assert bench.store.image("unknown.png", NOW) is None
    assert bench.store.image("removed.png", NOW) is None


def test_an_image_is_read_as_of_the_last_write(bench: Bench) -> None:
    sent = bench.plan("dynamodb.GetItem")

    bench.store.image(KEY, NOW)

    assert '"ConsistentRead": true' in text(sent[0])


def test_expired_rows_are_dynamodbs_to_delete(bench: Bench) -> None:
    ttl = bench.client.describe_time_to_live(TableName=bench.table)["TimeToLiveDescription"]

    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


@pytest.mark.parametrize(
    "key", ["a b+c%2F/ü🐶#.png", "k" * 1024, "🐶" * 256, " ", "\n\0", "image", "label#car"], ids=range(7)
)
def test_any_object_key_has_rows_of_its_own(bench: Bench, key: str) -> None:
    bench.label(replace(FOUND, key=key), ANSWER)

    assert bench.store.image(key, NOW) == replace(IMAGE, source_file=key)
    assert [each.summary.source_file for each in bench.store.showing("CAR", 0, (), 20)] == [key]


# Lists


def pages(
    read: Callable[[Position], list[Listed]], size: int, between: Callable[[], object] = lambda: None
) -> list[list[Listed]]:
    """Every page of a list, each begun where the one before ended."""
    found: list[list[Listed]] = []
    after: Position = ()
    while page := read(after)[:size]:
        assert page[-1].position != after
        found.append(page)
        after = page[-1].position
        between()
    return found


def names(listed: Any) -> list[str]:
    return [each.summary.source_file for each in listed]


def put(bench: Bench, key: str, *labels: Label, now: datetime = NOW) -> None:
    bench.label(replace(FOUND, key=key), labelled(*labels), now)


def test_the_images_with_a_label_are_listed_most_confident_first(bench: Bench) -> None:
    put(bench, "a.png", Label("Car", 60.0), Label("Dog", 99.0))
    put(bench, "b.png", Label("CAR", 99.5))
    put(bench, "c.png", Label("Dog", 70.0))
    put(bench, "d.png", Label("Car", 100.0))

    listed = list(bench.store.showing("cAr", 0, (), 20))

    assert [(float(each.position[0]), *each.position[1:]) for each in listed] == [
        (100.0, "d.png"),
        (99.5, "b.png"),
        (60.0, "a.png"),
    ]
    assert [each.summary for each in listed] == [
        Summary(key, Status.LABELLED, None, "2026-01-02T03:04:05Z", top)
        for key, top in [
            ("d.png", (TopLabel("Car", 100.0),)),
            ("b.png", (TopLabel("CAR", 99.5),)),
            ("a.png", (TopLabel("Dog", 99.0), TopLabel("Car", 60.0))),
        ]
    ]


@pytest.mark.parametrize(
    ("least", "found"),
    [(0, 3), (60, 3), (60.1, 2), (1e-320, 3), (100, 1)],
)
def test_the_reader_chooses_the_least_confidence(bench: Bench, least: float, found: int) -> None:
    for key, confidence in [("a.png", 60.0), ("b.png", 80.0), ("c.png", 100.0)]:
        put(bench, key, Label("Car", confidence))

    assert len(list(bench.store.showing("car", least, (), 20))) == found


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pages_miss_and_repeat_no_image_of_equal_confidence(bench: Bench, size: int) -> None:
    keys = [f"{n}.png" for n in range(7)]
    for key in keys:
        put(bench, key, Label("Car", 100 / 3))

    found = pages(lambda after: list(islice(bench.store.showing("car", 0, after, size + 1), size + 1)), size)

    assert [len(page) for page in found] == [size] * (7 // size) + [7 % size] * (7 % size > 0)
    assert sorted(name for page in found for name in names(page)) == keys


def test_a_page_goes_on_where_an_image_was_that_is_removed_meanwhile(bench: Bench) -> None:
    for n in range(4):
        put(bench, f"{n}.png", Label("Car", 90.0 - n))

    first = next(iter(bench.store.showing("car", 0, (), 1)))
    bench.store.bury("0.png", "r9", bench.row("0.png"), NOW)

    assert names(bench.store.showing("car", 0, first.position, 20)) == ["1.png", "2.png", "3.png"]


def test_a_label_that_vanished_lists_the_image_no_more(bench: Bench) -> None:
    put(bench, "a.png", Label("Car", 60.0), Label("Dog", 99.0))

    put(bench, "a.png", Label("Dog", 99.0))

    assert names(bench.store.showing("car", 0, (), 20)) == []
    assert names(bench.store.showing("dog", 0, (), 20)) == ["a.png"]


def test_images_are_listed_newest_first_over_all_statuses(bench: Bench) -> None:
    moments = [NOW + timedelta(seconds=n) for n in range(5)]
    put(bench, "0.png", WHEEL, now=moments[0])
    bench.label(replace(FOUND, key="1.png"), Answer(Status.FAILED, "unreadable", None), moments[1])
    put(bench, "2.png", CAR, now=moments[2])
    bench.store.expect_upload("3.png", Upload(), LATER, moments[3])
    bench.store.claim(replace(FOUND, key="4.png"), "r1", None, moments[4], 70)
    bench.store.bury("5.png", "r1", None, NOW)

    listed = list(bench.store.newest(VISIBLE, (), 20, NOW))

    assert [each.summary for each in listed] == [
        Summary("4.png", Status.PROCESSING, None, None, ()),
        Summary("3.png", Status.AWAITING_UPLOAD, None, None, ()),
        Summary("2.png", Status.LABELLED, None, "2026-01-02T03:04:07Z", (TopLabel("Car", 98.71),)),
        Summary("1.png", Status.FAILED, "unreadable", None, ()),
        Summary("0.png", Status.LABELLED, None, "2026-01-02T03:04:05Z", (TopLabel("Wheel", 77.0),)),
    ]
    assert names(bench.store.newest([Status.LABELLED], (), 20, NOW)) == ["2.png", "0.png"]


@pytest.mark.parametrize("size", [1, 3])
def test_pages_of_the_newest_miss_and_repeat_nothing_of_the_same_moment(bench: Bench, size: int) -> None:
    for n in range(4):
        put(bench, f"{n}.png", WHEEL)
        bench.store.expect_upload(f"expected {n}.png", Upload(), LATER, NOW)

    found = pages(lambda after: list(islice(bench.store.newest(VISIBLE, after, size + 1, NOW), size)), size)

    listed = [name for page in found for name in names(page)]
    assert sorted(listed) == sorted(
        [*(f"{n}.png" for n in range(4)), *(f"expected {n}.png" for n in range(4))]
    )


def test_what_changes_while_it_is_paged_hides_nothing_else(bench: Bench) -> None:
    for n in range(4):
        put(bench, f"{n}.png", WHEEL, now=NOW + timedelta(seconds=n))

    def touch() -> None:
        put(bench, "3.png", CAR, now=LATER)

    found = pages(lambda after: list(bench.store.newest([Status.LABELLED], after, 2, NOW)), 1, between=touch)

    assert [name for page in found for name in names(page)] == ["3.png", "2.png", "1.png", "0.png"]


def test_an_expired_upload_is_not_listed(bench: Bench) -> None:
    bench.store.expect_upload("expired.png", Upload(), NOW, NOW - timedelta(hours=2))
    bench.store.expect_upload("expected.png", Upload(), NOW + timedelta(seconds=1), NOW)

    assert names(bench.store.newest([Status.AWAITING_UPLOAD], (), 20, NOW)) == ["expected.png"]


def test_many_expired_uploads_hide_no_later_page(bench: Bench) -> None:
    for n in range(5):
        bench.store.expect_upload(f"{n}.png", Upload(), NOW, NOW)
    bench.store.expect_upload("expected.png", Upload(), LATER, NOW - timedelta(hours=1))

    assert names(bench.store.newest([Status.AWAITING_UPLOAD], (), 2, NOW)) == ["expected.png"]


def test_a_list_is_queries_of_an_index_and_never_a_scan(bench: Bench) -> None:
    put(bench, "a.png", CAR)
    sent = bench.plan("dynamodb")

    list(bench.store.newest(VISIBLE, (), 20, NOW))
    list(bench.store.showing("car", 50, (), 20))

    assert set(faults.operations(sent)) == {"Query"}
    assert len(sent) == len(VISIBLE) + 1
    assert all('"IndexName"' in text(request) for request in sent)


def test_a_list_is_read_no_further_than_it_is_asked_for(bench: Bench) -> None:
    for n in range(6):
        put(bench, f"{n}.png", CAR)
    sent = bench.plan("dynamodb.Query")

    first = list(islice(bench.store.showing("car", 0, (), 2), 2))

    assert (len(first), len(sent)) == (2, 1)
    assert '"Limit": 2' in text(sent[0])


def test_an_image_takes_one_claim_and_one_transaction(bench: Bench) -> None:
    sent = bench.plan("dynamodb")

    bench.claim(FOUND, "r1")
    bench.store.commit(FOUND, "r1", ANSWER, (), NOW)

    assert list(faults.operations(sent)) == ["UpdateItem", "TransactWriteItems"]


# Another answer is wanted


def test_a_row_that_is_to_be_labelled_again_answers_for_nothing_and_shows_what_it_showed(
    bench: Bench,
) -> None:
    bench.label(FOUND, ANSWER)

    asked = bench.store.ask_again(KEY, "t1")

    assert asked is True
    assert bench.row(KEY).relabel == "t1"
    assert not bench.row(KEY).answers("v1")
    assert bench.store.image(KEY, NOW) == IMAGE


def test_whoever_claims_it_then_fulfils_the_wish(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    bench.store.ask_again(KEY, "t1")

    row = bench.label(FOUND, ANSWER)

    assert (row.is_wanted_anew, row.answers("v1")) == (False, True)


def test_whoever_had_claimed_it_before_does_not(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    bench.store.ask_again(KEY, "t1")
    before = bench.row(KEY)
    bench.claim(FOUND, "r2", before)
    bench.store.ask_again(KEY, "t2")

    bench.store.commit(FOUND, "r2", ANSWER, (), NOW, wish=before.relabel)

    assert (bench.row(KEY).is_wanted_anew, bench.row(KEY).answers("v1")) == (True, False)


def test_a_wish_outlives_all_that_ends_without_an_answer(bench: Bench) -> None:
    before = bench.label(FOUND, ANSWER)
    bench.store.ask_again(KEY, "t1")

    bench.claim(FOUND, "r2", before)
    crashed = bench.row(KEY)
    bench.store.release(KEY, "r2", before, KEPT, NOW)
    released = bench.row(KEY)

    assert (crashed.is_wanted_anew, released.is_wanted_anew) == (True, True)


def test_a_later_commit_leaves_a_wish_that_came_true_as_it_is(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    bench.store.ask_again(KEY, "t1")
    before = bench.label(FOUND, ANSWER)
    bench.claim(NEWER, "r3", before)

    bench.store.commit(NEWER, "r3", ANSWER, (), NOW)

    assert bench.row(KEY).answers("v2")


def test_a_wish_is_for_answers_from_after_it(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)
    bench.store.release(KEY, "r1", UNCLAIMED, KEPT, NOW)

    bench.store.ask_again(KEY, "t1")

    assert bench.row(KEY).partial is None


def test_nothing_can_be_labelled_again_where_there_is_nothing(bench: Bench) -> None:
    bench.store.expect_upload("expected.png", Upload(), LATER, NOW)
    bench.store.bury("removed.png", "r1", None, NOW)
    keys = ("unknown.png", "expected.png", "removed.png")

    asked = [bench.store.ask_again(key, "t1") for key in keys]

    assert asked == [False] * 3
    assert [bench.row(key).relabel for key in keys] == [None] * 3
    assert bench.rows("unknown.png") == {}


def test_a_wish_whose_answer_is_lost_is_made_all_the_same(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    patient = Store(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, UPDATE, faults.lose_answer)

    assert patient.ask_again(KEY, "t1") is True
    assert len(sent) == 2


# Fence


def test_a_fence_makes_who_read_the_row_before_look_again(bench: Bench) -> None:
    read = bench.label(FOUND, ANSWER)

    fenced = bench.store.fence(KEY, "f1", read)

    assert fenced == Attempt(True, read)
    assert not bench.store.bury(KEY, "r2", read, NOW).won
    assert not bench.claim(NEWER, "r2", read).won
    assert bench.claim(NEWER, "r2", bench.row(KEY)).won


def test_a_fence_on_a_row_that_changed_meanwhile_is_lost(bench: Bench) -> None:
    past = bench.label(FOUND, ANSWER)
    bench.claim(NEWER, "r2", past)

    fenced = bench.store.fence(KEY, "f1", past)

    assert fenced == Attempt(False, bench.row(KEY))


def test_a_fence_whose_answer_is_lost_is_recognised_as_ours(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)
    patient = Store(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, UPDATE, faults.lose_answer)

    fenced = patient.fence(KEY, "f1", row)

    assert (fenced.won, len(sent)) == (True, 2)


def test_an_update_in_conflict_with_a_transaction_is_sat_out(bench: Bench) -> None:
    sent = bench.plan(UPDATE, *[faults.json_error(400, "TransactionConflictException")] * len(PAUSES))

    assert bench.claim(FOUND, "r1").won
    assert (len(sent), len(bench.pauses)) == (1 + len(PAUSES), len(PAUSES))


def test_a_claim_takes_away_the_reason_of_an_earlier_failure(bench: Bench) -> None:
    row = bench.label(FOUND, Answer(Status.FAILED, "too_small"))

    bench.claim(NEWER, "r2", row)

    image = bench.store.image(KEY, NOW)
    assert image is not None
    assert (image.status, image.reason) == ("processing", None)
