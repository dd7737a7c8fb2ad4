"""More pictures than Rekognition takes, for ten minutes.

What is decided in a storm, the app's own SlowPath and Detection decide here too. Lambda's part, and the
smallest of everybody else's, is played in a World; test_storm.py holds it to a storm on the whole stage.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import count
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

from botocore.awsrequest import AWSResponse
from botocore.retries.quota import RetryQuota
from botocore.retries.standard import (
    ExponentialBackoff,
    RetryContext,
    RetryEventAdapter,
    RetryQuotaChecker,
    ThrottlingErrorDetector,
)

from chalicelib.claim import Claim, Partial
from chalicelib.detection import Detection, Wait, no_time
from chalicelib.errors import Throttled
from chalicelib.model import Detector, Findings, Moderation, Outcome, Recipe, StoredObject
from chalicelib.queue import Message
from chalicelib.rekognition import Call as Detectors
from chalicelib.services import REKOGNITION_PATIENCE
from chalicelib.settings import LAST_CALLS, MIN_LABEL_TIMEOUT, Settings
from chalicelib.slow_path import RECEIVES, MillisecondsLeft, SlowPath
from chalicelib.stopwatch import Stopwatch
from local_cloud.quota import TokenBucket
from tests.interception import Call, Layer, sdk_waiting_by
from tests.pictures import picture
from tests.reliability.stage import Stage, open_stage, silence
from tests.reliability.world import World, detectors_in

# Seconds that services take; Rekognition's are the storm's, but for those to refuse a call.
SECONDS = {"s3": 0.07, "dynamodb": 0.03, "sqs": 0.01}
REFUSAL = 0.03
VISIBILITY = 900.0
POLL = 0.2  # seconds until an empty queue is asked again

RECIPE = Recipe()
FINDINGS: Mapping[Detectors, Findings] = {
    (Detector.LABELS,): Findings(labels=()),
    (Detector.MODERATION,): Findings(moderation=Moderation()),
    (Detector.TEXT,): Findings(text=()),
}
PICTURE = picture()
LIMIT = 10**9
BUCKET: Any = SimpleNamespace(name="")
METRICS: Any = SimpleNamespace(detector_call=lambda *_: None)
NO_CONVERTER: Any = None
THROTTLED = {"Error": {"Code": "ProvisionedThroughputExceededException"}}
OK = SimpleNamespace(status_code=200)
UNCLAIMED = Claim(run=None, committed_run=None, version=None, lease_until=0, label_keys=())


@dataclass(frozen=True)
class Storm:
    """Ten minutes of ten times as many pictures as Rekognition takes, unless told otherwise."""

    quota: float = 5.0  # calls of each operation a second
    times: float = 10.0
    rain: float = 600.0  # seconds
    concurrency: int = Settings.labelling_concurrency
    answer: tuple[float, float] = (0.5, 1.5)  # seconds that it takes
    is_patient: bool = True  # or else nobody waits for his turn

    @property
    def pictures(self) -> int:
        return round(self.quota * self.times * self.rain)

    @property
    def ideal(self) -> float:
        """Seconds that the quota takes for all of them."""
        return self.pictures / self.quota


@dataclass(frozen=True)
class Aftermath:
    storm: Storm
    labelled: int
    exhausted: int
    dead: int  # messages
    seconds: float  # until all was quiet
    answered: int  # calls of the operation that answered least often
    refused: int  # calls of all operations

    @property
    def lost(self) -> int:
        return self.storm.pictures - self.labelled - self.exhausted

    @property
    def delay(self) -> float:
        """As a multiple of the ideal time."""
        return self.seconds / self.storm.ideal

    @property
    def used(self) -> float:
        """The part of the quota that was used until all was quiet."""
        return self.answered / (self.storm.quota * self.seconds)

    @property
    def is_fine(self) -> bool:
        return not (self.lost or self.exhausted or self.dead) and self.delay <= 1.2 and self.used >= 0.9


Act = Callable[[SlowPath, MillisecondsLeft], Any]


class Poller(Protocol):
    """What Lambda does with the queue `labelling`."""

    def receive(self) -> Message | None: ...

    def delete(self, message: Message) -> None: ...

    @property
    def is_empty(self) -> bool: ...


@dataclass
class Function:
    """One of the app's functions on Lambda, where each environment serves one invocation at a time."""

    world: World
    start: Callable[[], SlowPath]
    idle: list[SlowPath] = field(default_factory=list)

    def invoke(self, act: Act) -> Any:
        environment = self.idle.pop() if self.idle else self.start()
        end = self.world.passed + MIN_LABEL_TIMEOUT
        answer = act(environment, lambda: round((end - self.world.passed) * 1000))
        self.idle.append(environment)
        return answer


