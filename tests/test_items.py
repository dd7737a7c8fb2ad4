import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from chalicelib import items

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)


def stored(row: items.Row) -> dict[str, Any]:
    return items.unmarshal(items.marshal(row))


def test_a_number_that_dynamodb_cannot_hold_is_zero() -> None:
    odd = {"tiny": 5e-324, "huge": 1e300, "nan": math.nan, "inf": math.inf, "neither": -math.inf}

    assert stored(odd) == dict.fromkeys(odd, 0)
    assert stored({"least": 1e-128, "most": -1e125}) == {
        "least": Decimal("1e-128"),
        "most": Decimal("-1e125"),
    }


@pytest.mark.parametrize(
    ("seconds", "expired"), [(1, False), (0, True), (-1, True)], ids=["later", "now", "earlier"]
)
def test_a_row_expires_at_its_time(seconds: int, expired: bool) -> None:
    now = NOW.replace(microsecond=0)
    row = stored({"expires_at": int(now.timestamp()) + seconds})

    assert items.is_expired(row, now) is expired


def test_a_row_without_a_time_does_not_expire() -> None:
    assert items.is_expired({}, NOW) is False
