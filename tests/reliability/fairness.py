"""Callbacks to many receivers of which a few hang: what those cost the others.

What is decided, the app's own Delivery, Receivers and Dispatching decide; DynamoDB, SQS, Lambda and the
receivers are the smallest stand-ins, in a World.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.callback import Callback, Errand, State
from chalicelib.callbacks import EARLY, GRACE, HANDOVER, LEASE, Due
from chalicelib.delivery import Delivery
from chalicelib.dispatching import Dispatching
from chalicelib.exchange import LIMITS
from chalicelib.items import marshal, unmarshal
from chalicelib.receivers import Receivers
from chalicelib.settings import Settings
from chalicelib.webhook import Attempt, Fault, Kind
from tests.reliability.stage import silence
from tests.reliability.world import World

CALL = 0.006  # seconds that DynamoDB or SQS takes
ANSWER = (0.05, 0.45)  # seconds, of a receiver that is well
POLL = 0.05  # seconds until an empty queue is asked again
AFTERWARDS = timedelta(minutes=5)  # in which what is on its way arrives
MINUTE = 60.0

METRICS: Any = SimpleNamespace(callback=lambda _: None)
SECRET: Any = SimpleNamespace(keys=lambda: (b"",))
DEAD_LETTERS: Any = SimpleNamespace(send=lambda _: None)
NOTHING_DENIED: Any = None
REFUSED: Any = {"Error": {"Code": "ConditionalCheckFailedException"}}


@dataclass(frozen=True)
class Traffic:
    """Callbacks at a steady rate, each to any of the hosts."""

    hosts: int = 200
    hanging: int = 2  # of them
    rate: float = 8.0  # a second
    seconds: float = 6 * 3600.0
    counted_from: float = 0.0  # seconds; what begins before does not count
    concurrency: int = Settings.callback_concurrency
    remembers: bool = True  # who has hung

    @cached_property
    def sick(self) -> frozenset[str]:
        return frozenset(f"host-{number}" for number in range(self.hanging))


@dataclass(frozen=True)
class Times:
    """Seconds from an answer to its arrival, at the hosts that are well, in order."""

    sorted: tuple[float, ...]
    missing: int

    def percentile(self, percent: float) -> float:
        return self.sorted[min(len(self.sorted) - 1, int(len(self.sorted) * percent / 100))]


@dataclass
class StandInQueue:
    world: World
    _messages: list[tuple[float, int, str]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def send(self, body: str, delay_seconds: int = 0) -> None:
        self.world.sleep(CALL)
        heapq.heappush(self._messages, (self.world.passed + delay_seconds, next(self._numbers), body))

    def receive(self) -> str | None:
        if self._messages and self._messages[0][0] <= self.world.passed:
            return heapq.heappop(self._messages)[2]
        return None


@dataclass
class StandInDynamoDB:
    """As far as Receivers asks it."""

    world: World
    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def get_item(self, Key: Any, **_: Any) -> Any:  # noqa: N803 - AWS's spelling
        self.world.sleep(CALL)
        row = self.rows.get(_name(Key))
        return {"Item": marshal(row)} if row else {}

    def put_item(self, Item: Any, **_: Any) -> None:  # noqa: N803
        self.world.sleep(CALL)
        self.rows[_name(Item)] = unmarshal(Item)

    def delete_item(self, Key: Any, **_: Any) -> None:  # noqa: N803
        self.world.sleep(CALL)
        self.rows.pop(_name(Key), None)

    def update_item(self, Key: Any, ExpressionAttributeValues: Any, **_: Any) -> None:  # noqa: N803
        """Any of Receivers' updates, of which none here comes to a row that has expired."""
        self.world.sleep(CALL)
        values = unmarshal(ExpressionAttributeValues)
        row = self.rows.setdefault(_name(Key), {"timeouts": 0})
        if ":read" in values and row.get("paused_until") != values[":read"]:
            raise ClientError(REFUSED, "UpdateItem")
        row["paused_until"] = values[":until"]
        if ":one" in values:
            row |= {"timeouts": row["timeouts"] + 1, "expires_at": values[":end"]}


def _name(key: Any) -> tuple[str, str]:
    return key["name"]["S"], key["entry"]["S"]


