"""Functions die before and after each of their AWS calls in turn, and the picture ends as if none had."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import product
from random import Random

import pytest

from tests.crash_points import Crash, Mortal, When
from tests.reliability.stage import Stage
from tests.scripted_rekognition import LABELS

KEY = "a b.png"
MINUTE = timedelta(minutes=1)
SAMPLE = 4  # of the points of death, unless told to try them all

Act = Callable[[Stage], object]


def upload(stage: Stage) -> None:
    stage.upload(KEY, "Always", f"Put{len(stage.noted)}")


def labelled(stage: Stage) -> None:
    upload(stage)
    stage.post.deliver_all()
    stage.work()


def overwritten(stage: Stage) -> None:
    labelled(stage)
    upload(stage)


def deleted(stage: Stage) -> None:
    labelled(stage)
    stage.delete(KEY)


def wanted_anew(stage: Stage) -> None:
    labelled(stage)
    stage.relabel(KEY)


def queued(stage: Stage) -> None:
    stage.rekognition.failures[LABELS] += [(500, "InternalServerError")] * 3
    labelled(stage)


def never_heard_of(stage: Stage) -> None:
    upload(stage)
    stage.post.drop(0)


def deleted_and_never_heard_of(stage: Stage) -> None:
    deleted(stage)
    stage.post.drop(0)


def deliver(stage: Stage) -> None:
    stage.post.deliver_all()
    stage.work()


def ask_for_another_answer(stage: Stage) -> None:
    with suppress(Crash):
        stage.relabel(KEY)
    stage.work()


def pass_minutes(minutes: int) -> Act:
    return lambda stage: stage.pass_time(minutes * MINUTE)


SCENARIOS: dict[str, tuple[Act, Act]] = {
    "the first try of a picture": (upload, deliver),
    "the first try of a newer version": (overwritten, deliver),
    "the removal of rows": (deleted, deliver),
    "another answer to a picture": (wanted_anew, deliver),
    "the wish for another answer": (labelled, ask_for_another_answer),
    "the slow path, beside recover": (queued, pass_minutes(1)),
    "recover finding a picture": (never_heard_of, pass_minutes(16)),
    "recover finding rows without a picture": (deleted_and_never_heard_of, pass_minutes(16)),
}


@pytest.fixture
def mortal(stage: Stage) -> Iterator[Mortal]:
    below = stage.troubles.below
    stage.troubles.below = mortal = Mortal(below)
    yield mortal
    stage.troubles.below = below


def lived(stage: Stage, mortal: Mortal, before: Act, then: Act, number: int, when: When) -> None:
    mortal.live()
    stage.begin(0)
    before(stage)
    stage.rekognition.calls.clear()
    mortal.crash_at(number, when)
    then(stage)


@pytest.mark.parametrize(("before", "then"), SCENARIOS.values(), ids=SCENARIOS.keys())
def test_no_death_leaves_the_table_behind_the_bucket(
    stage: Stage, mortal: Mortal, before: Act, then: Act, exhaustive: bool
) -> None:
    lived(stage, mortal, before, then, 0, When.BEFORE)
    points = list(product(range(1, len(mortal.calls) + 1), When))
    assert len(points) >= SAMPLE

    for number, when in points if exhaustive else Random(0).sample(points, SAMPLE):
        lived(stage, mortal, before, then, number, when)
        last_words = f"dead {when} call {number}: {mortal.calls}"
        mortal.live()
        for minutes in (3, 16, 125, 16):  # a wish of which the queue was not told is found after two hours
            stage.pass_time(minutes * MINUTE)

        assert stage.said() == stage.expected(), last_words
        assert (stage.dead_letters(), stage.is_quiet) == ([], True), last_words
        assert set(stage.rekognition.calls.values()) <= {1, 2}, last_words
