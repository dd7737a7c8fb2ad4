"""Two workers on one key, interleaved at every AWS call in every possible way."""

import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count

import pytest

from chalicelib.rows import read_claim
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.catalogue import Catalogue
from tests.direct import short_circuit
from tests.pictures import picture
from tests.scripted_rekognition import ScriptedRekognition

PREEMPTIONS, EXHAUSTIVE_PREEMPTIONS = 2, 4  # at most: few bugs need more to show

Step = Callable[[Catalogue, str], object]
current: ContextVar["Worker"] = ContextVar("current")  # also in the threads of its detectors


@dataclass
class Worker:
    """One delivery of an event, which stops before each of its AWS calls until it is let go on."""

    services: Services
    key: str
    before: Callable[[], object] = lambda: None
    is_done: bool = False
    failure: BaseException | None = None
    _stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()
        self._stopped.acquire()

    def step(self) -> None:
        """Runs to the next AWS call, or to the end."""
        self._go.release()
        self._stopped.acquire()

    def stop(self) -> None:
        self._stopped.release()
        self._go.acquire()

    def _run(self) -> None:
        current.set(self)
        self.stop()
        try:
            self.before()
            self.services.labelling.label(self.key)
        except BaseException as failure:  # noqa: BLE001 - told by take_turns
            self.failure = failure
        finally:
            self.is_done = True
            self._stopped.release()


@dataclass
class Schedule:
    """One way to take turns: the choices so far, and how many there were each time."""

    choices: list[int]
    preemptions: int
    widths: list[int] = field(default_factory=list)
    last: Worker | None = None

    def pick(self, alive: list[Worker]) -> Worker:
        forced = self.last in alive and self.preemptions == 0
        ordered = sorted(alive, key=lambda worker: worker is not self.last)[: 1 if forced else None]
        turn = len(self.widths)
        self.widths.append(len(ordered))
        picked = ordered[self.choices[turn] if turn < len(self.choices) else 0]
        self.preemptions -= self.last in alive and picked is not self.last
        self.last = picked
        return picked

    def following(self) -> list[int] | None:
        choices = self.choices + [0] * (len(self.widths) - len(self.choices))
        for turn in reversed(range(len(choices))):
            if choices[turn] + 1 < self.widths[turn]:
                return [*choices[:turn], choices[turn] + 1]
        return None


def interleavings(start: Callable[[str], list[Worker]], preemptions: int) -> Iterator[tuple[str, list[int]]]:
    """Runs the workers in every possible way, each on a key of its own; yields key and choices."""
    choices: list[int] | None = []
    for number in count():
        if choices is None:
            return
        key = f"contended-{number}.png"
        schedule = Schedule(choices, preemptions)
        take_turns(start(key), schedule)
        yield key, choices
        choices = schedule.following()


def take_turns(workers: list[Worker], schedule: Schedule) -> None:
    for worker in workers:
        worker.start()
    while alive := [worker for worker in workers if not worker.is_done]:
        schedule.pick(alive).step()
    assert [worker.failure for worker in workers if worker.failure] == []


def put(*labels: str) -> Step:
    return lambda its, key: its.s3.put_object(Bucket=its.bucket, Key=key, Body=picture(*labels))


def delete(its: Catalogue, key: str) -> object:
    return its.s3.delete_object(Bucket=its.bucket, Key=key)


def delete_latest_version(its: Catalogue, key: str) -> object:
    """For good, and be it a delete marker."""
    versions = its.s3.list_object_versions(Bucket=its.bucket, Prefix=key)
    [latest] = [
        version["VersionId"]
        for version in [*versions.get("Versions", []), *versions.get("DeleteMarkers", [])]
        if version["IsLatest"]
    ]
    return its.s3.delete_object(Bucket=its.bucket, Key=key, VersionId=latest)


def settle(its: Catalogue, key: str) -> object:
    return its.services.labelling.label(key)


def want_another_answer(its: Catalogue, key: str) -> object:
    return its.services.store.ask_again(key, "wish")


SCENARIOS: dict[str, tuple[list[Step], Step]] = {
    "a_new_picture_and_its_overwriting": ([put("Old 90", "Both 80")], put("New 90", "Both 85")),
    "a_new_picture_and_its_deletion": ([put("Old 90")], delete),
    "a_newer_version_and_its_permanent_deletion": (
        [put("Older 90"), put("Newer 90")],
        delete_latest_version,
    ),
    "a_deletion_and_a_new_picture": ([put("Old 90"), delete], put("New 90")),
    "a_deletion_of_what_was_labelled_and_its_undoing": (
        [put("Dog 90"), settle, delete],
        delete_latest_version,
    ),
    "a_new_picture_after_a_removal_and_its_deletion": (
        [put("Dog 90"), settle, delete, settle, put("Cat 90")],
        delete,
    ),
    "an_overwriting_of_what_was_labelled_and_its_undoing": (
        [put("Dog 90"), settle, put("Cat 90")],
        delete_latest_version,
    ),
}


@pytest.fixture
def preemptions(exhaustive: bool) -> int:
    return EXHAUSTIVE_PREEMPTIONS if exhaustive else PREEMPTIONS


@pytest.fixture
def two(settings: Settings, endpoint: Endpoint) -> tuple[Services, Services]:
    """Two functions' services, each stopping before its AWS calls."""
    pair = Services(settings), Services(settings)
    for services in pair:
        short_circuit(services.session, endpoint)
        services.session.events.register_first("before-send", lambda **_: current.get().stop())
    return pair


@pytest.mark.parametrize(("first", "then"), SCENARIOS.values(), ids=SCENARIOS.keys())
def test_no_interleaving_leaves_the_table_behind_the_bucket(
    first: list[Step],
    then: Step,
    two: tuple[Services, Services],
    catalogue: Catalogue,
    preemptions: int,
) -> None:
    def start(key: str) -> list[Worker]:
        for step in first:
            step(catalogue, key)
        return [Worker(two[0], key), Worker(two[1], key, before=lambda: then(catalogue, key))]

    runs = 0
    for key, choices in interleavings(start, preemptions):
        assert catalogue.said(key) == catalogue.expected(key), choices
        catalogue.forget(key)
        runs += 1

    assert runs > 20


def test_no_interleaving_of_a_duplicate_costs_a_second_call(
    two: tuple[Services, Services],
    catalogue: Catalogue,
    rekognition: ScriptedRekognition,
    preemptions: int,
) -> None:
    def start(key: str) -> list[Worker]:
        put("Dog 90")(catalogue, key)
        return [Worker(services, key) for services in two]

    for key, choices in interleavings(start, preemptions):
        assert catalogue.said(key) == catalogue.expected(key), choices

    assert set(rekognition.calls.values()) == {1}


def test_no_interleaving_forgets_that_another_answer_is_wanted_or_asks_twice_for_it(
    two: tuple[Services, Services],
    catalogue: Catalogue,
    rekognition: ScriptedRekognition,
    preemptions: int,
) -> None:
    def start(key: str) -> list[Worker]:
        put("Dog 90")(catalogue, key)
        settle(catalogue, key)
        return [Worker(two[0], key), Worker(two[1], key, before=lambda: want_another_answer(catalogue, key))]

    for key, choices in interleavings(start, preemptions):
        assert catalogue.said(key) == catalogue.expected(key), choices
        assert not read_claim(catalogue.rows(key)["image"]).is_wanted_anew, choices

    assert set(rekognition.calls.values()) == {2}
