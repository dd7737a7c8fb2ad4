"""What stands in the table `images`: how its rows are spelled, in both directions.

All that is known of an image stands under its key: the row `image` holds the whole answer, and a row
`label#<name>` for each label is what the index `by_label` finds.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from msgspec import ValidationError, convert

from chalicelib.callback_url import authority_of
from chalicelib.claim import RELEASE, Claim, Exemption, Partial, Secluded
from chalicelib.items import SCHEMA, SHARD, Row, index_time, plain, read, timestamp
from chalicelib.model import Answer, Image, Status, StoredObject, Summary, Upload, label_key, top_labels

IMAGE = "image"


def image_key(source_file: str) -> dict[str, str]:
    return {"source_file": source_file, "entry": IMAGE}


def label_entry_key(source_file: str, key: str) -> dict[str, str]:
    return {"source_file": source_file, "entry": f"label#{key}"}


def label_index_key(name: str) -> str:
    return f"{label_key(name)}#{SHARD}"


def label_position(name: str, confidence: str, source_file: str) -> dict[str, Any]:
    """The full key of a label row in the index, from where a list goes on."""
    return {
        **label_entry_key(source_file, label_key(name)),
        "label_key": label_index_key(name),
        "label_confidence": float(confidence),
    }


def status_index_key(status: Status) -> str:
    return f"{status}#{SHARD}"


def status_fields(source_file: str, status: Status, now: datetime) -> dict[str, Any]:
    return {
        "status": status,
        "status_key": status_index_key(status),
        "updated_at": position(source_file, now),
    }


def upload_row(source_file: str, upload: Upload, expires_at: int, now: datetime) -> dict[str, Any]:
    return {
        **image_key(source_file),
        **status_fields(source_file, Status.AWAITING_UPLOAD, now),
        "content_type": upload.content_type,
        "size": upload.size,
        "metadata": upload.metadata,
        "callback_url": upload.callback_url,
        "expires_at": expires_at,
        "schema": SCHEMA,
    }


def tombstone(source_file: str, run: str, expires_at: int) -> dict[str, Any]:
    """What is left of a removed object: enough that nobody who saw it before can bring its rows back."""
    return {
        **image_key(source_file),
        "status": Status.REMOVED,
        "run": run,
        "committed_run": run,
        "expires_at": expires_at,
        "schema": SCHEMA,
    }


def answer_fields(found: StoredObject, run: str, answer: Answer, now: datetime) -> dict[str, Any]:
    """The fields of the image row that a commit sets; None where it has nothing to say."""
    return {
        **status_fields(found.key, answer.status, now),
        "committed_run": run,
        "reason": answer.reason,
        "reused_from": answer.reused_from,
        "content_type": answer.content_type,
        "size": found.size,
        "version_id": found.version_id,
        "etag": found.etag,
        "uploaded_at": timestamp(found.uploaded_at),
        "labelled_at": timestamp(now) if answer.status is Status.LABELLED else None,
        **asdict(answer.findings),
        "labels": [asdict(label) for label in answer.labels],
        "top_labels": [asdict(label) for label in top_labels(answer.labels)],
        "label_keys": [label_key(label.name) for label in answer.labels],
        "metadata": {name: value for name, value in found.metadata.items() if name != RELEASE},
        "schema": SCHEMA,
    }


def label_rows(found: StoredObject, answer: Answer, now: datetime) -> Iterator[dict[str, Any]]:
    """A row for each label, with a copy of the image's summary, so that a list takes one Query."""
    summary = {
        "status": answer.status,
        "labelled_at": timestamp(now),
        "top_labels": [asdict(label) for label in top_labels(answer.labels)],
        "schema": SCHEMA,
    }
    for label in answer.labels:
        yield {
            **label_entry_key(found.key, label_key(label.name)),
            **summary,
            "label_key": label_index_key(label.name),
            "label_name": label.name,
            "label_confidence": label.confidence,
            "label_category": label.categories,
        }


def seclusion_fields(secluded: Secluded | None = None, exempt: Exemption | None = None) -> dict[str, Any]:
    """Where the picture is in respect of quarantine; no wish of before is left open."""
    return {
        "secluded": asdict(secluded) if secluded else None,
        "exempt": asdict(exempt) if exempt else None,
        "release": None,
        "purge": None,
    }


def partial_fields(partial: Partial | None) -> dict[str, Any]:
    if partial and (partial.findings.told or partial.is_counted):
        return {"partial": asdict(partial)}
    return {"partial": None}


def read_claim(row: Row) -> Claim:
    return Claim(
        run=row.get("run"),
        committed_run=row.get("committed_run"),
        version=row.get("run_version"),
        lease_until=float(row.get("lease_until", 0)),
        label_keys=tuple(row.get("label_keys", ())),
        fence=row.get("fence"),
        partial=_read_partial(row),
        relabel=row.get("relabel"),
        relabelled=row.get("relabelled"),
        reason=row.get("reason"),
        secluded=convert(plain(row.get("secluded")), Secluded | None),
        exempt=convert(plain(row.get("exempt")), Exemption | None),
        release=row.get("release"),
        purge=row.get("purge"),
        labelled=row.get("version_id", row.get("etag")) if "labelled_at" in row else None,
    )


def _read_partial(row: Row) -> Partial | None:
    """None too for what another version of this code wrote in a way of its own: all is asked again then."""
    try:
        return convert(plain(row.get("partial")), Partial | None)
    except ValidationError:
        return None


def read_image(row: Row) -> Image:
    url = row.get("callback_url")
    return read({**row, "callback": {"host": authority_of(url)} if url else None}, Image)


def read_summary(row: Row) -> Summary:
    return read(row, Summary)


def position(source_file: str, now: datetime) -> str:
    """A time that no two images share, so that a page of a list can end and begin anywhere."""
    return f"{index_time(now)}~{hashlib.sha256(source_file.encode()).hexdigest()[:8]}"
