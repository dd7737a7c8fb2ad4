import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import items, rows
from chalicelib.errors import Retryable, Throttled
from chalicelib.model import (
    VISIBLE,
    Answer,
    Image,
    Label,
    Status,
    Summary,
    TopLabel,
    Upload,
)
from chalicelib.settings import Settings
from chalicelib.store import Listed, Position, Recorded, Store
from tests import faults
from tests.image_rows import (
    ANSWER,
    CAR,
    FOUND,
    IMAGE,
    KEY,
    LATER,
    NOW,
    OUTAGES,
    WHEEL,
    Bench,
    Faulty,
    faulty_client,
    labelled,
    text,
)


@pytest.fixture
def bench(settings: Settings) -> Bench:
    return Bench.on(settings)


@pytest.fixture(scope="module")
def faulty(endpoint: object) -> Faulty:
    return faulty_client()


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
    rest = {bench.table: {"Keys": [items.marshal(rows.image_key(KEY))]}}
    some = json.dumps({"Responses": {bench.table: []}, "UnprocessedKeys": rest}).encode()
    sent = bench.plan("dynamodb.BatchGetItem", faults.answering(200, some))

    recorded = bench.store.recorded([KEY, "nobody's"])

    assert list(recorded) == [KEY]
    assert len(sent) == 2


def test_a_batch_of_which_nothing_was_read_is_throttled(bench: Bench) -> None:
    rest = {bench.table: {"Keys": [items.marshal(rows.image_key(KEY))]}}
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


# Image


def test_an_expected_upload_is_an_image_until_it_expires(bench: Bench) -> None:
    bench.store.expect_upload(KEY, Upload("image/png", 5, None, {"by": "Ann"}), LATER, NOW)

    expected = Image(KEY, Status.AWAITING_UPLOAD, content_type="image/png", size=5, metadata={"by": "Ann"})
    assert bench.store.image(KEY, NOW) == expected
    assert bench.store.image(KEY, LATER) is None


def test_what_is_unknown_or_removed_is_no_image(bench: Bench) -> None:
    bench.claims.bury("removed.png", "r1", None, NOW)

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
    bench.claims.bury("0.png", "r9", bench.row("0.png"), NOW)

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
    bench.claims.claim(replace(FOUND, key="4.png"), "r1", None, moments[4], 70)
    bench.claims.bury("5.png", "r1", None, NOW)

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


def test_a_list_reads_one_page_of_uploads_that_nobody_made(bench: Bench) -> None:
    for n in range(12):
        bench.store.expect_upload(f"{n}.png", Upload(), NOW - timedelta(hours=1), NOW - timedelta(hours=3))
    bench.store.expect_upload("expected.png", Upload(), LATER, NOW - timedelta(minutes=70))
    sent = bench.plan("dynamodb.Query")

    assert names(bench.store.newest([Status.AWAITING_UPLOAD], (), 2, NOW)) == ["expected.png"]
    assert len(sent) == 1


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


# Faults

CALLS: dict[str, Callable[[Store], object]] = {
    "expect_upload": lambda store: store.expect_upload(KEY, Upload(), LATER, NOW),
    "recorded": lambda store: store.recorded([KEY]),
    "standing": lambda store: store.standing(Status.LABELLED, "", 10),
    "unchanged_since": lambda store: store.unchanged_since(Status.LABELLED, NOW, 10),
    "image": lambda store: store.image(KEY, NOW),
    "newest": lambda store: list(store.newest(VISIBLE, (), 20, NOW)),
    "showing": lambda store: list(store.showing("car", 0, (), 20)),
}


def test_every_method_is_put_to_the_test() -> None:
    assert {*CALLS} == {name for name in vars(Store) if not name.startswith("_")}


@pytest.mark.parametrize(("fault", "failure"), OUTAGES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_outage_is_told_by_its_class(
    faulty: Faulty, call: Callable[[Store], object], fault: faults.Step, failure: type[Retryable]
) -> None:
    with pytest.raises(Retryable) as raised:
        call(Store(faulty(fault), "images"))

    assert type(raised.value) is failure


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_request_that_dynamodb_finds_wrong_is_a_bug(
    faulty: Faulty, call: Callable[[Store], object]
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        call(Store(faulty(faults.json_error(400, "ValidationException")), "images"))
