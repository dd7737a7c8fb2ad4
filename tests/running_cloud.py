"""`python -m local_cloud` as a process of its own, with what it prints."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.api_client import ApiClient

ROOT = Path(__file__).parent.parent
PATIENCE = 90.0  # seconds; on a busy machine it takes a while to load the detectors
READY = "Ctrl-C stops it all"


@dataclass
class RunningCloud:
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def api(self) -> ApiClient:
        return ApiClient(int(self.find(r"^API +http://127\.0\.0\.1:(\d+)$")), token=None)

    @property
    def bucket(self) -> str:
        return self.find(r"^Bucket +s3://(\S+)$")

    @property
    def commands(self) -> list[str]:
        """The commands that it prints for the user to type."""
        return [line[2:] for line in self.lines if line.startswith("  ")]

    @property
    def environment(self) -> Mapping[str, str]:
        """The user's environment after the printed export."""
        exported = dict(pair.split("=", 1) for pair in self.find(r"^  export (.+)$").split())
        return {**os.environ, **exported, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def follow(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def wait_until_ready(self) -> None:
        end = monotonic() + PATIENCE
        while READY not in self.output:
            assert self.process.poll() is None, self.output
            assert monotonic() < end, self.output
            sleep(0.05)


@contextmanager
def running_cloud(*arguments: str, **variables: str) -> Iterator[RunningCloud]:
    """Started on free ports, ready when it enters, and ended as Ctrl-C does."""
    ports = [f"--endpoint-port={free_port()}", f"--api-port={free_port()}"]
    command = [sys.executable, "-u", "-m", "local_cloud", *ports, *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "API_AUTH": "", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        cloud = RunningCloud(process)
        reader = threading.Thread(target=cloud.follow, daemon=True)
        reader.start()
        try:
            cloud.wait_until_ready()
            yield cloud
        finally:
            _end(process)
            reader.join()


def _end(process: "subprocess.Popen[str]") -> None:
    """Raises subprocess.TimeoutExpired for a process that Ctrl-C does not end; it ends all the same."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
