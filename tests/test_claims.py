from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib import items, rows
from chalicelib.claim import UNCLAIMED, Claim, Partial, Secluded
from chalicelib.claims import Attempt, Claims
from chalicelib.dynamodb import PAUSES
from chalicelib.errors import Contended, Retryable, ServiceFailed, Throttled
from chalicelib.model import (
    Answer,
    Image,
    Label,
    Moderation,
    Status,
    Upload,
)
from chalicelib.settings import MAX_LABELS, Settings
from tests import faults
from tests.image_rows import (
    ANSWER,
    FINDINGS,
    FOUND,
    IMAGE,
    KEPT,
    KEY,
    LATER,
    LATER_STILL,
    LEASE,
    NEWER,
    NOTHING,
    NOW,
    OUTAGES,
    TIMEOUT,
    TRANSACT,
    UPDATE,
    WHEEL,
    Bench,
    Faulty,
    faulty_client,
    labelled,
    numbered,
    text,
)
from tests.test_rows import largest_answer


@pytest.fixture
def bench(settings: Settings) -> Bench:
    return Bench.on(settings)


@pytest.fixture(scope="module")
def faulty(endpoint: object) -> Faulty:
    return faulty_client()


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
            "lease_until": items.unmarshal(items.marshal({"at": LEASE}))["at"],
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
    bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

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
    patient = Claims(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, UPDATE, faults.lose_answer)

    attempt = patient.claim(NEWER, "r2", row, NOW, 70)

    now = replace(row or UNCLAIMED, run="r2", version="v2", lease_until=LEASE)
    assert attempt == Attempt(True, now)
    assert len(sent) == 2


# Release


def test_a_release_ends_our_lease(bench: Bench) -> None:
    bench.claim(FOUND, "r1")

    bench.claims.leave(KEY, "r1", UNCLAIMED, NOTHING, NOW)

    assert bench.row(KEY) == Claim("r1", None, "v1", 0, ())
    assert not bench.row(KEY).is_held("v1", NOW.timestamp())


def test_a_release_leaves_another_run_its_lease(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claim(NEWER, "r2", bench.row(KEY))

    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)

    assert bench.row(KEY) == Claim("r2", None, "v2", LEASE, ())


def test_a_release_of_a_row_that_is_gone_makes_none(bench: Bench) -> None:
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)

    assert bench.rows() == {}


def test_a_release_keeps_what_need_not_be_asked_again_beside_the_answer_that_stands(bench: Bench) -> None:
    before = bench.label(FOUND, ANSWER)
    bench.claim(FOUND, "r2", before)

    bench.claims.leave(KEY, "r2", before, KEPT, NOW)

    assert bench.row(KEY) == Claim("r2", before.run, "v1", 0, ("car", "wheel"), partial=KEPT, labelled="v1")
    assert bench.store.image(KEY, NOW) == replace(IMAGE, status=Status.QUEUED)


def test_a_claim_takes_over_what_need_not_be_asked_again(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)

    attempt = bench.claim(FOUND, "r2", bench.row(KEY))

    assert (attempt.won, attempt.row.partial, bench.row(KEY).partial) == (True, KEPT, KEPT)


def test_a_release_that_knows_nothing_leaves_nothing_of_the_one_before(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)
    bench.claim(NEWER, "r2", bench.row(KEY))

    bench.claims.leave(KEY, "r2", UNCLAIMED, NOTHING, NOW)

    assert bench.row(KEY).partial is None


def test_a_commit_leaves_nothing_of_what_was_kept_for_it(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)

    row = bench.label(FOUND, ANSWER)

    assert row.partial is None


def test_a_removal_leaves_nothing_of_what_was_kept(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)

    bench.claims.bury(KEY, "r2", bench.row(KEY), NOW)

    assert "partial" not in bench.rows()["image"]


