from datetime import timedelta
from typing import Any

from local_cloud.asynchronous import AsynchronousInvocations
from local_cloud.clock import ManualClock
from local_cloud.functions import FailedEvent, Function, FunctionSettings


def test_events_are_handed_out_in_turn_and_no_more_than_there_is_room_for() -> None:
    clock = ManualClock()
    seen: list[Any] = []
    invocations = AsynchronousInvocations(clock, [])
    function = Function("f", lambda event, _: seen.append(event["n"]), FunctionSettings(), clock)
    for number in range(3):
        invocations.put(function, {"n": number})

    tasks = [*invocations.take(2), *invocations.take(2), *invocations.take(2)]
    for task in tasks:
        task()

    assert seen == [0, 1, 2]
    assert invocations.next_due() is None


def test_an_event_that_grows_too_old_between_its_attempts_is_given_up() -> None:
    clock = ManualClock()
    error = ValueError()
    failed: list[FailedEvent] = []
    invocations = AsynchronousInvocations(clock, failed)

    def fail(*_: object) -> None:
        raise error

    invocations.put(Function("f", fail, FunctionSettings(), clock), {"n": 1})
    for wait in (timedelta(0), timedelta(hours=7)):
        clock.advance(wait)
        for task in invocations.take(1):
            task()

    assert failed == [FailedEvent("f", {"n": 1}, "EventAgeExceeded", 1, error)]
