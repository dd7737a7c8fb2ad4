"""S3's event notifications, which messages of ours imitate: of which keys they speak."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from chalicelib.log import logger
from chalicelib.model import is_object_key


def notification_of(key: str) -> dict[str, Any]:
    return {"Records": [{"s3": {"object": {"key": quote_plus(key)}}}]}


def keys_of(event: Any) -> list[str]:
    """Each object key of an S3 event once; a record without one is logged."""
    records = event.get("Records") if isinstance(event, dict) else None
    return list(dict.fromkeys(_keys(records if isinstance(records, list) else [])))


def _keys(records: list[Any]) -> Iterator[str]:
    for record in records:
        key = _key(record)
        if key is None:
            logger.error("a record names no object", extra={"record": str(record)[:1000]})
        else:
            yield key


def _key(record: Any) -> str | None:
    """The key in a record; None where there is none that an object can have."""
    try:
        # S3 spells a key as a form does; it is decoded here and nowhere else.
        key = unquote_plus(record["s3"]["object"]["key"])
    except (AttributeError, LookupError, TypeError):
        return None
    return key if is_object_key(key) else None
