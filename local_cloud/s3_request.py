"""An HTTP request as S3 reads it: which bucket, which object, which operation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from moto.s3.responses import S3Response

Environ = dict[str, Any]
_PRESERVED = "moto.preserved_header_names"


@dataclass(frozen=True)
class S3Request:
    """One request to S3, taken from its WSGI environ; nothing in it is decoded before it is asked for."""

    environ: Environ

    @property
    def method(self) -> str:
        return str(self.environ["REQUEST_METHOD"])

    @cached_property
    def raw_path(self) -> str:
        """The path as it was sent, still percent-encoded, which is what signatures cover."""
        uri = str(self.environ.get("RAW_URI") or self.environ["PATH_INFO"])
        path = uri.split("?", 1)[0]
        return path if path.startswith("/") else "/" + path.partition("://")[2].partition("/")[2]

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.environ.get("QUERY_STRING", ""), keep_blank_values=True))

    @cached_property
    def headers(self) -> dict[str, str]:
        """By lower-case name; metadata names keep their underscores."""
        preserved: Mapping[str, str] = self.environ.get(_PRESERVED, {})
        named = {
            key: preserved.get(key, key).removeprefix("HTTP_") for key in self.environ if _is_header(key)
        }
        return {
            (name if key in preserved else name.replace("_", "-")).lower(): str(self.environ[key])
            for key, name in named.items()
            if self.environ[key] != "" or key.startswith("HTTP_")
        }

    @cached_property
    def _address(self) -> tuple[str, str]:
        if S3Response.subdomain_based_buckets(self):
            return self.headers.get("host", "").split(".", 1)[0], unquote(self.raw_path[1:])
        bucket, _, key = self.raw_path[1:].partition("/")
        return unquote(bucket), unquote(key)

    @property
    def bucket(self) -> str:
        return self._address[0]

    @property
    def key(self) -> str:
        """The object's name, empty when the request is about the bucket."""
        return self._address[1]


def _is_header(key: str) -> bool:
    return key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
