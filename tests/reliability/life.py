"""What may happen to a stage in a day, drawn by a seed, and what must be true of it afterwards."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

from chalicelib.errors import Retryable
from tests.crash_points import Crash
from tests.reliability.stage import NO_PICTURE, Stage

KEYS = [f"{number:02} a+b.png" for number in range(15)]
SECRET_KEYS = [f"{number:02} flagged.png" for number in range(5)]  # whose pictures moderation may flag
ACTS = 10
# How time passes once all trouble is over: leases run out, messages come back, and each sweep has its turn.
MINUTE = timedelta(minutes=1)
CONVALESCENCE = [minutes * MINUTE for minutes in (3, 16, 16, 65, 125, *(4 * (24 * 60, 16, 16)))]
A_DAY_ON = [minutes * MINUTE for minutes in (25 * 60, 16, 16)]  # in which all must stay well


@dataclass(frozen=True)
class Weather:
    """How likely it is that something happens to a call, or to an event."""

    faults: float
    deaths: float
    interruptions: float

    @classmethod
    def drawn_by(cls, dice: Random) -> "Weather":
        return cls(
            faults=dice.choice((0.0, 0.05, 0.2, 0.5)),
            deaths=dice.choice((0.0, 0.01, 0.05)),
            interruptions=dice.choice((0.0, 0.05)),
        )


@dataclass(frozen=True)
class Choices:
    """What the operator wants, and what else is particular about a stage."""

    calls_back: bool = False
    reuses: bool = False
    daily_limit: int = 0
    quota: float | None = None  # of Rekognition, a second
    absences: float = 0.0  # of who is called back

    @classmethod
    def drawn_by(cls, dice: Random) -> "Choices":
        return cls(
            calls_back=dice.random() < 0.5,
            reuses=dice.random() < 0.3,
            daily_limit=dice.choice((0, 0, 0, 20)),
            quota=dice.choice((None, None, 2.0)),
            absences=dice.choice((0.0, 0.2, 0.6)),
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "callback_url": "http://127.0.0.1:9000/" if self.calls_back else "",
            "reuse": "on" if self.reuses else "off",
            "daily_image_limit": self.daily_limit,
        }


CALM = Weather(faults=0.0, deaths=0.0, interruptions=0.1)
"""Events come twice, late and in any order, and functions get in each other's way; nothing else happens."""

