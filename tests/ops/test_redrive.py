import json
from typing import Any

import boto3
import pytest

from chalicelib.notifications import notification_of
from ops import redrive
from ops.problems import Problem
from ops.stage import Stage
from tests.ops.conftest import Screen

MESSAGES = {json.dumps(notification_of(f"{number}.png")) for number in range(25)}


@pytest.fixture
def sqs(session: boto3.Session) -> Any:
    return session.client("sqs")


@pytest.fixture
def made(stage: Stage, sqs: Any) -> dict[str, str]:
    """The URLs of a stage's queues."""
    names = [f"{queue}{kind}" for queue in redrive.SOURCES for kind in ("", "-dead-letters")]
    return {name: sqs.create_queue(QueueName=f"{stage.prefix}-{name}")["QueueUrl"] for name in names}


def waiting(sqs: Any, url: str) -> set[str]:
    bodies = set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies |= {message["Body"] for message in messages}
    return bodies


@pytest.mark.parametrize("queue", redrive.SOURCES)
def test_every_dead_letter_is_back_on_its_queue_and_on_no_other(
    queue: str, stage: Stage, sqs: Any, made: dict[str, str], screen: Screen
) -> None:
    for body in MESSAGES:
        sqs.send_message(QueueUrl=made[f"{queue}-dead-letters"], MessageBody=body)

    redrive.run(stage, queue, screen)

    left = {name: waiting(sqs, url) for name, url in made.items()}
    assert {name: bodies for name, bodies in left.items() if bodies} == {queue: MESSAGES}
    assert screen.lines == [
        f"Moved 25 from {stage.prefix}-{queue}-dead-letters back to {stage.prefix}-{queue}."
    ]


def test_a_stage_without_the_queue_is_a_problem(stage: Stage, screen: Screen) -> None:
    with pytest.raises(Problem, match=f"There is no queue {stage.prefix}-labelling-dead-letters"):
        redrive.run(stage, "labelling", screen)
