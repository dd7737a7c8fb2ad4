"""A picture that was seen before against one that was not: `python -m bench.reuse`.

Each round takes a picture that nobody has seen before through the whole of labelling, and then the same bytes
under another key: with a checksum that S3 has, and without one. All ways take turns in one run. The detectors
are the laptop's, which remember by themselves what they have found in some bytes: it is `new` that shows what
they take.
"""

import hashlib
import io
import os
import statistics
import time
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import boto3
from PIL import Image
from rich import print as show
from rich.table import Table

from bench.detectors import reader
from chalicelib.model import Outcome
from chalicelib.services import Services
from chalicelib.settings import DETECTORS, Settings
from local_cloud import resources
from local_cloud.cloud import enter_stage
from local_cloud.endpoint import Endpoint
from local_cloud.recognition import recogniser_from
from local_cloud.rekognition import LocalRekognition

ROOT = Path(__file__).parent.parent
ROUNDS = 9
FORMATS = {"PNG": {}, "WEBP": {"quality": 90}}  # the one read by Rekognition itself, the other converted
SERVICES = ("rekognition", "s3", "dynamodb")


@dataclass
class Case:
    """One way for pictures to come."""

    reuse: str
    is_declared: bool
    calls: Counter[str] = field(default_factory=Counter)

    @cached_property
    def services(self) -> Services:
        services = Services(replace(Settings.from_env(), detect=DETECTORS, reuse=self.reuse))
        services.session.events.register("before-call", self._count)
        return services

    def time(self, key: str, body: bytes) -> tuple[float, Counter[str]]:
        """Milliseconds and calls to AWS, by service, from the look to the commit."""
        checksum = b64encode(hashlib.sha256(body).digest()).decode()
        declared: Any = {"ChecksumSHA256": checksum} if self.is_declared else {}
        boto3.client("s3").put_object(
            Bucket=self.services.settings.images_bucket, Key=key, Body=body, **declared
        )
        self.calls.clear()
        started = time.perf_counter()
        outcome = self.services.labelling.label(key)
        taken = (time.perf_counter() - started) * 1000
        if outcome is not Outcome.LABELLED:
            raise RuntimeError(f"{key}: {outcome}")
        return taken, self.calls.copy()

    def _count(self, model: Any, **_: Any) -> None:
        self.calls[model.service_model.service_name] += 1


def pictures(fmt: str) -> Iterator[bytes]:
    """A sample picture that differs from all others, also once it is compressed."""
    image = Image.open(ROOT / "samples/astronaut.png").convert("RGB").resize((1024, 1024))
    while True:
        image.paste(Image.effect_noise((64, 64), 100), (0, 0))
        body = io.BytesIO()
        image.save(body, fmt, **FORMATS[fmt])
        yield body.getvalue()


def measure(fmt: str, rounds: int) -> dict[tuple[str, str], list[tuple[float, Counter[str]]]]:
    cases = {
        "off": Case("off", is_declared=False),
        "on, declared": Case("on", is_declared=True),
        "on, not declared": Case("on", is_declared=False),
    }
    taken = defaultdict(list)
    fresh = pictures(fmt)
    for number, (name, case) in product(range(rounds), cases.items()):
        body = next(fresh)
        for turn in ("new", "again"):
            taken[name, turn].append(case.time(f"{fmt}/{name}/{number}/{turn}", body))
    return taken


def main() -> None:
    recogniser = recogniser_from(os.environ)
    with Endpoint(0, rekognition=LocalRekognition(reader(), recogniser)) as endpoint:
        enter_stage(endpoint.url)
        resources.create(boto3.Session(), "local", ROOT / ".chalice/resources.yaml")
        recogniser.warm_up()
        table = Table(box=None, title=f"median of {ROUNDS} pictures, {', '.join(DETECTORS)}")
        for heading in ("", "REUSE", "picture", *SERVICES, "ms"):
            table.add_column(heading, justify="right" if heading in (*SERVICES, "ms") else "left")
        for fmt in FORMATS:
            measure(fmt, 1)  # so that all is loaded
            for (name, turn), results in measure(fmt, ROUNDS).items():
                times, calls = zip(*results, strict=True)
                counted = [
                    f"{statistics.median(each[service] for each in calls):.0f}" for service in SERVICES
                ]
                table.add_row(fmt, name, turn, *counted, f"{statistics.median(times):.0f}")
        show(table)
    recogniser.close()


if __name__ == "__main__":
    main()
