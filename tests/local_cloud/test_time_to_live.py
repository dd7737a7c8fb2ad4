# mypy: disable-error-code="untyped-decorator"
from datetime import timedelta
from time import monotonic, sleep, time
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import DynamoDBEvent

from local_cloud.clock import ManualClock
from tests.local_cloud.conftest import MakePump


@pytest.fixture(autouse=True)
def expiring(dynamodb: Any, table: str) -> None:
    specification = {"Enabled": True, "AttributeName": "expires_at"}
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)


def put(dynamodb: Any, table: str, entry: str, **attributes: Any) -> None:
    item = {"file": {"S": "car.png"}, "entry": {"S": entry}} | attributes
    dynamodb.put_item(TableName=table, Item=item)


def entries(dynamodb: Any, table: str) -> list[str]:
    return [item["entry"]["S"] for item in dynamodb.scan(TableName=table)["Items"]]


def test_a_row_goes_when_its_time_is_past(
    make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str
) -> None:
    put(dynamodb, table, "soon", expires_at={"N": str(int(clock.time()) + 60)})
    pump = make_pump(clock=clock)

    pump.drain()
    before = entries(dynamodb, table)
    clock.advance(timedelta(seconds=60))
    pump.drain()

    assert (before, entries(dynamodb, table)) == (["soon"], [])


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"S": "1"}, id="text"),
        pytest.param({"NULL": True}, id="null"),
        pytest.param({"N": "99999999999"}, id="far-future"),
        pytest.param({"N": "1"}, id="more-than-five-years-ago"),
        pytest.param({"M": {"N": {"N": "1767000000"}}}, id="map"),
    ],
)
def test_a_row_stays_when_its_attribute_is_no_time_that_is_past(
    make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, value: Any
) -> None:
    put(dynamodb, table, "odd", expires_at=value)
    put(dynamodb, table, "without")

    make_pump(clock=clock).drain()

    assert sorted(entries(dynamodb, table)) == ["odd", "without"]


def test_the_stream_says_that_the_service_did_it(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    seen: list[Any] = []

    @app.on_dynamodb_record(stream_arn, starting_position="TRIM_HORIZON")
    def index(event: DynamoDBEvent) -> None:
        seen.extend((record.event_name, record.to_dict().get("userIdentity")) for record in event)

    put(dynamodb, table, "past", expires_at={"N": str(int(clock.time()) - 1)})
    put(dynamodb, table, "deleted")
    dynamodb.delete_item(TableName=table, Key={"file": {"S": "car.png"}, "entry": {"S": "deleted"}})
    make_pump(clock=clock).drain()

    assert seen == [
        ("INSERT", None),
        ("INSERT", None),
        ("REMOVE", None),
        ("REMOVE", {"type": "Service", "principalId": "dynamodb.amazonaws.com"}),
    ]


def test_in_the_background_rows_go_too(make_pump: MakePump, dynamodb: Any, table: str) -> None:
    pump = make_pump()
    pump.start()
    try:
        put(dynamodb, table, "past", expires_at={"N": str(int(time()) - 1)})
        end = monotonic() + 5
        while entries(dynamodb, table) and monotonic() < end:
            sleep(0.02)
    finally:
        pump.stop()

    assert entries(dynamodb, table) == []
