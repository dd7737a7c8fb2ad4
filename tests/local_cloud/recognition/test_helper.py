import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.recognition.errors import ServiceError
from local_cloud.recognition.helper import Helper, find_missing
from local_cloud.recognition.objects import FOLDER

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")

READY = "console.log(JSON.stringify({ready: true}));\n"
COUNT = """
import { existsSync, readFileSync, writeFileSync } from "node:fs";
const file = new URL("./starts", import.meta.url);
const starts = existsSync(file) ? Number(readFileSync(file)) + 1 : 1;
writeFileSync(file, String(starts));
"""
ANSWER = """
let seen = 0;
process.stdin.on("data", (chunk) => {
  seen += chunk.length;
  if (seen === 7) { seen = 0; console.log(JSON.stringify({ detections: [], starts })); }
});
"""
DIE = 'process.stdin.on("data", () => process.exit(1));\n'


class Scripts:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.helpers: list[Helper] = []

    def helper(self, script: str, answer_seconds: float = 10) -> Helper:
        (self.folder / "script.mjs").write_text(script)
        self.helpers.append(Helper(self.folder / "script.mjs", answer_seconds))
        return self.helpers[-1]

    @property
    def starts(self) -> int:
        return int((self.folder / "starts").read_text())


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    scripts = Scripts(tmp_path)
    yield scripts
    for helper in scripts.helpers:
        helper.close()


def test_one_process_answers_every_question(scripts: Scripts) -> None:
    helper = scripts.helper(COUNT + READY + ANSWER)

    answers = [helper.ask(b"abc") for _ in range(3)]

    assert answers == [{"detections": [], "starts": 1}] * 3


def test_a_helper_that_died_is_started_again(scripts: Scripts) -> None:
    helper = scripts.helper(COUNT + READY + "if (starts === 1) {" + DIE + "} else {" + ANSWER + "}")

    assert helper.ask(b"abc") == {"detections": [], "starts": 2}


def test_a_helper_that_keeps_dying_is_started_once_more_and_no_more(scripts: Scripts) -> None:
    helper = scripts.helper(COUNT + READY + DIE)

    with pytest.raises(ServiceError, match="ended without an answer") as raised:
        helper.ask(b"abc")

    assert (raised.value.code, raised.value.status) == ("InternalServerError", 500)
    assert scripts.starts == 2
    assert helper.has_started


def test_the_next_question_finds_a_new_process(scripts: Scripts) -> None:
    helper = scripts.helper(COUNT + READY + "if (starts <= 2) {" + DIE + "} else {" + ANSWER + "}")

    with pytest.raises(ServiceError):
        helper.ask(b"abc")

    assert helper.ask(b"abc") == {"detections": [], "starts": 3}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(READY + "process.stdin.resume();", id="no answer"),
        pytest.param(READY + "setInterval(() => {}, 1000);", id="no reading"),
        pytest.param(READY + 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000);', id="no ending"),
    ],
)
def test_a_helper_that_hangs_is_ended(scripts: Scripts, script: str) -> None:
    helper = scripts.helper(script, answer_seconds=0.4)
    started = time.monotonic()

    with pytest.raises(ServiceError):
        helper.ask(b"x" * 1_000_000)

    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "script",
    [pytest.param("process.exit(3);", id="exit"), pytest.param("throw new Error('no');", id="error")],
)
def test_a_helper_that_does_not_start_has_not_started(scripts: Scripts, script: str) -> None:
    helper = scripts.helper(script)

    with pytest.raises(ServiceError):
        helper.ask(b"abc")

    assert not helper.has_started


def test_an_answer_that_is_no_json_is_none(scripts: Scripts) -> None:
    helper = scripts.helper(READY + 'process.stdin.on("data", () => console.log("Segmentation fault"));')

    with pytest.raises(ServiceError):
        helper.ask(b"abc")


def test_closing_ends_the_process_even_amid_a_question(scripts: Scripts) -> None:
    helper = scripts.helper(READY + "process.stdin.resume();", answer_seconds=30)
    outcome: list[str] = []

    def ask() -> None:
        try:
            helper.ask(b"abc")
        except ServiceError as error:
            outcome.append(error.message)

    asking = threading.Thread(target=ask)
    helper.start()
    asking.start()
    helper.close()
    asking.join(10)

    assert not asking.is_alive()
    assert outcome == ["The object detector is closed"]


def test_a_closed_helper_does_not_start_again(scripts: Scripts) -> None:
    helper = scripts.helper(COUNT + READY + ANSWER)
    helper.ask(b"abc")
    helper.close()

    with pytest.raises(ServiceError, match="is closed"):
        helper.ask(b"abc")
    assert scripts.starts == 1


def test_modules_that_are_not_installed_are_missing(tmp_path: Path) -> None:
    assert find_missing(tmp_path) == f"its modules are not installed (npm ci --prefix {tmp_path})"


def test_a_machine_without_node_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_missing(FOLDER) == "Node 18 or later is not installed"


@pytest.mark.parametrize("shown", ["v16.20.2", "nothing", "v"])
def test_an_old_or_strange_node_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {shown}\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_missing(FOLDER) == "Node 18 or later is not installed"
