"""Turns botocore's exceptions into the failure vocabulary, by the adapter's own table of codes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as NotConnectedError

from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled

Codes = Mapping[str, type[Retryable]]

EVERY_SERVICE: Codes = {
    "403": AccessLost,  # to a HEAD, which has no body
    "AccessDenied": AccessLost,
    "AccessDeniedException": AccessLost,
    "ExpiredToken": AccessLost,
    "ExpiredTokenException": AccessLost,
    "InvalidAccessKeyId": AccessLost,
    "InvalidSignatureException": AccessLost,
    "SignatureDoesNotMatch": AccessLost,
    "UnrecognizedClientException": AccessLost,
    "RequestTimeout": ServiceFailed,
    "ProvisionedThroughputExceededException": Throttled,
    "ThrottlingException": Throttled,
}
DYNAMODB: Codes = {
    "InternalServerError": ServiceFailed,
    "RequestLimitExceeded": Throttled,
    "ResourceNotFoundException": AccessLost,
}
# Botocore's have no base in common but BotoCoreError, which bugs share.
UNANSWERED = (FlexibleChecksumError, HTTPClientError, IncompleteReadError, NotConnectedError)
WITHOUT_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError)


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def translated(codes: Codes) -> Iterator[None]:
    """Raises the class that the table names, ServiceFailed for any 5xx; what is left is a bug and stays."""
    try:
        yield
    except ClientError as error:
        failure = _failure(error, {**EVERY_SERVICE, **codes})
        if failure is None:
            raise
        raise failure(str(error)) from error
    except UNANSWERED as error:
        raise ServiceFailed(str(error)) from error
    except WITHOUT_CREDENTIALS as error:
        raise AccessLost(str(error)) from error


def _failure(error: ClientError, codes: Codes) -> type[Retryable] | None:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return codes.get(error_code(error)) or (ServiceFailed if status >= 500 else None)
