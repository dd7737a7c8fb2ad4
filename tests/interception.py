"""What stands between the SDK and the service: layers, each of which may send a request on, or not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.httpsession import URLLib3Session


@dataclass(frozen=True)
class Call:
    """One HTTP request of the SDK's; each attempt is one."""

    service: str
    operation: str
    request: AWSPreparedRequest

    def __str__(self) -> str:
        return f"{self.service}.{self.operation}"


Layer = Callable[[Call], AWSResponse]


def intercept(session: boto3.Session, layer: Layer) -> boto3.Session:
    """Makes every client that this session makes from now on send by this layer, and by no other way."""

    def send(request: AWSPreparedRequest, event_name: str, **_: Any) -> Any:
        service, name = event_name.split(".")[1:]
        return layer(Call(service, name, request))

    session.events.register_first("before-send", send)
    return session


def over_sockets() -> Layer:
    connections = URLLib3Session()

    def send(call: Call) -> AWSResponse:
        return connections.send(call.request)

    return send


@contextmanager
def sdk_waiting_by(wait: Callable[[float], object]) -> Iterator[None]:
    """Between its attempts the SDK waits so, instead of asleep; `ManualClock.sleep` lets that time pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=wait))
        yield
