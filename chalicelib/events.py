"""What S3 tells the function that it invokes."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from chalice.app import S3Event

from chalicelib.log import logger
from chalicelib.model import is_object_key


class ObjectsChanged(S3Event):  # type: ignore[misc]
    """All records of an S3 event; Chalice's own class reads the first, and fails where there is none."""

    def _extract_attributes(self, event_dict: Any) -> None:
        records = event_dict.get("Records") if isinstance(event_dict, dict) else None
        self.records = records if isinstance(records, list) else []

    @property
    def keys(self) -> list[str]:
        """Each object key once."""
        return list(dict.fromkeys(self._keys()))

    def _keys(self) -> Iterator[str]:
        for record in self.records:
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
