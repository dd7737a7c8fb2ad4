"""The app's own functions over a stage in this process: no sockets, and time by hand."""

import copy
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from random import Random
from types import ModuleType
from typing import Any, Self, TypeVar

import boto3
import moto.dynamodb.models as dynamodb_models
import moto.s3.models as s3_models
import moto.sqs.models as sqs_models
import pytest
from chalice.app import DynamoDBEventConfig, S3EventConfig, SQSEventConfig
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.announcement import TYPES, event_id
from chalicelib.callback_url import CallbackRules
from chalicelib.claims import Claims
from chalicelib.exchange import Exchange
from chalicelib.items import unmarshal
from chalicelib.notifications import keys_of
from chalicelib.queue import queue_name
from chalicelib.rows import read_claim, read_image
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.slow_path import SlowPath
from chalicelib.terms import Terms
from local_cloud import moto_patches, resources
from local_cloud.clock import ManualClock
from local_cloud.cloud import PROJECT, mappings_of
from local_cloud.endpoint import Endpoint, Rekognition, Reply
from local_cloud.functions import FailedEvent, FunctionSettings
from local_cloud.pump import Pump
from local_cloud.quota import LimitedRekognition
from tests.conftest import settings_of
from tests.crash_points import Crash
from tests.direct import straight_to
from tests.interception import Layer, intercept, sdk_waiting_by
from tests.pictures import picture
from tests.reliability.addressee import Addressee
from tests.reliability.haste import hastened, straight_to_moto
from tests.reliability.post import Post
from tests.reliability.troubles import Troubles
from tests.scripted_rekognition import ScriptedRekognition
from tests.search_index import Index, expected, indexed, rows_of

NO_PICTURE = "failed unsupported_format"
PAUSE = 0.2  # seconds that whoever backs off waits, since chance would not repeat
NAME = "reliable"
DETECTORS = ("labels", "moderation")
QUEUES = ("labelling", "labelling-dead-letters", "callbacks", "callbacks-dead-letters", "stream-dead-letters")

T = TypeVar("T")


@dataclass(frozen=True)
class ServicesOnClock(Services):
    """The app's services, but for their time and what they leave to chance."""

    clock: ManualClock
    layer: Layer

    def now(self) -> datetime:
        return self.clock.now()

    def pause(self, _: float) -> None:
        self.clock.sleep(PAUSE)

    @property
    def callback_rules(self) -> CallbackRules:
        return CallbackRules(loopback=True)

    @cached_property
    def session(self) -> boto3.Session:
        return intercept(boto3.Session(), self.layer)

    @cached_property
    def claims(self) -> Claims:
        return Claims(self.dynamodb, self.settings.images_table, self.pause)

    @cached_property
    def terms(self) -> Terms:
        return Terms(self.dynamodb, self.settings.terms_table, self.pause)

    @cached_property
    def slow_path(self) -> SlowPath:
        return replace(super().slow_path, sleep=self.clock.sleep, random=Random(0))


class InTurn:
    """A ThreadPoolExecutor without threads: each task is done at once, so that chance repeats."""

    def submit(self, act: Callable[..., T], *arguments: Any) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(act(*arguments))
        except BaseException as failure:  # noqa: BLE001 - the future tells it
            future.set_exception(failure)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """All is done."""


@dataclass
class Account:
    """An account's Rekognition, under a quota or none."""

    rekognition: Rekognition

    def answer(self, target: str, body: bytes) -> Reply:
        return self.rekognition.answer(target, body)


