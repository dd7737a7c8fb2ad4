"""The app's functions as Lambda runs them: a name, a context and an outcome. None is ended for its time."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from chalice import Chalice
from moto.core import DEFAULT_ACCOUNT_ID

from local_cloud.clock import Clock

_logger = logging.getLogger(__name__)

Event = dict[str, Any]
Task = Callable[[], None]
"""One invocation, ready to run."""


class Source(Protocol):
    """Something that invokes functions: a bucket, a queue, a stream, a schedule."""

    def take(self, capacity: int) -> list[Task]:
        """Take up to so many invocations that are due; all of them may run at the same time."""

    def next_due(self) -> float | None:
        """When there will be something to take, in seconds since 1970, as far as that is known."""


@dataclass(frozen=True)
class FunctionSettings:
    """What `.chalice/config.json` says of a function; the defaults are Chalice's."""

    timeout: int = 60
    memory: int = 128


@dataclass(frozen=True)
class FailedEvent:
    """An event that Lambda gave up on: what an on-failure destination would be told."""

    function_name: str
    event: Event
    condition: str
    attempts: int
    error: BaseException | None


@dataclass(frozen=True)
class LambdaContext:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    function_name: str
    memory_limit_in_mb: int
    aws_request_id: str
    _clock: Clock = field(repr=False)
    _deadline: float = field(repr=False)
    function_version: str = "$LATEST"
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:{DEFAULT_ACCOUNT_ID}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self._deadline - self._clock.time()) * 1000))


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to: the function's answer, or the error that it ended with."""

    answer: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Function:
    """One Lambda function of the app."""

    name: str
    handler: Callable[[Event, LambdaContext], Any]
    settings: FunctionSettings
    clock: Clock

    def invoke(self, event: Event, request_id: str | None = None) -> Outcome:
        """Run it on a copy of the event. Whatever it raises, a crash included, is its outcome."""
        context = LambdaContext(
            function_name=self.name,
            memory_limit_in_mb=self.settings.memory,
            aws_request_id=request_id or str(uuid4()),
            _clock=self.clock,
            _deadline=self.clock.time() + self.settings.timeout,
        )
        try:
            return Outcome(answer=self.handler(json.loads(json.dumps(event)), context))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            extra = {"function_name": self.name, "aws_request_id": context.aws_request_id}
            _logger.warning("a function failed", exc_info=error, extra=extra)
            return Outcome(error=error)


@dataclass(frozen=True)
class Functions:
    """The app's functions, by the name of their handler."""

    app: Chalice
    stage: str
    clock: Clock
    settings: Mapping[str, FunctionSettings]

    def __getitem__(self, handler: str) -> Function:
        return Function(
            name=f"{self.app.app_name}-{self.stage}-{handler}",
            handler=self.app.handler_map[handler],
            settings=self.settings.get(handler, FunctionSettings()),
            clock=self.clock,
        )
