"""Adapter: the secret in Secrets Manager that signs callbacks."""

import base64
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.aws_errors import Codes, error_code, translated
from chalicelib.errors import AccessLost

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHE_SECONDS = 300.0
PREFIX = "whsec_"
MIN_KEY, MAX_KEY = 24, 64  # bytes, as Standard Webhooks has it

CODES: Codes = {
    "DecryptionFailure": AccessLost,
    "InvalidRequestException": AccessLost,  # marked for deletion
    "ResourceNotFoundException": AccessLost,
}


class SigningSecret:
    def __init__(
        self, client: "SecretsManagerClient", arn: str, clock: Callable[[], float] = monotonic
    ) -> None:
        self._client = client
        self._arn = arn
        self._clock = clock
        self._keys: tuple[bytes, ...] = ()
        self._fresh_until = clock()

    def keys(self) -> tuple[bytes, ...]:
        """The current key and, once there was a rotation, the one before; read anew after five minutes.

        Raises AccessLost, also if the value is no secret of Standard Webhooks, Throttled or ServiceFailed.
        """
        if self._clock() >= self._fresh_until:
            self._keys = self._read()
            self._fresh_until = self._clock() + CACHE_SECONDS
        return self._keys

    def _read(self) -> tuple[bytes, ...]:
        with translated(CODES):
            current, previous = _key(self._value("AWSCURRENT")), _key(self._previous())
        if not current:
            raise AccessLost(f"the signing secret must be {MIN_KEY} to {MAX_KEY} bytes in Base64")
        # A value before it that is no key has never signed anything, so no receiver has it.
        return tuple(dict.fromkeys(key for key in (current, previous) if key))

    def _previous(self) -> str:
        try:
            return self._value("AWSPREVIOUS")
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
            return ""

    def _value(self, stage: str) -> str:
        answer = self._client.get_secret_value(SecretId=self._arn, VersionStage=stage)
        return answer.get("SecretString", "")


def _key(value: str) -> bytes | None:
    """The key is in Base64, perhaps without its padding, and perhaps after the `whsec_` of receivers."""
    text = value.strip().removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    return key if MIN_KEY <= len(key) <= MAX_KEY else None
