"""Two workers on one key, interleaved at every AWS call in every possible way."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest

from chalicelib.errors import AccessLost
from chalicelib.model import Label
from chalicelib.rows import read_claim
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.answered import Answered
from tests.catalogue import Catalogue
from tests.direct import short_circuit
from tests.pictures import picture
from tests.scripted_rekognition import LABELS, MODERATION, TEXT, ScriptedRekognition
from tests.search_index import expected, indexed, rows_of, table_of

PREEMPTIONS, EXHAUSTIVE_PREEMPTIONS = 1, 3  # at most: few bugs need more to show

OPERATIONS = (LABELS, MODERATION, TEXT)
DOG = Label("Dog", 98.1, (), ("Animal", "Pet"), ("Canine",))
CAT = Label("Cat", 88.0, (), ("Animal", "Pet"))

Step = Callable[[Catalogue, str], object]
current: ContextVar["Strand"] = ContextVar("current")


@dataclass(eq=False)
class Strand:
    """One thread of a worker: its own, or that of a detector."""

    worker: "Worker"
    number: int = 0  # among the worker's, so that a search can be repeated
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def stop(self) -> None:
        self.worker.stopped.append(self)
        self.worker.rest()
        self._go.acquire()

    def go_on(self) -> None:
        """Runs to its next AWS call or to its end, as does what sets off or waits for it."""
        self.worker.stopped.remove(self)
        self.worker.begin()
        self._go.release()
        self.worker.wait()


def label(services: Services, key: str) -> object:
    return services.labelling.label(key)


@dataclass(eq=False)
class Worker:
    """One delivery of an event, which stops before each of its AWS calls until it is let go on.

    It is at rest when each of its strands has stopped, or waits for others of them.
    """

    services: Services
    key: str
    before: Callable[[], object] = lambda: None
    act: Callable[[Services, str], object] = label
    may_fail: tuple[type[Exception], ...] = ()
    failure: BaseException | None = None
    stopped: list[Strand] = field(default_factory=list)
    _running: int = 0
    _change: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        self.begin()
        threading.Thread(target=self._run, daemon=True).start()
        self.wait()

    def begin(self) -> None:
        """One more strand is running."""
        with self._change:
            self._running += 1

    def rest(self) -> None:
        """One strand less is running."""
        with self._change:
            self._running -= 1
            self._change.notify_all()

    def wait(self) -> None:
        with self._change:
            self._change.wait_for(lambda: self._running == 0)

    def _run(self) -> None:
        strand = Strand(self)
        current.set(strand)
        strand.stop()
        try:
            self.before()
            with suppress(*self.may_fail):
                self.act(self.services, self.key)
        except BaseException as failure:  # noqa: BLE001 - told by take_turns
            self.failure = failure
        finally:
            self.rest()


class StrandPool(ThreadPoolExecutor):
    """Makes a strand of each task that a worker hands over, which makes a call to AWS at least.

    While the worker waits for them it is at rest; it goes on in place of the last one that ends.
    """

    tasks = 0
    ended = 0

    def submit(self, task: Any, /, *args: Any, **named: Any) -> Any:
        setter_off = current.get(None)
        if setter_off is None:
            return super().submit(task, *args, **named)
        self.tasks += 1
        setter_off.worker.begin()
        return super().submit(self._run, Strand(setter_off.worker, self.tasks), partial(task, *args, **named))

    def __exit__(self, *args: Any) -> None:
        if self.tasks:
            current.get().worker.rest()
        super().__exit__(*args)

    def _run(self, strand: Strand, task: Callable[[], Any]) -> Any:
        current.set(strand)
        try:
            return task()
        finally:
            self.ended += 1
            if self.ended < self.tasks:
                strand.worker.rest()


@dataclass
class Schedule:
    """One way to take turns: the choices so far, and how many there were each time."""

    choices: list[int]
    preemptions: int
    widths: list[int] = field(default_factory=list)
    last: Strand | None = None

    def pick(self, alive: list[Strand]) -> Strand:
        """It costs a preemption to interrupt a worker, or to change the order of its own strands."""
        at_work = self.last and self.last.worker
        ordered = sorted(alive, key=lambda each: (each is not self.last, each.worker is not at_work))
        is_free = ordered[0].worker is not at_work
        if self.preemptions == 0 and not is_free:
            ordered = ordered[:1]
        turn = len(self.widths)
        self.widths.append(len(ordered))
        picked = ordered[self.choices[turn] if turn < len(self.choices) else 0]
        self.preemptions -= picked is not ordered[0] and not is_free
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


def by_number(strand: Strand) -> int:
    return strand.number


def take_turns(workers: list[Worker], schedule: Schedule) -> None:
    for worker in workers:
        worker.start()
    while alive := [strand for worker in workers for strand in sorted(worker.stopped, key=by_number)]:
        schedule.pick(alive).go_on()
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
    return its.services.claims.ask_again(key, "wish", its.services.now())


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
def two(settings: Settings, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> tuple[Services, Services]:
    """Two functions' services, each stopping before its AWS calls."""
    monkeypatch.setattr("chalicelib.detection.ThreadPoolExecutor", StrandPool)
    return stopping(settings, endpoint), stopping(settings, endpoint)


