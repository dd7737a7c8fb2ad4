"""Use case: a client announces a picture, and gets a URL to upload it once."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.bucket import Bucket, PresignedUpload
from chalicelib.callback_url import CallbackRules
from chalicelib.model import Upload
from chalicelib.store import EXPECTED_FOR, Store

MAX_NAME = 100  # characters of the client's file name that are kept


@dataclass(frozen=True)
class ExpectedUpload:
    source_file: str
    presigned: PresignedUpload
    expires_at: datetime


@dataclass(frozen=True)
class Uploads:
    bucket: Bucket
    store: Store
    callback_rules: CallbackRules
    now: Callable[[], datetime]
    url_seconds: int

    def expect(self, filename: str | None, upload: Upload) -> ExpectedUpload:
        """Signs a URL for a new key, and notes it in a row that expires when nobody uses it.

        Raises CallbackRefused if its callback may not go where it is wanted.
        """
        if upload.callback_url is not None:
            self.callback_rules.addresses(self.callback_rules.parse(upload.callback_url))
        now = self.now()
        expires_at = now + timedelta(seconds=self.url_seconds)
        key = new_key(filename)
        presigned = self.bucket.presign_upload(key, upload, self.url_seconds)
        self.store.expect_upload(key, upload, now + EXPECTED_FOR, now)
        return ExpectedUpload(key, presigned, expires_at)


def new_key(filename: str | None) -> str:
    """A key that nobody has: a random part, and what is harmless in the client's name."""
    return f"uploads/{secrets.token_urlsafe(12)}/{_harmless(filename or '')}"


def _harmless(filename: str) -> str:
    name = re.split(r"[/\\]", filename)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-MAX_NAME:].lstrip(".-") or "picture"
