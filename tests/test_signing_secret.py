import base64
import secrets
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled
from chalicelib.settings import Settings
from chalicelib.signing_secret import CACHE_SECONDS, SigningSecret
from tests import faults
from tests.permissions import values_of

READ = "secrets-manager.GetSecretValue"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:signing"
OLD, NEW, NEWEST = (bytes([byte]) * 32 for byte in range(3))


class Clock:
    moment = 1000.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("secretsmanager", config=Config(retries={"total_max_attempts": 1}))


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def create(client: Any, *values: str) -> str:
    """A secret that has had these values, the last one being the current."""
    first, *later = values
    arn: str = client.create_secret(Name=f"signing-{secrets.token_hex(6)}", SecretString=first)["ARN"]
    for value in later:
        client.put_secret_value(SecretId=arn, SecretString=value)
    return arn


def test_what_a_stage_has_for_a_secret_is_a_key(settings: Settings, client: Any) -> None:
    arn = values_of(settings.stage)["SigningSecretArn"]

    [key] = SigningSecret(client, arn).keys()

    assert key == base64.b64decode(client.get_secret_value(SecretId=arn)["SecretString"])
    assert len(key) == 48


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        pytest.param([text(NEW)], (NEW,), id="never rotated"),
        pytest.param([text(OLD), text(NEW)], (NEW, OLD), id="rotated once"),
        pytest.param([text(OLD), text(NEW), text(NEWEST)], (NEWEST, NEW), id="rotated twice"),
        pytest.param([text(NEW), f"whsec_{text(NEW)}"], (NEW,), id="the same key twice"),
        pytest.param(["my first idea", text(NEW)], (NEW,), id="before it, none that could ever sign"),
    ],
)
def test_the_current_key_comes_first_and_then_the_one_before(
    values: list[str], keys: tuple[bytes, ...], client: Any
) -> None:
    assert SigningSecret(client, create(client, *values)).keys() == keys


@pytest.mark.parametrize(
    ("value", "key"),
    [
        pytest.param(text(NEW), NEW, id="bare"),
        pytest.param(f"whsec_{text(NEW)}", NEW, id="as receivers have it"),
        pytest.param(f" whsec_{text(NEW)}\n", NEW, id="with space around it"),
        pytest.param(text(NEW).rstrip("="), NEW, id="without padding"),
        pytest.param(text(b"k" * 24), b"k" * 24, id="the shortest"),
        pytest.param(text(b"k" * 64), b"k" * 64, id="the longest"),
    ],
)
def test_a_value_is_base64_as_standard_webhooks_has_it(value: str, key: bytes, client: Any) -> None:
    assert SigningSecret(client, create(client, value)).keys() == (key,)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(text(b"k" * 23), id="too short"),
        pytest.param(text(b"k" * 65), id="too long"),
        pytest.param("whsec_", id="only the prefix"),
        pytest.param(f"whsec_whsec_{text(NEW)}", id="two prefixes"),
        pytest.param('{"key": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}', id="JSON"),
        pytest.param("_-" * 20, id="another alphabet"),
        pytest.param("é" * 40, id="not ASCII"),
        pytest.param("A" * 41, id="a length that Base64 cannot have"),
    ],
)
def test_a_value_that_is_no_key_is_the_operators_to_mend_and_is_not_told(value: str, client: Any) -> None:
    with pytest.raises(AccessLost) as raised:
        SigningSecret(client, create(client, text(OLD), value)).keys()

    assert str(raised.value) == "the signing secret must be 24 to 64 bytes in Base64"


def test_a_binary_value_is_no_key(client: Any) -> None:
    arn = create(client, text(OLD))
    client.put_secret_value(SecretId=arn, SecretBinary=NEW)

    with pytest.raises(AccessLost):
        SigningSecret(client, arn).keys()


def test_the_keys_are_read_again_after_five_minutes(client: Any) -> None:
    arn, clock = create(client, text(OLD)), Clock()
    secret = SigningSecret(client, arn, clock)
    assert secret.keys() == (OLD,)
    client.put_secret_value(SecretId=arn, SecretString=text(NEW))
    sent = faults.plan(client.meta.events, READ)

    clock.moment += CACHE_SECONDS - 0.1
    assert secret.keys() == (OLD,)
    assert sent == []

    clock.moment += 0.1
    assert secret.keys() == (NEW, OLD)
    assert secret.keys() == (NEW, OLD)
    assert len(sent) == 2
    assert CACHE_SECONDS == 300


def test_keys_that_could_not_be_read_again_are_used_no_longer(client: Any) -> None:
    clock = Clock()
    secret = SigningSecret(client, create(client, text(OLD)), clock)
    secret.keys()
    clock.moment += CACHE_SECONDS
    faults.plan(client.meta.events, READ, faults.json_error(500, "InternalServiceError"))

    with pytest.raises(ServiceFailed):
        secret.keys()

    assert secret.keys() == (OLD,)


@pytest.mark.parametrize("before", [(), (faults.through,)], ids=["of the current key", "of the one before"])
@pytest.mark.parametrize(
    ("step", "failure"),
    [
        pytest.param(faults.json_error(400, "AccessDeniedException"), AccessLost, id="no right"),
        pytest.param(faults.json_error(400, "DecryptionFailure"), AccessLost, id="no right to the KMS key"),
        pytest.param(faults.json_error(400, "ThrottlingException"), Throttled, id="throttled"),
        pytest.param(faults.json_error(500, "InternalServiceError"), ServiceFailed, id="outage"),
        pytest.param(faults.raising(ReadTimeoutError(endpoint_url=ARN)), ServiceFailed, id="no answer"),
    ],
)
def test_keys_that_cannot_be_read_are_told_by_a_class(
    step: faults.Step, failure: type[Retryable], before: tuple[faults.Step, ...], client: Any
) -> None:
    secret = SigningSecret(client, create(client, text(OLD), text(NEW)))
    faults.plan(client.meta.events, READ, *before, step)

    with pytest.raises(Retryable) as raised:
        secret.keys()

    assert type(raised.value) is failure


def test_a_secret_that_is_not_there_is_access_lost(client: Any) -> None:
    with pytest.raises(AccessLost):
        SigningSecret(client, ARN).keys()


def test_a_secret_on_its_way_out_is_access_lost(client: Any) -> None:
    arn = create(client, text(NEW))
    client.delete_secret(SecretId=arn)

    with pytest.raises(AccessLost):
        SigningSecret(client, arn).keys()


def test_an_answer_that_nobody_foresaw_is_a_bug(client: Any) -> None:
    faults.plan(client.meta.events, READ, faults.json_error(400, "InvalidParameterException"))

    with pytest.raises(ClientError):
        SigningSecret(client, ARN).keys()
