import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.callback_url import CallbackRules
from chalicelib.errors import ServiceFailed
from chalicelib.model import Image, Status, Upload
from chalicelib.services import Services
from chalicelib.store import EXPECTED_FOR
from chalicelib.uploads import Uploads, new_key
from tests import faults
from tests.catalogue import Catalogue

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DECLARED = Upload("image/png", 5, None, {"by": "Ann"})


@pytest.fixture
def uploads(services: Services) -> Uploads:
    return Uploads(services.bucket, services.store, CallbackRules(), now=lambda: NOW, url_seconds=300)


def test_an_upload_is_signed_and_expected(uploads: Uploads, services: Services) -> None:
    expected = uploads.expect("car.png", DECLARED)

    assert re.fullmatch(r"uploads/[\w-]{16}/car\.png", expected.source_file)
    assert expected.expires_at == NOW + timedelta(seconds=300)
    assert parse_qs(urlsplit(expected.presigned.url).query)["X-Amz-Expires"] == ["300"]
    assert urlsplit(expected.presigned.url).path.endswith(f"/{expected.source_file}")
    assert expected.presigned.headers == {
        "Content-Type": "image/png",
        "Content-Length": "5",
        "If-None-Match": "*",
        "x-amz-meta-by": "Ann",
    }
    assert services.store.image(expected.source_file, NOW) == Image(
        expected.source_file,
        Status.AWAITING_UPLOAD,
        content_type="image/png",
        size=5,
        metadata={"by": "Ann"},
    )


def test_an_upload_that_never_comes_leaves_nothing(
    uploads: Uploads, services: Services, catalogue: Catalogue
) -> None:
    key = uploads.expect(None, Upload()).source_file

    end = NOW + EXPECTED_FOR
    assert catalogue.rows(key)["image"]["expires_at"] == end.timestamp()
    assert services.store.image(key, end - timedelta(seconds=1)) is not None
    assert services.store.image(key, end) is None


def test_what_was_expected_can_be_uploaded(uploads: Uploads, services: Services) -> None:
    expected = uploads.expect("car.png", DECLARED)

    answer = requests.put(
        expected.presigned.url, data=b"bytes", headers=dict(expected.presigned.headers), timeout=10
    )

    found = services.bucket.look(expected.source_file)
    assert answer.status_code == 200
    assert found is not None
    assert (found.head, found.metadata) == (b"bytes", {"by": "Ann"})


def test_no_url_is_given_for_an_upload_that_could_not_be_noted(services: Services) -> None:
    faults.plan(services.session.events, "dynamodb.PutItem", *[faults.answering(500, b"")] * 3)

    with pytest.raises(ServiceFailed):
        services.uploads.expect("car.png", Upload())


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("car.png", "car.png"),
        ("My Car (1).JPG", "My-Car-1-.JPG"),
        ("../../etc/passwd", "passwd"),
        (r"C:\pictures\car.png", "car.png"),
        ("dir/", "picture"),
        (".htaccess", "htaccess"),
        ("---car.png", "car.png"),
        ("..", "picture"),
        ("日本.jpg", "jpg"),
        ("🐶", "picture"),
        ("a\r\nSet-Cookie: x", "a-Set-Cookie-x"),
        ("<script>.png", "script-.png"),
        ("x" * 200 + ".png", "x" * 96 + ".png"),
        ("", "picture"),
        (None, "picture"),
    ],
)
def test_what_is_harmless_in_a_name_is_kept(filename: str | None, kept: str) -> None:
    assert new_key(filename).split("/")[2:] == [kept]


@given(st.none() | st.text())
@example("/" * 500)
def test_a_new_key_needs_no_encoding_anywhere(filename: Any) -> None:
    assert re.fullmatch(r"uploads/[A-Za-z0-9_-]{16}/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", new_key(filename))


def test_a_new_key_is_nobody_elses() -> None:
    assert len({new_key("car.png") for _ in range(1000)}) == 1000
