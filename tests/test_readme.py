"""The README names only what is there, and all that there is of it."""

import base64
import inspect
import os
import re
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType
from typing import Any

import pytest

from chalicelib import decoding, imaging
from chalicelib.callback import DELAYS, State
from chalicelib.callback_url import CallbackRules
from chalicelib.claim import EXHAUSTED
from chalicelib.delivery import Ending
from chalicelib.errors import AccessLost, MessageGone, Retryable, ServiceFailed, Throttled, outcome_of
from chalicelib.model import Image, Outcome
from chalicelib.recovery import REST_OF_BUCKET, REST_OF_ROWS, SWEPT_KEYS, SWEPT_ROWS
from chalicelib.rekognition import REFUSALS
from chalicelib.room import LABELS_ROOM, MAX_BOXES, MODERATION_ROOM, TEXT_ROOM
from chalicelib.settings import Settings
from chalicelib.tokens import Scope
from chalicelib.webhook import Fault, Webhook
from ops.__main__ import commands
from tests.conftest import ROOT
from tests.operator_commands import refusal
from tests.running_cloud import PATIENCE, free_port

README = (ROOT / "README.md").read_text()
CODE = "\n".join(path.read_text() for path in (ROOT / "chalicelib").glob("*.py"))


def table_under(heading: str) -> list[list[str]]:
    """The rows of the first table after a line, without its two lines of heading."""
    after = README[README.index(heading) :]
    [table, *_] = re.findall(r"(?:^\|.*\|\n)+", after, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def test_every_setting_is_there_with_its_default() -> None:
    described = {name.strip("`"): default for name, default, _ in table_under("## Configure")}

    actual = {field.name.upper(): spelled(field.default) for field in fields(Settings)}
    assert described == actual


def spelled(default: Any) -> str:
    """As the environment would say it."""
    if default is MISSING:
        return "required"
    if isinstance(default, tuple):
        parts = (f"{each[0]}:{each[1]:g}" if isinstance(each, tuple) else each for each in default)
        return ", ".join(parts) or "none"
    return f"{default:.9g}" if isinstance(default, int | float) else str(default) or "none"


def test_every_route_is_there(app_module: ModuleType) -> None:
    described = {row[0].strip("`") for row in table_under("### Ask")}

    routes = app_module.app.routes.items()
    assert described == {f"{method} {route}" for route, methods in routes for method in methods}


def test_every_route_is_asked_for_once(app_module: ModuleType) -> None:
    commands = re.findall(r'^    curl (?:-X (\w+) )?"?\$api(/[^"?\s]*)', README, re.MULTILINE)
    spelled = (("$id", "{image_id}"), ("$delivery_id", "{delivery_id}"), ("/cup", "/{label}"))
    asked = {f"{method or 'GET'} {path}" for method, path in commands}
    for example, name in spelled:
        asked = {each.replace(example, name) for each in asked}

    routes = app_module.app.routes.items()
    assert asked == {f"{method} {route}" for route, methods in routes for method in methods}


def test_every_scope_is_there() -> None:
    assert [row[0].strip("`") for row in table_under("| scope |")] == list(Scope)


def test_every_reason_is_there() -> None:
    described = {row[0].strip("`") for row in table_under("| reason |")}

    raised = set(re.findall(r'PictureRefused\("(\w+)"\)', CODE))
    by_the_look = set(re.findall(r'return "(\w+)"', inspect.getsource(imaging.refusal)))
    others = {*REFUSALS.values(), *decoding.REASONS.values(), EXHAUSTED}
    assert described == raised | by_the_look | others


def test_every_field_of_an_image_is_there() -> None:
    described = " ".join(row[0] for row in table_under("| field | |\n|---|---|\n| `image_id`"))

    assert set(re.findall(r"`(\w+)`", described)) == {"image_id", *(field.name for field in fields(Image))}


def test_every_format_is_there() -> None:
    described = " ".join(row[0] for row in table_under("| format |"))

    named = {content_type.removeprefix("image/").upper() for content_type in imaging.CONVERTIBLE}
    assert named <= set(described.upper().replace(",", "").split())


def test_what_a_row_keeps_is_told() -> None:
    told = [
        f"{MAX_BOXES} boxes",
        *(f"{room // 1000} kB of" for room in (LABELS_ROOM, TEXT_ROOM, MODERATION_ROOM)),
    ]

    assert [each for each in told if each not in README] == []


def test_the_pace_of_the_recovery_is_told() -> None:
    pace = r"up to (\d+) (?:objects|of either) a minute, and rests for an? (hour|day) after each round"
    rests = {"hour": timedelta(hours=1), "day": timedelta(days=1)}

    told = [(int(number), rests[rest]) for number, rest in re.findall(pace, README)]
    assert told == [(SWEPT_KEYS, REST_OF_BUCKET), (SWEPT_ROWS, REST_OF_ROWS)]


def test_every_alarm_is_there_with_what_to_do() -> None:
    described = [
        (name.strip("`"), bool(meaning and remedy)) for name, meaning, remedy in table_under("| alarm |")
    ]

    template = (ROOT / ".chalice/resources.yaml").read_text()
    made = re.findall(r"AlarmName: !Sub image-labeller-\$\{Stage\}-(\S+)", template)
    assert sorted(described) == sorted((name, True) for name in made)


def test_what_the_alarms_cost_is_told() -> None:
    metrics = (ROOT / ".chalice/resources.yaml").read_text().count(" MetricName: ")

    assert f"{metrics / 10:.2f} for the {metrics} of all alarms" in README


def test_every_metric_is_there() -> None:
    described = {row[0].strip("`") for row in table_under("| metric |")}

    assert described == set(re.findall(r'add_metric\("(\w+)"', CODE))


def test_every_outcome_that_is_counted_is_there() -> None:
    [images, *_] = table_under("| metric |")

    of_images = set(Retryable.__subclasses__()) - {MessageGone}
    failures = {outcome_of(failure()) for failure in of_images}
    assert set(re.findall(r"`(\w+)`", images[2])) == {*Outcome, *failures, "crashed"}


def test_every_outcome_of_a_callback_is_there() -> None:
    [*_, counted] = table_under("| metric |")

    failures = {outcome_of(failure("")) for failure in (AccessLost, ServiceFailed, Throttled)}
    assert set(re.findall(r"`(\w+)`", counted[2])) == {*Ending, *failures, "crashed"}


def test_every_state_and_fault_of_a_callback_is_there() -> None:
    section = README[README.index("`state` is") : README.index("Deliveries are")]

    words = {*State, *Fault} - {Fault.STATUS, Fault.REDIRECT}  # of which the class of the status is told
    assert set(re.findall(r"`(\w+)`", section)) == words | {"state", "outcome"}


def test_the_schedule_of_callbacks_is_there() -> None:
    minutes = [round(delay.total_seconds() / 60) for delay in DELAYS]

    assert "after 1 minute, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours" in README
    assert minutes == [1, 5, 30, *(hours * 60 for hours in (2, 5, 10, 14, 20, 24))]


def test_the_receiver_that_it_shows_receives(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(import os\n.*?)```", README, re.DOTALL)
    port, secret = free_port(), "A" * 64
    script = tmp_path / "receiver.py"
    script.write_text(code.replace("9000", str(port)))
    webhook = Webhook(CallbackRules(loopback=True), lambda: datetime.now(UTC), ssl.create_default_context())
    body = b'{"type": "image.labelled", "data": {"source_file": "cup.png"}}'

    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as receiver:
        wait_for(port)
        attempts = [
            webhook.post(f"http://127.0.0.1:{port}/", "evt_1", body, [key])
            for key in (base64.b64decode(secret), b"another key")
        ]
        receiver.terminate()
        told = receiver.communicate()[0]

    assert [attempt.status for attempt in attempts] == [204, 400]
    assert told == "evt_1 image.labelled cup.png\n"


def wait_for(port: int) -> None:
    end = monotonic() + PATIENCE
    while monotonic() < end:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        sleep(0.05)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)", README))))
def test_every_make_target_is_real(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python -m ops ([a-z]+)", README))))
def test_every_command_of_the_operator_is_real(name: str) -> None:
    assert name in commands.commands


def test_every_command_of_the_operator_is_whole() -> None:
    spelled = re.findall(r"(?:^ {4}|\$ |`|\()(?:\.venv/bin/)?python -m ops ([^`#)\n]+)", README, re.MULTILINE)
    whole = [each for each in spelled if refusal(each) is None]

    assert (whole, len(whole)) == (spelled, README.count("python -m ops ") - 1)  # the layout has only names


def test_every_option_of_the_resources_is_there() -> None:
    described = set(re.findall(r"`(--[a-z-]+)`", " ".join(row[0] for row in table_under("| option of"))))

    actual = {option for each in commands.commands["resources"].params for option in each.opts}
    assert described == actual - {"--stage"}


LAYOUT = re.findall(
    r"^ {4}( *)(\S+(?:, \S+)*) ", README[README.index("## How it is laid out") :], re.MULTILINE
)


@pytest.mark.parametrize(("indent", "names"), LAYOUT, ids=[names for _, names in LAYOUT])
def test_every_file_in_the_layout_is_there(indent: str, names: str) -> None:
    folder = ROOT / "chalicelib" if indent else ROOT

    assert [name for name in names.split(", ") if not (folder / name).exists()] == []


def test_every_module_is_in_the_layout() -> None:
    described = {name for indent, names in LAYOUT if indent for name in names.split(", ")}
    mentioned = described | set(re.findall(r"\w+\.py", README))

    assert {path.name for path in (ROOT / "chalicelib").glob("[a-z]*.py")} - mentioned == set()
