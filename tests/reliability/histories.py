"""What may become of one key in a bucket, and what S3 tells of it, in any order, twice or never."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.lambda_events import context
from tests.reliability.stage import Stage

Step = str
History = tuple[Step, ...]
Event = dict[str, Any]
Kinds = tuple[str, ...]

KEY = "a b+c.png"
LONGEST = 12  # of what chance brings


def possible(kinds: Kinds) -> Iterator[tuple[Step, Kinds]]:
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


def histories(length: int, kinds: Kinds = ()) -> Iterator[History]:
    """All there are."""
    if length == 0:
        yield ()
        return
    for step, after in possible(kinds):
        for rest in histories(length - 1, after):
            yield (step, *rest)


def drawn_by(dice: Random) -> Iterator[Step]:
    """A history of some length up to the longest."""
    kinds: Kinds = ()
    for _ in range(dice.randint(1, LONGEST)):
        step, kinds = dice.choice(list(possible(kinds)))
        yield step


@dataclass
class Key:
    """Takes steps on one key of the stage's bucket, of which the app hears what it is handed."""

    stage: Stage
    versions: list[tuple[str, str]] = field(default_factory=list)  # (kind, version id), oldest first
    puts: int = 0

    def __post_init__(self) -> None:
        self.stage.clear()

    @property
    def events(self) -> list[Event]:
        """All that S3 has told so far, in order."""
        return self.stage.post.waiting

    def take(self, *steps: Step) -> None:
        for step in steps:
            act: Callable[[], None] = getattr(self, step)
            act()

    def put(self) -> None:
        self.puts += 1
        self.versions.append(("picture", self.stage.upload(KEY, "Always", f"Put{self.puts}")))

    def delete(self) -> None:
        self.versions.append(("marker", self.stage.delete(KEY)))

    def delete_old_version(self) -> None:
        self._forget(next(i for i, (kind, _) in enumerate(self.versions[:-1]) if kind == "picture"))

    def delete_current_version(self) -> None:
        self._forget(len(self.versions) - 1)

    undelete = delete_current_version  # of a delete marker

    def hear(self, *events: Event) -> int:
        """Hands them to the app one by one, and tells how many they were."""
        for event in events:
            self.stage.app_module.label_uploaded_image({"Records": [event]}, context())
        return len(events)

    @property
    def is_told(self) -> bool:
        """Whether the table says what the bucket does."""
        return self.stage.said() == self.stage.expected()

    def _forget(self, index: int) -> None:
        _, version = self.versions.pop(index)
        self.stage.delete_version(KEY, version)


def in_every_order(key: Key, dice: Random, before: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Has the app hear any of the events in any order, some twice, and tells after each which those were.

    What two orders begin with is heard once.
    """
    rows = key.stage.rows()
    for number, event in enumerate(key.events):
        if number not in before:
            key.stage.put_back(rows)
            key.hear(*[event] * dice.choice((1, 1, 2)))
            yield (*before, number)
            yield from in_every_order(key, dice, (*before, number))


def with_duplicates_and_drops(events: list[Event], dice: Random) -> list[Event]:
    """The events in this order, some twice, some never, and at least one of them."""
    delivered = [event for event in events for _ in range(dice.choice((0, 1, 1, 2)))]
    return delivered or events[:1]


@dataclass(frozen=True)
class Ending:
    """How a history ended that chance brought."""

    seed: int
    history: History
    heard: int
    is_told: bool


def lived(stage: Stage, seed: int) -> Ending:
    """Some of the events come between the steps, and what comes after them is in any order."""
    dice, key = Random(f"history {seed}"), Key(stage)
    history, heard = tuple(drawn_by(dice)), 0
    for step in history:
        key.take(step)
        heard += key.hear(*dice.choices(key.events, k=dice.choice((0, 0, 1, 2))))
    rest = dice.sample(key.events, len(key.events))
    heard += key.hear(*with_duplicates_and_drops(rest, dice))
    return Ending(seed, history, heard, key.is_told)
