import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import boto3
import pytest

from local_cloud.aws_json import Reply, reply
from local_cloud.clock import ManualClock
from local_cloud.endpoint import Endpoint
from local_cloud.quota import LimitedRekognition, TokenBucket, rate_from
from local_cloud.recognition.errors import ConfigurationError
from tests.direct import short_circuit
from tests.local_cloud.conftest import CONFIG

THROTTLED = "400 Provisioned rate exceeded"


def taken(bucket: TokenBucket, tries: int) -> int:
    return [bucket.take() for _ in range(tries)].count(True)


def test_a_full_bucket_gives_all_it_has_and_then_what_flows_in() -> None:
    clock = ManualClock()
    bucket = TokenBucket(50, 10, clock)

    at_once = taken(bucket, 100)
    each_tick = []
    for _ in range(3):
        clock.advance(timedelta(milliseconds=20))
        each_tick.append(taken(bucket, 100))

    assert (at_once, each_tick) == (10, [1, 1, 1])


def test_a_bucket_does_not_overflow() -> None:
    clock = ManualClock()
    bucket = TokenBucket(50, 10, clock)
    taken(bucket, 10)

    clock.advance(timedelta(milliseconds=100))
    half_full = taken(bucket, 100)
    clock.advance(timedelta(days=1))
    full = taken(bucket, 100)

    assert (half_full, full) == (5, 10)


def test_what_is_refused_takes_nothing() -> None:
    clock = ManualClock()
    bucket = TokenBucket(0.5, 1, clock)

    steps = []
    for _ in range(4):
        steps.append(bucket.take())
        clock.advance(timedelta(seconds=1))

    assert steps == [True, False, True, False]


def test_over_a_long_time_the_rate_is_kept_to_the_token() -> None:
    clock = ManualClock()
    bucket = TokenBucket(50, 50, clock)

    total = 0
    for _ in range(60_000):
        total += taken(bucket, 2)
        clock.advance(timedelta(milliseconds=10))

    assert total == 50 * 600 + 49


def test_threads_share_the_tokens() -> None:
    bucket = TokenBucket(1, 100, ManualClock())

    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(lambda _: bucket.take(), range(1000)))

    assert took.count(True) == 100


class Counting:
    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def answer(self, target: str, body: bytes) -> Reply:
        self.calls[target.partition(".")[2]] += 1
        return reply(200, {"got": json.loads(body)["Image"]})


def call(client: Any, operation: str) -> str:
    try:
        getattr(client, operation)(Image={"Bytes": b"x"})
    except client.exceptions.ProvisionedThroughputExceededException as refused:
        return (
            f"{refused.response['ResponseMetadata']['HTTPStatusCode']} {refused.response['Error']['Message']}"
        )
    return "answered"


def test_each_operation_has_a_quota_of_its_own(session: boto3.Session) -> None:
    clock, behind = ManualClock(), Counting()
    endpoint = Endpoint(0, rekognition=LimitedRekognition(behind, 2, clock))
    direct = short_circuit(boto3.Session("local", "local", region_name="us-east-1"), endpoint)
    client = direct.client("rekognition", endpoint_url=endpoint.url, config=CONFIG)

    labels = [call(client, "detect_labels") for _ in range(3)]
    text = [call(client, "detect_text") for _ in range(2)]
    clock.advance(timedelta(seconds=0.5))
    later = [call(client, "detect_labels") for _ in range(2)]

    assert labels == ["answered", "answered", THROTTLED]
    assert text == ["answered", "answered"]
    assert later == ["answered", THROTTLED]
    assert behind.calls == {"DetectLabels": 3, "DetectText": 2}


@pytest.mark.parametrize(("environment", "rate"), [({}, 50), ({"LOCAL_REKOGNITION_TPS": ""}, 50)])
def test_the_rate_is_that_of_a_large_region_unless_told(environment: dict[str, str], rate: float) -> None:
    assert rate_from(environment) == rate


@pytest.mark.parametrize(("text", "rate"), [("5", 5), ("0.5", 0.5)])
def test_the_rate_is_taken_from_the_environment(text: str, rate: float) -> None:
    assert rate_from({"LOCAL_REKOGNITION_TPS": text}) == rate


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf"])
def test_a_rate_that_is_none_is_said_to_be(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"LOCAL_REKOGNITION_TPS .* and is '{text}'"):
        rate_from({"LOCAL_REKOGNITION_TPS": text})