@dataclass
class Stage:
    """What the app has on AWS, and what users, S3 and Lambda do with it."""

    app_module: ModuleType
    services: ServicesOnClock
    troubles: Troubles
    rekognition: ScriptedRekognition
    account: Account
    addressee: Addressee
    clock: ManualClock
    endpoint: Endpoint
    session: boto3.Session
    outputs: Mapping[str, str]
    # By key and version, its labels; None of what is no picture.
    noted: dict[tuple[str, str], list[str] | None] = field(default_factory=dict)
    given_up: list[FailedEvent] = field(default_factory=list)
    stuck: list[FailedEvent] = field(default_factory=list)  # given up too, and nobody makes up for it
    days: dict[date, set[tuple[str, str]]] = field(default_factory=dict)  # versions first asked about on each

    def __post_init__(self) -> None:
        self._usual = self.services.settings

    def begin(
        self,
        seed: int,
        chosen: Mapping[str, Any] | None = None,
        absences: float = 0.0,
        **probabilities: float,
    ) -> None:
        """Everything is empty, it is three in the morning, and chance as this seed has it."""
        self._empty()
        random.seed(seed)  # by which callbacks are spread
        self.clock.move_to(_next_morning(self.clock.now()))
        self.troubles.begin(seed, **probabilities)
        self.addressee.begin(seed, absences)
        # Clients remember how often they had to try again, and some day do not any more.
        self.services = replace(self.services, settings=replace(self._usual, **(chosen or {})))
        self.app_module.services = self.services  # type: ignore[attr-defined]
        self.services.slow_path.random.seed(seed)
        self.rekognition.reset()
        self.rekognition.before = self._note_day
        self.noted.clear()
        self.stuck.clear()
        self.days.clear()
        self.pump = self._make_pump()
        self.post = Post(self.pump.accept)
        self.endpoint.on_object_event = self.post.take

    def clear(self) -> None:
        """Everything is empty, and all else as it is."""
        self._empty()
        self.noted.clear()
        self.post.waiting.clear()

    def rows(self) -> Any:
        """The images table as it is, to be put back."""
        return copy.deepcopy(self._table(self.services.settings.images_table).items)

    def put_back(self, rows: Any) -> None:
        self._table(self.services.settings.images_table).items = copy.deepcopy(rows)

    def limit(self, quota: float | None) -> None:
        """Has Rekognition take so many calls of each operation a second, or any number."""
        self.account.rekognition = (
            LimitedRekognition(self.rekognition, quota, self.clock) if quota else self.rekognition
        )

    def upload(self, key: str, *labels: str) -> str:
        version = self._put(key, picture(*(f"{label} 90" for label in labels)))
        self.noted[key, version] = sorted(labels)
        return version

    def upload_no_picture(self, key: str) -> None:
        self.noted[key, self._put(key, b"Dear diary")] = None

    def _put(self, key: str, body: bytes) -> str:
        version: str = self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)["VersionId"]
        return version

    def delete(self, key: str) -> str:
        """The version of the marker."""
        marker: str = self._s3.delete_object(Bucket=self.bucket, Key=key)["VersionId"]
        return marker

    def delete_version(self, key: str, version: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)

    def versions(self, key: str) -> list[str]:
        """Of a key, markers included, the latest first."""
        listed = self._s3.list_object_versions(Bucket=self.bucket, Prefix=key)
        entries = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        ordered = sorted(entries, key=lambda each: each["LastModified"], reverse=True)
        return [each["VersionId"] for each in ordered if each["Key"] == key]

    def relabel(self, key: str) -> None:
        """As the API does."""
        self.services.wishes.relabel(key)

    def release(self, key: str) -> bool:
        """The same; says whether the picture is in quarantine."""
        return self.services.wishes.release(key)

    def remove(self, key: str) -> None:
        self.services.wishes.remove(key)

    def holds(self, key: str) -> bool:
        return self._current().get(key) is not None

    def pass_time(self, by: timedelta) -> None:
        """So much time passes, and then all that is due is done."""
        self.clock.advance(by)
        self.work()

    def work(self) -> None:
        self.pump.drain()
        self._keep_what_was_given_up()

    def redrive(self) -> None:
        """What stands in the dead-letter queue gets back on its queue."""
        for message in self.dead_letters():
            self._sqs.send_message(QueueUrl=self.services.settings.labelling_queue_url, MessageBody=message)
        self._queue("labelling-dead-letters")._messages.clear()

    def forget_messages(self) -> None:
        """Whatever is on the way to be labelled is lost."""
        self._queue("labelling")._messages.clear()
        self.post.waiting.clear()

    def dead_letters(self) -> list[str]:
        return [message.body for message in self._queue("labelling-dead-letters")._messages]

    def stream_dead_letters(self) -> list[str]:
        return [message.body for message in self._queue("stream-dead-letters")._messages]

    @property
    def dead_keys(self) -> set[str]:
        bodies = map(json.loads, self.dead_letters())
        return {key for body in bodies for key in keys_of(body.get("requestPayload", body))}

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way to a function."""
        return not self._queue("labelling")._messages and not self.post.waiting

    @property
    def bucket(self) -> str:
        return self.services.settings.images_bucket

    def said(self) -> dict[str, Any]:
        """By key: version, status, reason and labels of its image row, and the names in its label rows."""
        rows = self._rows()
        images = {row["source_file"]: row for row in rows if row["entry"] == "image"}
        named: dict[str, list[str]] = {}
        for row in rows:
            if row["entry"].startswith("label#"):
                named.setdefault(row["source_file"], []).append(row["label_name"])
        return {
            key: (*_image(images.get(key)), sorted(named.get(key, [])))
            for key in {*images, *named, *(key for key, _ in self.noted)}
        }

    def expected(self) -> dict[str, Any]:
        """The same, as the versions in the bucket have it."""
        return {key: self._expected(key, version) for key, version in self._current().items()}

    def expected_of(self, key: str, labels: list[str]) -> Any:
        """The same of a key that holds a picture with these labels, in whichever version."""
        return self._current()[key], "labelled", labels, labels

    def _expected(self, key: str, version: str | None) -> Any:
        if version is None:
            return None, None, [], []
        labels = self.noted.get((key, version), [])
        if labels is None:
            return version, NO_PICTURE, [], []
        return version, "labelled", labels, labels

    def _current(self) -> dict[str, str | None]:
        """By key that was ever used, the version that it holds now, from moto's own store."""
        latest = {key: self._bucket(self.bucket).keys.get(key) for key, _ in self.noted}
        is_there = {key: isinstance(version, s3_models.FakeKey) for key, version in latest.items()}
        return {key: latest[key].version_id if is_there[key] else None for key in latest}

    def news(self) -> set[str]:
        """The ids of all final answers that the table's stream has told of."""
        return {
            event_id(after["source_file"], after["committed_run"])
            for before, after in self._changes()
            if after.get("entry") == "image"
            and after["status"] in TYPES
            and "committed_run" in after
            and any(before.get(name) != after[name] for name in ("status", "committed_run"))
        }

    def out_of_sight(self) -> int:
        """How many pictures are in quarantine."""
        return len(self._bucket(self.services.settings.quarantine_bucket).keys)

    def left_behind(self) -> set[tuple[str, str]]:
        """Versions that some row said were to go to quarantine, and that are in the images bucket still."""
        named = {
            (after["source_file"], after["secluded"]["version_id"])
            for _, after in self._changes()
            if "secluded" in after
        }
        versions = self._bucket(self.bucket).keys
        return {
            each for each in named if each[1] in {kept.version_id for kept in versions.getlist(each[0], [])}
        }

    def wanted_anew(self) -> set[str]:
        """The keys that somebody wants labelled again, and that nobody has."""
        rows = (row for row in self._rows() if row["entry"] == "image")
        return {row["source_file"] for row in rows if read_claim(row).is_wanted_anew}

    def _changes(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """All that the images table's stream has told: each row before and after."""
        shard = self._table(self._usual.images_table).stream_shard
        changes = (each.record["dynamodb"] for each in shard.items)
        return [(_row(change.get("OldImage")), _row(change.get("NewImage"))) for change in changes]

    def _note_day(self, _: str) -> None:
        place = self.rekognition.requests[-1][1]["Image"]["S3Object"]
        version = place["Name"], place["Version"]
        if not any(version in asked for asked in self.days.values()):
            self.days.setdefault(self.clock.now().date(), set()).add(version)

    def index(self) -> tuple[Index, Index]:
        """What search is made of, and what it ought to be."""
        rows = (row for row in self._rows() if row["entry"] == "image" and row["status"] != "removed")
        return indexed(rows_of(self.services.settings.terms_table)), expected(map(read_image, rows))

    def _rows(self) -> list[dict[str, Any]]:
        """From moto's own store: a Scan takes as long as a picture."""
        items = self._table(self.services.settings.images_table).all_items()
        return [unmarshal(item.to_json()["Attributes"]) for item in items]

    def _keep_what_was_given_up(self) -> None:
        """As the destination of failed events does, that `finish` sets; if `recover` dies, it runs again."""
        failed = [*self.pump.failed_events]
        self.pump.failed_events.clear()
        notifications = [event for event in failed if event.function_name.endswith("uploaded_image")]
        self.given_up += notifications
        self.stuck += [
            event for event in failed if event not in notifications and not isinstance(event.error, Crash)
        ]
        for event in notifications:
            body = {
                "version": "1.0",
                "requestContext": {"condition": event.condition},
                "requestPayload": event.event,
            }
            self._sqs.send_message(
                QueueUrl=self.outputs["LabellingDeadLettersUrl"], MessageBody=json.dumps(body)
            )

    def _make_pump(self) -> Pump:
        app = self.app_module.app
        timeout = self.services.settings.label_timeout_seconds
        return Pump(
            app,
            self.session,
            endpoint_url="http://127.0.0.1:4566",
            stage=NAME,
            clock=self.clock,
            functions=dict.fromkeys(app.handler_map, FunctionSettings(timeout)),
            mappings=mappings_of(app, self.outputs),
        )

    def _empty(self) -> None:
        settings = self.services.settings
        for table in (settings.images_table, settings.terms_table, settings.state_table):
            self._table(table).items.clear()
            if shard := self._table(table).stream_shard:
                shard.items.clear()
        for bucket in (self.bucket, self.services.settings.quarantine_bucket):
            self._bucket(bucket).keys.clear()
        for name in QUEUES:
            self._queue(name)._messages.clear()

    def _bucket(self, name: str) -> Any:
        return s3_models.s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[name]

    def _table(self, name: str) -> Any:
        return dynamodb_models.dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[name]

    def _queue(self, name: str) -> Any:
        queues = sqs_models.sqs_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].queues
        return queues[f"image-labeller-{NAME}-{name}"]

    @cached_property
    def _s3(self) -> Any:
        return self.session.client("s3")

    @cached_property
    def _sqs(self) -> Any:
        return self.session.client("sqs")


