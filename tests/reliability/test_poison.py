"""What functions die of is known before long: a picture costs no more then, and a record of the stream delays
its neighbours by minutes."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from math import ceil, log2
from typing import Any

import pytest

from chalicelib import items, rows
from chalicelib.claims import Claims
from chalicelib.deaths import MEMORY, MOST
from chalicelib.dispatching import Dispatching
from chalicelib.errors import ServiceFailed
from chalicelib.indexing import Indexing
from tests.crash_points import Crash
from tests.reliability.stage import Stage

PICTURE = "a b.png"
KEYS = [f"{number:02}.png" for number in range(100)]  # a batch
SPLITS = ceil(log2(len(KEYS)))
YOUNG = 6  # tries in the half minute for which nobody suspects a record
A_WHILE = timedelta(minutes=10)

Handler = tuple[type, str]
HANDLERS = {"notify": (Dispatching, "announce"), "index_image": (Indexing, "index")}


def at(poison: str, fail: Callable[[], object], handled: list[str]) -> Callable[..., None]:
    """What a handler does that fails at one record."""

    def handle(_: Any, before: items.Row | None, after: items.Row) -> None:
        handled.append(after["source_file"])
        if after["source_file"] == poison:
            fail()

    return handle


def die() -> None:
    raise Crash


def meet_an_outage() -> None:
    raise ServiceFailed("no answer")


def stumble() -> None:
    raise KeyError("status")


def write(stage: Stage, *keys: str) -> None:
    for key in keys:
        row = {**rows.image_key(key), "status": "queued"}
        stage.services.dynamodb.put_item(
            TableName=stage.services.settings.images_table, Item=items.marshal(row)
        )


def wait(stage: Stage, time: timedelta) -> None:
    """Each function is tried whenever it is due."""
    end = stage.clock.now() + time
    stage.pump.drain()
    while (due := stage.pump.next_due()) and due <= end:
        stage.clock.move_to(max(due, stage.clock.now() + timedelta(milliseconds=1)))
        stage.pump.drain()
    stage.clock.move_to(end)


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
@pytest.mark.parametrize("place", [0, 49, 99], ids=["first", "amid", "last"])
@pytest.mark.parametrize(
    ("fail", "most"), [(stumble, 1), (die, 1 + SPLITS + YOUNG + MOST)], ids=["raises", "dies"]
)
def test_a_poisoned_record_is_put_aside_and_its_neighbours_get_their_turn(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    handler: Handler,
    place: int,
    fail: Callable[[], object],
    most: int,
) -> None:
    poison, handled = KEYS[place], list[str]()
    stage.begin(0)
    monkeypatch.setattr(*handler, at(poison, fail, handled))

    write(stage, *KEYS)
    wait(stage, A_WHILE)

    assert list(dict.fromkeys(handled)) == KEYS
    assert handled.count(poison) <= most
    [aside] = map(json.loads, stage.stream_dead_letters())
    assert items.unmarshal(aside["NewImage"]) == {**rows.image_key(poison), "status": "queued"}
    assert stage.pump.failed_events == []


@pytest.mark.thorough
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
def test_an_outage_of_hours_is_no_poison(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, handler: Handler
) -> None:
    handled: list[str] = []
    stage.begin(0)
    monkeypatch.setattr(*handler, at(KEYS[0], meet_an_outage, handled))
    write(stage, KEYS[0])
    wait(stage, timedelta(hours=5))
    assert set(handled) == {KEYS[0]}
    monkeypatch.setattr(*handler, at("none", meet_an_outage, handled := []))

    wait(stage, A_WHILE)

    assert handled == [KEYS[0]]
    assert (stage.stream_dead_letters(), stage.pump.failed_events) == ([], [])


@pytest.fixture
def deadly(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Whoever is about to commit an answer dies, until that is undone."""
    stage.begin(0)
    with monkeypatch.context() as patch:
        patch.setattr(Claims, "commit", lambda *_, **__: die())
        yield patch


def live(stage: Stage, hours: int) -> None:
    for _ in range(60 * hours):
        stage.post.deliver_all()
        stage.pass_time(timedelta(minutes=1))


def test_a_picture_that_functions_die_of_is_not_paid_for_for_ever(
    stage: Stage, deadly: pytest.MonkeyPatch
) -> None:
    stage.upload(PICTURE, "Dog")

    live(stage, hours=6)
    most = stage.rekognition.calls.copy()
    live(stage, hours=6)

    assert set(most.values()) <= set(range(2, MOST + 4))
    assert stage.rekognition.calls == most
    assert stage.said()[PICTURE][1] == "failed exhausted"
    assert stage.dead_keys == {PICTURE}


@pytest.mark.thorough
def test_a_picture_that_functions_die_of_keeps_its_answer_and_costs_no_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.begin(0)
    stage.upload(PICTURE, "Dog")
    live(stage, hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(Claims, "commit", lambda *_, **__: die())
        stage.relabel(PICTURE)
        live(stage, hours=6)
        most = stage.rekognition.calls.copy()
        live(stage, hours=6)

    assert set(most.values()) <= set(range(2, MOST + 5))
    assert stage.rekognition.calls == most
    assert stage.said() == stage.expected()


def ask_again(stage: Stage) -> None:
    stage.relabel(PICTURE)


def redrive_a_day_later(stage: Stage) -> None:
    stage.pass_time(MEMORY)
    stage.redrive()


@pytest.mark.thorough
@pytest.mark.parametrize("heal", [ask_again, redrive_a_day_later])
def test_a_picture_that_nobody_dies_of_any_more_is_labelled(
    heal: Callable[[Stage], None], stage: Stage, deadly: pytest.MonkeyPatch
) -> None:
    stage.upload(PICTURE, "Dog")
    live(stage, hours=6)
    deadly.undo()

    heal(stage)
    live(stage, hours=1)

    assert stage.said() == stage.expected()
