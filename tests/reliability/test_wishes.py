"""What a client was promised comes true, whatever becomes of the message that tells of it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from chalicelib.bucket import Bucket
from chalicelib.errors import AccessLost
from tests.reliability.stage import Stage

KEY = "a b.png"
MINUTE = timedelta(minutes=1)
FLAGGED = ("Dog", "Violence")

Trouble = Callable[[Stage, pytest.MonkeyPatch], object]


def pass_time(stage: Stage, *minutes: int) -> None:
    for each in minutes:
        stage.post.deliver_all()
        stage.pass_time(each * MINUTE)


def lose_the_message(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.forget_messages()


def meet_ten_refusals(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AccessLost("no right to look")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "look", refuse)
        pass_time(stage, *60 * [3])
    assert stage.dead_letters() != []


TROUBLES: dict[str, Trouble] = {"lost": lose_the_message, "refused ten times": meet_ten_refusals}


@pytest.fixture(params=[*TROUBLES.values()], ids=[*TROUBLES])
def trouble(request: pytest.FixtureRequest) -> Trouble:
    chosen: Trouble = request.param
    return chosen


def labelled(stage: Stage, *labels: str) -> None:
    stage.begin(0)
    stage.upload(KEY, *labels)
    pass_time(stage, 1)


def test_another_answer_is_given(stage: Stage, monkeypatch: pytest.MonkeyPatch, trouble: Trouble) -> None:
    labelled(stage, "Dog")
    before = stage.rekognition.calls.total()

    stage.relabel(KEY)
    trouble(stage, monkeypatch)
    pass_time(stage, 125, 16, 16)

    assert stage.said() == stage.expected()
    assert stage.rekognition.calls.total() == 2 * before


def test_a_picture_comes_out_of_quarantine(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    labelled(stage, *FLAGGED)
    assert stage.out_of_sight() == 1

    assert stage.release(KEY)
    trouble(stage, monkeypatch)
    pass_time(stage, 5, 16, 16)

    assert stage.said()[KEY] == stage.expected_of(KEY, sorted(FLAGGED))
    assert stage.out_of_sight() == 0


def test_a_picture_in_quarantine_is_gone_for_good(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    labelled(stage, *FLAGGED)

    stage.remove(KEY)
    trouble(stage, monkeypatch)
    pass_time(stage, 5, 16, 16)

    assert stage.said()[KEY] == (None, None, [], [])
    assert stage.out_of_sight() == 0


def test_who_asks_twice_for_a_release_is_told_the_same(stage: Stage) -> None:
    labelled(stage, *FLAGGED)

    assert [stage.release(KEY), stage.release(KEY)] == [True, True]
