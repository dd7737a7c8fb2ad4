"""The environment as one validated value; nothing else reads os.environ."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

MAX_LABELS = 45  # the puts and deletes of label rows and the image row share a transaction of 100 actions
MAX_LABEL_TIMEOUT = 150  # seconds: Lambda tries a last time 180 s after a crash, and the lease must be over
STAGE_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")  # also a dimension of every metric, and part of names on AWS
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """The environment cannot be used; the message names every problem."""


@dataclass(frozen=True)
class Settings:
    stage: str
    images_bucket: str
    images_table: str
    min_confidence: float = 50.0
    max_labels: int = 30
    upload_url_seconds: int = 900
    label_timeout_seconds: int = 60
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the environment; raises SettingsError with all its problems in one message."""
        variables = _Variables(environ)
        settings = cls(
            stage=variables.name("STAGE"),
            images_bucket=variables.text("IMAGES_BUCKET"),
            images_table=variables.text("IMAGES_TABLE"),
            min_confidence=variables.number("MIN_CONFIDENCE", cls.min_confidence, 0, 100),
            max_labels=variables.whole("MAX_LABELS", cls.max_labels, 1, MAX_LABELS),
            upload_url_seconds=variables.whole("UPLOAD_URL_SECONDS", cls.upload_url_seconds, 60, 900),
            label_timeout_seconds=variables.whole(
                "LABEL_TIMEOUT_SECONDS", cls.label_timeout_seconds, 60, MAX_LABEL_TIMEOUT
            ),
            log_level=variables.choice("LOG_LEVEL", cls.log_level, LOG_LEVELS),
        )
        if variables.problems:
            raise SettingsError("; ".join(variables.problems))
        return settings

    @property
    def lease_seconds(self) -> int:
        """How long one invocation may own an image: its time-out, and a margin for clocks that differ."""
        return self.label_timeout_seconds + 10


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
        if not (text.isascii() and text.isdigit() and len(text) < 9 and least <= int(text) <= most):
            self.problems.append(f"{name} must be a whole number from {least} to {most}, not {text!r}")
            return default
        return int(text)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.environ.get(name, "").strip() or default
        if value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value