def _image(row: Mapping[str, Any] | None) -> tuple[Any, ...]:
    if row is None or row["status"] == "removed":
        return None, None, []
    if row["status"] == "quarantined":
        return None, "quarantined", sorted(label["name"] for label in row.get("labels", []))
    status = f"{row['status']} {row.get('reason', '')}".rstrip()
    return row.get("version_id"), status, sorted(label["name"] for label in row.get("labels", []))


def _row(item: Any) -> dict[str, Any]:
    return unmarshal(item) if item else {}


def _next_morning(now: datetime) -> datetime:
    return (now + timedelta(days=1)).replace(hour=3, minute=0, second=0, microsecond=0)


@contextmanager
def open_stage(
    app_module: ModuleType, clock: ManualClock | None = None, *, is_hasty: bool = True
) -> Iterator[Stage]:
    """A stage by the project's own template, which the app's triggers are turned to meanwhile."""
    layer = straight_to_moto if is_hasty else straight_to
    clock = clock or ManualClock()
    rekognition = ScriptedRekognition()
    account, addressee = Account(rekognition), Addressee(clock)
    endpoint = Endpoint(rekognition=account)
    session = intercept(boto3.Session(), layer(endpoint))
    rekognition.session = session
    outputs = resources.create(session, NAME, PROJECT / ".chalice/resources.yaml")
    troubles = Troubles(layer(endpoint), clock)
    settings = replace(settings_of(NAME, outputs), detect=DETECTORS, moderation="quarantine")
    services = ServicesOnClock(settings, clock, troubles)
    with pytest.MonkeyPatch.context() as patch, moto_patches.follow(clock), sdk_waiting_by(services.pause):
        patch.setattr(app_module, "services", services)
        patch.setattr(Exchange, "_connection", lambda *_: addressee.connect())
        patch.setattr("chalicelib.detection.ThreadPoolExecutor", lambda _: InTurn())
        _turn(app_module, settings, patch)
        with hastened() if is_hasty else nullcontext(), silence():
            yield Stage(
                app_module,
                services,
                troubles,
                rekognition,
                account,
                addressee,
                clock,
                endpoint,
                session,
                outputs,
            )


def _turn(app_module: ModuleType, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """What triggers the functions was named when the app was imported."""
    queues = {
        "label_queued_image": settings.labelling_queue_url,
        "deliver_callback": settings.callbacks_queue_url,
    }
    for config in app_module.app.event_sources:
        match config:
            case S3EventConfig():
                patch.setattr(config, "bucket", settings.images_bucket)
            case SQSEventConfig():
                patch.setattr(config, "queue", queue_name(queues[config.name]))
            case DynamoDBEventConfig():
                patch.setattr(config, "stream_arn", settings.images_stream_arn)


@contextmanager
def silence() -> Iterator[None]:
    """Thousands of faults would be told in as many lines."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
