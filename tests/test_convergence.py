"""Whatever the order in which events arrive, the table ends as the bucket is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations, product
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.catalogue import Catalogue
from tests.direct import short_circuit
from tests.lambda_events import context
from tests.pictures import picture
from tests.scripted_rekognition import ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Step = str
History = tuple[Step, ...]
Event = dict[str, Any]

LONGEST = 5
PARTS = 4  # of the search, which run side by side
MOST_ORDERS = 24  # of one history: all of four events


@dataclass
class ObjectHistory:
    """Takes steps on one key of a versioned bucket, and knows which steps are possible next."""

    s3: "S3Client"
    bucket: str
    key: str
    versions: list[tuple[str, str]] = field(default_factory=list)  # (kind, version id), oldest first
    puts: int = 0

    def take(self, step: Step) -> None:
        getattr(self, step)()

    def put(self) -> None:
        self.puts += 1
        body = picture(f"Always {60 + self.puts}", f"Put{self.puts} 90")
        response = self.s3.put_object(Bucket=self.bucket, Key=self.key, Body=body)
        self.versions.append(("picture", response["VersionId"]))

    def delete(self) -> None:
        response = self.s3.delete_object(Bucket=self.bucket, Key=self.key)
        self.versions.append(("marker", response["VersionId"]))

    def delete_old_version(self) -> None:
        self._forget(next(i for i, (kind, _) in enumerate(self.versions[:-1]) if kind == "picture"))

    def delete_current_version(self) -> None:
        self._forget(len(self.versions) - 1)

    undelete = delete_current_version  # of a delete marker

    def _forget(self, index: int) -> None:
        _, version = self.versions.pop(index)
        self.s3.delete_object(Bucket=self.bucket, Key=self.key, VersionId=version)


def possible(kinds: tuple[str, ...]) -> Iterator[tuple[Step, tuple[str, ...]]]:
    """The steps that a key with these versions allows, each with the versions after it."""
    yield "put", (*kinds, "picture")
    if kinds and kinds[-1] == "picture":
        yield "delete", (*kinds, "marker")
        yield "delete_current_version", kinds[:-1]
    if kinds and kinds[-1] == "marker":
        yield "undelete", kinds[:-1]
    if "picture" in kinds[:-1]:
        oldest = kinds.index("picture")
        yield "delete_old_version", kinds[:oldest] + kinds[oldest + 1 :]


def histories(length: int, kinds: tuple[str, ...] = ()) -> Iterator[History]:
    if length == 0:
        yield ()
        return
    for step, after in possible(kinds):
        for rest in histories(length - 1, after):
            yield (step, *rest)


ALL = [history for length in range(1, LONGEST + 1) for history in histories(length)]


@pytest.fixture
def session(endpoint: Endpoint) -> boto3.Session:
    return short_circuit(boto3.Session(), endpoint)


@pytest.fixture
def services(settings: Settings, endpoint: Endpoint, rekognition: ScriptedRekognition) -> Services:
    services = Services(settings)
    short_circuit(services.session, endpoint)
    return services


@pytest.fixture
def s3(session: boto3.Session) -> "S3Client":
    return session.client("s3")


@pytest.fixture
def catalogue(services: Services, session: boto3.Session) -> Catalogue:
    return Catalogue(services, session.client("s3"), session.client("dynamodb"))


@pytest.fixture
def handle(
    app_module: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Event], None]:
    monkeypatch.setattr(app_module, "services", services)
    return lambda event: app_module.label_uploaded_image({"Records": [event]}, context())


@pytest.fixture
def emitted(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    events: list[Event] = []
    monkeypatch.setattr(endpoint, "on_object_event", events.append)
    return events


def test_the_histories_are_all_there_are() -> None:
    lengths = [sum(len(history) == length for history in ALL) for length in range(1, LONGEST + 1)]

    assert lengths == [1, 3, 8, 25, 75]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_order_of_delivery_ends_as_the_bucket_is(
    part: int,
    catalogue: Catalogue,
    s3: "S3Client",
    handle: Callable[[Event], None],
    emitted: list[Event],
    exhaustive: bool,
) -> None:
    some = [*enumerate(ALL if exhaustive else Random(0).sample(ALL, 20))]
    for number, history in some[part::PARTS]:
        for turn, order in enumerate(orders(len(history), Random(number), exhaustive)):
            key = f"{number}-{turn}"
            emitted.clear()
            walk(ObjectHistory(s3, catalogue.services.bucket.name, key), history)

            for event in with_duplicates_and_drops(emitted, order, Random(f"{number}-{turn}")):
                handle(event)

            assert catalogue.said(key) == catalogue.expected(key), (history, order)
            catalogue.forget(key)


def test_deliveries_between_the_steps_end_as_the_bucket_is(
    catalogue: Catalogue,
    s3: "S3Client",
    handle: Callable[[Event], None],
    emitted: list[Event],
    exhaustive: bool,
) -> None:
    patterns = [(history, gaps) for history in ALL for gaps in product((0, 1), repeat=len(history) - 1)]
    for number, (history, gaps) in enumerate(patterns if exhaustive else Random(1).sample(patterns, 20)):
        random = Random(number)
        key = f"between-{number}"
        emitted.clear()
        steps = ObjectHistory(s3, catalogue.services.bucket.name, key)

        for step, deliveries in zip(history, (*gaps, 1), strict=True):
            steps.take(step)
            for event in random.choices(emitted, k=deliveries * random.choice((1, 2))):
                handle(event)

        assert catalogue.said(key) == catalogue.expected(key), (history, gaps)
        catalogue.forget(key)


def test_duplicates_in_any_order_cost_one_call_for_each_version_that_was_seen(
    catalogue: Catalogue,
    s3: "S3Client",
    handle: Callable[[Event], None],
    emitted: list[Event],
    rekognition: ScriptedRekognition,
) -> None:
    walk(ObjectHistory(s3, catalogue.services.bucket.name, "twice"), ("put", "put", "put"))

    for order in permutations(emitted):
        for event in order:
            handle(event)

    assert list(rekognition.calls.values()) == [1]


def orders(length: int, random: Random, exhaustive: bool) -> list[tuple[int, ...]]:
    """All in which so many events can be delivered; of five, some of the 120."""
    every = list(permutations(range(length)))
    return random.sample(every, min(len(every), MOST_ORDERS)) if exhaustive else [random.choice(every)]


def walk(steps: ObjectHistory, history: History) -> None:
    for step in history:
        steps.take(step)


def with_duplicates_and_drops(events: list[Event], order: tuple[int, ...], random: Random) -> list[Event]:
    """The events in this order, some twice, some never, and at least one of them."""
    delivered = [events[index] for index in order for _ in range(random.choice((0, 1, 1, 2)))]
    return delivered or [events[order[0]]]
