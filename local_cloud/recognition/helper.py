from __future__ import annotations

import json
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from local_cloud.recognition.errors import ServiceError

OLDEST_NODE = 18
START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
STOP_SECONDS = 5.0


class HelperDied(Exception):
    """The helper process ended, or had to be ended since it did not answer in time."""


class Helper:
    """A Node process that answers each picture on its stdin with a JSON line; started by the first question.

    One question at a time; a process that dies is started once more for the same question.
    """

    def __init__(self, script: Path, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._command = [shutil.which("node") or "node", str(script)]
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.has_started = False

    def ask(self, picture: bytes) -> dict[str, Any]:
        """The helper's answer; ServiceError (500) when it dies of this picture twice, or is closed."""
        with self._lock:
            with suppress(HelperDied):
                return self._exchange(picture)
            try:
                return self._exchange(picture)
            except HelperDied as error:
                raise ServiceError("InternalServerError", f"The object detector {error}", 500) from error

    def start(self) -> None:
        with self._lock, suppress(HelperDied):
            self._running()

    def close(self) -> None:
        """End the process; a question under way ends with an error."""
        self._closed = True
        process = self._process
        if process is None:
            return
        process.terminate()
        with _deadline(process, STOP_SECONDS), self._lock:
            self._stop()

    def _exchange(self, picture: bytes) -> dict[str, Any]:
        process = self._running()
        with _deadline(process, self._answer_seconds):
            return self._converse(process, struct.pack("<I", len(picture)) + picture)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise HelperDied("is closed")
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = self._started()
        return self._process

    def _started(self) -> subprocess.Popen[bytes]:
        # In a group of its own, so that Ctrl-C in the terminal reaches it through close() only.
        process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self._process = process
        if self._closed:  # by another thread, which did not see this process
            process.kill()
        with _deadline(process, START_SECONDS):
            self._converse(process, b"")
        self.has_started = True
        return process

    def _converse(self, process: subprocess.Popen[bytes], question: bytes) -> dict[str, Any]:
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        try:
            stdin.write(question)
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
        except (OSError, ValueError) as error:
            self._stop()
            raise HelperDied("ended without an answer") from error
        return answer

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        with suppress(OSError):
            process.communicate()


def find_missing(folder: Path) -> str | None:
    """What keeps the Node helper of a folder from running, as the end of a sentence."""
    version = _node_version()
    if version is None or version < OLDEST_NODE:
        return f"Node {OLDEST_NODE} or later is not installed"
    if not (folder / "node_modules" / "@tensorflow" / "tfjs-core").is_dir():
        return f"its modules are not installed (npm ci --prefix {folder})"
    return None


def _node_version() -> int | None:
    node = shutil.which("node")
    if node is None:
        return None
    try:
        shown = subprocess.check_output([node, "--version"], text=True, timeout=10)  # noqa: S603
        return int(shown.lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


@contextmanager
def _deadline(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
