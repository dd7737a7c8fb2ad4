"""Holds each function of the app to its policy while a test runs it, as IAM does on AWS."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import cache
from typing import Any, NoReturn

import boto3
import botocore
import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from chalice import Chalice
from moto.core import DEFAULT_ACCOUNT_ID

from ops.policies import PolicyDocument, render
from ops.stage import PROJECT, Stage
from tests.rights import NEEDS, PARTITION, REGION, Right, allows, functions

Policies = Mapping[str, PolicyDocument]
Used = Mapping[str, set[Right]]

SUBMIT = ThreadPoolExecutor.submit
TEMPLATE = PROJECT / ".chalice/policies.yaml"


def values_of(stage: str) -> dict[str, str]:
    """What fills the policies of a stage: what its stack on the endpoint gives out, and the place."""
    [stack] = _cloudformation().describe_stacks(StackName=Stage(stage).stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    place = {"AccountId": DEFAULT_ACCOUNT_ID, "Region": REGION, "Partition": PARTITION}
    return {**outputs, **place, "Stage": stage}


@cache
def _cloudformation() -> Any:
    return boto3.Session().client("cloudformation")


@cache
def policies_of(stage: str) -> Policies:
    return render(TEMPLATE.read_text(), values_of(stage))


class Guard:
    """Knows which function runs, looks at each of its AWS calls, and refuses what it may not do."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self._policies: Callable[[], Policies] = dict
        self._running: ContextVar[str] = ContextVar("running")
        self._used: list[dict[str, set[Right]]] = []

    def watch(self, app: Chalice, policies: Callable[[], Policies]) -> None:
        """From now on; the policies are asked for at each call, since a test has a stage of its own."""
        self._policies = policies
        for name, handler in functions(app).items():
            self._announce(name, handler)

    @contextmanager
    def recording(self) -> Iterator[Used]:
        """The rights that functions use meanwhile, by function."""
        used: dict[str, set[Right]] = defaultdict(set)
        self._used.append(used)
        yield used
        self._used.remove(used)

    def listen(self, session: botocore.session.Session) -> None:
        # This event comes before parameters become a request, for what is sent and for what is only signed.
        session.register("provide-client-params", self._look)

    def _announce(self, name: str, handler: Any) -> None:
        kind = type(handler)

        def call(this: Any, *args: Any) -> Any:
            token = self._running.set(name)
            try:
                return kind.__call__(this, *args)
            finally:
                self._running.reset(token)

        handler.__class__ = type(kind.__name__, (kind,), {"__call__": call})

    def _look(self, **call: Any) -> None:
        name = self._running.get(None)
        if name is None:
            return
        model: OperationModel = call["model"]
        operation = f"{model.service_model.service_name}.{model.name}"
        if operation not in NEEDS:
            self._refuse(operation, f"{name} calls {operation}, of which tests/rights.py knows no rights")
        policies = Context().run(self._policies)  # outside of the function: to find them takes calls too
        if name not in policies:
            self._refuse(operation, f"{name} has no policy")
        for right in sorted(set(NEEDS[operation](call["params"]))):
            for used in self._used:
                used[name].add(right)
            if not allows(policies[name], right):
                self._refuse(operation, f"{name} may not do {right.action} on {right.resource}")

    def _refuse(self, operation: str, why: str) -> NoReturn:
        """Fails as AWS does; the app may take that in its stride, so it is noted for the test as well."""
        self.refused.append(why)
        refusal: Any = {
            "Error": {"Code": "AccessDenied", "Message": why},
            "ResponseMetadata": {"HTTPStatusCode": 403},
        }
        raise ClientError(refusal, operation.rpartition(".")[2])


@contextmanager
def guarding() -> Iterator[Guard]:
    """Whoever makes a session meanwhile is guarded."""
    guard = Guard()
    botocore.register_initializer(guard.listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", _submit)
        yield guard
    botocore.unregister_initializer(guard.listen)


def _submit(pool: ThreadPoolExecutor, task: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
    """What a function hands to a pool's threads is done in its name."""
    return SUBMIT(pool, copy_context().run, task, *args, **named)
