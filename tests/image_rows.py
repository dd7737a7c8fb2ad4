"""Rows of images in a table of the test's own, for those who write them and those who read them."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from chalicelib import items, rows
from chalicelib.claim import Claim, Partial
from chalicelib.claims import Attempt, Claims
from chalicelib.errors import AccessLost, Contended, ServiceFailed, Throttled
from chalicelib.model import (
    Answer,
    Box,
    Color,
    Findings,
    Image,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Properties,
    Region,
    Status,
    StoredObject,
    Word,
)
from chalicelib.settings import Settings
from chalicelib.store import Store
from tests import faults

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = "a/car #1.png"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
LATER = NOW + timedelta(minutes=5)
LATER_STILL = timedelta(minutes=1)
FOUND = StoredObject(KEY, "v1", "e1", 48_123, "text/plain", NOW - timedelta(seconds=4), {"by": "Ann"}, b"")
NEWER = replace(FOUND, version_id="v2", etag="e2")
LEASE = NOW.timestamp() + 70
CAR = Label(
    "Car", 98.71, ("Transport",), ("Vehicle",), ("Automobile",), (Instance(97.2, Box(0.1, 0.2, 0.5, 0.4)),)
)
WHEEL = Label("Wheel", 77.0)
BOX = Box(0.1, 0.2, 0.5, 0.4)
FINDINGS = Findings(
    labels=(CAR, WHEEL),
    moderation=Moderation(True, (ModerationLabel("Weapons", 91.0, "Violence", 2),), ("Illustrated",)),
    text=(Line("TAXI", 99.1, BOX, (Word("TAXI", 99.1, BOX),)),),
    properties=Properties((Color("#008080", "teal", "green", 62.5),), 50.5, foreground=Region(contrast=1.0)),
    model_versions={"labels": "3.0", "moderation": "7.0", "text": "3.0"},
)
ANSWER = Answer(Status.LABELLED, None, "image/png", FINDINGS)
TEXT_ONLY = Findings(text=FINDINGS.text, model_versions={"text": "3.0"})
KEPT = Partial("v1", "today's", TEXT_ONLY)
NOTHING = Partial("v1", "today's", Findings())
IMAGE = Image(
    KEY,
    Status.LABELLED,
    None,
    "image/png",
    48_123,
    "v1",
    "e1",
    "2026-01-02T03:04:01Z",
    "2026-01-02T03:04:05Z",
    (CAR, WHEEL),
    FINDINGS.text,
    FINDINGS.moderation,
    FINDINGS.properties,
    {"labels": "3.0", "moderation": "7.0", "text": "3.0"},
    {"by": "Ann"},
)

TRANSACT = "dynamodb.TransactWriteItems"
UPDATE = "dynamodb.UpdateItem"
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})
TIMEOUT = ReadTimeoutError(endpoint_url="https://dynamodb.example")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://dynamodb.example")


class Bench:
    """A table of the test's own, and the moves that tests begin with."""

    @classmethod
    def on(cls, settings: Settings) -> Self:
        return cls(boto3.client("dynamodb", config=ONE_ATTEMPT), settings.images_table)

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self.client = client
        self.table = table
        self.pauses: list[float] = []
        self.store = Store(client, table)
        self.claims = Claims(client, table, self.pauses.append)

    def plan(self, operation: str, *steps: faults.Step) -> list[Any]:
        return faults.plan(self.client.meta.events, operation, *steps)

    def claim(self, found: StoredObject, run: str, row: Claim | None = None) -> Attempt:
        return self.claims.claim(found, run, row, NOW, lease_seconds=70)

    def label(self, found: StoredObject, answer: Answer, now: datetime = NOW) -> Claim:
        """Claims on what is there, commits, and returns the row as it then is."""
        row = self.row(found.key)
        run = secrets.token_hex(4)
        assert self.claim(found, run, row).won
        assert self.claims.commit(found, run, answer, row, now).won
        return self.row(found.key)

    def row(self, key: str) -> Claim:
        return rows.read_claim(self.rows(key).get("image", {}))

    def rows(self, key: str = KEY) -> dict[str, dict[str, Any]]:
        found = self.client.query(
            TableName=self.table,
            KeyConditionExpression="source_file = :key",
            ExpressionAttributeValues={":key": {"S": key}},
        )["Items"]
        return {row["entry"]: row for row in map(items.unmarshal, found)}


def text(request: Any) -> str:
    body: bytes = request.body
    return body.decode()


def labelled(*labels: Label) -> Answer:
    return Answer(Status.LABELLED, None, "image/png", Findings(labels, model_versions={"labels": "3.0"}))


def numbered(first: int, count: int) -> tuple[Label, ...]:
    return tuple(Label(f"Label {n}", 99.0 - n / 10) for n in range(first, first + count))


OUTAGES = [
    pytest.param(faults.json_error(400, "AccessDeniedException"), AccessLost, id="access denied"),
    pytest.param(faults.json_error(400, "ExpiredTokenException"), AccessLost, id="expired token"),
    pytest.param(faults.json_error(400, "UnrecognizedClientException"), AccessLost, id="unknown client"),
    pytest.param(faults.json_error(400, "ResourceNotFoundException"), AccessLost, id="no table"),
    pytest.param(
        faults.json_error(400, "ProvisionedThroughputExceededException"), Throttled, id="throughput"
    ),
    pytest.param(faults.json_error(400, "RequestLimitExceeded"), Throttled, id="request limit"),
    pytest.param(faults.json_error(400, "ThrottlingException"), Throttled, id="throttling"),
    pytest.param(faults.json_error(400, "TransactionConflictException"), Contended, id="conflict"),
    pytest.param(faults.json_error(400, "TransactionInProgressException"), Contended, id="in progress"),
    pytest.param(faults.json_error(500, "InternalServerError"), ServiceFailed, id="500"),
    pytest.param(faults.answering(503, b"<html>"), ServiceFailed, id="503 in HTML"),
    pytest.param(faults.raising(TIMEOUT), ServiceFailed, id="timeout"),
    pytest.param(faults.raising(UNREACHABLE), ServiceFailed, id="unreachable"),
]


Faulty = Callable[[faults.Step], "DynamoDBClient"]


def faulty_client() -> Faulty:
    """Makes a client whose every call meets this fault."""
    client = boto3.client("dynamodb", config=ONE_ATTEMPT)
    current: list[faults.Step] = []
    events: Any = client.meta.events
    events.register_first("before-send", lambda request, **_: current[-1](request))

    def make(fault: faults.Step) -> "DynamoDBClient":
        current.append(fault)
        return client

    return make
