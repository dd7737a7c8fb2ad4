"""Schedules: EventBridge rules with a rate."""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from chalice.app import ScheduledEventConfig
from moto.core import DEFAULT_ACCOUNT_ID

from local_cloud.asynchronous import AsynchronousInvocations
from local_cloud.clock import Clock
from local_cloud.functions import Event, Function, Task

_SECONDS = {"minute": 60, "hour": 60 * 60, "day": 24 * 60 * 60}


class UnsupportedScheduleError(Exception):
    """Only rates are run here, no cron expressions."""


class Schedule:
    """Invokes one function at a steady rate, the first time one period after the start.

    Times that were missed, because the clock jumped or the machine slept, are made up for by one invocation.
    """

    def __init__(
        self,
        config: ScheduledEventConfig,
        function: Function,
        clock: Clock,
        invocations: AsynchronousInvocations,
    ) -> None:
        self._function = function
        self._clock = clock
        self._invocations = invocations
        self._period = _period(config.schedule_expression)
        self._due = clock.time() + self._period

    def take(self, capacity: int) -> list[Task]:  # noqa: ARG002 - it runs nothing itself
        now = self._clock.time()
        if now >= self._due:
            self._invocations.put(self._function, self._event(self._due))
            self._due += self._period * ((now - self._due) // self._period + 1)
        return []

    def next_due(self) -> float:
        return self._due

    def _event(self, due: float) -> Event:
        rule = f"arn:aws:events:us-east-1:{DEFAULT_ACCOUNT_ID}:rule/{self._function.name}"
        return {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": DEFAULT_ACCOUNT_ID,
            "time": datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": "us-east-1",
            "resources": [rule],
            "detail": {},
        }


def _period(expression: Any) -> float:
    text = expression if isinstance(expression, str) else expression.to_string()
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", text)
    if not found:
        raise UnsupportedScheduleError(f"{text} is not a rate, and only rates are run here")
    return float(found[1]) * _SECONDS[found[2]]
