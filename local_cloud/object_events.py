"""S3's event records, made by comparing a bucket before and after a request.

moto's own notifications carry no version and no sequencer, and several ways to delete send none at all.
What really changed is in its store, whatever request changed it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeDeleteMarker, FakeKey, s3_backends

from local_cloud.clock import Clock
from local_cloud.s3_request import S3Request

ObjectEvent = dict[str, Any]
"""One record as S3 sends it: what stands in `Records`."""

Version = Any  # moto's FakeKey or FakeDeleteMarker
Contents = dict[str, tuple[Version, ...]]

_MUTATING = {"PUT", "POST", "DELETE"}


@dataclass(frozen=True)
class _Change:
    name: str
    version: Version


@dataclass
class ObjectEvents:
    """Watches requests change buckets, and tells as S3 would what they did."""

    clock: Clock
    region: str = "us-east-1"
    _last: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def watch(self, request: S3Request) -> Iterator[list[ObjectEvent]]:
        """Run one request inside; the list holds its events afterwards, also when it failed half-way."""
        events: list[ObjectEvent] = []
        before = _contents(request)
        try:
            yield events
        finally:
            changes = _changes(before, _contents(request), _creation(request))
            events.extend(self._record(request, change) for change in changes)

    def _record(self, request: S3Request, change: _Change) -> ObjectEvent:
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": self.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "eventName": change.name,
            "userIdentity": {"principalId": f"AWS:{DEFAULT_ACCOUNT_ID}"},
            "requestParameters": {"sourceIPAddress": request.environ.get("REMOTE_ADDR", "127.0.0.1")},
            "responseElements": {"x-amz-request-id": uuid4().hex[:16].upper(), "x-amz-id-2": uuid4().hex},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "local-cloud",
                "bucket": _bucket(request.bucket),
                "object": _object(change.version) | {"sequencer": self._sequencer()},
            },
        }

    def _sequencer(self) -> str:
        with self._lock:
            self._last = max(self._last + 1, int(self.clock.time() * 1_000_000))
            return f"{self._last:018X}"


def _bucket(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "ownerIdentity": {"principalId": DEFAULT_ACCOUNT_ID},
        "arn": f"arn:aws:s3:::{name}",
    }


def _object(version: Version) -> dict[str, Any]:
    described: dict[str, Any] = {"key": quote_plus(version.name, safe="/")}
    if isinstance(version, FakeKey):
        described |= {"size": version.contentsize, "eTag": version.etag.strip('"')}
    if version.version_id != "null":
        described["versionId"] = version.version_id
    return described


def _contents(request: S3Request) -> Contents:
    """The versions that the request can touch: those of its key, or of the whole bucket."""
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(request.bucket)
    if bucket is None or request.method not in _MUTATING:
        return {}
    keys = [request.key] if request.key else list(bucket.keys)
    return {key: tuple(bucket.keys.getlist(key, [])) for key in keys}


def _creation(request: S3Request) -> str:
    if request.method == "POST":
        return "CompleteMultipartUpload"
    return "Copy" if "x-amz-copy-source" in request.headers else "Put"


def _changes(before: Contents, after: Contents, creation: str) -> Iterator[_Change]:
    for key in before | after:
        yield from _changes_of_key(before.get(key, ()), after.get(key, ()), creation)


def _changes_of_key(
    before: tuple[Version, ...], after: tuple[Version, ...], creation: str
) -> Iterator[_Change]:
    come = _without(after, before)
    for version in come:
        marker = isinstance(version, FakeDeleteMarker)
        yield _Change("ObjectRemoved:DeleteMarkerCreated" if marker else f"ObjectCreated:{creation}", version)
    if not come:  # what a new version replaces is not reported as removed
        for version in _without(before, after):
            yield _Change("ObjectRemoved:Delete", _Removed(version.name, version.version_id))


def _without(versions: tuple[Version, ...], others: tuple[Version, ...]) -> list[Version]:
    known = {id(version) for version in others}
    return [version for version in versions if id(version) not in known]


@dataclass(frozen=True)
class _Removed:
    name: str
    version_id: str
