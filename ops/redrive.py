"""`python -m ops redrive`: what ended in a dead-letter queue is tried once more.

SQS's own redrive takes back only what another queue has sent there, and not the events that Lambda gave up.
"""

from typing import Any

from rich.console import Console

from ops.account import Account
from ops.inventory import unless_absent
from ops.problems import Problem
from ops.stage import Stage

QUEUES = ("labelling", "callbacks")
_PER_REQUEST = 10


def run(stage: Stage, queue: str, console: Console) -> None:
    """Puts each message on its queue before it deletes it: if this ends half-way, none is lost."""
    account = Account()
    stage.check_home(account)
    client = account.client("sqs")
    name = f"{stage.prefix}-{queue}"
    there, back = (_url(client, each, account) for each in (f"{name}-dead-letters", name))
    moved = 0
    while messages := _received(client, there):
        for message in messages:
            client.send_message(QueueUrl=back, MessageBody=message["Body"])
            client.delete_message(QueueUrl=there, ReceiptHandle=message["ReceiptHandle"])
        moved += len(messages)
    console.print(f"Moved {moved} from {name}-dead-letters back to {name}.")


def _url(client: Any, name: str, account: Account) -> str:
    found = unless_absent(client.get_queue_url, QueueName=name)
    if found is None:
        raise Problem(f"There is no queue {name} in {account}.")
    url: str = found["QueueUrl"]
    return url


def _received(client: Any, url: str) -> list[Any]:
    answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=_PER_REQUEST, WaitTimeSeconds=1)
    messages: list[Any] = answer.get("Messages", [])
    return messages
