"""The clock that moto goes by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import moto.dynamodb.models.table as table_models
import moto.s3.models as s3_models
import moto.sqs.models as sqs_models

from local_cloud.clock import Clock


@contextmanager
def follow(clock: Clock) -> Iterator[None]:
    """Let moto's visibility timeouts, delays, stream records and object times go by this clock."""

    def utcnow() -> datetime:
        return clock.now().replace(tzinfo=None)

    def unix_time_millis(moment: datetime | None = None) -> float:
        return (moment.replace(tzinfo=UTC).timestamp() if moment else clock.time()) * 1000

    replaced: list[tuple[ModuleType, str, Any]] = [
        (sqs_models, "unix_time", clock.time),
        (sqs_models, "unix_time_millis", unix_time_millis),
        (table_models, "utcnow", utcnow),
        (s3_models, "utcnow", _ticking(utcnow)),
    ]
    originals = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    _set(replaced)
    try:
        yield
    finally:
        _set(originals)


def _set(values: list[tuple[ModuleType, str, Any]]) -> None:
    for module, name, value in values:
        setattr(module, name, value)


def _ticking(utcnow: Callable[[], datetime]) -> Callable[[], datetime]:
    """moto tells the latest version by its time, so no two may be equal, however still the clock stands."""
    last = datetime.min  # noqa: DTZ901 - moto's times are naive

    def tick() -> datetime:
        nonlocal last
        last = max(last + timedelta(microseconds=1), utcnow())
        return last

    return tick
