"""SQS."""

from time import monotonic
from typing import Any

import moto.sqs.models as sqs_models

from local_cloud.moto_patches.mending import Function, mend
from local_cloud.moto_patches.state import STATE


def apply() -> None:
    mend(sqs_models.SQSBackend, "receive_message", _receive_message)


def _receive_message(original: Function) -> Function:
    """A long poll waits without the lock, so that somebody can send the message it waits for."""

    def receive_message(self: Any, queue_name: str, count: int, wait: int, *args: Any) -> list[Any]:
        end = monotonic() + wait
        while True:
            messages: list[Any] = original(self, queue_name, count, 0, *args)
            if messages or monotonic() >= end:
                return messages
            with STATE:
                STATE.wait(min(1, end - monotonic()))

    return receive_message
