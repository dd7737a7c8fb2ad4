import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from chalice.app import Request
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import log
from chalicelib.errors import AccessLost, ServiceFailed, Throttled
from tests.conftest import ROOT
from tests.log_lines import LogLines, log_lines

HOSTILE = {
    "line feed": "a\n{}.png",
    "carriage return": "a\r\nb.png",
    "line separators": "a\u2028b\u2029c\x85d\x0b\x0c.png",
    "ANSI": "\x1b[2J\x1b]0;owned\x07.png",
    "C1": "\x9b2J.png",
    "delete": "a\x7f\x08.png",
    "right to left": "\u202egnp.exe",
    "quotes": 'a","outcome":"labelled","x":"\\',
    "JSON": '{"level": "ERROR"}',
    "NUL": "a\0b.png",
    "lone surrogate": "a\ud800.png",
    "1024 bytes": "é" * 512,
}


@pytest.fixture
def lines() -> Iterator[LogLines]:
    with log_lines() as lines:
        yield lines


def event_of(request_id: str) -> Any:
    """As much of Chalice's event as the log looks at."""
    return SimpleNamespace(context=SimpleNamespace(aws_request_id=request_id))


def request_of(context: Any, **request_context: str) -> Request:
    event = {
        "multiValueQueryStringParameters": None,
        "headers": {},
        "pathParameters": None,
        "requestContext": {"httpMethod": "GET", "resourcePath": "/health", **request_context},
        "body": None,
        "stageVariables": None,
    }
    return Request(event, context)


def test_what_is_done_is_one_line_of_facts(lines: LogLines) -> None:
    log.done("labelled", image="car.png", milliseconds=1280, detectors={"labels": 812}, reason=None)

    [line] = lines.all
    written_at = datetime.fromisoformat(line.pop("timestamp"))
    assert re.fullmatch(r"test_what_is_done_is_one_line_of_facts:\d+", line.pop("location"))
    assert line == {
        "level": "INFO",
        "message": "labelled",
        "service": "image-labeller",
        "image": "car.png",
        "milliseconds": 1280,
        "detectors": {"labels": 812},
    }
    assert written_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written_at) < timedelta(minutes=1)


def test_what_a_later_try_can_heal_is_a_warning(lines: LogLines) -> None:
    log.failed(Throttled("slower"), image="car.png")

    [line] = lines.all
    assert (line["level"], line["message"], line["outcome"]) == ("WARNING", "slower", "throttled")
    assert "exception" not in line


def test_a_bug_is_an_error_with_its_place_and_its_cause(lines: LogLines) -> None:
    try:
        try:
            raise KeyError("Labels")
        except KeyError as error:
            raise TypeError("no labels") from error
    except TypeError as bug:
        log.failed(bug, image="car.png")

    [line] = lines.all
    assert (line["level"], line["message"], line["outcome"]) == ("ERROR", "no labels", "crashed")
    assert "test_log.py" in line["exception"]
    assert "KeyError: 'Labels'" in line["exception"]


@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_key_ends_the_line_or_steers_a_terminal(key: str, lines: LogLines) -> None:
    log.done("labelled", image=key)

    written = lines.text
    assert written.endswith("\n")
    assert all(" " <= character <= "~" for character in written[:-1])
    assert json.loads(written)["image"] == key


