"""What Lambda hands to a function: an event and a context."""

from typing import Any

import boto3

from chalicelib.queue import queue_name
from local_cloud import queues, streams
from local_cloud.clock import SystemClock
from local_cloud.functions import LambdaContext

Event = dict[str, Any]

SCHEDULED = dict.fromkeys(
    ("version", "account", "region", "detail", "detail-type", "source", "time", "id", "resources"), ""
)


def context(seconds: float = 900) -> LambdaContext:
    clock = SystemClock()
    return LambdaContext("function", 2048, "a-request", clock, clock.time() + seconds)


def received(queue_url: str) -> Event:
    """The next message of a queue, if it has one, which stays hidden for a while."""
    client: Any = boto3.client("sqs")
    answer = client.receive_message(QueueUrl=queue_url, MessageSystemAttributeNames=["All"])
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue_name(queue_url)}"
    return {"Records": [queues.record_of(message, arn) for message in answer.get("Messages", [])]}


def changes(stream_arn: str) -> Event:
    """All that the stream tells, from its beginning."""
    client: Any = boto3.client("dynamodbstreams")
    [shard] = client.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"]
    iterator = client.get_shard_iterator(
        StreamArn=stream_arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = client.get_records(ShardIterator=iterator)["Records"]
    return {"Records": [streams.record_of(record, stream_arn) for record in records]}
