"""Ten times as many pictures as Rekognition takes; `make prove` has whole storms of ten minutes."""

from types import ModuleType

import pytest

from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.reliability.storm import Storm, simulated, staged

SHORT, LONGER = 20.0, 120.0  # seconds of rain


@pytest.mark.parametrize(
    "concurrency",
    [Settings.labelling_concurrency, 3 * Settings.labelling_concurrency],
    ids=["default", "much"],
)
def test_a_storm_uses_the_quota_and_loses_nothing(concurrency: int, exhaustive: bool) -> None:
    storm = Storm(rain=LONGER if exhaustive else SHORT, concurrency=concurrency)

    after = simulated(storm)

    assert (after.labelled, after.lost, after.exhausted, after.dead) == (storm.pictures, 0, 0, 0)
    assert after.delay <= 1.1
    assert after.used >= 0.9


@pytest.mark.thorough
def test_without_waiting_much_of_the_quota_would_idle() -> None:
    after = simulated(Storm(rain=SHORT, concurrency=15, is_patient=False))

    assert after.delay > 1.5
    assert after.used < 0.7


@pytest.mark.thorough
def test_a_storm_on_the_whole_stage_is_like_one_among_stand_ins(
    app_module: ModuleType, endpoint: Endpoint, exhaustive: bool
) -> None:
    storm = Storm(quota=2, rain=2 if exhaustive else 0.5, concurrency=3)

    real, played = staged(app_module, storm), simulated(storm)

    assert real.labelled == played.labelled == storm.pictures
    assert (real.dead, played.dead) == (0, 0)
    assert real.answered == played.answered == storm.pictures
    assert real.seconds == pytest.approx(played.seconds, rel=0.2)
    assert real.refused == pytest.approx(played.refused, rel=0.3)
