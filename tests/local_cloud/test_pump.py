# mypy: disable-error-code="untyped-decorator"
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from chalice import Chalice, Rate
from chalice.app import CloudWatchEvent, S3Event, SQSEvent

from local_cloud.clock import ManualClock
from local_cloud.functions import FailedEvent, FunctionSettings
from local_cloud.pump import NeverQuietError, UnsupportedTriggerError
from tests.local_cloud.conftest import START, Follows, MakePump


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = monotonic() + seconds
    while not condition() and monotonic() < end:
        sleep(0.005)
    assert condition()


def collect_keys(app: Chalice, bucket: str, **filters: Any) -> list[str]:
    keys: list[str] = []

    @app.on_s3_event(bucket, **filters)
    def collect(event: S3Event) -> None:
        keys.append(event.key)

    return keys


def test_an_upload_reaches_the_function_under_its_own_name(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str
) -> None:
    keys = collect_keys(app, bucket)
    pump = make_pump()

    s3.put_object(Bucket=bucket, Key="a b+c%2F\N{DOG FACE}.png", Body=b"x")

    assert pump.drain() == 1
    assert keys == ["a b+c%2F\N{DOG FACE}.png"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        pytest.param({}, ["in/a.png", "in/b c.jpg", "out/a.png"], id="created-only-by-default"),
        pytest.param({"prefix": "in/"}, ["in/a.png", "in/b c.jpg"], id="prefix"),
        pytest.param({"suffix": "b c.jpg"}, ["in/b c.jpg"], id="suffix-of-the-decoded-key"),
        pytest.param({"prefix": "in/", "suffix": ".png"}, ["in/a.png"], id="both"),
        pytest.param({"events": ["s3:ObjectCreated:Copy"]}, [], id="another-way-to-create"),
        pytest.param({"events": ["s3:ObjectRemoved:*"]}, ["out/a.png"], id="removed"),
    ],
)
def test_events_go_where_the_decorator_says(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str, filters: dict[str, Any], expected: list[str]
) -> None:
    keys = collect_keys(app, bucket, **filters)
    pump = make_pump()

    for key in ("in/a.png", "in/b c.jpg", "out/a.png"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.delete_object(Bucket=bucket, Key="out/a.png")
    pump.drain()

    assert keys == expected


def test_events_of_another_bucket_go_nowhere(app: Chalice, make_pump: MakePump, s3: Any, bucket: str) -> None:
    keys = collect_keys(app, bucket + "-other")
    pump = make_pump()

    s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    assert (pump.drain(), keys) == (0, [])


def test_a_function_that_fails_is_tried_again_after_one_and_two_minutes(
    app: Chalice, make_pump: MakePump, clock: ManualClock, s3: Any, bucket: str
) -> None:
    attempts: list[tuple[timedelta, str]] = []

    @app.on_s3_event(bucket)
    def fail(event: S3Event) -> None:
        attempts.append((clock.now() - START, event.context.aws_request_id))
        raise ValueError("no")

    pump = make_pump(clock=clock)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    while pump.drain() and (due := pump.next_due()):
        clock.move_to(due)

    [failed] = pump.failed_events
    assert [after for after, _ in attempts] == [
        timedelta(minutes=0),
        timedelta(minutes=1),
        timedelta(minutes=3),
    ]
    assert len({request_id for _, request_id in attempts}) == 1
    assert (failed.function_name, failed.condition, failed.attempts) == (
        "tiny-local-fail",
        "RetriesExhausted",
        3,
    )
    assert failed.event["Records"][0]["s3"]["object"]["key"] == "a"
    assert isinstance(failed.error, ValueError)


def test_a_crash_counts_as_a_function_error(
    app: Chalice, make_pump: MakePump, clock: ManualClock, s3: Any, bucket: str
) -> None:
    class CrashError(BaseException):
        pass

    crashes = iter([CrashError(), None])

    @app.on_s3_event(bucket)
    def crash_once(event: S3Event) -> None:
        if crash := next(crashes):
            raise crash

    pump = make_pump(clock=clock)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    done = [pump.drain()]
    clock.advance(timedelta(minutes=1))
    done.append(pump.drain())

    assert done == [1, 1]
    assert (pump.failed_events, pump.next_due()) == ([], None)


def test_an_event_older_than_six_hours_is_given_up(
    app: Chalice, make_pump: MakePump, clock: ManualClock, s3: Any, bucket: str
) -> None:
    keys = collect_keys(app, bucket)
    pump = make_pump(clock=clock)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    clock.advance(timedelta(hours=6, seconds=1))
    pump.drain()

    assert keys == []
    assert [(failed.condition, failed.attempts) for failed in pump.failed_events] == [("EventAgeExceeded", 0)]


def test_a_function_gets_its_own_copy_of_the_event(
    app: Chalice, make_pump: MakePump, clock: ManualClock, s3: Any, bucket: str
) -> None:
    seen: list[Any] = []

    @app.on_s3_event(bucket)
    def spoil(event: S3Event) -> None:
        seen.append(event.to_dict()["Records"].pop())
        raise ValueError

    pump = make_pump(clock=clock)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    pump.drain()
    clock.advance(timedelta(minutes=1))
    pump.drain()

    assert seen[0] == seen[1]


def test_the_context_tells_name_and_remaining_time(
    app: Chalice, make_pump: MakePump, clock: ManualClock, s3: Any, bucket: str
) -> None:
    contexts: list[Any] = []
    remaining: list[int] = []

    @app.on_s3_event(bucket)
    def look(event: S3Event) -> None:
        contexts.append(event.context)
        remaining.append(event.context.get_remaining_time_in_millis())
        clock.advance(timedelta(seconds=29.5))
        remaining.append(event.context.get_remaining_time_in_millis())
        clock.advance(timedelta(seconds=9))
        remaining.append(event.context.get_remaining_time_in_millis())

    pump = make_pump(clock=clock, stage="dev", functions={"look": FunctionSettings(timeout=30, memory=512)})
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    pump.drain()

    [context] = contexts
    assert remaining == [30_000, 500, 0]
    assert (context.function_name, context.memory_limit_in_mb) == ("tiny-dev-look", 512)
    assert context.invoked_function_arn == "arn:aws:lambda:us-east-1:123456789012:function:tiny-dev-look"
    assert (context.log_group_name, context.function_version) == ("/aws/lambda/tiny-dev-look", "$LATEST")


def test_a_failure_is_logged_with_its_function_and_request(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    @app.on_s3_event(bucket)
    def fail(event: S3Event) -> None:
        raise ValueError("the reason")

    pump = make_pump()
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    with caplog.at_level(logging.WARNING):
        pump.drain()

    record, retry = caplog.records
    assert vars(record)["function_name"] == "tiny-local-fail"
    assert retry.getMessage() == "tiny-local-fail is tried again in 60 seconds"
    assert vars(record)["aws_request_id"]
    assert "the reason" in caplog.text


def test_what_a_function_sets_off_is_delivered_in_the_same_drain(
    app: Chalice, make_pump: MakePump, s3: Any, sqs: Any, bucket: str, name: str
) -> None:
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    bodies: list[str] = []

    @app.on_s3_event(bucket)
    def send(event: S3Event) -> None:
        sqs.send_message(QueueUrl=queue, MessageBody=event.key)

    @app.on_sqs_message(queue=name)
    def receive(event: SQSEvent) -> None:
        bodies.extend(record.body for record in event)

    pump = make_pump()
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    assert (pump.drain(), bodies) == (2, ["a"])


def test_a_function_that_sets_itself_off_for_ever_is_named_as_such(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str
) -> None:
    @app.on_s3_event(bucket)
    def again(event: S3Event) -> None:
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    pump = make_pump()
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")

    with pytest.raises(NeverQuietError, match="still busy after 6 invocations"):
        pump.drain(limit=5)


def test_in_the_background_an_upload_is_delivered_at_once(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str, follows: Follows
) -> None:
    arrived = threading.Event()

    @app.on_s3_event(bucket)
    def arrive(event: S3Event) -> None:
        arrived.set()

    pump = make_pump()
    pump.start()
    try:
        assert follows(lambda: s3.put_object(Bucket=bucket, Key="a", Body=b"x"), arrived)
    finally:
        pump.stop()


def test_in_the_background_ten_functions_run_at_once_and_no_more(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str
) -> None:
    running: list[str] = []
    done: list[str] = []
    most: list[int] = []
    go_on = threading.Event()

    @app.on_s3_event(bucket)
    def wait(event: S3Event) -> None:
        running.append(event.key)
        most.append(len(running))
        go_on.wait(5)
        running.remove(event.key)
        done.append(event.key)

    pump = make_pump()
    pump.start()
    try:
        for number in range(12):
            s3.put_object(Bucket=bucket, Key=str(number), Body=b"x")
        wait_until(lambda: len(running) == 10)
        go_on.set()
        wait_until(lambda: len(done) == 12)
    finally:
        pump.stop()

    assert max(most) == 10


def test_stopping_waits_for_what_runs_and_begins_nothing_new(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str
) -> None:
    begun = threading.Event()
    ended: list[str] = []

    @app.on_s3_event(bucket)
    def work(event: S3Event) -> None:
        begun.set()
        sleep(0.2)
        ended.append(event.key)

    pump = make_pump()
    pump.start()
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    begun.wait(5)
    pump.stop()
    s3.put_object(Bucket=bucket, Key="b", Body=b"x")

    assert ended == ["a"]
    assert not [thread for thread in threading.enumerate() if thread.name in ("pump", "function")]


def test_an_idle_pump_stops_when_it_is_told_to(make_pump: MakePump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_cloud.pump._POLL_EVERY", 3600)
    pump = make_pump()
    pump.start()
    sleep(0.05)

    stopping = threading.Thread(target=pump.stop, daemon=True)
    stopping.start()
    stopping.join(10)

    assert not stopping.is_alive()


def test_a_queue_that_is_not_there_does_not_stop_the_others(
    app: Chalice, make_pump: MakePump, s3: Any, bucket: str, name: str
) -> None:
    keys = collect_keys(app, bucket)

    @app.on_sqs_message(queue=name)
    def never(event: SQSEvent) -> None:
        raise AssertionError

    pump = make_pump()
    pump.start()
    try:
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")
        wait_until(lambda: keys == ["a"])
    finally:
        pump.stop()


def test_a_trigger_that_is_not_run_here_is_named(app: Chalice, make_pump: MakePump) -> None:
    app.on_sns_message(topic="t", name="hear")(lambda _: None)

    with pytest.raises(UnsupportedTriggerError, match="hear: SNSEventConfig is not run here"):
        make_pump()


def test_a_failed_event_compares_by_what_it_is() -> None:
    first, second = (FailedEvent("f", {}, "RetriesExhausted", 3, None) for _ in range(2))

    assert first == second


def test_a_schedule_invokes_its_function_and_failures_are_tried_again(
    app: Chalice, make_pump: MakePump, clock: ManualClock
) -> None:
    times: list[str] = []

    @app.schedule(Rate(5, unit=Rate.MINUTES))
    def recover(event: CloudWatchEvent) -> None:
        times.append(event.time)
        if len(times) == 1:
            raise ValueError

    pump = make_pump(clock=clock)
    while clock.now() < START + timedelta(minutes=10):
        pump.drain()
        clock.move_to(pump.next_due() or clock.now())
    pump.drain()

    assert times == ["2026-01-02T03:09:05Z", "2026-01-02T03:09:05Z", "2026-01-02T03:14:05Z"]