@dataclass
class StandInCallbacks:
    """Rows of callbacks, by their events, with when to look at each."""

    world: World
    rows: dict[str, Callback] = field(default_factory=dict)
    look_at: dict[str, datetime] = field(default_factory=dict)
    leases: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def announce(self, callback: Callback, now: datetime) -> None:
        self.world.sleep(CALL)
        self.rows[callback.event_id] = callback
        self.look_at[callback.event_id] = now + GRACE

    def claim(self, _: str, event_id: str, claim: str, now: datetime) -> Callback | None:
        self.world.sleep(CALL)
        callback = self.rows[event_id]
        leased_until = self.leases.get(event_id, ("", now))[1]
        if (
            callback.state is not State.PENDING
            or callback.due_at > now.timestamp() + EARLY
            or leased_until > now
        ):
            return None
        self.leases[event_id] = claim, now + LEASE
        self.look_at[event_id] = now + HANDOVER
        return callback

    def record(self, callback: Callback, claim: str, look_at: datetime | None) -> bool:
        self.world.sleep(CALL)
        if self.leases.pop(callback.event_id, ("", None))[0] != claim:
            return False
        self.rows[callback.event_id] = callback
        self.look_at.pop(callback.event_id)
        if look_at:
            self.look_at[callback.event_id] = look_at
        return True

    def due(self, until: datetime, most: int) -> list[Due]:
        self.world.sleep(CALL)
        waiting = sorted((moment, event) for event, moment in self.look_at.items() if moment < until)
        return [Due("", event, moment.isoformat()) for moment, event in waiting[:most]]

    def hand_over(self, due: Due, now: datetime) -> bool:
        self.world.sleep(CALL)
        if self.look_at.get(due.event_id) != due.moment:
            return False
        self.look_at[due.event_id] = now + HANDOVER
        return True


@dataclass
class StandInWebhook:
    world: World
    traffic: Traffic
    dice: Random
    arrived: dict[str, float] = field(default_factory=dict)

    def post(self, url: str, event_id: str, *_: object) -> Attempt:
        if url in self.traffic.sick:
            self.world.sleep(LIMITS.total)
            return Attempt(Kind.FAILED, round(LIMITS.total * 1000), error=Fault.TIMEOUT)
        self.world.sleep(self.dice.uniform(*ANSWER))
        self.arrived[event_id] = self.world.passed
        return Attempt(Kind.DELIVERED, 0, status=204)


@dataclass
class Lambda:
    """Delivers for so many messages at once, and looks for what is due each minute."""

    world: World
    traffic: Traffic
    queue: StandInQueue
    callbacks: StandInCallbacks
    delivery: Delivery
    dispatching: Dispatching
    dice: Random
    begun: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        self.world.spawn(self._announce)
        self.world.spawn(self._look)
        for _ in range(self.traffic.concurrency):
            self.world.spawn(self._work)
        self.world.run()

    @property
    def _is_over(self) -> bool:
        return self.world.passed > self.traffic.seconds + AFTERWARDS.total_seconds()

    def _announce(self) -> None:
        for number in range(round(self.traffic.rate * self.traffic.seconds)):
            self.world.spawn(
                self._announcing(f"evt_{number}", f"host-{self.dice.randrange(self.traffic.hosts)}")
            )
            self.world.sleep(self.dice.expovariate(self.traffic.rate))

    def _announcing(self, event: str, host: str) -> Callable[[], None]:
        def announce() -> None:
            now = self.world.now()
            if host not in self.traffic.sick:
                self.begun[event] = self.world.passed
            moment = now.timestamp()
            self.callbacks.announce(Callback("", event, "", host, host, "", "", moment, moment), now)
            self.queue.send(Errand("", event).text)

        return announce

    def _look(self) -> None:
        while not self._is_over:
            self.dispatching.enqueue_due()
            self.world.sleep(MINUTE)

    def _work(self) -> None:
        while not self._is_over:
            message = self.queue.receive()
            if message is None:
                self.world.sleep(POLL)
            else:
                self.delivery.deliver(message)


def delivered(traffic: Traffic) -> Times:
    world, dice = World(), Random(0)
    queue, callbacks = StandInQueue(world), StandInCallbacks(world)
    webhook = StandInWebhook(world, traffic, Random(1))
    receivers = Receivers(StandInDynamoDB(world), "state")  # type: ignore[arg-type]
    if not traffic.remembers:
        receivers.timed_out = lambda *_: None  # type: ignore[method-assign]
    collaborators: Any = callbacks, receivers, SECRET, webhook, DEAD_LETTERS, METRICS, world.now
    delivery = Delivery(*collaborators)
    dispatching = Dispatching(callbacks, receivers, queue, world.now, "", NOTHING_DENIED)  # type: ignore[arg-type]
    machine = Lambda(world, traffic, queue, callbacks, delivery, dispatching, dice)
    with silence():
        machine.run()
    counted = {event: begun for event, begun in machine.begun.items() if begun >= traffic.counted_from}
    times = [webhook.arrived[event] - begun for event, begun in counted.items() if event in webhook.arrived]
    return Times(tuple(sorted(times)), len(counted) - len(times))
