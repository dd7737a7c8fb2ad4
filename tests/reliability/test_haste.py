from types import ModuleType

import pytest

from local_cloud.endpoint import Endpoint
from tests.reliability.life import examined
from tests.reliability.stage import Stage, open_stage


@pytest.mark.search
@pytest.mark.parametrize("seed", [3])
def test_a_life_in_haste_is_the_same_life(
    app_module: ModuleType, endpoint: Endpoint, stage: Stage, seed: int
) -> None:
    in_haste = examined(stage, seed)

    with open_stage(app_module, is_hasty=False) as slow:
        assert examined(slow, seed) == in_haste
