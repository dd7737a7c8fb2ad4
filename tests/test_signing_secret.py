import secrets
from typing import Any

import boto3
import pytest

from chalicelib.signing_secret import SigningSecret


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("secretsmanager")


def test_a_new_secret_has_one_key(client: Any) -> None:
    arn = client.create_secret(Name=secrets.token_hex(6), SecretString="a" * 64)["ARN"]

    [key] = SigningSecret(client, arn).keys()

    assert len(key) == 48
