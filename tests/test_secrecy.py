"""Nothing that the functions write, in whatever way they fail, gives access to anything."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.log import logger
from chalicelib.model import image_id
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.tokens import Scope
from local_cloud.endpoint import Endpoint
from local_cloud.object_events import ObjectEvent
from tests.api_client import ApiClient
from tests.faults import Step, json_error, plan, raising, through
from tests.lambda_events import context
from tests.log_lines import LogLines, log_lines
from tests.pictures import picture
from tests.scripted_rekognition import ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY_ID = "ASIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN//////////wEaCXVzLWVhc3QtMSJH=="
BEARER = f"ilt_0123456789ab_{32 * '5e'}"
SIGNATURE = "f36c21c6" * 8
SECRETS = {KEY_ID, SECRET_KEY, SESSION_TOKEN, SESSION_TOKEN[:40], BEARER[-64:], SIGNATURE}

SIGNED = (
    f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY_ID}%2F20260102%2Fus-east-1%2Fs3%2Faws4_request"
    f"&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-Security-Token={SESSION_TOKEN}"
    f"&X-Amz-SignedHeaders=host&X-Amz-Signature={SIGNATURE}"
)
SIGNED_LONG_AGO = f"AWSAccessKeyId={KEY_ID}&Signature={SIGNATURE}&Expires=1767323045"
HEADER = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260102/s3, SignedHeaders=host, Signature={SIGNATURE}"
URL = f"https://bucket.s3.us-east-1.amazonaws.com/cup.png?{SIGNED}"
# What AWS really says: it cites the request that it got.
MISMATCH = (
    "The request signature we calculated does not match the signature you provided.\n\n"
    "The Canonical String for this request should have been\n'POST\n/\n\n"
    f"host:example\nx-amz-date:20260102T030405Z\nx-amz-security-token:{SESSION_TOKEN}\n\nhost;x-amz-date\n5ec2'"
)
INCOMPLETE = f"Authorization header requires 'Date'. Authorization={HEADER}"

KEYS = [f"cup.png?{SIGNED}", f"cup.png?{SIGNED_LONG_AGO}", "a\nb\x1b[2J\u2028.png", "é" * 512]
FAULTS = {
    "a wrong signature": json_error(400, "InvalidSignatureException", message=MISMATCH),
    "half a signature": json_error(400, "IncompleteSignatureException", message=INCOMPLETE),
    "no connection": raising(EndpointConnectionError(endpoint_url=URL)),
    "a bug": raising(KeyError(URL)),
}


@pytest.fixture
def lambda_session(endpoint: object) -> boto3.Session:
    """As on Lambda, credentials with a session token."""
    return boto3.Session(KEY_ID, SECRET_KEY, SESSION_TOKEN)


@pytest.fixture
def services(
    settings: Settings, lambda_session: boto3.Session, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Services:
    services = Services(settings)
    vars(services)["session"] = lambda_session
    monkeypatch.setattr(app_module, "services", services)
    return services


@contextmanager
def everything_written() -> Iterator[LogLines]:
    """All that functions write at the level DEBUG: the app's lines, the metrics, and what libraries log."""
    with pytest.MonkeyPatch.context() as patch, log_lines() as lines, redirect_stdout(lines.stream):
        patch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
        of_libraries = logging.StreamHandler(lines.stream)
        of_libraries.addFilter(lambda record: record.name != logger.name)
        logging.root.addHandler(of_libraries)
        logger.setLevel("DEBUG")
        try:
            yield lines
        finally:
            logger.setLevel("INFO")
            logging.root.removeHandler(of_libraries)


