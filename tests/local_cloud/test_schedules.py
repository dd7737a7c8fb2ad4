from datetime import timedelta
from typing import Any

import pytest
from chalice import Chalice, Cron, Rate

from local_cloud.clock import ManualClock
from local_cloud.schedules import UnsupportedScheduleError
from tests.local_cloud.conftest import START, MakePump


def schedule(app: Chalice, expression: Any) -> list[Any]:
    events: list[Any] = []
    app.schedule(expression)(lambda event: events.append(event.to_dict()))
    return events


@pytest.mark.parametrize(
    ("expression", "period"),
    [
        (Rate(1, unit=Rate.MINUTES), timedelta(minutes=1)),
        (Rate(2, unit=Rate.HOURS), timedelta(hours=2)),
        (Rate(1, unit=Rate.DAYS), timedelta(days=1)),
        ("rate(5 minutes)", timedelta(minutes=5)),
    ],
    ids=["minute", "hours", "day", "text"],
)
def test_a_rate_is_kept(
    app: Chalice, make_pump: MakePump, clock: ManualClock, expression: Any, period: timedelta
) -> None:
    events = schedule(app, expression)
    pump = make_pump(clock=clock)

    at_the_start = pump.drain()
    due = pump.next_due()
    for _ in range(3):
        clock.advance(period)
        pump.drain()

    assert (at_the_start, due, len(events)) == (0, START + period, 3)


def test_the_event_is_eventbridge_s(app: Chalice, make_pump: MakePump, clock: ManualClock) -> None:
    events = schedule(app, Rate(1, unit=Rate.MINUTES))
    pump = make_pump(clock=clock)

    clock.advance(timedelta(minutes=1, seconds=7))
    pump.drain()

    [event] = events
    assert len(event.pop("id")) == 36
    assert event == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-01-02T03:05:05Z",
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/tiny-local-<lambda>"],
        "detail": {},
    }


def test_times_that_were_missed_are_made_up_for_once(
    app: Chalice, make_pump: MakePump, clock: ManualClock
) -> None:
    events = schedule(app, Rate(1, unit=Rate.MINUTES))
    pump = make_pump(clock=clock)

    clock.advance(timedelta(days=1, seconds=30))
    pump.drain()

    assert len(events) == 1
    assert pump.next_due() == START + timedelta(days=1, minutes=1)


@pytest.mark.parametrize(
    "expression", [Cron(0, 12, "*", "*", "?", "*"), "rate(soon)"], ids=["cron", "nonsense"]
)
def test_what_is_no_rate_is_refused_at_once(app: Chalice, make_pump: MakePump, expression: Any) -> None:
    schedule(app, expression)

    with pytest.raises(UnsupportedScheduleError, match="only rates are run here"):
        make_pump()
