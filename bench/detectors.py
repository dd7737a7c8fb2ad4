"""All detectors at once against one after the other: `python -m bench.detectors`.

Both ways look at the same kind of picture in one run, in turns, each time at one that nobody has seen before.
The detectors are the laptop's. AWS's take their time on other machines, which is what the second half adds: a
wait before each answer that keeps no processor busy.
"""

import io
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
from PIL import Image
from rich import print as show
from rich.table import Table

from chalicelib.claim import UNCLAIMED
from chalicelib.model import StoredObject
from chalicelib.services import Services
from chalicelib.settings import DETECTORS, Settings
from chalicelib.stopwatch import Stopwatch
from local_cloud.aws_json import Reply
from local_cloud.cloud import enter_stage
from local_cloud.endpoint import Endpoint
from local_cloud.recognition import recogniser_from
from local_cloud.rekognition import LocalRekognition

ROOT = Path(__file__).parent.parent
ROUNDS = 9
WAITS = (0.0, 0.5)  # seconds
BUCKET = "pictures"
FORMATS = {"PNG, read by Rekognition": "PNG", "WebP, converted": "WEBP"}


@dataclass
class Waiting:
    """A Rekognition that takes some time for each answer, and counts what it is asked."""

    behind: LocalRekognition
    seconds: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)

    def answer(self, target: str, body: bytes) -> Reply:
        self.calls[target.rpartition(".")[2]] += 1
        time.sleep(self.seconds)
        return self.behind.answer(target, body)


@dataclass(frozen=True)
class Bench:
    rekognition: Waiting
    pictures: Iterator[int]

    def at_once(self) -> list[Services]:
        return [Services(settings(DETECTORS))]

    def one_by_one(self) -> list[Services]:
        calls = (("labels", "properties"), ("moderation",), ("text",))
        return [Services(settings(detectors)) for detectors in calls]

    def measure(self, fmt: str) -> tuple[str, ...]:
        """Calls for a picture, milliseconds of both ways, and their ratio: medians of all rounds."""
        one_by_one, at_once = self.one_by_one(), self.at_once()
        self.rekognition.calls.clear()
        pairs = [(self._time(one_by_one, fmt), self._time(at_once, fmt)) for _ in range(ROUNDS)]
        before, after = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        calls = self.rekognition.calls.total() / (2 * ROUNDS)
        return f"{calls:.0f}", f"{before:.0f} ms", f"{after:.0f} ms", f"{ratio:.2f}"

    def _time(self, services: list[Services], fmt: str) -> float:
        found = upload(services[0], next(self.pictures), fmt)
        started = time.perf_counter()
        for each in services:
            detected = each.detection.detect(found, UNCLAIMED, Stopwatch())
            if detected.failure:
                raise detected.failure
        return (time.perf_counter() - started) * 1000


def settings(detectors: tuple[str, ...]) -> Settings:
    return replace(Settings.from_env(), images_bucket=BUCKET, detect=detectors)


def upload(services: Services, number: int, fmt: str) -> StoredObject:
    """A sample picture that differs from all others, also once it is compressed."""
    image = Image.open(ROOT / "samples/astronaut.png").convert("RGB")
    image.paste(Image.effect_noise((64, 64), 100), (0, 0))
    body = io.BytesIO()
    image.save(body, fmt, **({"quality": 90} if fmt == "WEBP" else {}))
    key = f"{number}.{fmt.lower()}"
    services.s3.put_object(Bucket=BUCKET, Key=key, Body=body.getvalue())
    found = services.bucket.look(key)
    if found is None:
        raise RuntimeError(f"{key} is not there")
    return found


def reader() -> Callable[[str, str, str | None], bytes | None]:
    """What the local Rekognition reads objects by, once the endpoint is there."""

    def read(bucket: str, key: str, version: str | None) -> bytes | None:
        more: Any = {"VersionId": version} if version else {}
        return boto3.client("s3").get_object(Bucket=bucket, Key=key, **more)["Body"].read()

    return read


def main() -> None:
    recogniser = recogniser_from(os.environ)
    rekognition = Waiting(LocalRekognition(reader(), recogniser))
    with Endpoint(0, rekognition=rekognition) as endpoint:
        enter_stage(endpoint.url)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        bench = Bench(rekognition, iter(range(1, 65_536)))
        recogniser.warm_up()
        bench.measure("PNG")  # so that all is loaded
        table = Table(box=None, title=f"median of {ROUNDS} pictures, {', '.join(DETECTORS)}")
        for heading in ("", "calls", "one after the other", "at once", "ratio"):
            table.add_column(heading, justify="right" if heading else "left")
        for rekognition.seconds in WAITS:
            for name, fmt in FORMATS.items():
                wait = f" +{rekognition.seconds * 1000:.0f} ms" if rekognition.seconds else ""
                table.add_row(f"{name}{wait}", *bench.measure(fmt))
        show(table)
    recogniser.close()


if __name__ == "__main__":
    main()
