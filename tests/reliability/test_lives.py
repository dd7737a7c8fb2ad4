"""Nothing is lost, whatever happens; `make prove` has thousands of such lives."""

import pytest

from tests.reliability.life import examined
from tests.reliability.stage import Stage


@pytest.mark.parametrize("seed", [2, 4])
def test_whatever_happens_the_table_ends_as_the_bucket_is(stage: Stage, seed: int) -> None:
    record = examined(stage, seed)

    assert record.is_fine, record


@pytest.mark.parametrize("seed", [1])
def test_duplicates_in_any_order_cost_one_call_for_each_version_and_detector(stage: Stage, seed: int) -> None:
    record = examined(stage, seed, is_calm=True)

    assert record.is_fine, record
    assert record.calls == record.versions_and_detectors


def test_a_seed_brings_the_same_again(stage: Stage) -> None:
    assert examined(stage, 7) == examined(stage, 7)
