"""The one place where clients and use cases are made, each when it is first needed."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from chalicelib import silence
from chalicelib.bucket import Bucket
from chalicelib.callback_url import CallbackRules
from chalicelib.callbacks import Callbacks
from chalicelib.claims import Claims
from chalicelib.conversion import Converter
from chalicelib.daily_limit import DailyLimit
from chalicelib.deaths import Deaths
from chalicelib.delivery import Delivery
from chalicelib.deny_list import DenyList
from chalicelib.detection import Detection
from chalicelib.dispatching import Dispatching
from chalicelib.indexing import Indexing
from chalicelib.labelling import Labelling
from chalicelib.metrics import Metrics
from chalicelib.model import Detector, Recipe
from chalicelib.quarantine import Quarantine
from chalicelib.quarantining import Quarantining
from chalicelib.queue import LabellingQueue, Queue
from chalicelib.receivers import Receivers
from chalicelib.recovery import Recovery
from chalicelib.rekognition import Rekognition
from chalicelib.reuse import Reuse
from chalicelib.search import Search
from chalicelib.settings import LAST_CALLS, MIN_LABEL_TIMEOUT, PUTTING_AWAY, Settings
from chalicelib.signing_secret import SigningSecret
from chalicelib.slow_path import SlowPath
from chalicelib.state import State
from chalicelib.store import Store
from chalicelib.terms import Terms
from chalicelib.tokens import Tokens
from chalicelib.uploads import Uploads
from chalicelib.webhook import Webhook
from chalicelib.wishes import Wishes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# Who asks the API while a service is silent is told so within 5 s: the SDK pauses for a second at most.
# Look, claim, detect and commit, each taking all its attempts, stay below the shortest labelling time-out.
PATIENCE = Config(
    connect_timeout=0.5, read_timeout=1.3, retries={"mode": "standard", "total_max_attempts": 2}
)
REKOGNITION_PATIENCE = Config(
    connect_timeout=1, read_timeout=9, retries={"mode": "standard", "total_max_attempts": 3}
)
# A counter may have counted though its answer was lost, and a repeated try would count once more.
STATE_PATIENCE = Config(
    connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 1}
)
# S3 copies 100 MB in a second or two, and begins its answer before.
COPYING = Config(connect_timeout=1, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 1})
CONVERSION_SECONDS = 20.0  # more than twice what bench/conversion.md has measured
# Only SigV4 at the bucket's regional host signs the length, the type and If-None-Match.
PRESIGNING = Config(
    signature_version="s3v4", s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
)


@dataclass(frozen=True)
class Services:
    settings: Settings

    def now(self) -> datetime:
        return datetime.now(UTC)

    @cached_property
    def session(self) -> boto3.Session:
        session = boto3.Session()
        silence.watch(session.events)
        return session

    @cached_property
    def s3(self) -> "S3Client":
        return self.session.client("s3", config=PATIENCE.merge(PRESIGNING))

    @cached_property
    def bucket(self) -> Bucket:
        return Bucket(self.s3, self.settings.images_bucket)

    @cached_property
    def store(self) -> Store:
        return Store(self.dynamodb, self.settings.images_table, hidden=self.deny_list)

    @cached_property
    def claims(self) -> Claims:
        return Claims(self.dynamodb, self.settings.images_table)

    @cached_property
    def terms(self) -> Terms:
        return Terms(self.dynamodb, self.settings.terms_table)

    @cached_property
    def deny_list(self) -> DenyList:
        return DenyList(self.settings.hidden_labels)

    @cached_property
    def indexing(self) -> Indexing:
        everything = Store(self.dynamodb, self.settings.images_table)
        return Indexing(everything, self.terms, self.now)

    @cached_property
    def search(self) -> Search:
        return Search(self.terms, self.deny_list)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        return self.session.client("dynamodb", config=PATIENCE)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.dynamodb, self.settings.state_table, self.now)

    @cached_property
    def state(self) -> State:
        client = self.session.client("dynamodb", config=STATE_PATIENCE)
        return State(client, self.settings.state_table, self.now)

    @cached_property
    def rekognition(self) -> Rekognition:
        client = self.session.client("rekognition", config=REKOGNITION_PATIENCE)
        return Rekognition(client, self.recipe)

    @cached_property
    def recipe(self) -> Recipe:
        settings = self.settings
        return Recipe(
            detectors=frozenset(map(Detector, settings.detect)),
            min_confidence=settings.min_confidence,
            max_labels=settings.max_labels,
            include_labels=settings.include_labels,
            exclude_labels=settings.exclude_labels,
            include_categories=settings.include_categories,
            exclude_categories=settings.exclude_categories,
            min_moderation_confidence=settings.min_moderation_confidence,
            min_text_confidence=settings.min_text_confidence,
            max_colors=settings.max_colors,
        )

    @cached_property
    def detection(self) -> Detection:
        settings = self.settings
        return Detection(
            self.bucket,
            self.rekognition,
            Converter(settings.max_pixels, settings.conversion_bytes, CONVERSION_SECONDS),
            self.metrics,
            settings.max_upload_bytes,
            settings.max_pixels,
            settings.flagging,
            Reuse(self.state) if settings.reuse == "on" else None,
            self.daily_limit,
        )

    @cached_property
    def daily_limit(self) -> DailyLimit | None:
        limit = self.settings.daily_image_limit
        return DailyLimit(self.state, limit, self.now) if limit else None

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self.settings.stage)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(
            self.bucket,
            self.store,
            self.callback_rules,
            self.now,
            self.settings.upload_url_seconds,
        )

    @cached_property
    def sqs(self) -> "SQSClient":
        return self.session.client("sqs", config=PATIENCE)

    @cached_property
    def stream_dead_letters(self) -> Queue:
        return Queue(self.sqs, self.settings.stream_dead_letters_url)

    @cached_property
    def labelling_queue(self) -> LabellingQueue:
        return LabellingQueue(Queue(self.sqs, self.settings.labelling_queue_url))

    @cached_property
    def recovery(self) -> Recovery:
        return Recovery(
            self.bucket,
            self.store,
            self.claims,
            self.state,
            self.labelling_queue,
            self.daily_limit,
            self.dispatching,
            self.now,
            timedelta(seconds=self.settings.lease_seconds),
        )

    @cached_property
    def wishes(self) -> Wishes:
        return Wishes(self.bucket, self.claims, self.labelling_queue, self.now)

    @cached_property
    def quarantining(self) -> Quarantining:
        copying = self.session.client("s3", config=COPYING)
        settings = self.settings
        quarantine = Quarantine(self.s3, copying, settings.quarantine_bucket, settings.images_bucket)
        return Quarantining(self.bucket, quarantine, self.claims, self.now)

    @cached_property
    def slow_path(self) -> SlowPath:
        return SlowPath(self.labelling, self.labelling_queue, MIN_LABEL_TIMEOUT * 1000, LAST_CALLS * 1000)

    @cached_property
    def callback_rules(self) -> CallbackRules:
        return self.settings.callback_rules

    @cached_property
    def callbacks(self) -> Callbacks:
        return Callbacks(self.dynamodb, self.settings.images_table)

    @cached_property
    def receivers(self) -> Receivers:
        return Receivers(self.session.client("dynamodb", config=STATE_PATIENCE), self.settings.state_table)

    @cached_property
    def dispatching(self) -> Dispatching:
        settings = self.settings
        queue = Queue(self.sqs, settings.callbacks_queue_url)
        return Dispatching(
            self.callbacks, self.receivers, queue, self.now, settings.callback_url, self.deny_list
        )

    @cached_property
    def webhook(self) -> Webhook:
        return Webhook(self.callback_rules, self.now, ssl.create_default_context())

    @cached_property
    def delivery(self) -> Delivery:
        secrets = self.session.client("secretsmanager", config=PATIENCE)
        return Delivery(
            self.callbacks,
            self.receivers,
            SigningSecret(secrets, self.settings.signing_secret_arn),
            self.webhook,
            Queue(self.sqs, self.settings.callbacks_dead_letters_url),
            self.metrics,
            self.now,
        )

    @cached_property
    def labelling(self) -> Labelling:
        return Labelling(
            self.bucket,
            self.detection,
            self.quarantining,
            self.claims,
            lambda: Deaths(self.state, "labelling"),
            self.metrics,
            self.now,
            self.settings.lease_seconds,
            self.settings.moderation == "quarantine",
            MIN_LABEL_TIMEOUT - PUTTING_AWAY,
        )
