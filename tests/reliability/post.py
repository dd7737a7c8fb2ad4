"""S3's notifications on their way: late, in any order, twice or never."""

from collections.abc import Callable
from dataclasses import dataclass, field

from local_cloud.object_events import ObjectEvent


@dataclass
class Post:
    deliver_to: Callable[[ObjectEvent], None]
    waiting: list[ObjectEvent] = field(default_factory=list)
    dropped: int = 0

    def take(self, event: ObjectEvent) -> None:
        """The endpoint's `on_object_event`."""
        self.waiting.append(event)

    def deliver(self, number: int) -> None:
        self.deliver_to(self.waiting.pop(number))

    def duplicate(self, number: int) -> None:
        self.deliver_to(self.waiting[number])

    def drop(self, number: int) -> None:
        del self.waiting[number]
        self.dropped += 1

    def drop_all(self) -> None:
        while self.waiting:
            self.drop(0)

    def deliver_all(self) -> None:
        while self.waiting:
            self.deliver(0)
