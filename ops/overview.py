"""`python -m ops status`: what is deployed of a stage, how much waits, and what to do about the half-made."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from rich.console import Console
from rich.table import Table

from chalicelib.items import marshal
from chalicelib.model import VISIBLE, Status
from chalicelib.rows import status_index_key
from ops.account import Account
from ops.configuration import LABELLER, SIZES
from ops.inventory import Found, Inventory, Queue, unless_absent
from ops.listing import listing
from ops.stack import USABLE, Stack
from ops.stage import Stage

PAGES = 10  # of a megabyte of index each, that are counted for a status


@dataclass(frozen=True)
class Overview:
    stage: Stage
    account: Account
    pages: int = field(default=PAGES)

    def show(self, console: Console) -> None:
        console.print(f"Stage {self.stage.name}: {self.account}")
        for part in (*self._places(), *self._tables(), *self._remarks()):
            console.print(part)

    @cached_property
    def _inventory(self) -> Inventory:
        return Inventory(self.stage, self.account)

    @cached_property
    def _stack_status(self) -> str | None:
        return Stack(self.account.client("cloudformation"), self.stage.stack_name).status

    @cached_property
    def _functions(self) -> list[Found]:
        return self._inventory.functions

    @cached_property
    def _apis(self) -> list[Found]:
        return self._inventory.apis

    @cached_property
    def _queues(self) -> list[Queue]:
        return self._inventory.queues

    def _places(self) -> Iterator[str]:
        yield f"Stack:  {self.stage.stack_name}, {self._stack_status or 'not there'}"
        yield from (f"API:    {self.account.api_url(api['id'], self.stage.name)}" for api in self._apis)
        pictures = self.stage.images_bucket(self.account.id, self.account.region)
        if pictures in self._inventory.buckets:
            yield f"Bucket: s3://{pictures}"

    def _tables(self) -> Iterator[Table]:
        if self._functions:
            yield listing("function", "runtime", "processor", "MB", "seconds", "changed", rows=self._sizes())
        if self._queues:
            depths = [(q.name, f"{q.visible:,}", f"{q.in_flight:,}", f"{q.delayed:,}") for q in self._queues]
            yield listing("queue", "waiting", "in flight", "delayed", rows=depths)
        images = self.stage.images_table
        if images in self._inventory.tables:
            counts = [(status, self._count(images, status)) for status in VISIBLE]
            yield listing("images", "", rows=counts)

    def _sizes(self) -> Iterator[tuple[str, ...]]:
        for function in self._functions:
            yield (
                function["FunctionName"],
                function["Runtime"],
                *function["Architectures"],
                str(function["MemorySize"]),
                str(function["Timeout"]),
                function["LastModified"],
            )

    def _count(self, table: str, status: Status) -> str:
        """How many images are in a status, as far as that can be said in a moment."""
        values = {":key": status_index_key(status), ":now": int(datetime.now(UTC).timestamp())}
        pages = (
            self.account.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=table,
                IndexName="by_status",
                Select="COUNT",
                KeyConditionExpression="status_key = :key",
                FilterExpression="attribute_not_exists(expires_at) OR expires_at > :now",
                ExpressionAttributeValues=marshal(values),
            )
        )
        counted = 0
        for number, page in enumerate(pages, 1):
            counted += page["Count"]
            if number == self.pages and "LastEvaluatedKey" in page:
                return f"more than {counted:,}"
        return f"{counted:,}"

    def _remarks(self) -> Iterator[str]:
        """What is wrong, and what to do about it."""
        for alarm in self._inventory.alarms:
            if alarm["StateValue"] == "ALARM":
                yield f"ALARM: {alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}"
        yield from self._unmade()

    def _unmade(self) -> Iterator[str]:
        name = self.stage.name
        if not (self._stack_status or self._functions or self._apis):
            yield f"Nothing of it is deployed: `make deploy STAGE={name}` does that."
        elif self._stack_status not in USABLE:
            yield f"Its stack is not as it should be: `python -m ops resources --stage {name}` says why."
        elif missing := self._missing:
            yield f"Not deployed: {', '.join(missing)}: `chalice deploy --stage {name}` does that."
        elif self._is_unknown:
            yield f"The record of Chalice is lost: `python -m ops resources --stage {name}` makes it anew."
        elif self._is_unfinished:
            yield f"It is not finished: `python -m ops finish --stage {name}` does that."

    @property
    def _missing(self) -> list[str]:
        there = {function["FunctionName"] for function in self._functions}
        expected = map(self.stage.function_name, self.stage.handlers or SIZES)
        return [*(name for name in expected if name not in there), *([] if self._apis else ["the API"])]

    @property
    def _is_unknown(self) -> bool:
        noted = self.stage.deployed().get("rest_api", {}).get("rest_api_id")
        return noted not in [api["id"] for api in self._apis]

    @property
    def _is_unfinished(self) -> bool:
        """Chalice wipes the one, and never sets the other."""
        gateway, functions = self.account.client("apigateway"), self.account.client("lambda")
        api = self.stage.deployed()["rest_api"]["rest_api_id"]
        refusal = gateway.get_gateway_response(restApiId=api, responseType="DEFAULT_4XX")
        invocations = unless_absent(
            functions.get_function_event_invoke_config, FunctionName=self.stage.function_name(LABELLER)
        )
        return refusal["defaultResponse"] or not invocations
