from typing import Any

import boto3
import pytest

from chalicelib.cursors import Cursor, Cursors
from chalicelib.errors import Throttled
from chalicelib.settings import Settings
from tests.faults import json_error, plan


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("dynamodb")


@pytest.fixture
def cursors(client: Any, settings: Settings) -> Cursors:
    return Cursors(client, settings.state_table)


def test_a_sweep_begins_at_the_beginning_and_at_once(cursors: Cursors) -> None:
    assert cursors.read("bucket") == Cursor("", 0)


@pytest.mark.parametrize(
    "cursor",
    [Cursor("a b\n\N{DOG FACE}.png", 0), Cursor("", 1767323045.5), Cursor("k" * 1024, 1.0), Cursor("", 0)],
    ids=["within a round", "at rest", "a long key", "at the beginning"],
)
def test_a_sweep_goes_on_where_it_stopped(cursor: Cursor, cursors: Cursors) -> None:
    cursors.write("bucket", cursor)
    cursors.write("rows", Cursor("elsewhere", 5))

    assert cursors.read("bucket") == cursor


def test_a_cursor_that_cannot_be_read_is_no_beginning(cursors: Cursors, client: Any) -> None:
    plan(client.meta.events, "dynamodb.GetItem", *[json_error(400, "ThrottlingException")] * 9)

    with pytest.raises(Throttled):
        cursors.read("bucket")