@dataclass
class Lambda:
    """Invokes a function for each picture that comes, and another for so many messages at once."""

    world: World
    start: Callable[[], SlowPath]
    queue: Poller
    storm: Storm
    _begun: int = 0
    _is_raining: bool = True

    def rage(self, keys: Sequence[str]) -> None:
        self.world.spawn(lambda: self._rain(keys))
        queued = Function(self.world, self.start)
        for _ in range(self.storm.concurrency):
            self.world.spawn(lambda: self._work(queued))
        self.world.run()

    def _rain(self, keys: Sequence[str]) -> None:
        uploaded = Function(self.world, self.start)
        for key in keys:
            self._begun += 1
            self.world.spawn(partial(self._try_first, uploaded, key))
            self.world.sleep(self.storm.rain / len(keys))
        self._is_raining = False

    def _try_first(self, uploaded: Function, key: str) -> None:
        uploaded.invoke(lambda slow_path, left: slow_path.first_try([key], left))
        self._begun -= 1

    def _work(self, queued: Function) -> None:
        while self._is_raining or self._begun or not self.queue.is_empty:
            message = self.queue.receive()
            if message is None:
                self.world.sleep(POLL)
            elif queued.invoke(partial(_next_try, message)):
                self.queue.delete(message)


def _next_try(message: Message, slow_path: SlowPath, milliseconds_left: MillisecondsLeft) -> bool:
    return slow_path.next_try(message, milliseconds_left)


@dataclass
class StandInQueue:
    """The app's LabellingQueue, and Lambda's: the message that has been visible for longest comes first."""

    world: World
    dead: list[str] = field(default_factory=list)
    _messages: dict[str, Message] = field(default_factory=dict)
    _visible: list[tuple[float, str, str]] = field(default_factory=list)  # with the id, and a handle
    _numbers: Any = field(default_factory=count)

    def ask_for(self, key: str, delay_seconds: int = 0) -> None:
        self.world.sleep(SECONDS["sqs"])
        self._messages[key] = Message(key, key, "", 0)
        self._show(self._messages[key], delay_seconds)

    def keys(self, message: Message) -> list[str]:
        return [message.body]

    def postpone(self, receipt_handle: str, seconds: int) -> None:
        self.world.sleep(SECONDS["sqs"])
        self._show(self._messages[receipt_handle.rpartition(" ")[0]], seconds)

    def receive(self) -> Message | None:
        while self._visible and self._visible[0][0] <= self.world.passed:
            _, name, handle = heapq.heappop(self._visible)
            message = self._messages.get(name)
            if message is None or message.receipt_handle != handle:
                continue
            if message.receives == RECEIVES:
                self.dead.append(name)
                self.delete(message)
                continue
            return self._show(replace(message, receives=message.receives + 1), VISIBILITY)
        return None

    def delete(self, message: Message) -> None:
        del self._messages[message.id]

    @property
    def is_empty(self) -> bool:
        return not self._messages

    def _show(self, message: Message, seconds: float) -> Message:
        """Lets it be received after so long, by whichever handle it was received before."""
        shown = replace(message, receipt_handle=f"{message.id} {next(self._numbers)}")
        self._messages[message.id] = shown
        heapq.heappush(self._visible, (self.world.passed + seconds, shown.id, shown.receipt_handle))
        return shown


@dataclass
class Account:
    """Rekognition under the quota of an account, which each operation has to itself."""

    world: World
    quota: float
    seconds: tuple[float, float]  # that an answer takes
    dice: Random
    answered: Counter[Detectors] = field(default_factory=Counter)
    refused: int = 0

    @cached_property
    def _buckets(self) -> Mapping[Detectors, TokenBucket]:
        return {call: TokenBucket(self.quota, max(1, round(self.quota)), self.world) for call in FINDINGS}

    def answers(self, call: Detectors) -> bool:
        if not self._buckets[call].take():
            self.refused += 1
            self.world.sleep(REFUSAL)
            return False
        self.world.sleep(self.dice.uniform(*self.seconds))
        self.answered[call] += 1
        return True


class StandInRekognition:
    """The app's Rekognition, with the SDK's retries, which each client has so many of."""

    recipe = RECIPE

    def __init__(self, account: Account) -> None:
        patience: Any = REKOGNITION_PATIENCE
        detector = ThrottlingErrorDetector(RetryEventAdapter())
        self._account = account
        self._attempts = patience.retries["total_max_attempts"]
        self._quota = RetryQuotaChecker(RetryQuota(), detector)
        self._backoff = ExponentialBackoff(random=account.dice.random, throttling_detector=detector)

    def detect(self, call: Detectors, _: object) -> Findings:
        memory: Any = {}
        for attempt in range(1, self._attempts + 1):
            if self._account.answers(call):
                self._quota.release_retry_quota(memory, OK)
                return FINDINGS[call]
            context = RetryContext(attempt, parsed_response=THROTTLED, request_context=memory)
            if attempt == self._attempts or not self._quota.acquire_retry_quota(context):
                break
            self._account.world.sleep(self._backoff.delay_amount(context))
        raise Throttled


