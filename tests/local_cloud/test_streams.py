# mypy: disable-error-code="untyped-decorator"
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from chalice import Chalice
from chalice.app import DynamoDBEvent

from local_cloud.clock import ManualClock
from local_cloud.event_source_mapping import EventSourceMapping
from local_cloud.pump import Pump
from tests.local_cloud.conftest import Follows, MakePump

Behaviour = Callable[[list[str], list[str]], Any]


def row(entry: str, **attributes: Any) -> dict[str, Any]:
    return {"file": {"S": "car.png"}, "entry": {"S": entry}} | attributes


def put(dynamodb: Any, table: str, *entries: str) -> None:
    for entry in entries:
        dynamodb.put_item(TableName=table, Item=row(entry))


def collect(app: Chalice, stream_arn: str, behave: Behaviour, **settings: Any) -> list[list[str]]:
    """Register a function that keeps the entries it is given, batch by batch, then does as it is told."""
    batches: list[list[str]] = []

    @app.on_dynamodb_record(stream_arn, **{"starting_position": "TRIM_HORIZON"} | settings)
    def index(event: DynamoDBEvent) -> Any:
        records = list(event)
        batches.append([record.keys["entry"]["S"] for record in records])
        return behave(batches[-1], [record.sequence_number for record in records])

    return batches


def fail_on(*poison: str) -> Behaviour:
    def behave(entries: list[str], _: list[str]) -> None:
        if set(entries) & set(poison):
            raise ValueError(entries)

    return behave


def succeed(*_: list[str]) -> None:
    return None


def run_for(pump: Pump, clock: ManualClock, duration: timedelta) -> None:
    """Let that much time pass, moment of interest by moment of interest."""
    end = clock.now() + duration
    pump.drain()
    while (due := pump.next_due()) and due <= end:
        clock.move_to(due)
        pump.drain()
    clock.move_to(end)
    pump.drain()


def given_up(pump: Pump) -> list[tuple[str, list[str]]]:
    return [
        (failed.condition, [record["dynamodb"]["Keys"]["entry"]["S"] for record in failed.event["Records"]])
        for failed in pump.failed_events
    ]


