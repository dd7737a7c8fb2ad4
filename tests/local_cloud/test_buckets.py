from typing import Any

import pytest
from chalice.app import S3EventConfig

from local_cloud.buckets import Notification
from local_cloud.clock import ManualClock
from local_cloud.functions import Function, FunctionSettings

FUNCTION = Function("f", lambda *_: None, FunctionSettings(), ManualClock())


def event(name: str = "ObjectCreated:Put", bucket: str = "images", key: str = "a.png") -> dict[str, Any]:
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


def notification(events: list[str], prefix: str | None = None, suffix: str | None = None) -> Notification:
    return Notification(S3EventConfig("f", "images", events, prefix, suffix, "app.f"), FUNCTION)


@pytest.mark.parametrize(
    ("asked", "sent", "expected"),
    [
        ("s3:ObjectCreated:*", "ObjectCreated:CompleteMultipartUpload", True),
        ("s3:ObjectCreated:Put", "ObjectCreated:Post", False),
        ("s3:ObjectRemoved:*", "ObjectRemoved:DeleteMarkerCreated", True),
        ("s3:ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", False),
        ("s3:ObjectRemoved:*", "ObjectCreated:Put", False),
    ],
)
def test_events_are_matched_by_kind(asked: str, sent: str, expected: bool) -> None:
    assert notification([asked]).wants(event(sent)) is expected


@pytest.mark.parametrize(
    ("prefix", "suffix", "key", "expected"),
    [
        ("in ", None, "in+a.png", True),
        ("in+", None, "in%2Ba.png", True),
        (None, ".png", "a.PNG", False),
        (None, " x.png", "a%20x.png", True),
        ("", "", "a", True),
    ],
    ids=["space", "plus", "case", "percent-20", "empty-filters"],
)
def test_filters_mean_the_real_name(prefix: str | None, suffix: str | None, key: str, expected: bool) -> None:
    assert notification(["s3:ObjectCreated:*"], prefix, suffix).wants(event(key=key)) is expected


def test_only_its_own_bucket_counts() -> None:
    assert not notification(["s3:*"]).wants(event(bucket="others"))
