"""Adapter: the app's own Lambda functions, set off by one another."""

import json
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from chalicelib.aws_errors import Codes, translated
from chalicelib.errors import AccessLost, Throttled

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

CODES: Codes = {
    "ResourceNotFoundException": AccessLost,
    "TooManyRequestsException": Throttled,
}


class LabellingFunction:
    """The function that S3 tells of pictures."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        self._client = client
        self._name = name

    def set_off(self, key: str) -> None:
        """Has it look at a key, as after an event of S3's, with the same retries when it fails.

        Raises AccessLost, Throttled or ServiceFailed.
        """
        event = {"Records": [{"s3": {"object": {"key": quote_plus(key)}}}]}
        with translated(CODES):
            self._client.invoke(
                FunctionName=self._name, InvocationType="Event", Payload=json.dumps(event).encode()
            )
