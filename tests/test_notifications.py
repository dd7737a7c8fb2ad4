from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given

from chalicelib.notifications import keys_of, notification_of
from local_cloud.endpoint import Endpoint
from tests.test_model import KEYS


def changed(*encoded_keys: str) -> Any:
    return {"Records": [record(key) for key in encoded_keys]}


def record(encoded_key: str) -> Any:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "pictures"}, "object": {"key": encoded_key, "size": 1, "eTag": "e"}},
    }


def test_all_records_are_read_and_each_key_once() -> None:
    assert keys_of(changed("a.png", "b.png", "a.png", "c.png")) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("my+cat.png", "my cat.png"),
        ("a%2Bb.png", "a+b.png"),
        ("a%252Fb.png", "a%2Fb.png"),
        ("100%25.png", "100%.png"),
        ("a/b.png", "a/b.png"),
        ("%F0%9F%90%B6.png", "🐶.png"),
        ("caf%C3%A9.png", "caf\u00e9.png"),
        ("cafe%CC%81.png", "cafe\u0301.png"),
        ("%2E%2E/a%0Ab%00+", "../a\nb\0 "),
    ],
)
def test_s3_key_unquote_plus_happens_exactly_once(encoded: str, key: str) -> None:
    assert keys_of(changed(encoded)) == [key]


@given(KEYS)
@example("\N{DOG FACE}" * 256)
def test_every_key_survives_the_way_s3_spells_it(key: str) -> None:
    assert keys_of(changed(quote_plus(key, safe="/"))) == [key]


@pytest.mark.parametrize("key", ["a b+c%2F/ü 🐶#.png", "cafe\u0301.png", " leading and trailing "])
def test_a_key_survives_a_real_upload(
    key: str, endpoint: Endpoint, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[Any] = []
    monkeypatch.setattr(endpoint, "on_object_event", records.append)
    s3.create_bucket(Bucket="events")

    s3.put_object(Bucket="events", Key=key, Body=b"x")

    assert keys_of({"Records": records}) == [key]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(
            {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "pictures"}, id="test event"
        ),
        pytest.param({"Records": []}, id="no records"),
        pytest.param({"Records": None}, id="records are null"),
        pytest.param({"Records": 5}, id="records are a number"),
        pytest.param({"Records": "junk"}, id="records are text"),
        pytest.param({"Records": {"s3": {}}}, id="records are an object"),
        pytest.param({}, id="empty"),
        pytest.param([], id="a list"),
        pytest.param("junk" * 16_000, id="64 kB of text"),
        pytest.param(None, id="null"),
    ],
)
def test_what_names_no_object_asks_for_nothing(event: Any) -> None:
    assert keys_of(event) == []


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param({}, id="empty"),
        pytest.param(None, id="null"),
        pytest.param("text", id="text"),
        pytest.param({"s3": None}, id="no s3"),
        pytest.param({"s3": {"object": {}}}, id="no key"),
        pytest.param({"s3": {"object": {"key": None}}}, id="null key"),
        pytest.param({"s3": {"object": {"key": 5}}}, id="a number for a key"),
        pytest.param({"s3": {"object": {"key": ""}}}, id="empty key"),
        pytest.param({"s3": {"object": {"key": "\ud83d"}}}, id="lone surrogate"),
        pytest.param({"s3": {"object": {"key": "k" * 1025}}}, id="1,025 bytes"),
    ],
)
def test_a_bad_record_is_told_and_costs_its_neighbours_nothing(
    junk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    event = {"Records": [record("a.png"), junk, record("b.png")]}

    keys = keys_of(event)

    assert keys == ["a.png", "b.png"]
    assert [line.getMessage() for line in caplog.records] == ["a record names no object"]


def test_a_long_bad_record_is_told_in_short(caplog: pytest.LogCaptureFixture) -> None:
    keys_of({"Records": ["x" * 64_000]})

    assert [vars(line)["record"] for line in caplog.records] == ["x" * 1000]


def test_what_is_added_to_a_record_changes_nothing() -> None:
    event = {"Records": [{**record("a.png"), "eventVersion": "3.0", "eventName": "Unheard:Of", "more": {}}]}

    assert keys_of(event) == ["a.png"]


@given(KEYS)
@example("\N{DOG FACE}" * 256)
@example("a b+c%2F#d?.png \n\0")
def test_a_notification_names_its_key(key: str) -> None:
    assert keys_of(notification_of(key)) == [key]
