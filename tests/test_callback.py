import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.callback import ATTEMPTS, DELAYS, JITTER, LONGEST, Callback, Errand, PastAttempt, State

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAILED = PastAttempt("2026-01-02T03:04:05Z", "5xx", 12)
CALLBACK = Callback(
    source_file="car.png",
    event_id="evt_1",
    type="image.labelled",
    url="https://example.com/hook",
    host="example.com",
    body="{}",
    created_at="2026-01-02T03:04:05Z",
    started_at=NOW.timestamp(),
    due_at=NOW.timestamp(),
)


def tried(times: int) -> Callback:
    return replace(CALLBACK, attempts=times * (FAILED,))


def wait(callback: Callback, asked: int = 0) -> float:
    """Seconds from a further failed attempt to the next."""
    return callback.after(FAILED, State.PENDING, asked, NOW).due_at - NOW.timestamp()


def test_ten_attempts_take_three_days() -> None:
    assert ATTEMPTS == 10
    assert sum(DELAYS, timedelta()) == timedelta(hours=75, minutes=36)


@pytest.mark.parametrize(("made", "delay"), list(enumerate(DELAYS)))
def test_the_next_attempt_is_due_by_the_schedule_but_not_to_the_second(made: int, delay: timedelta) -> None:
    waits = [wait(tried(made)) / delay.total_seconds() for _ in range(200)]

    assert 1 - JITTER <= min(waits) < 1 < max(waits) <= 1 + JITTER


def test_an_attempt_is_added_to_those_before() -> None:
    delivered = PastAttempt("2026-01-02T03:05:05Z", "2xx", 7)

    after = tried(1).after(delivered, State.DELIVERED, 0, NOW)

    assert replace(after, due_at=0) == replace(
        CALLBACK, attempts=(FAILED, delivered), state=State.DELIVERED, due_at=0
    )


@pytest.mark.parametrize(
    ("made", "asked", "least", "most"),
    [
        pytest.param(0, 30, 54, 66, id="earlier than the schedule"),
        pytest.param(0, 3600, 3600, 3600, id="later"),
        pytest.param(8, 86_400, 86_400, 95_040, id="much later"),
    ],
)
def test_a_receiver_may_only_ask_for_later(made: int, asked: int, least: float, most: float) -> None:
    assert least <= wait(tried(made), asked) <= most


def test_after_the_last_attempt_there_is_nothing_to_wait_for() -> None:
    last = tried(ATTEMPTS - 1).after(FAILED, State.PENDING, 3600, NOW)

    assert last.is_used_up(NOW)
    assert last.due_at == NOW.timestamp()


@pytest.mark.parametrize(
    ("made", "age", "used_up"),
    [
        (0, timedelta(), False),
        (ATTEMPTS - 1, timedelta(days=4), False),
        (ATTEMPTS, timedelta(), True),
        (0, LONGEST - timedelta(seconds=1), False),
        (0, LONGEST, True),
    ],
)
def test_a_callback_is_used_up_by_its_attempts_or_by_its_age(
    made: int, age: timedelta, used_up: bool
) -> None:
    assert tried(made).is_used_up(NOW + age) is used_up


@pytest.mark.parametrize(
    ("waited", "more"),
    [
        (timedelta(seconds=-3), timedelta(minutes=1)),
        (timedelta(), timedelta(minutes=1)),
        (timedelta(minutes=7), timedelta(minutes=7)),
        (timedelta(days=1), timedelta(hours=1)),
    ],
)
def test_who_is_put_off_waits_as_long_again(waited: timedelta, more: timedelta) -> None:
    now = NOW + waited

    assert CALLBACK.waiting(now) == now + more


@given(st.text(), st.text(), st.none() | st.text())
def test_an_errand_is_read_as_it_was_written(source_file: str, event_id: str, exhausted: str | None) -> None:
    errand = Errand(source_file, event_id, exhausted)

    assert Errand.read(errand.text) == errand
    assert errand.text.isascii()


@pytest.mark.parametrize(
    "text",
    ["", "junk", "[]", "null", "{}", '{"source_file": "a"}', json.dumps({**vars(Errand("a", "b")), "c": 1})],
)
def test_what_is_no_errand_is_told_so(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json.loads has messages of its own
        Errand.read(text)