@pytest.fixture
def two_thorough(two: object, all_detectors: Settings, endpoint: Endpoint) -> tuple[Services, Services]:
    """The same, with all detectors."""
    return stopping(all_detectors, endpoint), stopping(all_detectors, endpoint)


def stopping(settings: Settings, endpoint: Endpoint) -> Services:
    services = Services(settings)
    short_circuit(services.session, endpoint)
    services.session.events.register_first("before-send", lambda **_: current.get().stop())
    return services


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

    assert runs > 5


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


def index(services: Services, key: str) -> None:
    services.indexing.update(key)


MANY = tuple(Label(f"Label {number}", 90, (), (f"Parent {number}",)) for number in range(30))
CHANGES: dict[str, tuple[Callable[[Answered, str], object], ...]] = {
    "a new answer": (
        lambda answered, key: answered.label(key, DOG),
        lambda answered, key: answered.label(key, CAT),
    ),
    "its removal": (
        lambda answered, key: answered.label(key, DOG),
        lambda answered, key: answered.remove(key),
    ),
    "much that changes": (
        lambda answered, key: answered.label(key, *MANY),
        lambda answered, key: answered.label(key, DOG),
    ),
}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(*change, id=name, marks=[] if name == "its removal" else pytest.mark.search)
        for name, change in CHANGES.items()
    ],
)
def test_no_interleaving_leaves_the_index_behind_the_table(
    first: Callable[[Answered, str], object],
    then: Callable[[Answered, str], object],
    two: tuple[Services, Services],
    services: Services,
    preemptions: int,
) -> None:
    answered, terms = Answered(services.claims, services.store), services.settings.terms_table
    runs = 0

    def start(key: str) -> list[Worker]:
        first(answered, key)
        one, other = two
        return [
            Worker(one, key, act=index),
            Worker(other, key, before=lambda: then(answered, key), act=index),
        ]

    for key, choices in interleavings(start, preemptions):
        assert indexed(rows_of(terms)) == expected([answered.image(key)]), choices
        table_of(terms).items.clear()
        runs += 1

    assert runs > 5


# With all detectors, whose calls take part one by one

WHILE_DETECTORS_WORK = (
    "a_new_picture_and_its_overwriting",
    pytest.param("a_new_picture_and_its_deletion", marks=pytest.mark.search),
    pytest.param("a_newer_version_and_its_permanent_deletion", marks=pytest.mark.search),
    pytest.param("an_overwriting_of_what_was_labelled_and_its_undoing", marks=pytest.mark.search),
)


@pytest.fixture
def changes_of_order(exhaustive: bool) -> int:
    return 2 if exhaustive else 1


@pytest.mark.thorough
@pytest.mark.parametrize("name", WHILE_DETECTORS_WORK)
def test_no_order_of_the_detectors_leaves_the_table_behind_the_bucket(
    name: str,
    two_thorough: tuple[Services, Services],
    catalogue: Catalogue,
    changes_of_order: int,
) -> None:
    one, other = two_thorough
    first, then = SCENARIOS[name]

    def start(key: str) -> list[Worker]:
        for step in first:
            step(catalogue, key)
        return [Worker(one, key), Worker(other, key, before=lambda: then(catalogue, key))]

    runs = 0
    for key, choices in interleavings(start, changes_of_order):
        assert catalogue.said(key) == catalogue.expected(key), choices
        catalogue.forget(key)
        runs += 1

    assert runs > 5


@pytest.mark.thorough
@pytest.mark.parametrize(
    "failing",
    [
        pytest.param((), id="none", marks=pytest.mark.search),
        pytest.param((TEXT,), id="one"),
        pytest.param((LABELS, MODERATION), id="two", marks=pytest.mark.search),
    ],
)
def test_no_order_of_the_detectors_costs_a_second_call_of_one_that_answered(
    failing: tuple[str, ...],
    two_thorough: tuple[Services, Services],
    catalogue: Catalogue,
    rekognition: ScriptedRekognition,
    endpoint: Endpoint,
    changes_of_order: int,
) -> None:
    next_try = Services(two_thorough[0].settings)
    short_circuit(next_try.session, endpoint)

    def start(key: str) -> list[Worker]:
        put("Dog 90")(catalogue, key)
        rekognition.calls.clear()
        rekognition.failures |= {operation: [(400, "AccessDeniedException")] for operation in failing}
        return [Worker(services, key, may_fail=(AccessLost,)) for services in two_thorough]

    for key, choices in interleavings(start, changes_of_order):
        next_try.labelling.label(key)
        assert catalogue.said(key) == catalogue.expected(key), choices
        assert rekognition.asked == dict.fromkeys(OPERATIONS, 1) | dict.fromkeys(failing, 2), choices
