import io
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from chalicelib import log
from chalicelib.errors import Throttled
from chalicelib.imaging import CONVERTIBLE
from local_cloud.tour import PICTURES, follow_log


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    """What the terminal shows of the log."""
    app_log = logging.getLogger(log.logger.name)
    before = app_log.handlers[:], app_log.propagate
    stream = io.StringIO()
    follow_log(Console(file=stream, width=200, highlight=False, soft_wrap=True))
    yield stream
    app_log.handlers[:], app_log.propagate = before


def test_a_picture_is_a_line_to_read(shown: io.StringIO) -> None:
    log.done(
        "labelled", image="chelsea.png", outcome="labelled", milliseconds=1280, detectors={"labels": 812}
    )
    log.done("failed", image="notes [1].png", outcome="failed", reason="unsupported_format", milliseconds=9)

    assert shown.getvalue().splitlines() == [
        "chelsea.png: labelled, 1280 ms",
        "notes [1].png: failed, unsupported_format, 9 ms",
    ]


def test_a_request_is_shown_only_when_it_has_failed(shown: io.StringIO) -> None:
    facts = {"method": "GET", "route": "/images", "milliseconds": 7}

    log.done("GET /images", status=200, **facts)
    log.done("GET /images", status=400, **facts)
    log.failed(Throttled("Slow down."), status=503, image="car.png", **facts)

    assert shown.getvalue() == "GET /images car.png: throttled, Slow down., 7 ms\n"


def test_a_bug_is_shown_with_its_place(shown: io.StringIO) -> None:
    try:
        raise KeyError("Labels")
    except KeyError as bug:
        log.failed(bug, image="car.png")

    first, *trace = shown.getvalue().splitlines()
    assert first == "car.png: crashed, 'Labels'"
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "KeyError: 'Labels'"


def test_a_line_without_an_image_is_shown_as_it_is(shown: io.StringIO) -> None:
    log.logger.error("a record names no object")

    assert shown.getvalue() == "a record names no object\n"


@pytest.mark.parametrize(
    ("key", "seen"),
    [("🐕 é.png", "🐕 é.png"), ("a\nb\x1b[2J.png", "a\\nb\\x1b[2J.png"), ("\x9b2J.png", "\\x9b2J.png")],
    ids=["emoji", "ANSI", "C1"],
)
def test_no_key_steers_the_terminal(key: str, seen: str, shown: io.StringIO) -> None:
    log.done("removed", image=key, outcome="removed", milliseconds=7)

    assert shown.getvalue() == f"{seen}: removed, 7 ms\n"


def test_a_folder_of_samples_may_have_pictures_of_every_format() -> None:
    assert {content_type.replace("image/", ".") for content_type in CONVERTIBLE} <= PICTURES
