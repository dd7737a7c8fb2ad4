import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from chalice import Chalice

from local_cloud import moto_patches
from local_cloud.clock import ManualClock
from local_cloud.endpoint import Endpoint
from local_cloud.object_events import ObjectEvent
from local_cloud.pump import Pump

CONFIG = Config(account_id_endpoint_mode="disabled", retries={"total_max_attempts": 1})

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

CommandLine = Callable[..., str]
MakePump = Callable[..., Pump]
Presign = Callable[..., str]
Follows = Callable[[Callable[[], object], threading.Event], bool]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(port=0) as started:
        yield started


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    return boto3.Session("local", "local", region_name="us-east-1")


@pytest.fixture(scope="session")
def s3(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client(
        "s3", endpoint_url=endpoint.url, config=CONFIG.merge(Config(signature_version="s3v4"))
    )


@pytest.fixture(scope="session")
def dynamodb(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("dynamodb", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture(scope="session")
def streams(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("dynamodbstreams", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture(scope="session")
def sqs(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("sqs", endpoint_url=endpoint.url, config=CONFIG)


@pytest.fixture
def presign(endpoint: Endpoint, session: boto3.Session) -> Presign:
    """Presigns for the endpoint; `in_query` as other SDKs do, which put headers into the URL."""

    def move(request: Any, **_: Any) -> None:
        for name in [name for name in request.headers if name.lower().startswith("x-amz-")]:
            request.params[name] = request.headers[name]
            del request.headers[name]

    def presign(operation: str, *, in_query: bool = False, **params: Any) -> str:
        config = CONFIG.merge(Config(signature_version="s3v4"))
        client = session.client("s3", endpoint_url=endpoint.url, config=config)
        if in_query:
            client.meta.events.register_first("before-sign.s3", move)
        return str(client.generate_presigned_url(operation, Params=params))

    return presign


@pytest.fixture
def events(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> list[ObjectEvent]:
    collected: list[ObjectEvent] = []
    monkeypatch.setattr(endpoint, "on_object_event", collected.append)
    return collected


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def bucket(s3: Any, name: str) -> str:
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def table(dynamodb: Any, name: str) -> str:
    """Keyed `file`, `entry`, with a stream of both images."""
    dynamodb.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "file", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "file", "AttributeType": "S"},
            {"AttributeName": "entry", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return name


@pytest.fixture
def stream_arn(dynamodb: Any, table: str) -> str:
    return str(dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"])


@pytest.fixture
def stream_records(streams: Any, stream_arn: str) -> Callable[[], list[Any]]:
    def read() -> list[Any]:
        shard = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"][0]
        iterator = streams.get_shard_iterator(
            StreamArn=stream_arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        return list(streams.get_records(ShardIterator=iterator)["Records"])

    return read


@pytest.fixture
def follows(monkeypatch: pytest.MonkeyPatch) -> Follows:
    """Whether the event follows each act, in a pump that looks only when it is woken."""
    monkeypatch.setattr("local_cloud.pump._POLL_EVERY", 3600)

    def follows(act: Callable[[], object], event: threading.Event) -> bool:
        for _ in range(3):
            event.clear()
            act()
            if not event.wait(10):
                return False
        return True

    return follows


@pytest.fixture
def aws(endpoint: Endpoint, tmp_path: Path) -> CommandLine:
    """The stock command line, pointed at the endpoint."""
    environment = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    }

    def run(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("aws")), *arguments]
        done = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def app() -> Chalice:
    return Chalice(app_name="tiny", configure_logs=False)


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    manual = ManualClock(START)
    with moto_patches.follow(manual):
        yield manual


@pytest.fixture
def make_pump(
    app: Chalice,
    endpoint: Endpoint,
    session: boto3.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> MakePump:
    def make(**settings: Any) -> Pump:
        pump = Pump(app, session, endpoint_url=endpoint.url, **settings)
        monkeypatch.setattr(endpoint, "on_object_event", pump.accept)
        monkeypatch.setattr(endpoint, "on_write", pump.wake)
        return pump

    return make