@pytest.fixture
def upload(
    s3: "S3Client",
    services: Services,
    endpoint: Endpoint,
    app_module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    records: list[ObjectEvent] = []
    monkeypatch.setattr(endpoint, "on_object_event", records.append)

    def upload(key: str) -> None:
        s3.put_object(Bucket=services.settings.images_bucket, Key=key, Body=picture("Cup 90"))
        app_module.label_uploaded_image({"Records": [records.pop()]}, context())

    return upload


def assert_secret(written: LogLines, *secrets: str) -> None:
    """Every line is JSON, and none gives access."""
    assert all(isinstance(json.loads(line), dict) for line in written.text.splitlines())
    assert [each for each in {*SECRETS, *secrets} if each in written.text] == []
    assert re.findall(r"(?i)(?:signature|credential|authorization)=(?!\*\*\*|AWS4)", written.text) == []


@pytest.mark.parametrize("key", KEYS, ids=["signed", "signed long ago", "control characters", "long"])
def test_a_labelling_gives_nothing_away(
    key: str, upload: Callable[[str], None], rekognition: ScriptedRekognition
) -> None:
    with everything_written() as written:
        upload(key)

    call, image, outcome = written.all
    assert (call["DetectorCalls"], image["outcome"], outcome["Images"]) == ([1.0], "labelled", [1.0])
    assert_secret(written)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("operation", ["rekognition.DetectLabels", "dynamodb.UpdateItem", "s3.GetObject"])
def test_a_labelling_that_fails_gives_nothing_away(
    operation: str,
    fault: Step,
    lambda_session: boto3.Session,
    upload: Callable[[str], None],
    rekognition: ScriptedRekognition,
) -> None:
    sent = plan(lambda_session.events, operation, *9 * [fault])

    with everything_written() as written, suppress(ExceptionGroup):
        upload(KEYS[0])

    assert sent
    levels = [each["level"] for each in written.facts("level") if each]
    assert levels in (["WARNING", "INFO"], ["WARNING"], ["ERROR"])
    assert_secret(written)


def test_a_record_without_a_key_gives_nothing_away(app_module: ModuleType) -> None:
    with everything_written() as written:
        app_module.label_uploaded_image({"Records": [{"s3": {"url": URL}, "by": HEADER}]}, context())

    assert written.facts("level") == [{"level": "ERROR"}]
    assert_secret(written)


@pytest.mark.parametrize("fault", [through, *FAULTS.values()], ids=["nothing", *FAULTS])
def test_requests_and_their_answers_give_nothing_away(
    fault: Step, services: Services, lambda_session: boto3.Session, server: ApiClient
) -> None:
    token = services.tokens.create("reader", Scope, timedelta(days=1))
    known = server.bearing(token)
    known.get("images", BEARER)  # from now on, the gateway lets it in
    del vars(services)["store"], vars(services)["dynamodb"]
    for operation in ("dynamodb.GetItem", "dynamodb.PutItem", "dynamodb.Query"):
        plan(lambda_session.events, operation, *9 * [fault])
    headers = {"X-Amz-Security-Token": SESSION_TOKEN}
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/images", {}),
        ("GET", "/images", {}),
        ("GET", "/images", {"key": KEYS[0]}),
        ("GET", "/images", {"token": BEARER}),
        ("GET", f"/images/{image_id(KEYS[0])}", {}),
        ("GET", f"/images/{BEARER}", {}),
        ("GET", f"/labels/{BEARER}/images", {}),
        ("DELETE", f"/images/{image_id(KEYS[1])}", {}),
    ]

    with everything_written() as written:
        answers = [known.send(*request, headers=headers) for request in requests]

    announced = [urlsplit(answer.body["upload_url"]).query for answer in answers if answer.status == 201]
    of_requests = [line for line in written.all if "AccessLost" not in line]
    assert [line["status"] for line in of_requests] == [answer.status for answer in answers]
    assert len(announced) == (1 if fault is through else 0)
    assert any(answer.status >= 500 for answer in answers) is (fault is not through)
    assert_secret(written, token[-64:], *(parse_qs(query)["X-Amz-Signature"][0] for query in announced))


@pytest.mark.parametrize("fault", [through, *FAULTS.values()], ids=["nothing", *FAULTS])
@pytest.mark.parametrize("operation", ["dynamodb.GetItem", "dynamodb.UpdateItem"])
@pytest.mark.parametrize("spelling", ["Bearer {}", "{}", "Bearer {}.", "Basic {}"])
def test_the_check_of_a_token_gives_nothing_away(
    spelling: str,
    operation: str,
    fault: Step,
    services: Services,
    lambda_session: boto3.Session,
    app_module: ModuleType,
) -> None:
    plan(lambda_session.events, operation, *9 * [fault])
    token = services.tokens.create(KEYS[0], Scope, timedelta(days=1))
    event = {"type": "TOKEN", "authorizationToken": spelling.format(token), "methodArn": "a:b:c:d:e:f/g/h"}

    with everything_written() as written, suppress(Exception):
        app_module.api_token(event, None)

    assert_secret(written, token[-64:])
