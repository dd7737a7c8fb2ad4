from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_cloud.endpoint import Endpoint
from tests.crash_points import Crash, Mortal, When
from tests.direct import straight_to
from tests.interception import Layer, intercept, over_sockets, sdk_waiting_by
from tests.random_faults import Fault, RandomFaults


@pytest.fixture(params=["sockets", "direct"])
def mortal(request: pytest.FixtureRequest, endpoint: Endpoint) -> Mortal:
    below: Layer = over_sockets() if request.param == "sockets" else straight_to(endpoint)
    return Mortal(below)


@pytest.fixture
def client(mortal: Mortal) -> Any:
    return client_over(mortal)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"crash-points-{token_hex(6)}"
    s3.create_bucket(Bucket=name)
    return name


def client_over(layer: Layer) -> Any:
    config = Config(retries={"mode": "standard", "total_max_attempts": 3})
    return intercept(boto3.Session(), layer).client("s3", config=config)


def put(client: Any, bucket: str, *names: str) -> None:
    for name in names:
        client.put_object(Bucket=bucket, Key=name, Body=b"x")


def keys(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize(
    ("number", "when", "done"),
    [
        (1, When.BEFORE, []),
        (1, When.AFTER, ["a"]),
        (2, When.BEFORE, ["a"]),
        (2, When.AFTER, ["a", "b"]),
        (3, When.AFTER, ["a", "b", "c"]),
    ],
)
def test_a_process_dies_at_its_call_and_what_was_sent_is_done(
    mortal: Mortal, client: Any, s3: Any, bucket: str, number: int, when: When, done: list[str]
) -> None:
    mortal.crash_at(number, when)

    with pytest.raises(Crash):
        put(client, bucket, "a", "b", "c")

    assert mortal.calls == ["s3.PutObject"] * number
    assert keys(s3, bucket) == done


def test_no_handler_of_exceptions_outlives_a_crash(mortal: Mortal, client: Any, bucket: str) -> None:
    mortal.crash_at(1, When.AFTER)

    def label() -> str:
        try:
            put(client, bucket, "a")
        except Exception:  # noqa: BLE001 - that is the point
            return "lived on"
        return "nothing happened"

    with pytest.raises(Crash):
        label()


def test_the_dead_do_nothing_more(mortal: Mortal, client: Any, s3: Any, bucket: str) -> None:
    mortal.crash_at(1, When.BEFORE)

    for name in ("a", "b"):
        with pytest.raises(Crash):
            put(client, bucket, name)
    with ThreadPoolExecutor(1) as pool, pytest.raises(Crash):
        pool.submit(put, client, bucket, "c").result()

    assert mortal.calls == ["s3.PutObject"]
    assert keys(s3, bucket) == []


def test_a_life_without_a_crash_tells_where_there_could_have_been_one(
    mortal: Mortal, client: Any, s3: Any, bucket: str
) -> None:
    mortal.crash_at(1, When.BEFORE)
    with pytest.raises(Crash):
        put(client, bucket, "a")

    mortal.live()
    put(client, bucket, "a")
    client.get_object(Bucket=bucket, Key="a")["Body"].read()

    assert mortal.calls == ["s3.PutObject", "s3.GetObject"]
    assert keys(s3, bucket) == ["a"]


def test_a_repeated_attempt_is_a_call_too(endpoint: Endpoint) -> None:
    mortal = Mortal(RandomFaults(straight_to(endpoint), 1, 1.0, kinds=[Fault.RESET]))
    mortal.crash_at(3, When.BEFORE)

    with sdk_waiting_by(lambda _: None), pytest.raises(Crash):
        client_over(mortal).list_buckets()

    assert mortal.calls == ["s3.ListBuckets"] * 3
