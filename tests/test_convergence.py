"""Whatever the order in which events arrive, the table ends as the bucket is."""

from collections.abc import Iterator
from itertools import permutations, product
from random import Random
from types import ModuleType

import pytest

from local_cloud.endpoint import Endpoint
from tests.reliability.histories import Key, histories, in_every_order, lived
from tests.reliability.stage import Stage, open_stage

LONGEST, SHORT = 5, 3  # events: of the search, and of a sample
PARTS = 4  # of the search, which run side by side
SEEDS = 30  # of the longer ones; `python -m bench.prove --only histories` has 3,000

ALL = [history for length in range(1, LONGEST + 1) for history in histories(length)]


@pytest.fixture(scope="module")
def stage(app_module: ModuleType, endpoint: Endpoint) -> Iterator[Stage]:
    with open_stage(app_module) as stage:
        stage.begin(0, {"detect": ("labels",)})
        yield stage


def test_the_histories_are_all_there_are() -> None:
    lengths = [sum(len(history) == length for history in ALL) for length in range(1, LONGEST + 1)]

    assert lengths == [1, 3, 8, 25, 75]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_order_of_delivery_ends_as_the_bucket_is(part: int, stage: Stage, exhaustive: bool) -> None:
    longest = LONGEST if exhaustive else SHORT
    for history in [history for history in ALL if len(history) <= longest][part::PARTS]:
        key = Key(stage)
        key.take(*history)
        assert len(key.events) == len(history)

        for order in in_every_order(key, Random(str(history))):
            assert key.is_told, (history, order)


def test_the_orders_are_all_there_are(stage: Stage) -> None:
    key = Key(stage)
    key.take("put", "delete", "undelete")

    orders = list(in_every_order(key, Random(0)))

    assert sorted(orders) == sorted(order for length in (1, 2, 3) for order in permutations(range(3), length))


def test_deliveries_between_the_steps_end_as_the_bucket_is(stage: Stage, exhaustive: bool) -> None:
    patterns = [(history, gaps) for history in ALL for gaps in product((0, 1), repeat=len(history) - 1)]
    for number, (history, gaps) in enumerate(patterns if exhaustive else Random(1).sample(patterns, 20)):
        dice, key = Random(number), Key(stage)

        for step, deliveries in zip(history, (*gaps, 1), strict=True):
            key.take(step)
            key.hear(*dice.choices(key.events, k=deliveries * dice.choice((1, 2))))

        assert key.is_told, (history, gaps)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(SEEDS))
def test_longer_histories_end_as_the_bucket_is(seed: int, stage: Stage) -> None:
    ending = lived(stage, seed)

    assert ending.is_told, ending


def test_duplicates_in_any_order_cost_one_call_for_each_version_that_was_seen(stage: Stage) -> None:
    stage.rekognition.reset()
    key = Key(stage)
    key.take("put", "put", "put")

    for order in permutations(key.events):
        key.hear(*order)

    assert list(stage.rekognition.calls.values()) == [1]