@given(st.text(max_size=1024) | st.from_regex(log.SECRET))
def test_a_line_is_json_whatever_it_says(text: str) -> None:
    line = log.one_line({text: text, "nested": {"text": [text, 5]}})

    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["nested"]["text"][1] == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "cup.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA0%2F20260102%2Fs3&X-Amz-Date=2026"
            "&X-Amz-Security-Token=IQoJ%2Fb3==&X-Amz-Signature=5ec2e7",
            "cup.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=***&X-Amz-Date=2026"
            "&X-Amz-Security-Token=***&X-Amz-Signature=***",
            id="presigned URL",
        ),
        pytest.param(
            "cup.png?AWSAccessKeyId=AKIA0&Signature=5ec%2F2e7%3D&Expires=1767323045",
            "cup.png?AWSAccessKeyId=***&Signature=***&Expires=1767323045",
            id="presigned URL of the old kind",
        ),
        pytest.param("cup.png%3FX-Amz-Signature%3D5ec2e7", "cup.png%3FX-Amz-Signature%3D***", id="encoded"),
        pytest.param(
            "Authorization: AWS4-HMAC-SHA256 Credential=AKIA0/s3, SignedHeaders=host, Signature=5ec2e7",
            "Authorization: AWS4-HMAC-SHA256 ***, SignedHeaders=host, Signature=***",
            id="header",
        ),
        pytest.param("authorization: Bearer 5ec2e7 for", "authorization: Bearer *** for", id="token"),
        pytest.param(
            "should have been\n'POST\n/\n\nhost:s3\nx-amz-security-token:IQoJb3/5ec2e7+==\n\nhost;x-amz'",
            "should have been\n'POST\n/\n\nhost:s3\nx-amz-security-token:***\n\nhost;x-amz'",
            id="canonical request",
        ),
        pytest.param(
            f"ilt_0123456789ab_{32 * 'c0'} and/ilt_0123456789ab_{32 * 'ff'}.png",
            "ilt_0123456789ab_*** and/ilt_0123456789ab_***",
            id="token of the API, wherever it stands",
        ),
        pytest.param("a signature of mine.png", "a signature of mine.png", id="nothing secret"),
    ],
)
def test_what_gives_access_is_left_out(text: str, told: str, lines: LogLines) -> None:
    log.failed(Throttled(text), image=text)

    assert lines.facts("message", "image") == [{"message": told, "image": told}]


def test_lines_of_an_invocation_carry_its_request_id_and_later_ones_do_not(lines: LogLines) -> None:
    log.tell_requests_apart(event_of("one"), lambda _: log.done("labelled"))
    log.done("between")
    log.tell_requests_apart(event_of("two"), lambda _: log.done("labelled"))

    assert lines.facts("message", "request_id") == [
        {"message": "labelled", "request_id": "one"},
        {"message": "between"},
        {"message": "labelled", "request_id": "two"},
    ]


def test_an_invocation_that_fails_leaves_nothing_behind(lines: LogLines) -> None:
    def fail(_: object) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        log.tell_requests_apart(event_of("one"), fail)
    log.done("later")

    assert lines.facts("request_id") == [{}]


def test_an_http_request_has_the_id_that_its_client_was_told_too(lines: LogLines) -> None:
    context = SimpleNamespace(aws_request_id="ours")

    for request in (request_of(context, requestId="gateway's"), request_of(context)):
        log.tell_requests_apart(request, lambda _: log.done("ok"))

    assert lines.facts("request_id", "api_request_id") == [
        {"request_id": "ours", "api_request_id": "gateway's"},
        {"request_id": "ours"},
    ]


@pytest.mark.parametrize(
    "event", [None, SimpleNamespace(context=None), request_of(None)], ids=["none", "event", "request"]
)
def test_an_invocation_without_an_id_is_logged_all_the_same(event: Any, lines: LogLines) -> None:
    def handle(_: object) -> str:
        log.done("done")
        return "answer"

    answer = log.tell_requests_apart(event, handle)

    assert answer == "answer"
    assert lines.facts("message", "request_id") == [{"message": "done"}]


def test_requests_in_threads_do_not_mix(lines: LogLines) -> None:
    names = [f"request-{number}" for number in range(8)]
    together = threading.Barrier(len(names), timeout=30)

    def handle(event: Any) -> None:
        for _ in range(20):
            together.wait()  # now each of them has set its own
            log.done(event.context.aws_request_id)

    threads = [
        threading.Thread(target=log.tell_requests_apart, args=(event_of(name), handle)) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    told = [(line["message"], line["request_id"]) for line in lines.all]
    assert sorted(told) == sorted((name, name) for name in names * 20)


def test_our_level_is_not_that_of_the_sdk() -> None:
    script = (
        "import logging, app; "
        "print(*(logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in"
        " ('image-labeller', 'botocore', 'urllib3', 'chalice', 'aws_lambda_powertools')))"
    )

    printed = subprocess.check_output(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "LOG_LEVEL": "DEBUG"}, text=True
    )

    assert printed == "True False False False False\n"


def test_whatever_fails_for_want_of_a_right_is_counted(
    lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(log, "count_access_lost", lambda: counted.append("once"))

    for failure in (Throttled("slower"), ServiceFailed("no answer"), KeyError("status")):
        log.failed(failure)
    assert counted == []
    log.failed(AccessLost("denied"), outcome="not_hurried")

    assert counted == ["once"]
