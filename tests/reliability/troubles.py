"""What stands between the app's functions and AWS: faults, deaths, and what others do meanwhile."""

import re
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from random import Random

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from local_cloud.clock import ManualClock
from tests.crash_points import Crash
from tests.interception import Call, Layer
from tests.random_faults import Fault, RandomFaults

# Seconds, as services.py has them; to have DynamoDB, S3 or SQS do something takes a hundredth of one.
READ_TIMEOUT = {"rekognition": 9}
USUAL_READ_TIMEOUT, CONNECT_TIMEOUT = 1.3, 0.5
CALL_SECONDS = 0.01
LONGEST_KEPT = 60  # seconds; whoever is kept for longer may lose his lease
NAMES = re.compile(rb'"(?:source_file": ?\{"S|Name)": ?"([^"]+)"')  # of a picture, in a row or for a detector


def nothing() -> None:
    """What others do unless told otherwise."""


@dataclass
class Troubles:
    """A layer in which each call takes its time, and may find a fault, death, or the world changed.

    What happens to the n-th call of an operation follows from the seed, as in RandomFaults.
    """

    below: Layer
    clock: ManualClock
    faults: RandomFaults = field(init=False)
    deaths: float = 0.0
    interruptions: float = 0.0
    meanwhile: Callable[[], None] = nothing
    died: int = 0
    wasted: Counter[str] = field(default_factory=Counter)  # answers of Rekognition's, at most, by picture
    dies_in: int = 0  # so many calls, if any
    _seed: int = 0
    _seen: Counter[str] = field(default_factory=Counter)
    _picture: str = ""  # that somebody is at
    _unwritten: set[str] = field(default_factory=set)  # pictures with answers that are in no row yet
    _is_interrupted: bool = False

    def __post_init__(self) -> None:
        self.begin(0)

    def begin(self, seed: int, faults: float = 0.0, deaths: float = 0.0, interruptions: float = 0.0) -> None:
        """From the start again, with these probabilities for each call."""
        self.faults = RandomFaults(self.below, seed, faults)
        self.deaths, self.interruptions = deaths, interruptions
        self.died = self.dies_in = 0
        self._seed = seed
        self._seen.clear()
        self.wasted.clear()
        self._unwritten.clear()

    def end(self) -> None:
        self.faults.probability = self.deaths = self.interruptions = 0.0
        self.dies_in = 0

    @property
    def lost_answers(self) -> int:
        return sum(fault is Fault.LOST_ANSWER for _, fault in self.faults.happened)

    def __call__(self, call: Call) -> AWSResponse:
        self._seen[str(call)] += 1
        dice = Random(f"trouble {self._seed} {call} {self._seen[str(call)]}")
        self.clock.sleep(CALL_SECONDS)
        self._note_picture(call)
        if dice.random() < self.interruptions:
            self._interrupt()
        self.dies_in -= 1
        dies = dice.random() < self.deaths or self.dies_in == 0
        if dies and dice.random() < 0.5:
            self._die()
        answer = self._send(call)
        if dies:
            self._die()
        if call.operation == "TransactWriteItems" and not self._is_interrupted:
            self._unwritten.discard(self._picture)
        return answer

    def _note_picture(self, call: Call) -> None:
        """What calls by any other name are about, the calls before them have told."""
        body = call.request.body
        if isinstance(body, bytes) and (named := NAMES.search(body)):
            self._picture = named[1].decode()
        if call.service == "rekognition":
            self._unwritten.add(self._picture)

    def _send(self, call: Call) -> AWSResponse:
        before = len(self.faults.happened)
        try:
            return self.faults(call)
        except ReadTimeoutError:
            self.clock.sleep(READ_TIMEOUT.get(call.service, USUAL_READ_TIMEOUT))
            raise
        except ConnectTimeoutError:
            self.clock.sleep(CONNECT_TIMEOUT)
            raise
        finally:
            self._waste(len(self.faults.happened) - before)

    def _interrupt(self) -> None:
        """Others act, in their own name, and no deeper: what they do is not interrupted."""
        if self._is_interrupted or threading.current_thread() is not threading.main_thread():
            return
        self._is_interrupted, picture, began = True, self._picture, self.clock.time()
        try:
            Context().run(self.meanwhile)
        finally:
            self._is_interrupted, self._picture = False, picture
            self.wasted[picture] += self.clock.time() - began > LONGEST_KEPT

    def _waste(self, troubles: int) -> None:
        if self._picture in self._unwritten:
            self.wasted[self._picture] += troubles

    def _die(self) -> None:
        self.died += 1
        self._waste(1)
        raise Crash
