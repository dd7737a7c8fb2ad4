import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from ops import problems
from ops.problems import Problem, told
from tests.conftest import ROOT


def client_error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateChangeSet")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.NoCredentialsError(), problems.CREDENTIALS),
        (exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "incomplete"),
        (exceptions.SSOTokenLoadError(error_msg="no token"), "no token): log in again"),
        (exceptions.UnauthorizedSSOTokenError(), "log in again"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="it expired"), "it expired): log in again"),
        (exceptions.LoginRefreshRequired(), "log in again"),
        (exceptions.CredentialRetrievalError(provider="process", error_msg="exit 1"), "exit 1): log in"),
        (exceptions.ProfileNotFound(profile="work"), "(work) could not be found: AWS_PROFILE must be one of"),
        (exceptions.ConfigParseError(path="~/.aws/config"), "configuration of this machine cannot be used"),
        (exceptions.NoRegionError(), problems.REGION),
        (exceptions.InvalidRegionError(region_name="us east"), "AWS_DEFAULT_REGION"),
        (exceptions.UnknownRegionError(region_name="mars-1", error_msg="no partition"), "AWS_DEFAULT_REGION"),
        (exceptions.EndpointConnectionError(endpoint_url="https://sts.mars-1"), "Is the network up"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://sts"), "Is the network up"),
        (exceptions.SSLError(endpoint_url="https://sts", error=OSError("self-signed")), "self-signed"),
        (exceptions.WaiterError(name="x", reason="Max attempts exceeded", last_response={}), "takes longer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_the_sdk_raises_becomes_a_sentence(error: BotoCoreError, sentence: str) -> None:
    with pytest.raises(Problem) as problem, told():
        raise error

    assert sentence in problem.value.message
    assert problem.value.__cause__ is error


@pytest.mark.parametrize(
    ("code", "message", "sentence"),
    [
        ("ExpiredToken", "The security token included in the request is expired", problems.EXPIRED),
        ("ExpiredTokenException", "The security token included in the request is expired", problems.EXPIRED),
        ("RequestExpired", "Request has expired.", problems.EXPIRED),
        (
            "InvalidClientTokenId",
            "The security token is invalid.",
            "AWS does not know these credentials (The",
        ),
        ("UnrecognizedClientException", "The security token is invalid.", "AWS does not know these"),
        ("InvalidAccessKeyId", "The key does not exist.", "AWS does not know these credentials (The key"),
        (
            "SignatureDoesNotMatch",
            "Signature expired: 2026",
            "the secret key is wrong, or this machine's clock",
        ),
        (
            "AccessDenied",
            "User: bob is not authorized to perform: cloudformation:CreateChangeSet on resource: it",
            "may not do cloudformation:CreateChangeSet: ask for that right",
        ),
        ("AccessDeniedException", "No.", "may not do CreateChangeSet: ask for that right"),
        ("403", "Forbidden", "may not do CreateChangeSet"),
        ("Throttling", "Rate exceeded", "wants fewer requests at a time (Rate exceeded)"),
        ("TooManyRequestsException", "Too Many Requests", "wants fewer requests at a time"),
        ("ValidationError", "Stack is [odd]", "AWS refuses CreateChangeSet: Stack is [odd]"),
        ("Odd", "", "AWS refuses CreateChangeSet: Odd"),
    ],
)
def test_what_aws_answers_becomes_a_sentence(code: str, message: str, sentence: str) -> None:
    with pytest.raises(Problem) as problem, told():
        raise client_error(code, message)

    assert sentence in problem.value.message


def test_an_answer_may_hold_braces() -> None:
    with pytest.raises(Problem, match=r"\{0\} \{error\}"), told():
        raise client_error("ValidationError", "{0} {error}")


@pytest.mark.parametrize(
    "bug", [exceptions.ParamValidationError(report="missing Bucket"), KeyError("StackId")]
)
def test_a_bug_stays_one(bug: Exception) -> None:
    with pytest.raises(type(bug)), told():
        raise bug


def ops(command: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a process without anything of this one's environment."""
    return subprocess.run(
        [sys.executable, "-m", "ops", command, "--stage", "dev"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


COMMANDS = ("status", "resources", "destroy", "finish")
NOBODY_THERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("command", "variables", "sentence"),
    [
        *((name, {"AWS_DEFAULT_REGION": "eu-west-1"}, problems.CREDENTIALS) for name in COMMANDS),
        *((name, KEYS, problems.REGION) for name in COMMANDS),
        ("status", {**KEYS, "AWS_DEFAULT_REGION": "eu west"}, "AWS_DEFAULT_REGION"),
        ("status", {"AWS_PROFILE": "nobody"}, "AWS_PROFILE must be one of"),
        ("status", {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1", **NOBODY_THERE}, "Is the network up"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.split()[-1],
)
def test_a_machine_that_is_not_set_up_is_told_what_to_do(
    command: str, variables: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    done = ops(command, tmp_path, **variables)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
