"""What keeps a command from its work, in a sentence that says what to do."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_errors import error_code
from chalicelib.errors import Retryable

CREDENTIALS = (
    "There are no AWS credentials: run `aws configure` (or `aws sso login`), "
    "or set AWS_PROFILE to a profile that has them."
)
PARTIAL = (
    "The AWS credentials are incomplete ({error}): set both the access key and the secret key, or neither."
)
EXPIRED = "The AWS credentials have expired: log in again (`aws sso login`), or make new ones."
LOGIN = "The AWS credentials could not be had ({error}): log in again (`aws sso login` or `aws login`)."
UNKNOWN = (
    "AWS does not know these credentials ({error}): see `aws configure list`, "
    "and whether the region is enabled in the account."
)
SIGNATURE = (
    "AWS does not accept the signature ({error}): the secret key is wrong, or this machine's clock is."
)
DENIED = "These AWS credentials may not do {action}: ask for that right, or use others. AWS says: {error}"
PROFILE = "{error}: AWS_PROFILE must be one of `aws configure list-profiles`."
CONFIGURATION = "The AWS configuration of this machine cannot be used: {error}"
REGION = (
    "There is no AWS region: set AWS_DEFAULT_REGION, or `region` in the profile of your AWS configuration."
)
BAD_REGION = "{error} See AWS_DEFAULT_REGION, or `region` in the profile of your AWS configuration."
UNREACHABLE = "AWS does not answer: {error} Is the network up, and the region spelled right?"
THROTTLED = (
    "AWS wants fewer requests at a time ({error}): run the same command again in a minute, "
    "and it goes on where it stopped."
)
SLOW = "AWS takes longer than usual ({error}): run the same command again in a minute."
REFUSED = "AWS refuses {action}: {error}"

_KINDS: Mapping[type[BotoCoreError], str] = {
    exceptions.NoCredentialsError: CREDENTIALS,
    exceptions.PartialCredentialsError: PARTIAL,
    exceptions.SSOError: LOGIN,
    exceptions.LoginError: LOGIN,
    exceptions.TokenRetrievalError: LOGIN,
    exceptions.CredentialRetrievalError: LOGIN,
    exceptions.MetadataRetrievalError: LOGIN,
    exceptions.NoAuthTokenError: LOGIN,
    exceptions.ProfileNotFound: PROFILE,
    exceptions.ConfigNotFound: CONFIGURATION,
    exceptions.ConfigParseError: CONFIGURATION,
    exceptions.InfiniteLoopConfigError: CONFIGURATION,
    exceptions.InvalidConfigError: CONFIGURATION,
    exceptions.MissingDependencyException: CONFIGURATION,
    exceptions.RefreshWithMFAUnsupportedError: CONFIGURATION,
    exceptions.UnknownCredentialError: CONFIGURATION,
    exceptions.NoRegionError: REGION,
    exceptions.InvalidRegionError: BAD_REGION,
    exceptions.UnknownRegionError: BAD_REGION,
    exceptions.ConnectionError: UNREACHABLE,
    exceptions.HTTPClientError: UNREACHABLE,
    exceptions.WaiterError: SLOW,
}
_CODES: Mapping[str, str] = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired"), EXPIRED),
    **dict.fromkeys(
        ("AuthFailure", "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"), UNKNOWN
    ),
    **dict.fromkeys(
        ("InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch"), SIGNATURE
    ),
    **dict.fromkeys(
        ("403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"),
        DENIED,
    ),
    **dict.fromkeys(
        (
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        THROTTLED,
    ),
}
_ACTION = re.compile(r"authorized to perform:? ([\w-]+:\w+)")


class Problem(click.ClickException):
    """A command cannot go on; the message says why, and what to do."""


class Commands(click.Group):
    """Commands that say in a sentence what went wrong on AWS's side."""

    def invoke(self, ctx: click.Context) -> Any:
        with told():
            return super().invoke(ctx)


@contextmanager
def told() -> Iterator[None]:
    """Turns what botocore raises into a Problem; what has no sentence here is a bug and stays."""
    try:
        yield
    except (ClientError, BotoCoreError, Retryable) as error:
        cause = error.__cause__ if isinstance(error, Retryable) else error  # the app's own word for it
        sentence = _refusal(cause) if isinstance(cause, ClientError) else _failure(cause)
        if sentence is None:
            raise
        raise Problem(sentence) from error


def _failure(error: BaseException | None) -> str | None:
    sentence = next((text for kind, text in _KINDS.items() if isinstance(error, kind)), None)
    return sentence and sentence.format(error=str(error).rstrip())


def _refusal(error: ClientError) -> str:
    message = error.response.get("Error", {}).get("Message") or error_code(error)
    denied = _ACTION.search(message)
    return _CODES.get(error_code(error), REFUSED).format(
        error=message, action=denied[1] if denied else error.operation_name
    )
