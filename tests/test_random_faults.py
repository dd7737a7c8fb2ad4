from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from secrets import token_hex
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError

from local_cloud.endpoint import Endpoint
from tests.direct import straight_to
from tests.interception import Call, Layer, intercept, over_sockets, sdk_waiting_by
from tests.random_faults import Fault, RandomFaults

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/faults"
CALLS: dict[str, Callable[[Any], Any]] = {
    "s3": lambda client: client.get_object(Bucket="b", Key="k"),
    "dynamodb": lambda client: client.get_item(TableName="t", Key={"k": {"S": "x"}}),
    "sqs": lambda client: client.receive_message(QueueUrl=QUEUE),
    "rekognition": lambda client: client.detect_labels(Image={"Bytes": b"x"}),
    "lambda": lambda client: client.invoke(FunctionName="f", InvocationType="Event"),
    "secretsmanager": lambda client: client.get_secret_value(SecretId="s"),
}


@pytest.fixture(params=["sockets", "direct"])
def below(request: pytest.FixtureRequest, endpoint: Endpoint) -> Layer:
    return over_sockets() if request.param == "sockets" else straight_to(endpoint)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"random-faults-{token_hex(6)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """How long the SDK would have slept."""
    waited: list[float] = []
    with sdk_waiting_by(waited.append):
        yield waited


def client_over(layer: Layer, service: str = "s3", attempts: int = 1) -> Any:
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
    session: Any = intercept(boto3.Session(), layer)
    return session.client(service, config=config)


def keys(s3: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def fine(call: Call) -> AWSResponse:
    return AWSResponse(call.request.url, 200, HTTPHeaders(), None)


def drawn(faults: RandomFaults, operation: str, times: int) -> list[Fault | None]:
    """What happens to so many calls of an operation of DynamoDB."""
    request = AWSPreparedRequest("POST", "http://localhost/", HTTPHeaders(), b"", stream_output=False)
    call = Call("dynamodb", operation, request)
    found: list[Fault | None] = []
    for _ in range(times):
        already = len(faults.happened)
        with suppress(ReadTimeoutError, ConnectTimeoutError, ConnectionClosedError):
            faults(call)
        found.append(faults.happened[-1][1] if len(faults.happened) > already else None)
    return found


def test_the_same_seed_brings_the_same_faults() -> None:
    runs = [drawn(RandomFaults(fine, seed, 0.3), "PutItem", 200) for seed in (1, 1, 2)]

    assert runs[0] == runs[1] != runs[2]


def test_faults_come_as_often_as_they_are_told_to_and_each_as_often_as_the_others() -> None:
    found = Counter(drawn(RandomFaults(fine, 7, 0.2), "PutItem", 5000))

    assert 900 < 5000 - found[None] < 1100
    assert all(140 < found[fault] < 260 for fault in Fault)


def test_no_fault_comes_with_a_probability_of_zero_and_one_each_time_with_one() -> None:
    faults = RandomFaults(fine, 7, 0.0, kinds=[Fault.RESET])
    never = drawn(faults, "PutItem", 50)
    faults.probability = 1.0
    always = drawn(faults, "PutItem", 50)

    assert (never, always) == ([None] * 50, [Fault.RESET] * 50)


def test_operations_in_other_threads_change_nothing() -> None:
    names = ("GetItem", "PutItem", "Query")
    together = RandomFaults(fine, 3, 0.5)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: drawn(together, name, 300), names))

    for name in names:
        alone = RandomFaults(fine, 3, 0.5)
        drawn(alone, name, 300)
        assert [each for each in together.happened if each[0] == f"dynamodb.{name}"] == alone.happened


@pytest.mark.parametrize(
    ("fault", "error", "is_done"),
    [
        (Fault.SERVER_ERROR, ClientError, False),
        (Fault.THROTTLE, ClientError, False),
        (Fault.NO_CONNECTION, ConnectTimeoutError, False),
        (Fault.RESET, ConnectionClosedError, False),
        (Fault.LOST_ANSWER, ReadTimeoutError, True),
    ],
)
def test_each_fault_is_what_the_sdk_sees_and_only_one_of_them_has_done_the_work(
    below: Layer, s3: Any, bucket: str, fault: Fault, error: type[Exception], is_done: bool
) -> None:
    faults = RandomFaults(below, 1, 1.0, kinds=[fault])

    with pytest.raises(error):
        client_over(faults).put_object(Bucket=bucket, Key="a", Body=b"x")

    assert faults.happened == [("s3.PutObject", fault)]
    assert keys(s3, bucket) == (["a"] if is_done else [])


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("s3", 503, "SlowDown"),
        ("dynamodb", 400, "ProvisionedThroughputExceededException"),
        ("sqs", 400, "RequestThrottled"),
        ("rekognition", 400, "ProvisionedThroughputExceededException"),
        ("lambda", 429, "TooManyRequestsException"),
        ("secretsmanager", 400, "ThrottlingException"),
    ],
)
def test_each_service_throttles_in_its_own_words_which_the_sdk_knows(
    waits: list[float], service: str, status: int, code: str
) -> None:
    client = client_over(RandomFaults(fine, 1, 1.0, kinds=[Fault.THROTTLE]), service, attempts=3)

    with pytest.raises(ClientError) as error:
        CALLS[service](client)

    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.value.response["Error"]["Code"] == code
    assert len(waits) == 2


@pytest.mark.parametrize("service", CALLS)
def test_each_service_can_fail(waits: list[float], service: str) -> None:
    client = client_over(RandomFaults(fine, 1, 1.0, kinds=[Fault.SERVER_ERROR]), service, attempts=2)

    with pytest.raises(ClientError) as error:
        CALLS[service](client)

    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert len(waits) == 1


@pytest.mark.parametrize(("fault", "status"), [(Fault.SERVER_ERROR, 500), (Fault.THROTTLE, 503)])
def test_a_head_says_it_by_its_status(fault: Fault, status: int) -> None:
    client = client_over(RandomFaults(fine, 1, 1.0, kinds=[fault]))

    with pytest.raises(ClientError) as error:
        client.head_object(Bucket="b", Key="k")

    assert error.value.response["Error"]["Code"] == str(status)


def test_a_throttled_transaction_is_cancelled_with_a_reason_for_each_action() -> None:
    client = client_over(RandomFaults(fine, 1, 1.0, kinds=[Fault.THROTTLE]), "dynamodb", attempts=3)
    actions = [{"Put": {"TableName": "t", "Item": {"k": {"S": str(number)}}}} for number in range(3)]

    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        client.transact_write_items(TransactItems=actions)

    assert cancelled.value.response["CancellationReasons"] == [{"Code": "ThrottlingError"}] * 3


def test_the_sdk_gets_through_by_repeating(below: Layer, s3: Any, bucket: str, waits: list[float]) -> None:
    faults = RandomFaults(below, 5, 0.4)
    client = client_over(faults, attempts=10)
    names = [f"{number:02}" for number in range(30)]

    for name in names:
        client.put_object(Bucket=bucket, Key=name, Body=name.encode())

    assert keys(s3, bucket) == names
    assert {fault for _, fault in faults.happened} == set(Fault)
    assert len(waits) == len(faults.happened)
    assert client.get_object(Bucket=bucket, Key="07")["Body"].read() == b"07"
