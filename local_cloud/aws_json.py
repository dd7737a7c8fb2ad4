"""Answers in AWS JSON 1.1, the protocol that Rekognition speaks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def reply(status: int, document: Mapping[str, Any]) -> Reply:
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid4())}
    return Reply(status, headers, json.dumps(document).encode())


def refusal(status: int, code: str, message: str) -> Reply:
    return reply(status, {"__type": code, "Message": message})
