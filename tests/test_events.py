from typing import Any

from chalicelib.events import Messages, ObjectsChanged, item_failures
from chalicelib.notifications import notification_of
from chalicelib.queue import Message


def messages(*bodies: str) -> Any:
    """https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": f"handle {number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(number), "SentTimestamp": "1545082649183"},
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
                "awsRegion": "us-east-2",
            }
            for number, body in enumerate(bodies, start=1)
        ]
    }


def test_an_event_of_the_bucket_names_its_keys_and_stays_at_hand() -> None:
    event = notification_of("a b.png")

    changed = ObjectsChanged(event, context=None)

    assert changed.keys == ["a b.png"]
    assert changed.to_dict() == event


def test_messages_tell_how_often_they_were_received() -> None:
    assert list(Messages(messages("one", "two"), None)) == [
        Message("m1", "one", "handle 1", 1),
        Message("m2", "two", "handle 2", 2),
    ]


def test_what_is_not_done_with_comes_again() -> None:
    event = Messages(messages("done", "again", "done"), None)

    told = event.handled(lambda message: message.body == "done")

    assert told == {"batchItemFailures": [{"itemIdentifier": "m2"}]}


def test_when_all_is_done_nothing_comes_again() -> None:
    assert item_failures([]) == {"batchItemFailures": []}
