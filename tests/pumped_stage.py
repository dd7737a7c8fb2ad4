"""A stage whose every function runs when its time has come, by a clock that the test moves."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib.callback import Callback
from chalicelib.callback_url import CallbackRules
from chalicelib.model import Upload
from chalicelib.queue import queue_name
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud import moto_patches
from local_cloud.clock import ManualClock
from local_cloud.cloud import mappings_of
from local_cloud.endpoint import Endpoint
from local_cloud.pump import Pump
from tests.conftest import LOCAL
from tests.direct import short_circuit
from tests.pictures import picture

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OUTPUTS = {"StreamDeadLettersArn": "arn:aws:sqs:us-east-1:123456789012:stream-dead-letters"}

TICK = timedelta(milliseconds=1)


@dataclass(frozen=True)
class ClockedServices(Services):
    """Services that go by the clock of the test."""

    clock: ManualClock

    def now(self) -> datetime:
        return self.clock.now()


@dataclass(frozen=True)
class StageOfApp:
    """The app with the triggers of a stage of the test's own, as far as the pump looks at it."""

    app: Any
    resources: dict[str, str]

    @property
    def app_name(self) -> str:
        return str(self.app.app_name)

    @property
    def handler_map(self) -> Any:
        return self.app.handler_map

    @property
    def event_sources(self) -> list[Any]:
        return [self._here(config) for config in self.app.event_sources]

    def _here(self, config: Any) -> Any:
        here = copy.copy(config)
        for name in {"bucket", "stream_arn", "queue"} & vars(here).keys():
            setattr(here, name, self.resources[getattr(here, name)])
        return here


@dataclass(frozen=True)
class PumpedStage:
    services: ClockedServices
    s3: "S3Client"
    clock: ManualClock
    pump: Pump

    def upload(self, callback_url: str | None = None) -> str:
        """A picture that was announced with that URL, and labelled; its key."""
        key = self.services.uploads.expect(None, Upload(callback_url=callback_url)).source_file
        self.put(key)
        self.pump.drain()
        return key

    def put(self, key: str, *labels: str) -> None:
        body = picture(*labels or ("Dog 90",))
        self.s3.put_object(Bucket=self.services.settings.images_bucket, Key=key, Body=body)

    def callbacks(self, key: str) -> list[Callback]:
        return self.services.callbacks.of_image(key, self.clock.now())

    def wait_for_attempt(self, callback: Callback) -> None:
        """Until it must have been made: what came due since the last look is found by the next."""
        self.wait_until(datetime.fromtimestamp(callback.due_at, UTC) + timedelta(seconds=61))

    def wait(self, time: timedelta) -> None:
        """Lets that much time pass, in which everything happens when it is due."""
        end = self.clock.now() + time
        while (due := self.pump.next_due()) and due <= end:
            self.clock.move_to(
                max(due, self.clock.now() + TICK)
            )  # what is due by a fraction of it waits for it
            self.pump.drain()
        self.clock.move_to(end)
        self.pump.drain()

    def wait_until(self, moment: datetime) -> None:
        """The same in one leap to two minutes before; what had no news meanwhile is made up for at once."""
        self.clock.move_to(moment - timedelta(minutes=2))
        self.pump.drain()
        self.wait(moment - self.clock.now())


@contextmanager
def pumped_stage(settings: Settings, endpoint: Endpoint, app_module: ModuleType) -> Iterator[PumpedStage]:
    clock = ManualClock()
    services = ClockedServices(settings, clock)
    vars(services)["callback_rules"] = CallbackRules(loopback=True)
    short_circuit(services.session, endpoint)
    app: Any = StageOfApp(app_module.app, _names_here(settings))
    mappings = mappings_of(app, OUTPUTS)
    with moto_patches.follow(clock), pytest.MonkeyPatch.context() as patch:
        session = short_circuit(boto3.Session(), endpoint)
        pump = Pump(app, session, endpoint_url=endpoint.url, clock=clock, mappings=mappings)
        patch.setattr(app_module, "services", services)
        patch.setattr(endpoint, "on_object_event", pump.accept)
        yield PumpedStage(services, session.client("s3"), clock, pump)


def _names_here(settings: Settings) -> dict[str, str]:
    """What the app's triggers name on the stage `local`, and what that is on this one."""
    queues = ("LABELLING_QUEUE_URL", "CALLBACKS_QUEUE_URL")
    same = {LOCAL[name]: getattr(settings, name.lower()) for name in ("IMAGES_BUCKET", "IMAGES_STREAM_ARN")}
    return same | {queue_name(LOCAL[name]): queue_name(getattr(settings, name.lower())) for name in queues}
