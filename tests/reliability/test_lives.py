"""Nothing is lost, whatever happens; `make prove` has thousands of such lives."""

import pytest

from chalicelib.indexing import Indexing
from local_cloud.functions import FailedEvent
from tests.crash_points import Crash
from tests.reliability.life import KEYS, Life, Weather, examined, recovered
from tests.reliability.stage import Stage
from tests.scripted_rekognition import LABELS, MODERATION


@pytest.mark.parametrize("seed", [2, 4])
def test_whatever_happens_the_table_ends_as_the_bucket_is(stage: Stage, seed: int) -> None:
    record = examined(stage, seed)

    assert record.is_fine, record


@pytest.mark.parametrize("seed", [1])
def test_duplicates_in_any_order_cost_one_call_for_each_version_and_detector(stage: Stage, seed: int) -> None:
    record = examined(stage, seed, is_calm=True)

    assert record.is_fine, record
    assert record.calls == record.versions_and_detectors


def test_an_answer_that_was_there_and_is_asked_for_again_is_waste(stage: Stage) -> None:
    life = Life(stage, 0)
    life.begin(Weather(faults=0.0, deaths=0.0, interruptions=0.0))
    life.upload(KEYS[0])
    nothing = stage.rows()
    for _ in range(2):
        stage.post.duplicate(0)
        stage.put_back(nothing)
        stage.work()

    record = recovered(life)

    assert {(what, key) for what, key, _ in record.wasteful} == {(LABELS, KEYS[0]), (MODERATION, KEYS[0])}
    assert set(record.wasteful.values()) == {2}
    assert not record.is_fine


def test_a_change_that_nobody_can_handle_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(stage, 0)
    life.begin(Weather(faults=0.0, deaths=0.0, interruptions=0.0))
    monkeypatch.delattr(Indexing, "update")
    life.upload(KEYS[0])

    assert recovered(life).stuck != []


@pytest.mark.parametrize(("error", "is_stuck"), [(None, True), (KeyError(), True), (Crash(), False)])
def test_whatever_lambda_gives_up_is_told_but_for_a_run_that_has_a_next(
    stage: Stage, error: BaseException | None, is_stuck: bool
) -> None:
    stage.begin(0)
    event = FailedEvent("image-labeller-reliable-recover", {}, "RetriesExhausted", 1, error)
    stage.pump.failed_events.append(event)

    stage.work()

    assert stage.stuck == [event] * is_stuck


@pytest.mark.thorough
def test_a_seed_brings_the_same_again(stage: Stage) -> None:
    assert examined(stage, 7) == examined(stage, 7)
