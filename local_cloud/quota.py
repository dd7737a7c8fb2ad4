"""How often a second the local Rekognition may be called, as the quotas of an AWS account have it.

https://docs.aws.amazon.com/general/latest/gr/rekognition.html
"""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from local_cloud.aws_json import refusal
from local_cloud.clock import Clock
from local_cloud.endpoint import Rekognition, Reply
from local_cloud.recognition.errors import ConfigurationError

_VARIABLE = "LOCAL_REKOGNITION_TPS"
_USUAL = "50"


class TokenBucket:
    """Holds `burst` tokens, and fills at `rate` tokens a second; it begins full."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._for_one = timedelta(seconds=1 / rate)
        self._for_all = burst * self._for_one
        self._clock = clock
        self._full_at = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether there was a token to take."""
        with self._lock:
            now = self._clock.now()
            full_at = max(self._full_at, now) + self._for_one
            if full_at - now > self._for_all:
                return False
            self._full_at = full_at
            return True


class LimitedRekognition:
    """Lets so many calls of each operation through in a second; the rest it refuses as AWS does."""

    def __init__(self, rekognition: Rekognition, rate: float, clock: Clock) -> None:
        self._rekognition = rekognition
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    def answer(self, target: str, body: bytes) -> Reply:
        if self._bucket(target).take():
            return self._rekognition.answer(target, body)
        return refusal(400, "ProvisionedThroughputExceededException", "Provisioned rate exceeded")

    def _bucket(self, target: str) -> TokenBucket:
        a_second = max(1, round(self._rate))
        return self._buckets.setdefault(target, TokenBucket(self._rate, a_second, self._clock))


def rate_from(environment: Mapping[str, Any]) -> float:
    """Calls a second, as the user set it in LOCAL_REKOGNITION_TPS. Raises ConfigurationError."""
    text = environment.get(_VARIABLE) or _USUAL
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not (isfinite(rate) and rate > 0):
        raise ConfigurationError(f"{_VARIABLE} must be a number of calls a second above 0, and is {text!r}.")
    return rate