@dataclass
class StandInLabelling:
    """Looks, claims, detects by the app's Detection, and writes down what is known."""

    world: World
    detection: Detection
    said: dict[str, str]
    known: dict[str, Partial]

    def label(self, key: str, *, is_last_try: bool = False, wait: Wait = no_time) -> Outcome:
        self.world.sleep(SECONDS["s3"] + SECONDS["dynamodb"])
        before = replace(UNCLAIMED, partial=self.known.get(key))
        detected = self.detection.detect(_found(key), before, Stopwatch(self.world.time), wait)
        self.world.sleep(SECONDS["dynamodb"])
        if detected.failure is None:
            self.said[key] = "labelled"
            return Outcome.LABELLED
        self.said[key] = "exhausted" if is_last_try else "queued"
        self.known[key] = detected.known
        raise detected.failure


def _found(key: str) -> StoredObject:
    return StoredObject(key, "1", "", len(PICTURE), None, datetime.min.replace(tzinfo=UTC), {}, PICTURE)


def simulated(storm: Storm) -> Aftermath:
    """A storm among stand-ins."""
    world, dice = World(), Random(0)
    queue = StandInQueue(world)
    account = Account(world, storm.quota, storm.answer, dice)
    said: dict[str, str] = {}
    known: dict[str, Partial] = {}

    def start() -> SlowPath:
        rekognition: Any = StandInRekognition(account)
        detection = Detection(BUCKET, rekognition, NO_CONVERTER, METRICS, LIMIT, LIMIT, {}, None, None)
        labelling: Any = StandInLabelling(world, detection, said, known)
        milliseconds = (
            MIN_LABEL_TIMEOUT * 1000,
            (LAST_CALLS if storm.is_patient else MIN_LABEL_TIMEOUT) * 1000,
        )
        return SlowPath(labelling, queue, *milliseconds, world.sleep, dice)  # type: ignore[arg-type]

    with detectors_in(world), silence():
        Lambda(world, start, queue, storm).rage([str(number) for number in range(storm.pictures)])
    outcomes = Counter(said.values())
    return Aftermath(
        storm,
        labelled=outcomes["labelled"],
        exhausted=outcomes["exhausted"],
        dead=len(queue.dead),
        seconds=world.passed,
        answered=min(account.answered.values()),
        refused=account.refused,
    )


@dataclass
class SlowServices:
    """A layer in which each call takes its time."""

    below: Layer
    world: World
    storm: Storm
    dice: Random
    answered: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def __call__(self, call: Call) -> AWSResponse:
        answer = self.below(call)
        self.world.sleep(self._seconds(call, is_refused=answer.status_code == 400))
        return answer

    def _seconds(self, call: Call, *, is_refused: bool) -> float:
        if call.service != "rekognition":
            return SECONDS[call.service]
        if is_refused:
            self.refused += 1
            return REFUSAL
        self.answered[call.operation] += 1
        return self.dice.uniform(*self.storm.answer)


@dataclass
class StagedQueue:
    """Lambda's part in the queue of a stage."""

    stage: Stage

    def receive(self) -> Message | None:
        received = self._sqs.receive_message(QueueUrl=self._url, MessageSystemAttributeNames=["All"])
        for each in received.get("Messages", []):
            receives = int(each["Attributes"]["ApproximateReceiveCount"])
            return Message(each["MessageId"], each["Body"], each["ReceiptHandle"], receives)
        return None

    def delete(self, message: Message) -> None:
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt_handle)

    @property
    def is_empty(self) -> bool:
        return self.stage.is_quiet

    @property
    def _url(self) -> str:
        return self.stage.services.settings.labelling_queue_url

    @cached_property
    def _sqs(self) -> Any:
        return self.stage.session.client("sqs")


def staged(app_module: ModuleType, storm: Storm) -> Aftermath:
    """The same on a whole stage, where each environment has clients of its own."""
    world, dice = World(), Random(0)
    random.seed(0)  # which the SDK's pauses are drawn by
    with open_stage(app_module, world) as stage, detectors_in(world), sdk_waiting_by(world.sleep):
        stage.begin(0)
        stage.limit(storm.quota)
        settings = replace(stage.services.settings, detect=tuple(RECIPE.detectors))
        services = SlowServices(stage.troubles.below, world, storm, dice)
        keys = [f"{number:05}.png" for number in range(storm.pictures)]
        for key in keys:
            stage.upload(key, "Dog")
        stage.post.drop_all()
        began = world.passed

        def start() -> SlowPath:
            environment = replace(stage.services, settings=settings, layer=services)
            return replace(environment.slow_path, random=dice)

        Lambda(world, start, StagedQueue(stage), storm).rage(keys)
        outcomes = Counter(status for _, status, _, _ in stage.said().values())
        return Aftermath(
            storm,
            labelled=outcomes["labelled"],
            exhausted=outcomes["failed"],
            dead=len(stage.dead_letters()),
            seconds=world.passed - began,
            answered=min(services.answered.values()),
            refused=services.refused,
        )
