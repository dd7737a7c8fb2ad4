"""The environment as one validated value; nothing else reads os.environ."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from chalicelib import taxonomy
from chalicelib.callback_url import CallbackRules
from chalicelib.errors import CallbackRefused

# What the stage's stack has made: variables, and the stack's outputs that they are.
RESOURCES = {
    "IMAGES_BUCKET": "ImagesBucket",
    "QUARANTINE_BUCKET": "QuarantineBucket",
    "IMAGES_TABLE": "ImagesTable",
    "IMAGES_STREAM_ARN": "ImagesStreamArn",
    "TERMS_TABLE": "TermsTable",
    "STATE_TABLE": "StateTable",
    "LABELLING_QUEUE_URL": "LabellingQueueUrl",
    "CALLBACKS_QUEUE_URL": "CallbacksQueueUrl",
    "CALLBACKS_DEAD_LETTERS_URL": "CallbacksDeadLettersUrl",
    "STREAM_DEAD_LETTERS_URL": "StreamDeadLettersUrl",
    "SIGNING_SECRET_ARN": "SigningSecretArn",
}
MAX_LABELS = 45  # the puts and deletes of label rows and the image row share a transaction of 100 actions
MIN_LABEL_TIMEOUT = 140  # seconds, in which one attempt at a picture ends though every service hangs
LAST_CALLS = 55  # seconds, in which the detectors answer and the row is written though every service hangs
PUTTING_AWAY = 75  # seconds, in which a picture is taken into quarantine though every service hangs
MAX_LABEL_TIMEOUT = 150  # Lambda tries a last time 180 s after a crash, and the lease must be over
STAGE_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")  # also a dimension of every metric, and part of names on AWS
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DETECTORS = ("labels", "moderation", "text", "properties")
MODERATIONS = ("off", "flag", "quarantine")
LOCAL = "local"  # the stage of the laptop, the only one whose API may be open, and which may call itself back
ORIGIN = re.compile(r"\*|https?://[a-z0-9.-]+(:[0-9]{1,5})?")
AUTHS = ("token", "open")
REUSES = ("off", "on")
# Rekognition's limits for filters: https://docs.aws.amazon.com/rekognition/latest/APIReference/API_GeneralLabelsSettings.html
MAX_FILTERS, FILTER = 100, re.compile(r"[A-Za-z0-9àâèçñó'\-_(). ]{1,50}")
TRIGGER = re.compile(r"([^:;=]+):\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)")
HOST = re.compile(r"(\*\.)?[A-Za-z0-9.:-]{1,253}")
MEGABYTE = 1024 * 1024
OWN_MEGABYTES = 256  # of a function's memory, which conversions leave to it and to Lambda's runtime
LEAST_MEGABYTES = 64  # for conversions, of which a small picture takes a third


class SettingsError(Exception):
    """The environment cannot be used; the message names every problem."""


@dataclass(frozen=True)
class Settings:
    stage: str
    images_bucket: str
    quarantine_bucket: str
    images_table: str
    images_stream_arn: str
    terms_table: str
    state_table: str
    labelling_queue_url: str
    callbacks_queue_url: str
    callbacks_dead_letters_url: str
    stream_dead_letters_url: str
    signing_secret_arn: str
    detect: tuple[str, ...] = ("labels", "moderation", "text")
    min_confidence: float = 50.0
    max_labels: int = 30
    include_labels: tuple[str, ...] = ()
    exclude_labels: tuple[str, ...] = ()
    include_categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    hidden_labels: tuple[str, ...] = ()
    moderation: str = "flag"
    moderation_labels: tuple[tuple[str, float], ...] = (
        ("Explicit", 80.0),
        ("Violence", 80.0),
        ("Visually Disturbing", 80.0),
        ("Hate Symbols", 80.0),
    )
    min_moderation_confidence: float = 50.0
    min_text_confidence: float = 80.0
    max_colors: int = 10
    reuse: str = "off"
    daily_image_limit: int = 0  # for none
    max_upload_bytes: int = 100 * MEGABYTE
    max_pixels: int = 100_000_000
    upload_url_seconds: int = 900
    api_auth: str = "token"
    cors_origin: str = ""
    callback_url: str = ""
    callback_hosts: tuple[str, ...] = ()
    callback_concurrency: int = 5
    label_timeout_seconds: int = 140
    labelling_concurrency: int = 8
    log_level: str = "INFO"
    aws_lambda_function_memory_size: int = 2048  # megabytes

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the environment; raises SettingsError with all its problems in one message."""
        variables = _Variables(environ)
        detect = variables.several("DETECT", cls.detect, DETECTORS)
        least_moderation = variables.number(
            "MIN_MODERATION_CONFIDENCE", cls.min_moderation_confidence, 0, 100
        )
        stage = variables.name("STAGE")
        callback_hosts = variables.hosts("CALLBACK_HOSTS")
        settings = cls(
            stage=stage,
            images_bucket=variables.text("IMAGES_BUCKET"),
            quarantine_bucket=variables.text("QUARANTINE_BUCKET"),
            images_table=variables.text("IMAGES_TABLE"),
            images_stream_arn=variables.text("IMAGES_STREAM_ARN"),
            terms_table=variables.text("TERMS_TABLE"),
            state_table=variables.text("STATE_TABLE"),
            labelling_queue_url=variables.text("LABELLING_QUEUE_URL"),
            callbacks_queue_url=variables.text("CALLBACKS_QUEUE_URL"),
            callbacks_dead_letters_url=variables.text("CALLBACKS_DEAD_LETTERS_URL"),
            stream_dead_letters_url=variables.text("STREAM_DEAD_LETTERS_URL"),
            signing_secret_arn=variables.text("SIGNING_SECRET_ARN"),
            detect=detect,
            min_confidence=variables.number("MIN_CONFIDENCE", cls.min_confidence, 0, 100),
            max_labels=variables.whole("MAX_LABELS", cls.max_labels, 1, MAX_LABELS),
            include_labels=variables.filters("INCLUDE_LABELS"),
            exclude_labels=variables.filters("EXCLUDE_LABELS"),
            include_categories=variables.filters("INCLUDE_CATEGORIES"),
            exclude_categories=variables.filters("EXCLUDE_CATEGORIES"),
            hidden_labels=variables.names("HIDDEN_LABELS"),
            moderation=variables.moderation("MODERATION", cls.moderation, detect),
            moderation_labels=variables.triggers(
                "MODERATION_LABELS", cls.moderation_labels, least_moderation
            ),
            min_moderation_confidence=least_moderation,
            min_text_confidence=variables.number("MIN_TEXT_CONFIDENCE", cls.min_text_confidence, 0, 100),
            max_colors=variables.whole("MAX_COLORS", cls.max_colors, 1, 20),
            reuse=variables.choice("REUSE", cls.reuse, REUSES),
            daily_image_limit=variables.whole("DAILY_IMAGE_LIMIT", cls.daily_image_limit, 0, 10_000_000),
            max_upload_bytes=variables.whole(
                "MAX_UPLOAD_BYTES", cls.max_upload_bytes, MEGABYTE, cls.max_upload_bytes
            ),
            max_pixels=variables.whole("MAX_PIXELS", cls.max_pixels, 1_000_000, cls.max_pixels),
            upload_url_seconds=variables.whole("UPLOAD_URL_SECONDS", cls.upload_url_seconds, 60, 900),
            api_auth=variables.auth("API_AUTH", cls.api_auth),
            cors_origin=variables.origin("CORS_ORIGIN"),
            callback_url=variables.callback_url("CALLBACK_URL", callback_rules(stage, callback_hosts)),
            callback_hosts=callback_hosts,
            callback_concurrency=variables.whole("CALLBACK_CONCURRENCY", cls.callback_concurrency, 2, 1000),
            label_timeout_seconds=variables.whole(
                "LABEL_TIMEOUT_SECONDS", cls.label_timeout_seconds, MIN_LABEL_TIMEOUT, MAX_LABEL_TIMEOUT
            ),
            labelling_concurrency=variables.whole(
                "LABELLING_CONCURRENCY", cls.labelling_concurrency, 2, 1000
            ),
            log_level=variables.choice("LOG_LEVEL", cls.log_level, LOG_LEVELS),
            aws_lambda_function_memory_size=variables.whole(
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", cls.aws_lambda_function_memory_size, 128, 10_240
            ),
        )
        if variables.problems:
            raise SettingsError("; ".join(variables.problems))
        return settings

    @property
    def callback_rules(self) -> CallbackRules:
        return callback_rules(self.stage, self.callback_hosts)

    @property
    def flagging(self) -> dict[str, float]:
        """The least confidence with which a name of the moderation taxonomy counts."""
        return dict(self.moderation_labels) if self.moderation != "off" else {}

    @property
    def conversion_bytes(self) -> int:
        """The memory that a conversion may take beside the function itself."""
        return max(self.aws_lambda_function_memory_size - OWN_MEGABYTES, LEAST_MEGABYTES) * MEGABYTE

    @property
    def lease_seconds(self) -> int:
        """How long one invocation may own an image: its time-out, and a margin for clocks that differ."""
        return self.label_timeout_seconds + 10


