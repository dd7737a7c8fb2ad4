from collections.abc import Iterator
from types import ModuleType

import pytest

from local_cloud.endpoint import Endpoint
from tests.reliability.stage import Stage, open_stage


@pytest.fixture(scope="module")
def stage(app_module: ModuleType, endpoint: Endpoint) -> Iterator[Stage]:
    with open_stage(app_module) as stage:
        yield stage
