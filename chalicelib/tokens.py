"""Adapter: the bearer tokens of the API, in the DynamoDB table `state`.

A token is `ilt_<id>_<secret>`, of which the table has the id and a digest. Nobody can try out 256 random
bits, however fast the digest is: a slow one, as passwords need it, would only cost every request its time.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chalicelib import items
from chalicelib.aws_errors import DYNAMODB, translated
from chalicelib.dynamodb import is_done

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FORM = re.compile(r"ilt_([0-9a-f]{12})_[0-9a-f]{64}")
TOKEN = "token"  # noqa: S105 - the name of their rows
USE_IS_NOTED_EVERY = timedelta(hours=1)


class Scope(StrEnum):
    """What a token is good for; none of them takes in another."""

    READ = "read"
    UPLOAD = "upload"
    ADMIN = "admin"


@dataclass(frozen=True)
class Token:
    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


class Tokens:
    """Every method raises AccessLost, Throttled or ServiceFailed when DynamoDB gives no answer."""

    def __init__(self, client: "DynamoDBClient", table: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._table = table
        self._now = now

    def create(self, name: str, scopes: Iterable[Scope], life: timedelta) -> str:
        """A new token, whose text cannot be had again."""
        token_id, now = secrets.token_hex(6), self._now()
        text = f"ilt_{token_id}_{secrets.token_hex(32)}"
        row = {
            **_key(token_id),
            "holder": name,
            "scopes": [scope for scope in Scope if scope in {*scopes}],
            "digest": _digest(text),
            "created_at": int(now.timestamp()),
            "expires_at": int((now + life).timestamp()),
        }
        with translated(DYNAMODB):
            self._client.put_item(TableName=self._table, Item=items.marshal(row))
        return text

    def find(self, text: str) -> Token | None:
        """The token of this text; None for what is no token, is not known (any more), or has expired."""
        form = FORM.fullmatch(text)
        row = self._row(form[1]) if form else None
        if row is None or not hmac.compare_digest(row["digest"], _digest(text)):
            return None
        return None if items.is_expired(row, self._now()) else _token(row)

    def note_use(self, token: Token) -> None:
        """Once an hour: what a list of tokens needs is no write for each request."""
        now = self._now()
        if token.used_at and now - token.used_at < USE_IS_NOTED_EVERY:
            return
        is_done(lambda: self._update_used_at(token.id, now))  # unless it was revoked since it was found

    def all(self) -> Iterator[Token]:
        """In no order, with those that have expired and that DynamoDB has not deleted yet."""
        condition: Any = {
            "KeyConditionExpression": "#name = :token",
            "ExpressionAttributeNames": {"#name": "name"},
            "ExpressionAttributeValues": items.marshal({":token": TOKEN}),
        }
        with translated(DYNAMODB):
            pages = self._client.get_paginator("query").paginate(TableName=self._table, **condition)
            yield from (_token(items.unmarshal(item)) for page in pages for item in page["Items"])

    def revoke(self, token_id: str) -> Token | None:
        """The token that was; None if there is none."""
        with translated(DYNAMODB):
            before = self._client.delete_item(
                TableName=self._table, Key=items.marshal(_key(token_id)), ReturnValues="ALL_OLD"
            ).get("Attributes")
        return _token(items.unmarshal(before)) if before else None

    def _row(self, token_id: str) -> items.Row | None:
        with translated(DYNAMODB):
            item = self._client.get_item(
                TableName=self._table,
                Key=items.marshal(_key(token_id)),
                ConsistentRead=True,  # a new token is good at once; what is refused is remembered for a while
            ).get("Item")
        return items.unmarshal(item) if item else None

    def _update_used_at(self, token_id: str, now: datetime) -> None:
        with translated(DYNAMODB):
            self._client.update_item(
                TableName=self._table,
                Key=items.marshal(_key(token_id)),
                UpdateExpression="SET used_at = :now",
                ConditionExpression="attribute_exists(digest)",
                ExpressionAttributeValues=items.marshal({":now": int(now.timestamp())}),
            )


def _key(token_id: str) -> dict[str, str]:
    return {"name": TOKEN, "entry": token_id}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _token(row: items.Row) -> Token:
    used_at = row.get("used_at")
    return Token(
        id=row["entry"],
        name=row["holder"],
        scopes=tuple(Scope(scope) for scope in row["scopes"]),
        created_at=_moment(row["created_at"]),
        expires_at=_moment(row["expires_at"]),
        used_at=None if used_at is None else _moment(used_at),
    )


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