def callback_rules(stage: str, hosts: tuple[str, ...]) -> CallbackRules:
    """Only on a laptop may a callback go to the machine that sends it."""
    return CallbackRules(hosts, loopback=stage == LOCAL)


@dataclass
class _Variables:
    environ: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        value = self.environ.get(name, "").strip()
        if not value:
            self.problems.append(f"{name} is missing")
        return value

    def name(self, name: str) -> str:
        value = self.text(name)
        if value and not STAGE_NAME.fullmatch(value):
            self.problems.append(
                f"{name} must be up to 15 small letters and digits, a letter first, not {value!r}"
            )
        return value

    def number(self, name: str, default: float, least: float, most: float) -> float:
        text = self.environ.get(name, "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            self.problems.append(f"{name} must be a number from {least} to {most}, not {text!r}")
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        text = self.environ.get(name, "").strip()
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            self.problems.append(f"{name} must be a whole number from {least} to {most}, not {text!r}")
            return default
        return int(text)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.environ.get(name, "").strip() or default
        if value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def several(self, name: str, default: tuple[str, ...], choices: tuple[str, ...]) -> tuple[str, ...]:
        values = self._list(name) or default
        if unknown := set(values) - set(choices):
            self.problems.append(f"{name} takes {', '.join(choices)}, not {', '.join(sorted(unknown))}")
        return tuple(choice for choice in choices if choice in values)

    def filters(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        if len(values) > MAX_FILTERS:
            self.problems.append(f"{name} may have {MAX_FILTERS} names, not {len(values)}")
        self.problems += [
            f"{name}: {value!r} is none of Rekognition's names"
            for value in values
            if not FILTER.fullmatch(value)
        ]
        return values

    def names(self, name: str) -> tuple[str, ...]:
        return self._list(name)

    def hosts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        self.problems += [
            f"{name}: {value!r} must be like hooks.example.com or *.example.com"
            for value in values
            if not HOST.fullmatch(value)
        ]
        return values

    def callback_url(self, name: str, rules: CallbackRules) -> str:
        url = self.environ.get(name, "").strip()
        try:
            if url:
                rules.parse(url)
        except CallbackRefused as refusal:
            self.problems.append(f"{name}: {refusal.reason}")
        return url

    def moderation(self, name: str, default: str, detect: tuple[str, ...]) -> str:
        """What is wanted must be detected; who does not say what he wants gets what can be had."""
        if "moderation" in detect:
            return self.choice(name, default, MODERATIONS)
        wanted = self.choice(name, "off", MODERATIONS)
        if wanted != "off":
            self.problems.append(f"{name}={wanted} needs moderation in DETECT")
        return wanted

    def origin(self, name: str) -> str:
        value = self.environ.get(name, "").strip()
        if value and not ORIGIN.fullmatch(value):
            self.problems.append(
                f"{name} must be an origin, such as https://shop.example, or *, not {value!r}"
            )
        return value

    def auth(self, name: str, default: str) -> str:
        """Open is what a laptop is unless told otherwise, and what nothing else can be."""
        is_local = self.environ.get("STAGE", "").strip() == LOCAL
        auth = self.choice(name, "open" if is_local else default, AUTHS)
        if auth == "open" and not is_local:
            self.problems.append(f"{name}=open is for the stage {LOCAL} alone")
        return auth

    def triggers(
        self, name: str, default: tuple[tuple[str, float], ...], least: float
    ) -> tuple[tuple[str, float], ...]:
        """Names, each with the confidence that it takes: `Violence:80, Weapons:95`."""
        return tuple(self._trigger(name, each, least) for each in self._list(name)) or default

    def _trigger(self, name: str, text: str, least: float) -> tuple[str, float]:
        parts = TRIGGER.fullmatch(text)
        label, confidence = (parts[1].strip(), float(parts[2])) if parts else ("", math.inf)
        if not label or confidence > 100:
            self.problems.append(f"{name} must be like `Violence:80, Weapons:95`, not {text!r}")
        elif not taxonomy.is_name(label):  # and so it would never be seen either
            self.problems.append(f"{name}: {label!r} is no moderation label{_did_you_mean(label)}")
        if confidence < least:
            self.problems.append(f"{name}: {text!r} is below MIN_MODERATION_CONFIDENCE, so it is never seen")
        return label, confidence

    def _list(self, name: str) -> tuple[str, ...]:
        parts = (part.strip() for part in self.environ.get(name, "").split(","))
        return tuple(dict.fromkeys(part for part in parts if part))


def _did_you_mean(label: str) -> str:
    closest = taxonomy.closest(label)
    return f"; did you mean {closest!r}?" if closest else ""
