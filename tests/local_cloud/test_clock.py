from datetime import UTC, datetime, timedelta
from time import time

from local_cloud.clock import ManualClock, SystemClock


def test_the_system_clock_tells_the_machines_time_in_utc() -> None:
    clock = SystemClock()

    assert clock.now().tzinfo is UTC
    assert abs(clock.time() - time()) < 1
    assert abs(clock.now().timestamp() - clock.time()) < 1


def test_the_system_clock_sleeps() -> None:
    clock = SystemClock()
    before = clock.time()

    clock.sleep(0.01)

    assert clock.time() - before >= 0.009


def test_a_manual_clock_moves_only_when_it_is_told_to() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    clock.sleep(30)
    clock.advance(timedelta(days=1))

    assert clock.now() == datetime(2026, 1, 2, 0, 0, 30, tzinfo=UTC)
    assert clock.time() == clock.now().timestamp()


def test_a_manual_clock_is_not_moved_back() -> None:
    clock = ManualClock(datetime(2026, 1, 2, tzinfo=UTC))

    clock.move_to(datetime(2026, 1, 1, tzinfo=UTC))

    assert clock.now() == datetime(2026, 1, 2, tzinfo=UTC)
