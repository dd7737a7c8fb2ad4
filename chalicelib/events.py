"""What S3 tells the function that it invokes."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from chalice.app import S3Event

from chalicelib.log import logger


class ObjectsChanged(S3Event):  # type: ignore[misc]
    """All records of an S3 event; Chalice's own class reads the first, and fails where there is none."""

    def _extract_attributes(self, event_dict: dict[str, Any]) -> None:
        self.records = event_dict.get("Records") or []

    @property
    def keys(self) -> list[str]:
        """Each object key once."""
        return list(dict.fromkeys(self._keys()))

    def _keys(self) -> Iterator[str]:
        for record in self.records:
            try:
                # S3 spells a key as a form does; it is decoded here and nowhere else.
                yield unquote_plus(record["s3"]["object"]["key"])
            except (KeyError, TypeError, AttributeError):
                logger.error("a record names no object", extra={"record": str(record)[:1000]})
