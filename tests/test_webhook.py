import base64
import json
import ssl
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Verifier

from chalicelib.callback_url import CallbackRules
from chalicelib.webhook import Attempt, Kind, Webhook, signed
from tests.receivers import answer, receiver

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
BODY = json.dumps({"type": "image.labelled", "data": {"source_file": "é.png"}}).encode()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def webhook() -> Webhook:
    return Webhook(CallbackRules(loopback=True), now, ssl.create_default_context())


def test_the_published_signature() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    assert signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key]) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("key", [KEY, OTHER], ids=["the current key", "the key before"])
def test_a_receiver_verifies_with_either_key(key: bytes, webhook: Webhook) -> None:
    with receiver() as served:
        attempt = webhook.post(served.url, "evt_1", BODY, [KEY, OTHER])

    [request] = served.requests
    assert (attempt.kind, attempt.status, attempt.error) == (Kind.DELIVERED, 200, None)
    assert Verifier(key).verify(request.body, request.headers) == json.loads(BODY)


def test_a_busy_receiver_says_when_to_come_again(webhook: Webhook) -> None:
    with receiver(answer(503, retry_after="120")) as served:
        attempt = webhook.post(served.url, "evt_1", BODY, [KEY])

    assert attempt == Attempt(Kind.FAILED, attempt.milliseconds, 503, attempt.error, 120)
