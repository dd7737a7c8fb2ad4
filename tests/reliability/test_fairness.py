"""One receiver in a hundred hangs, and the others do not notice; `make prove` has hours of it."""

import pytest

from tests.reliability.fairness import Traffic, delivered

SHORT, LONG = 1200.0, 2400.0  # seconds
KNOWN = 600.0  # seconds, in which each that hangs has timed out often enough


def test_who_is_known_to_hang_delays_nobody_else(exhaustive: bool) -> None:
    seconds = LONG if exhaustive else SHORT

    without = delivered(Traffic(hanging=0, rate=5, seconds=seconds, counted_from=KNOWN))
    beside = delivered(Traffic(hanging=2, rate=5, seconds=seconds, counted_from=KNOWN))

    assert (without.missing, beside.missing) == (0, 0)
    assert beside.percentile(99) <= 1.1 * without.percentile(99)


@pytest.mark.thorough
def test_if_nobody_remembered_who_hangs_the_others_would_wait() -> None:
    without = delivered(Traffic(hanging=0, rate=5, seconds=SHORT / 4))
    beside = delivered(Traffic(hanging=2, rate=5, seconds=SHORT / 4, remembers=False))

    assert beside.percentile(99) > 2 * without.percentile(99)