Act = Callable[[], object]
T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What somebody wanted last of a key."""

    labels: tuple[str, ...] = ()
    status: str | None = None


@dataclass
class Life:
    stage: Stage
    seed: int
    is_calm: bool = False
    choices: Choices = Choices()

    def __post_init__(self) -> None:
        self.dice = Random(f"life {self.seed}")
        self.wishes = Counter[str]()  # to have a version labelled that was labelled before
        self.wanted: dict[str, Wanted] = {}
        self.uploads = 0

    def begin(self, weather: Weather) -> None:
        choices = self.choices
        self.stage.begin(self.seed, choices.settings, choices.absences, **vars(weather))
        self.stage.limit(choices.quota)

    def live(self) -> None:
        self.begin(CALM if self.is_calm else Weather.drawn_by(self.dice))
        self.stage.troubles.meanwhile = self._interrupt
        acts = self._calm_acts if self.is_calm else {**self._calm_acts, **self._rough_acts}
        for key in [*KEYS, *([] if self.is_calm else SECRET_KEYS)]:
            self._upload(key)
            self._act(acts)
        for _ in range(ACTS):
            self._act(acts)

    def _act(self, acts: Mapping[Act, float]) -> None:
        [act] = self.dice.choices(list(acts), list(acts.values()))
        act()

    @property
    def _calm_acts(self) -> dict[Act, float]:
        """With how often they happen."""
        return {
            self._overwrite: 4,
            self._delete: 2,
            self._deliver: 20,
            self._duplicate: 4,
            self._drop: 2,
            self._pass_seconds: 6,
            self._pass_minutes: 2,
        }

    @property
    def _rough_acts(self) -> dict[Act, float]:
        return {
            self._delete_latest_version: 1,
            self._relabel: 1,
            self._upload_a_secret: 1,
            self._release: 1,
            self._remove: 0.5,
            self._have_an_outage: 0.2,
        }

    def _interrupt(self) -> None:
        """Others at work at the same time."""
        self.dice.choice((self._overwrite, self._delete, self._deliver, self._duplicate))()
        self.stage.work()

    def _upload(self, key: str) -> None:
        if self.dice.random() < 0.1:
            self.upload_no_picture(key)
        else:
            self._upload_a_picture(key)

    def _upload_a_picture(self, key: str) -> None:
        is_flagged = key in SECRET_KEYS and self.dice.random() < 0.7
        is_known = self.choices.reuses and self.uploads > 0 and self.dice.random() < 0.4
        self.upload(key, self.dice.randint(1, self.uploads) if is_known else 0, is_flagged=is_flagged)

    def upload(self, key: str, like: int = 0, *, is_flagged: bool = False) -> None:
        """A picture unlike all others, or one like the one of that number."""
        self.uploads += not like
        labels = ["Always", f"Put{like or self.uploads}", *(["Violence"] if is_flagged else [])]
        self.stage.upload(key, *labels)
        self.wanted[key] = Wanted(tuple(sorted(labels)), "quarantined" if is_flagged else "labelled")

    def upload_no_picture(self, key: str) -> None:
        self.stage.upload_no_picture(key)
        self.wanted[key] = Wanted(status=NO_PICTURE)

    def _overwrite(self) -> None:
        self._upload(self.dice.choice(KEYS))

    def _delete(self) -> None:
        self.stage.delete(self.dice.choice(KEYS))

    def _delete_latest_version(self) -> None:
        self.delete_latest_version(self.dice.choice(KEYS))

    def delete_latest_version(self, key: str) -> None:
        """For good, and be it a delete marker."""
        for version in self.stage.versions(key)[:1]:
            self.stage.delete_version(key, version)
            self.wishes[key] += 1  # what was labelled before may have to be labelled again

    def _relabel(self) -> None:
        self.relabel(self.dice.choice(KEYS))

    def relabel(self, key: str) -> None:
        self.wishes[key] += 1
        with suppress(Retryable, Crash):
            self.stage.relabel(key)

    def _upload_a_secret(self) -> None:
        self._upload(self.dice.choice(SECRET_KEYS))

    def _release(self) -> None:
        self.release(self.dice.choice(SECRET_KEYS))

    def release(self, key: str) -> None:
        """It is for what has been put away, and gives way to what is uploaded since."""
        is_newer = self.stage.holds(key)
        if key in self.wanted and self._insist(lambda: self.stage.release(key)):
            self.wishes[key] += 1
            if not is_newer:
                self.wanted[key] = Wanted(self.wanted[key].labels, "labelled")

    def _remove(self) -> None:
        self.remove(self.dice.choice(SECRET_KEYS))

    def remove(self, key: str) -> None:
        self._insist(lambda: self.stage.remove(key))
        if key in self.wanted:
            self.wanted[key] = Wanted()

    def _insist(self, ask: Callable[[], T]) -> T:
        """A client asks until it is answered."""
        while True:
            with suppress(Retryable, Crash):
                return ask()

    def _deliver(self) -> None:
        self._with_an_event(self.stage.post.deliver)

    def _duplicate(self) -> None:
        self._with_an_event(self.stage.post.duplicate)

    def _drop(self) -> None:
        self._with_an_event(self.stage.post.drop)

    def _with_an_event(self, do: Callable[[int], None]) -> None:
        if self.stage.post.waiting:
            do(self.dice.randrange(len(self.stage.post.waiting)))

    def _pass_seconds(self) -> None:
        self.stage.pass_time(timedelta(seconds=self.dice.uniform(0, 20)))

    def _pass_minutes(self) -> None:
        self.stage.pass_time(self.dice.uniform(1, 20) * MINUTE)

    def _have_an_outage(self) -> None:
        """Hours in which hardly anything gets through."""
        faults, before = self.stage.troubles.faults, self.stage.troubles.faults.probability
        faults.probability = 0.95
        for _ in range(8):
            self.stage.pass_time(16 * MINUTE)
        faults.probability = before


@dataclass(frozen=True)
class Record:
    """What became of one life: the first seven must be empty."""

    seed: int
    lost: dict[str, Any]  # the table does not say what the bucket does, and no message waits for anybody
    astray: dict[str, Any]  # the label rows are not those of the image row, or search finds something else
    unhealed: dict[str, Any]  # and remains so after a redrive
    wasteful: dict[Any, int]  # called more often than what went wrong explains
    overspent: dict[str, int]  # days on which more pictures were asked about than may be
    untold: list[str]  # ids of final answers that nobody was told, or that are none
    stuck: list[str]  # what the stream or the schedule set off, and a function could not do
    pictures: int
    versions_and_detectors: int
    calls: int
    faults: int
    lost_answers: int
    deaths: int
    dropped: int
    given_up: int
    called_back: int

    @property
    def is_fine(self) -> bool:
        costly = self.wasteful or self.overspent
        return not (self.lost or self.astray or self.unhealed or costly or self.untold or self.stuck)


def examined(stage: Stage, seed: int, *, is_calm: bool = False) -> Record:
    """Lives through what this seed brings, and looks."""
    choices = Choices() if is_calm else Choices.drawn_by(Random(f"choices {seed}"))
    life = Life(stage, seed, is_calm, choices)
    life.live()
    return recovered(life)


def recovered(life: Life) -> Record:
    """Lets all trouble end, and looks."""
    stage = life.stage
    _recover(life)
    lost, astray, dead = _lost(life), _astray(stage), stage.dead_keys
    if dead:
        stage.redrive()
        _recover(life)
    calls, troubles = stage.rekognition.calls, stage.troubles
    return Record(
        seed=life.seed,
        lost=lost,
        astray=astray,
        unhealed=_lost(life) | _astray(stage) | dict.fromkeys(stage.dead_keys, "dead again"),
        wasteful=_wasteful(life),
        overspent=_overspent(life),
        untold=_untold(life),
        stuck=[*map(str, stage.stuck), *stage.stream_dead_letters()],
        pictures=len({key for key, _ in stage.noted}),
        versions_and_detectors=len(calls),
        calls=calls.total(),
        faults=len(troubles.faults.happened),
        lost_answers=troubles.lost_answers,
        deaths=troubles.died,
        dropped=stage.post.dropped,
        given_up=len(dead),
        called_back=len(stage.addressee.heard),
    )


def _recover(life: Life) -> None:
    """All trouble ends, and so much time passes that nothing is left to do."""
    stage = life.stage
    stage.troubles.end()
    stage.addressee.absences = 0.0
    for pause in CONVALESCENCE:
        _rest(stage, pause)
        if _is_well(life):
            break
    for pause in A_DAY_ON:
        _rest(stage, pause)


def _rest(stage: Stage, pause: timedelta) -> None:
    stage.post.deliver_all()  # what the app deletes has events too
    stage.pass_time(pause)


def _is_well(life: Life) -> bool:
    return life.stage.is_quiet and not (_untold(life) or _lost(life) or _astray(life.stage))


def _lost(life: Life) -> dict[str, Any]:
    said, expected, dead = life.stage.said(), _expected(life), life.stage.dead_keys
    return {
        key: (said[key], expected[key]) for key in expected if said[key] != expected[key] and key not in dead
    } | {**_out_of_sight(life), **_left_behind(life), **_unfulfilled(life)}


def _expected(life: Life) -> dict[str, Any]:
    expected = life.stage.expected()
    for key in SECRET_KEYS:
        wanted = life.wanted.get(key)
        if wanted and wanted.status == "quarantined":
            expected[key] = (None, "quarantined", [], [])
        elif wanted and wanted.status == "labelled":
            expected[key] = life.stage.expected_of(key, list(wanted.labels))
        elif wanted and not wanted.status:
            expected[key] = (None, None, [], [])
    return expected


def _out_of_sight(life: Life) -> dict[str, Any]:
    """What ought to be in quarantine is, whatever its row says, and nothing else."""
    ought = sum(wanted.status == "quarantined" for wanted in life.wanted.values())
    kept = life.stage.out_of_sight()
    return {} if kept == ought or life.stage.dead_keys else {"out of sight": (kept, ought)}


def _left_behind(life: Life) -> dict[str, Any]:
    """What was put away is nowhere else, and be it behind a delete marker."""
    left = {each for each in life.stage.left_behind() if each[0] not in life.stage.dead_keys}
    return {"left behind": left} if left else {}


def _unfulfilled(life: Life) -> dict[str, Any]:
    unfulfilled = life.stage.wanted_anew() - life.stage.dead_keys
    return {"wanted anew": unfulfilled} if unfulfilled else {}


def _astray(stage: Stage) -> dict[str, Any]:
    there, ought = stage.index()
    unlike = {} if there == ought else {"index": (there, ought)}
    return {key: said for key, said in stage.said().items() if said[2] != said[3]} | unlike


def _wasteful(life: Life) -> dict[Any, int]:
    """Whoever dies, or cannot write down what he was told, has somebody ask again about that picture.

    Nobody asks about what is none.
    """
    wasted = life.stage.troubles.wasted + life.wishes
    noted = life.stage.noted
    return {
        (what, key, version): times
        for (what, key, version), times in life.stage.rekognition.calls.items()
        if noted.get((str(key), str(version)), []) is None or times > 1 + wasted[str(key)]
    }


def _overspent(life: Life) -> dict[str, int]:
    counts = {day.isoformat(): len(asked) for day, asked in life.stage.days.items()}
    limit = life.choices.daily_limit
    return {day: count for day, count in counts.items() if limit and count > limit}


def _untold(life: Life) -> list[str]:
    """Each final answer has an id, and is told by that until somebody says thanks."""
    news = life.stage.news() if life.choices.calls_back else set()
    addressee = life.stage.addressee
    return sorted(news ^ addressee.thanked.keys() | addressee.heard.keys() - news)
