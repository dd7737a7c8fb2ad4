"""The bytes of one version of an object, fetched only when somebody needs them, and only once."""

import hashlib
from contextlib import ExitStack
from functools import cached_property
from io import BufferedRandom
from tempfile import TemporaryFile
from typing import Self

from chalicelib.bucket import Bucket
from chalicelib.model import StoredObject


class Contents:
    """Reading raises ObjectUnavailable, AccessLost, Throttled or ServiceFailed when S3 has no answer."""

    def __init__(self, bucket: Bucket, found: StoredObject) -> None:
        self.found = found
        self._bucket = bucket
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @cached_property
    def file(self) -> BufferedRandom:
        file = self._files.enter_context(TemporaryFile())  # noqa: SIM115 - it is one
        self._bucket.download(self.found, file)
        return file

    @cached_property
    def sha256(self) -> str:
        """In hex: S3's own, where S3 has one that it has checked the bytes by, else of the bytes."""
        if len(self.found.head) == self.found.size:
            return hashlib.sha256(self.found.head).hexdigest()
        return self._bucket.sha256(self.found) or self._digest()

    def _digest(self) -> str:
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()
