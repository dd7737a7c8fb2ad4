"""`python -m ops redrive`: what ended in a dead-letter queue is tried once more.

SQS's own redrive takes back only what another queue has sent there: neither the events that Lambda gave up,
nor what the stream told.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from chalicelib.errors import MessageGone
from chalicelib.queue import Queue
from ops.account import Account
from ops.inventory import unless_absent
from ops.problems import Problem
from ops.stage import Stage
from ops.stream_letters import StreamLetters, UndeliveredError

SOURCES = ("labelling", "callbacks")  # queues to which letters go back
STREAM = "stream"  # which takes none back
QUEUES = (*SOURCES, STREAM)
_PER_REQUEST = 10
_UNSEEN = 15 * 60  # seconds for which nobody else gets a letter that is handed on

LEFT = (
    "{count} are left in {name}, and why: {reason}. When that is mended, run the same command again; "
    "`reindex` and `relabel` make up for what cannot be handed on, as the README says of this alarm."
)


def run(stage: Stage, queue: str, console: Console) -> None:
    """Raises Problem where there is no such queue, or where a change of the table could not be handed on."""
    account = Account()
    stage.check_home(account)
    name = f"{stage.prefix}-{queue}"
    letters = DeadLetters(
        account.client("sqs"), _url(f"{name}-dead-letters", account), f"{name}-dead-letters"
    )
    if queue == STREAM:
        done = letters.hand_on(StreamLetters(stage, account))
        console.print(f"Handed on {done} of {letters.name}.")
    else:
        moved = letters.move(_url(name, account))
        console.print(f"Moved {moved} from {letters.name} back to {name}.")


@dataclass(frozen=True)
class DeadLetters:
    client: Any
    url: str
    name: str

    def move(self, back: str) -> int:
        """Puts each on its queue before it deletes it: if this ends half-way, none is lost."""
        moved = 0
        for letter in self._received():
            self.client.send_message(QueueUrl=back, MessageBody=letter["Body"])
            self._delete(letter)
            moved += 1
        return moved

    def hand_on(self, letters: StreamLetters) -> int:
        """Reads all of them first: what is put aside once more meanwhile is for the next time."""
        there = list(self._received(VisibilityTimeout=_UNSEEN))
        left, reasons = list(there), []
        try:
            for letter in there:
                try:
                    letters.deliver(letter["Body"])
                except UndeliveredError as failure:
                    reasons.append(str(failure))
                else:
                    self._delete(letter)
                    left.remove(letter)
        finally:
            self._put_back(left)
        if left:
            raise Problem(LEFT.format(count=len(left), name=self.name, reason=reasons[0]))
        return len(there)

    def _received(self, **options: Any) -> Iterator[Any]:
        while messages := self._receive(**options):
            yield from messages

    def _receive(self, **options: Any) -> list[Any]:
        answer = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=_PER_REQUEST, WaitTimeSeconds=1, **options
        )
        messages: list[Any] = answer.get("Messages", [])
        return messages

    def _delete(self, letter: Any) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=letter["ReceiptHandle"])

    def _put_back(self, letters: list[Any]) -> None:
        queue = Queue(self.client, self.url)
        for letter in letters:
            with suppress(MessageGone):  # it took longer than _UNSEEN, and others may have it
                queue.postpone(letter["ReceiptHandle"], 0)


def _url(name: str, account: Account) -> str:
    found = unless_absent(account.client("sqs").get_queue_url, QueueName=name)
    if found is None:
        raise Problem(f"There is no queue {name} in {account}.")
    url: str = found["QueueUrl"]
    return url
