from collections.abc import Mapping
from typing import Any

import pytest
from botocore import exceptions as botocore
from botocore.exceptions import ClientError

from chalicelib.aws_errors import error_code, translated
from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled

URL = "https://service.example"


def client_error(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "why"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "GetThing")


@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("AccessDenied", AccessLost),
        ("AccessDeniedException", AccessLost),
        ("ExpiredToken", AccessLost),
        ("ExpiredTokenException", AccessLost),
        ("InvalidAccessKeyId", AccessLost),
        ("InvalidSignatureException", AccessLost),
        ("SignatureDoesNotMatch", AccessLost),
        ("UnrecognizedClientException", AccessLost),
        ("RequestTimeout", ServiceFailed),
        ("ProvisionedThroughputExceededException", Throttled),
        ("ThrottlingException", Throttled),
    ],
)
def test_a_code_means_the_same_with_every_status(code: str, status: int, failure: type[Retryable]) -> None:
    error = client_error(code, status)

    with pytest.raises(Retryable) as raised, translated({}):
        raise error

    assert type(raised.value) is failure
    assert raised.value.__cause__ is error
    assert str(raised.value) == f"An error occurred ({code}) when calling the GetThing operation: why"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("code", ["", "InternalError", "503"])
def test_a_server_error_is_a_failed_service_whatever_its_code(code: str, status: int) -> None:
    with pytest.raises(ServiceFailed), translated({}):
        raise client_error(code, status)


def test_an_adapters_table_goes_before_the_common_one() -> None:
    with pytest.raises(ServiceFailed), translated({"AccessDenied": ServiceFailed}):
        raise client_error("AccessDenied", 403)


@pytest.mark.parametrize("status", [400, 404, 412])
def test_an_unknown_code_stays_what_it_is(status: int) -> None:
    error = client_error("ValidationException", status)

    with pytest.raises(ClientError) as raised, translated({}):
        raise error

    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        botocore.ConnectTimeoutError(endpoint_url=URL),
        botocore.ConnectionClosedError(endpoint_url=URL),
        botocore.EndpointConnectionError(endpoint_url=URL),
        botocore.FlexibleChecksumError(error_msg="why"),
        botocore.HTTPClientError(error="why"),
        botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        botocore.ProxyConnectionError(proxy_url=URL),
        botocore.ReadTimeoutError(endpoint_url=URL),
        botocore.ResponseStreamingError(error="why"),
        botocore.SSLError(endpoint_url=URL, error=OSError("why")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_whole_answer_is_a_failed_service(error: Exception) -> None:
    with pytest.raises(ServiceFailed) as raised, translated({}):
        raise error

    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        botocore.CredentialRetrievalError(provider="role", error_msg="why"),
        botocore.NoCredentialsError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_missing_credentials_are_lost_access(error: Exception) -> None:
    with pytest.raises(AccessLost), translated({}):
        raise error


@pytest.mark.parametrize(
    "bug",
    [botocore.ParamValidationError(report="why"), KeyError("Labels")],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_stays_a_bug(bug: Exception) -> None:
    with pytest.raises(type(bug)) as raised, translated({}):
        raise bug

    assert raised.value is bug


@pytest.mark.parametrize(
    ("response", "code"),
    [({"Error": {"Code": "NoSuchKey"}}, "NoSuchKey"), ({"Error": {}}, ""), ({}, "")],
    ids=["code", "no code", "no error"],
)
def test_an_error_without_a_code_has_an_empty_one(response: Mapping[str, Any], code: str) -> None:
    error = ClientError({"ResponseMetadata": {}}, "GetThing")  # type: ignore[typeddict-item]
    error.response = response  # type: ignore[assignment]

    assert error_code(error) == code
