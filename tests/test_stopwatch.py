from collections.abc import Callable

import pytest

from chalicelib.stopwatch import Stopwatch


def ticking(*moments: float) -> Callable[[], float]:
    """A clock that shows one moment after the other."""
    left = iter(moments)
    return lambda: next(left)


def test_an_event_without_a_detector_has_its_time_only() -> None:
    watch = Stopwatch(ticking(10.0, 11.2804))

    assert watch.facts == {"milliseconds": 1280}


def test_each_detector_has_its_time() -> None:
    watch = Stopwatch(ticking(10.0, 10.1, 10.9126, 10.2, 10.7, 11.0))

    with watch.timing("labels"):
        pass
    with watch.timing("text"):
        pass

    assert watch.facts == {"milliseconds": 1000, "detectors": {"labels": 813, "text": 500}}


def test_a_call_that_asks_two_detectors_is_the_time_of_both() -> None:
    watch = Stopwatch(ticking(10.0, 10.0, 10.3, 11.0))

    with watch.timing("labels", "properties"):
        pass

    assert watch.facts == {"milliseconds": 1000, "detectors": {"labels": 300, "properties": 300}}


def test_calls_side_by_side_have_times_of_their_own() -> None:
    watch = Stopwatch(ticking(10.0, 10.0, 10.1, 10.4, 10.9, 11.0))

    with watch.timing("labels"), watch.timing("text"):
        pass

    assert watch.facts == {"milliseconds": 1000, "detectors": {"text": 300, "labels": 900}}


def test_a_detector_that_fails_has_its_time_too() -> None:
    watch = Stopwatch(ticking(10.0, 10.0, 19.0, 19.5))

    with pytest.raises(TimeoutError), watch.timing("labels"):
        raise TimeoutError

    assert watch.facts == {"milliseconds": 9500, "detectors": {"labels": 9000}}


def test_of_two_calls_of_a_detector_the_last_one_counts() -> None:
    watch = Stopwatch(ticking(10.0, 10.0, 10.3, 10.4, 10.6, 11.0))

    for _ in range(2):
        with watch.timing("labels"):
            pass

    assert watch.facts == {"milliseconds": 1000, "detectors": {"labels": 200}}


def test_a_stopwatch_runs_by_itself() -> None:
    assert Stopwatch().facts.keys() == {"milliseconds"}
