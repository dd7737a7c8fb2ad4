"""Moves events to the app's functions by Lambda's rules; what goes where, the app's own decorators say."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import boto3
from botocore.config import Config
from chalice import Chalice
from chalice.app import DynamoDBEventConfig, S3EventConfig, ScheduledEventConfig, SQSEventConfig

from local_cloud.asynchronous import AsynchronousInvocations
from local_cloud.buckets import Notification
from local_cloud.clock import Clock, SystemClock
from local_cloud.event_source_mapping import EventSourceMapping
from local_cloud.functions import FailedEvent, Functions, FunctionSettings, Source, Task
from local_cloud.object_events import ObjectEvent
from local_cloud.queues import QueuePoller
from local_cloud.schedules import Schedule
from local_cloud.streams import StreamPoller
from local_cloud.time_to_live import TimeToLive

CONCURRENCY = 10
"""All that a new AWS account has."""
_POLL_EVERY = 0.25
_PATIENCE = 5.0
_CONFIG = Config(account_id_endpoint_mode="disabled")
_logger = logging.getLogger(__name__)


class NeverQuietError(Exception):
    """There was always more to do: most likely a function sets itself off."""


class UnsupportedTriggerError(Exception):
    """The app uses a trigger that is not run here."""


class Pump:
    """Delivers events to the app: at once with `drain`, or in the background between `start` and `stop`."""

    def __init__(
        self,
        app: Chalice,
        session: boto3.Session,
        *,
        endpoint_url: str,
        stage: str = "local",
        clock: Clock | None = None,
        concurrency: int = CONCURRENCY,
        functions: Mapping[str, FunctionSettings] | None = None,
        mappings: Mapping[str, EventSourceMapping] | None = None,
    ) -> None:
        """Functions and mappings are settings by handler name, where they differ from the defaults."""
        _check_triggers(app)
        self.failed_events: list[FailedEvent] = []
        self._clock = clock or SystemClock()
        self._app = app
        self._concurrency = min(concurrency, CONCURRENCY)
        self._functions = Functions(app, stage, self._clock, functions or {})
        self._mappings = mappings or {}
        self._client = _clients(session, endpoint_url)
        self._invocations = AsynchronousInvocations(self._clock, self.failed_events)
        self._notifications = [
            Notification(config, self._functions[config.name]) for config in self._configs(S3EventConfig)
        ]
        self._time_to_live = TimeToLive(self._clock)
        self._sources = self._make_sources()
        self._running: set[threading.Thread] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def accept(self, event: ObjectEvent) -> None:
        """Take one S3 event record; the endpoint's `on_object_event`."""
        for notification in self._notifications:
            if notification.wants(event):
                self._invocations.put(notification.function, {"Records": [event]})
        self._wake.set()

    def wake(self) -> None:
        """Look at once whether there is something to do; the endpoint's `on_write`."""
        self._wake.set()

    def drain(self, limit: int = 10_000) -> int:
        """Deliver, one by one, all that is due now and all that follows from it; count the invocations."""
        self._time_to_live.look_at_once()
        done = 0
        while tasks := self._take(1):
            for task in tasks:
                task()
            done += len(tasks)
            if done > limit:
                raise NeverQuietError(f"still busy after {done} invocations")
        return done

    def next_due(self) -> datetime | None:
        """When there will be something to do, as far as known; expiry of rows is not."""
        due = [moment for source in self._sources if (moment := source.next_due()) is not None]
        return datetime.fromtimestamp(min(due), UTC) if due else None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep_running, name="pump", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing new, and wait a little for what is running."""
        self._stopping.set()
        self._wake.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        end = monotonic() + _PATIENCE
        for thread in tuple(self._running):
            thread.join(max(0.0, end - monotonic()))

    def _configs(self, kind: type) -> list[Any]:
        return [config for config in self._app.event_sources if isinstance(config, kind)]

    def _make_sources(self) -> list[Source]:
        return [
            *(Schedule(c, self._functions[c.name], self._clock, self._invocations)
              for c in self._configs(ScheduledEventConfig)),
            self._time_to_live,
            self._invocations,
            *(self._queue(config) for config in self._configs(SQSEventConfig)),
            *(self._stream(config) for config in self._configs(DynamoDBEventConfig)),
        ]  # fmt: skip

    def _queue(self, config: SQSEventConfig) -> QueuePoller:
        return QueuePoller(config, self._functions[config.name], self._mapping(config), self._client("sqs"))

    def _stream(self, config: DynamoDBEventConfig) -> StreamPoller:
        return StreamPoller(
            config,
            self._functions[config.name],
            self._mapping(config),
            self._client("dynamodbstreams"),
            self._clock,
            self.failed_events,
        )

    def _mapping(self, config: Any) -> EventSourceMapping:
        return self._mappings.get(config.name, EventSourceMapping())

    def _take(self, capacity: int) -> list[Task]:
        """From each source in turn, so that none starves the others."""
        return [task for source in self._sources for task in source.take(capacity)]

    def _keep_running(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            if not self._start_what_is_due():
                self._wake.wait(self._pause())

    def _start_what_is_due(self) -> int:
        started = 0
        for source in self._sources:
            for task in self._poll(source):
                self._run_beside(task)
                started += 1
        return started

    def _poll(self, source: Source) -> list[Task]:
        try:
            return source.take(self._concurrency - len(self._running))
        except Exception:  # one source's trouble must not end the deliveries of the others
            _logger.exception("polling failed")
            return []

    def _run_beside(self, task: Task) -> None:
        thread = threading.Thread(target=self._run, args=(task,), name="function", daemon=True)
        self._running.add(thread)
        thread.start()

    def _run(self, task: Task) -> None:
        try:
            task()
        except Exception:  # nobody waits for this thread, so that only the log can tell
            _logger.exception("settling an invocation failed")
        finally:
            self._running.discard(threading.current_thread())
            self._wake.set()

    def _pause(self) -> float:
        """Until something will be due; what is due already waits for a function to end, which wakes us."""
        due = self.next_due()
        wait = due.timestamp() - self._clock.time() if due else _POLL_EVERY
        return min(wait, _POLL_EVERY) if wait > 0 else _POLL_EVERY


def _check_triggers(app: Chalice) -> None:
    for config in app.event_sources:
        if not isinstance(config, (S3EventConfig, SQSEventConfig, DynamoDBEventConfig, ScheduledEventConfig)):
            raise UnsupportedTriggerError(f"{config.name}: {type(config).__name__} is not run here")


def _clients(session: boto3.Session, endpoint_url: str) -> Callable[[Any], Any]:
    return lambda service: session.client(service, endpoint_url=endpoint_url, config=_CONFIG)
