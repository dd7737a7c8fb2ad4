"""SQS."""

import json
import re
from time import monotonic
from typing import Any

import moto.sqs.models as sqs_models

from local_cloud.moto_patches.mending import Function, mend
from local_cloud.moto_patches.state import STATE


def apply() -> None:
    mend(sqs_models.SQSBackend, "receive_message", _receive_message)
    mend(sqs_models.Queue, "_set_attributes", _set_attributes)
    mend(sqs_models.Queue, "_setup_dlq", _set_up_dead_letters)
    mend(sqs_models.Queue, "update_from_cloudformation_json", _update_from_cloudformation)
    if "RedriveAllowPolicy" not in sqs_models.Queue.BASE_ATTRIBUTES:
        sqs_models.Queue.BASE_ATTRIBUTES.append("RedriveAllowPolicy")
        sqs_models.Queue.redrive_allow_policy = None


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


def _set_attributes(original: Function) -> Function:
    """What is not set stays as it is (moto drops the policy), and each attribute is text."""

    def set_attributes(self: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        kept = {} if "Policy" in attributes else {"Policy": self.policy}
        allowed = attributes.get("RedriveAllowPolicy")
        text = {"RedriveAllowPolicy": json.dumps(allowed)} if isinstance(allowed, dict) else {}
        original(self, kept | attributes | text, now)

    return set_attributes


def _set_up_dead_letters(original: Function) -> Function:
    """moto looks through all queues for the one that an ARN names."""

    def set_up_dead_letters(self: Any, policy: Any) -> None:
        backend = sqs_models.sqs_backends[self.account_id][self.region]
        whole, backend.queues = backend.queues, _only(backend.queues, policy)
        try:
            original(self, policy)
        finally:
            backend.queues = whole

    return set_up_dead_letters


def _only(queues: dict[str, Any], policy: Any) -> dict[str, Any]:
    """The queue whose ARN is somewhere in the policy."""
    names = re.findall(r":([\w.-]+)\"", policy if isinstance(policy, str) else json.dumps(policy))
    return {name: queues[name] for name in names if name in queues}


def _update_from_cloudformation(_: Function) -> Function:
    """moto updates two attributes only."""

    def update(original_resource: Any, cloudformation_json: dict[str, Any], **_: Any) -> Any:
        properties = cloudformation_json["Properties"]
        original_resource._set_attributes(
            {name: value for name, value in properties.items() if name not in ("QueueName", "Tags")}
        )
        return original_resource

    return update