def test_a_release_after_a_commit_that_nobody_heard_of_leaves_it_as_it_is(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.plan(TRANSACT, faults.lose_answer)
    with pytest.raises(ServiceFailed):
        bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

    bench.claims.leave(KEY, "r1", UNCLAIMED, Partial("v1", "today's", FINDINGS), NOW)

    assert bench.row(KEY) == Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1")
    assert bench.store.image(KEY, NOW) == IMAGE


def test_a_last_try_that_committed_without_hearing_of_it_has_not_failed(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.plan(TRANSACT, faults.lose_answer)
    with pytest.raises(ServiceFailed):
        bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

    bench.claims.exhaust(FOUND, "r1", UNCLAIMED, Partial("v1", "today's", FINDINGS), NOW)

    assert bench.row(KEY) == Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1")
    assert bench.store.image(KEY, NOW) == IMAGE
    assert set(bench.rows()) == {"image", "label#car", "label#wheel"}


def test_the_largest_answer_has_room_beside_it_for_another(bench: Bench) -> None:
    answer = largest_answer()
    before = bench.label(FOUND, answer)
    bench.claim(NEWER, "r2", before)

    bench.claims.leave(KEY, "r2", before, Partial("v2", "today's", answer.findings), NOW)

    assert bench.row(KEY).partial == Partial("v2", "today's", answer.findings)


# Commit


def test_a_commit_writes_the_answer_and_a_row_for_each_label(bench: Bench) -> None:
    bench.claim(FOUND, "r1")

    committed = bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won

    fields = items.unmarshal(items.marshal(rows.answer_fields(FOUND, "r1", ANSWER, NOW)))
    label_rows = [items.unmarshal(items.marshal(row)) for row in rows.label_rows(FOUND, ANSWER, NOW)]
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

    committed = bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won

    assert committed is False
    assert bench.rows() == before


def test_a_commit_on_a_row_that_is_gone_writes_nothing(bench: Bench) -> None:
    assert not bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won
    assert bench.rows() == {}


def test_a_commit_whose_answer_is_lost_is_ours_even_when_another_claimed_since(bench: Bench) -> None:
    bench.claim(FOUND, "r1")

    def applied_but_throttled(request: Any) -> Any:
        faults.send(request)
        bench.claim(NEWER, "r2", bench.row(KEY))
        return faults.json_error(400, "ThrottlingException")(request)

    sent = bench.plan(TRANSACT, applied_but_throttled)

    committed = bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won

    assert (committed, len(sent)) == (True, 2)
    assert bench.row(KEY) == Claim("r2", "r1", "v2", LEASE, ("car", "wheel"), labelled="v1")


def test_a_commit_whose_answer_is_lost_is_repeated_under_the_same_token(bench: Bench) -> None:
    patient = Claims(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, TRANSACT, faults.lose_answer)
    bench.claim(FOUND, "r1")

    committed = patient.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won

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


def test_an_image_takes_one_claim_and_one_transaction(bench: Bench) -> None:
    sent = bench.plan("dynamodb")

    bench.claim(FOUND, "r1")
    bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

    assert list(faults.operations(sent)) == ["UpdateItem", "TransactWriteItems"]


# Bury


def test_a_removal_leaves_a_tombstone_and_no_label(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)

    attempt = bench.claims.bury(KEY, "r2", row, NOW)

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
    attempt = bench.claims.bury(KEY, "r1", None, NOW)

    assert attempt == Attempt(True, UNCLAIMED)
    assert bench.row(KEY).answers(None)


def test_a_removal_that_did_not_see_the_claim_is_lost(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)
    before = bench.rows()

    attempt = bench.claims.bury(KEY, "r2", None, NOW)

    assert attempt == Attempt(False, row)
    assert bench.rows() == before


def test_a_removal_on_a_run_that_is_past_is_lost(bench: Bench) -> None:
    past = bench.label(FOUND, ANSWER)
    current = bench.label(NEWER, ANSWER)

    attempt = bench.claims.bury(KEY, "r3", past, NOW)

    assert attempt == Attempt(False, current)
    assert set(bench.rows()) == {"image", "label#car", "label#wheel"}


def test_a_removal_of_a_row_that_was_committed_meanwhile_leaves_its_labels(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    read = bench.row(KEY)
    bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

    attempt = bench.claims.bury(KEY, "r2", read, NOW)

    assert attempt == Attempt(False, Claim("r1", "r1", "v1", 0, ("car", "wheel"), labelled="v1"))
    assert set(bench.rows()) == {"image", "label#car", "label#wheel"}


def test_a_removal_with_as_many_labels_as_there_may_be(bench: Bench) -> None:
    row = bench.label(FOUND, labelled(*numbered(0, MAX_LABELS)))

    bench.claims.bury(KEY, "r2", row, NOW)

    assert set(bench.rows()) == {"image"}


def test_a_removal_whose_answer_is_lost_is_recognised_as_ours(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)

    def applied_but_throttled(request: Any) -> Any:
        faults.send(request)
        return faults.json_error(400, "ThrottlingException")(request)

    bench.plan(TRANSACT, applied_but_throttled)

    attempt = bench.claims.bury(KEY, "r2", row, NOW)

    assert attempt == Attempt(True, Claim("r2", "r2", None, 0, ()))
    assert set(bench.rows()) == {"image"}


def test_what_comes_back_is_claimed_on_its_tombstone_which_then_stays(bench: Bench) -> None:
    bench.claims.bury(KEY, "r1", None, NOW)

    attempt = bench.claim(FOUND, "r2", bench.row(KEY))

    assert attempt == Attempt(True, Claim("r1", "r1", None, 0, ()))
    assert "expires_at" not in bench.rows()["image"]


# Another answer is wanted


def test_a_row_that_is_to_be_labelled_again_answers_for_nothing_and_shows_what_it_showed(
    bench: Bench,
) -> None:
    bench.label(FOUND, ANSWER)

    asked = bench.claims.ask_again(KEY, "t1", NOW)

    assert asked is True
    assert bench.row(KEY).relabel == "t1"
    assert not bench.row(KEY).answers("v1")
    assert bench.store.image(KEY, NOW) == replace(IMAGE, status=Status.QUEUED)


def test_whoever_claims_it_then_fulfils_the_wish(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    bench.claims.ask_again(KEY, "t1", NOW)

    row = bench.label(FOUND, ANSWER)

    assert (row.is_wanted_anew, row.answers("v1")) == (False, True)


def test_whoever_had_claimed_it_before_does_not(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    bench.claims.ask_again(KEY, "t1", NOW)
    before = bench.row(KEY)
    bench.claim(FOUND, "r2", before)
    bench.claims.ask_again(KEY, "t2", NOW)

    bench.claims.commit(FOUND, "r2", ANSWER, before, NOW)

    assert (bench.row(KEY).is_wanted_anew, bench.row(KEY).answers("v1")) == (True, False)


def test_a_wish_outlives_all_that_ends_without_an_answer(bench: Bench) -> None:
    before = bench.label(FOUND, ANSWER)
    bench.claims.ask_again(KEY, "t1", NOW)

    bench.claim(FOUND, "r2", before)
    crashed = bench.row(KEY)
    bench.claims.leave(KEY, "r2", before, KEPT, NOW)
    released = bench.row(KEY)

    assert (crashed.is_wanted_anew, released.is_wanted_anew) == (True, True)


def test_a_later_commit_leaves_a_wish_that_came_true_as_it_is(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    bench.claims.ask_again(KEY, "t1", NOW)
    before = bench.label(FOUND, ANSWER)
    bench.claim(NEWER, "r3", before)

    bench.claims.commit(NEWER, "r3", ANSWER, UNCLAIMED, NOW)

    assert bench.row(KEY).answers("v2")


def test_a_wish_is_for_answers_from_after_it(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)
    bench.claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW)

    bench.claims.ask_again(KEY, "t1", NOW)

    assert bench.row(KEY).partial is None


def test_nothing_can_be_labelled_again_where_there_is_nothing(bench: Bench) -> None:
    bench.store.expect_upload("expected.png", Upload(), LATER, NOW)
    bench.claims.bury("removed.png", "r1", None, NOW)
    keys = ("unknown.png", "expected.png", "removed.png")

    asked = [bench.claims.ask_again(key, "t1", NOW) for key in keys]

    assert asked == [False] * 3
    assert [bench.row(key).relabel for key in keys] == [None] * 3
    assert bench.rows("unknown.png") == {}


def test_a_wish_whose_answer_is_lost_is_made_all_the_same(bench: Bench) -> None:
    bench.label(FOUND, ANSWER)
    patient = Claims(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
    sent = faults.plan(patient._client.meta.events, UPDATE, faults.lose_answer)

    assert patient.ask_again(KEY, "t1", NOW) is True
    assert len(sent) == 2


# Fence


def test_a_fence_makes_who_read_the_row_before_look_again(bench: Bench) -> None:
    read = bench.label(FOUND, ANSWER)

    fenced = bench.claims.fence(KEY, "f1", read)

    assert fenced == Attempt(True, read)
    assert not bench.claims.bury(KEY, "r2", read, NOW).won
    assert not bench.claim(NEWER, "r2", read).won
    assert bench.claim(NEWER, "r2", bench.row(KEY)).won


def test_a_fence_on_a_row_that_changed_meanwhile_is_lost(bench: Bench) -> None:
    past = bench.label(FOUND, ANSWER)
    bench.claim(NEWER, "r2", past)

    fenced = bench.claims.fence(KEY, "f1", past)

    assert fenced == Attempt(False, bench.row(KEY))


def test_a_fence_whose_answer_is_lost_is_recognised_as_ours(bench: Bench) -> None:
    row = bench.label(FOUND, ANSWER)
    patient = Claims(boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2})), bench.table)
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


# Touch


def test_a_touched_image_stands_at_the_end_of_its_new_list(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    [row] = bench.store.unchanged_since(Status.PROCESSING, LATER, 10)

    bench.claims.touch(row.source_file, row.updated_at, Status.QUEUED, LATER)

    assert bench.store.unchanged_since(Status.PROCESSING, LATER + LATER_STILL, 10) == []
    [moved] = bench.store.unchanged_since(Status.QUEUED, LATER + LATER_STILL, 10)
    assert (moved.source_file, moved.updated_at > row.updated_at) == (KEY, True)
    assert bench.row(KEY).run == "r1"


def test_an_image_that_has_changed_is_not_touched(bench: Bench) -> None:
    bench.claim(FOUND, "r1")
    [row] = bench.store.unchanged_since(Status.PROCESSING, LATER, 10)
    bench.label(FOUND, ANSWER, LATER)
    before = bench.rows()

    bench.claims.touch(row.source_file, row.updated_at, Status.QUEUED, LATER + LATER_STILL)

    assert bench.rows() == before


# Faults

SECLUDED = Secluded("v1", "v1", "e1", "place", Moderation(flagged=True))
CALLS: dict[str, Callable[[Claims], object]] = {
    "claim": lambda claims: claims.claim(FOUND, "r1", None, NOW, 70),
    "resume": lambda claims: claims.resume(KEY, "r1", UNCLAIMED, NOW, 70),
    "fence": lambda claims: claims.fence(KEY, "f1", UNCLAIMED),
    "leave": lambda claims: claims.leave(KEY, "r1", UNCLAIMED, KEPT, NOW),
    "commit": lambda claims: claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW),
    "exhaust": lambda claims: claims.exhaust(FOUND, "r1", UNCLAIMED, KEPT, NOW),
    "seclude": lambda claims: claims.seclude(FOUND, "r1", SECLUDED, KEPT, UNCLAIMED, NOW, 70),
    "conclude": lambda claims: claims.conclude(KEY, "r1", NOW),
    "let_go": lambda claims: claims.let_go(KEY, "r1"),
    "bury": lambda claims: claims.bury(KEY, "r1", None, NOW),
    "ask_again": lambda claims: claims.ask_again(KEY, "t1", NOW),
    "ask_for_release": lambda claims: claims.ask_for_release(KEY, "n1", NOW),
    "ask_for_purge": lambda claims: claims.ask_for_purge(KEY, "t1", NOW),
    "touch": lambda claims: claims.touch(KEY, "then", Status.QUEUED, NOW),
}


def test_every_method_is_put_to_the_test() -> None:
    assert {*CALLS} == {name for name in vars(Claims) if not name.startswith("_")}


@pytest.mark.parametrize(("fault", "failure"), OUTAGES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_outage_is_told_by_its_class(
    faulty: Faulty, call: Callable[[Claims], object], fault: faults.Step, failure: type[Retryable]
) -> None:
    with pytest.raises(Retryable) as raised:
        call(Claims(faulty(fault), "images", lambda _: None))

    assert type(raised.value) is failure


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_request_that_dynamodb_finds_wrong_is_a_bug(
    faulty: Faulty, call: Callable[[Claims], object]
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        call(Claims(faulty(faults.json_error(400, "ValidationException")), "images"))


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

    committed = bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won

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
        bench.claims.bury(KEY, "r2", row, NOW)

    assert type(raised.value) is failure
    assert (len(sent), len(bench.pauses)) == (1 + len(PAUSES), len(PAUSES))
    assert bench.rows() == before


def test_a_failed_condition_is_not_sat_out(bench: Bench) -> None:
    sent = bench.plan(TRANSACT, faults.cancelled("ConditionalCheckFailed", "TransactionConflict"))

    assert not bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW).won
    assert (len(sent), bench.pauses) == (1, [])


@pytest.mark.parametrize("fault", [faults.raising(TIMEOUT), faults.json_error(500, "InternalServerError")])
def test_an_outage_is_not_sat_out_a_second_time(bench: Bench, fault: faults.Step) -> None:
    sent = bench.plan(TRANSACT, fault)

    with pytest.raises(ServiceFailed):
        bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

    assert (len(sent), bench.pauses) == (1, [])


@pytest.mark.parametrize("reason", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_a_transaction_that_can_never_pass_is_a_bug(bench: Bench, reason: str) -> None:
    sent = bench.plan(TRANSACT, faults.cancelled("None", reason))

    with pytest.raises(ClientError, match="TransactionCanceledException"):
        bench.claims.commit(FOUND, "r1", ANSWER, UNCLAIMED, NOW)

    assert (len(sent), bench.pauses) == (1, [])