def test_a_record_is_shown_as_lambda_shows_it(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    events: list[Any] = []

    @app.on_dynamodb_record(stream_arn, starting_position="TRIM_HORIZON")
    def index(event: DynamoDBEvent) -> None:
        events.append(event.to_dict())

    pump = make_pump(clock=clock)
    dynamodb.put_item(TableName=table, Item=row("a", size={"N": "3"}, raw={"B": b"\xff"}, tags={"SS": ["x"]}))
    pump.drain()

    [record] = events[0]["Records"]
    assert len(record.pop("eventID")) == 32
    assert record["dynamodb"].pop("SequenceNumber").isdigit()
    assert record["dynamodb"].pop("SizeBytes") > 0
    assert record == {
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": stream_arn,
        "dynamodb": {
            "ApproximateCreationDateTime": clock.time(),
            "Keys": row("a"),
            "NewImage": row("a", size={"N": "3"}, raw={"B": "/w=="}, tags={"SS": ["x"]}),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def test_records_come_in_order_and_in_batches(
    app: Chalice, make_pump: MakePump, dynamodb: Any, table: str, stream_arn: str
) -> None:
    batches = collect(app, stream_arn, succeed, batch_size=2)
    pump = make_pump()

    put(dynamodb, table, "1", "2", "3", "4", "5")
    pump.drain()
    put(dynamodb, table, "6")
    pump.drain()

    assert batches == [["1", "2"], ["3", "4"], ["5"], ["6"]]


@pytest.mark.parametrize(
    ("position", "expected"), [("TRIM_HORIZON", [["before"], ["after"]]), ("LATEST", [["after"]])]
)
def test_reading_starts_where_the_decorator_says(
    app: Chalice,
    make_pump: MakePump,
    dynamodb: Any,
    table: str,
    stream_arn: str,
    position: str,
    expected: list[list[str]],
) -> None:
    batches = collect(app, stream_arn, succeed, starting_position=position, batch_size=1)
    put(dynamodb, table, "before")
    pump = make_pump()

    put(dynamodb, table, "after")
    pump.drain()

    assert batches == expected


def test_by_default_a_failing_batch_blocks_the_shard_until_its_records_expire(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    batches = collect(app, stream_arn, fail_on("poison"), batch_size=1)
    pump = make_pump(clock=clock)
    put(dynamodb, table, "poison", "good")

    for _ in range(23):
        pump.drain()
        clock.advance(timedelta(hours=1))
    put(dynamodb, table, "later")
    clock.advance(timedelta(hours=2))
    pump.drain()

    assert batches == [["poison"]] * 23 + [["later"]]
    assert given_up(pump) == [("RecordAgeExceeded", ["poison"]), ("RecordAgeExceeded", ["good"])]


def test_a_limit_of_retries_lets_the_shard_go_on(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    batches = collect(app, stream_arn, fail_on("poison"), batch_size=2)
    pump = make_pump(clock=clock, mappings={"index": EventSourceMapping.of({"MaximumRetryAttempts": 2})})
    put(dynamodb, table, "poison", "good", "next")

    run_for(pump, clock, timedelta(minutes=5))

    assert batches == [["poison", "good"]] * 3 + [["next"]]
    assert given_up(pump) == [("RetryAttemptsExhausted", ["poison", "good"])]
    assert pump.failed_events[0].attempts == 3


def test_a_limit_of_age_lets_the_shard_go_on(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    batches = collect(app, stream_arn, fail_on("poison"), batch_size=1)
    mapping = EventSourceMapping.of({"MaximumRecordAgeInSeconds": 60, "MaximumRetryAttempts": -1})
    pump = make_pump(clock=clock, mappings={"index": mapping})
    put(dynamodb, table, "poison")
    run_for(pump, clock, timedelta(seconds=30))
    put(dynamodb, table, "good")

    run_for(pump, clock, timedelta(minutes=2))

    assert batches[-1] == ["good"]
    assert given_up(pump) == [("RecordAgeExceeded", ["poison"])]


def test_bisecting_finds_the_poison_and_delivers_the_99_others(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    batches = collect(app, stream_arn, fail_on("0"))
    mapping = EventSourceMapping.of({"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 2})
    pump = make_pump(clock=clock, mappings={"index": mapping})
    put(dynamodb, table, *map(str, range(100)))

    run_for(pump, clock, timedelta(minutes=5))

    delivered = [entry for batch in batches if "0" not in batch for entry in batch]
    assert delivered == [str(number) for number in range(1, 100)]
    assert given_up(pump) == [("RetryAttemptsExhausted", ["0"])]
    assert len(batches) < 20


def test_a_partial_answer_goes_on_at_the_lowest_failure(
    app: Chalice, make_pump: MakePump, clock: ManualClock, dynamodb: Any, table: str, stream_arn: str
) -> None:
    def fail_two_at_first(entries: list[str], numbers: list[str]) -> Any:
        if len(entries) < 5:
            return {"batchItemFailures": []}
        return {"batchItemFailures": [{"itemIdentifier": numbers[3]}, {"itemIdentifier": numbers[2]}]}

    batches = collect(app, stream_arn, fail_two_at_first)
    mapping = EventSourceMapping.of({"FunctionResponseTypes": ["ReportBatchItemFailures"]})
    pump = make_pump(clock=clock, mappings={"index": mapping})
    put(dynamodb, table, "1", "2", "3", "4", "5")

    run_for(pump, clock, timedelta(minutes=1))

    assert batches == [["1", "2", "3", "4", "5"], ["3", "4", "5"]]
    assert pump.failed_events == []


def test_the_filter_passes_over_what_is_not_wanted(
    app: Chalice, make_pump: MakePump, dynamodb: Any, table: str, stream_arn: str
) -> None:
    batches = collect(app, stream_arn, succeed, batch_size=2)
    pattern = {"eventName": ["INSERT"], "dynamodb": {"Keys": {"entry": {"S": [{"prefix": "image"}]}}}}
    mapping = EventSourceMapping.of({"FilterCriteria": {"Filters": [{"Pattern": json.dumps(pattern)}]}})
    pump = make_pump(mappings={"index": mapping})

    put(dynamodb, table, "label#1", "label#2", "label#3", "image", "label#4")
    dynamodb.delete_item(TableName=table, Key=row("image"))

    assert pump.drain() == 1
    assert batches == [["image"]]


def test_one_shard_never_runs_twice_at_once(
    app: Chalice, make_pump: MakePump, dynamodb: Any, table: str, stream_arn: str
) -> None:
    running: list[int] = []
    most: list[int] = []
    done = threading.Semaphore(0)

    def behave(*_: list[str]) -> None:
        running.append(1)
        most.append(len(running))
        threading.Event().wait(0.01)
        running.pop()
        done.release()

    batches = collect(app, stream_arn, behave, batch_size=1)
    pump = make_pump()
    pump.start()
    try:
        put(dynamodb, table, "1", "2", "3", "4")
        assert all(done.acquire(timeout=5) for _ in range(4))
    finally:
        pump.stop()

    assert (max(most), batches) == (1, [["1"], ["2"], ["3"], ["4"]])


def test_in_the_background_a_record_is_delivered_at_once(
    app: Chalice, make_pump: MakePump, dynamodb: Any, table: str, stream_arn: str, follows: Follows
) -> None:
    entries = map(str, count())
    arrived = threading.Event()
    collect(app, stream_arn, lambda *_: arrived.set())
    pump = make_pump()
    pump.start()
    try:
        assert follows(lambda: put(dynamodb, table, next(entries)), arrived)
    finally:
        pump.stop()
