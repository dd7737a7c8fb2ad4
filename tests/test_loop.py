"""The whole loop, as a user runs it: real pictures, real processes, HTTP and the stock aws command line."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import requests
from PIL import Image

from chalicelib.model import image_id
from tests.api_client import Answer, ApiClient
from tests.local_cloud.recognition.drawing import sample, write
from tests.pictures import ORIENTATION, encoded
from tests.running_cloud import ROOT, RunningCloud, free_port, running_cloud

PATIENCE = 30.0  # seconds until something that is under way has happened

# What must not leak in from the user's own environment.
FOREIGN = {
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
}

Aws = Callable[..., str]


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def aws(cloud: RunningCloud) -> Aws:
    def aws(*arguments: str) -> str:
        return subprocess.check_output(
            ["aws", *arguments], cwd=ROOT, env=cloud.environment, text=True, timeout=60
        )

    return aws


def eventually(ask: Callable[[], Answer], is_it: Callable[[Answer], bool]) -> Answer:
    end = monotonic() + PATIENCE
    while True:
        try:
            answer = ask()
        except (ConnectionError, HTTPException):  # between two servers
            answer = Answer(0, {}, None)
        if is_it(answer):
            return answer
        assert monotonic() < end, answer
        sleep(0.05)


def labelled(api: ApiClient, key: str) -> Answer:
    return eventually(
        lambda: api.get("images", image_id(key)),
        lambda answer: answer.status == 200 and answer.body["status"] in ("labelled", "failed"),
    )


def names(image: Answer) -> set[str]:
    return {label["name"] for label in image.body["labels"]}


def test_from_upload_to_both_lookups(cloud: RunningCloud, aws: Aws) -> None:
    key = "crew/🚀 Eileen & 100%+1.png"
    aws("s3", "cp", "samples/astronaut.png", f"s3://{cloud.bucket}/{key}")

    image = labelled(cloud.api, key)

    assert image.body["source_file"] == key
    assert "Face" in names(image)
    showing = cloud.api.get("labels", "face", "images", limit=100)
    assert key in [item["source_file"] for item in showing.body["items"]]
    face = cloud.api.get("images", image_id(key), "labels", "FACE")
    [instance] = face.body["instances"]
    assert instance["box"]["left"] < 0.44 < instance["box"]["left"] + instance["box"]["width"]


def test_the_samples_show_what_anybody_sees_in_them(cloud: RunningCloud) -> None:
    seen = {path.name: names(labelled(cloud.api, path.name)) for path in (ROOT / "samples").glob("*.*g")}

    assert {"Person", "Face"} <= seen["astronaut.png"]
    assert "Dog" not in seen["chelsea.png"]
    if shutil.which("node"):  # everyday objects are found in Node
        assert "Cup" in seen["coffee.png"]
        assert {"Cat", "Animal"} <= seen["chelsea.png"]
    for name in seen:
        assert any(name in line and "labelled" in line for line in cloud.lines)
    assert "warn" not in cloud.output.lower()
    assert "moto" not in cloud.output.lower()


def test_text_is_read_and_a_moderation_mark_flags_the_picture(
    cloud: RunningCloud, aws: Aws, tmp_path: Path
) -> None:
    path = tmp_path / "sign.jpg"
    write("NO PARKING", "moderation: Weapons").save(path)
    aws("s3", "cp", str(path), f"s3://{cloud.bucket}/sign.jpg")

    image = labelled(cloud.api, "sign.jpg").body

    [sign, _] = image["text"]
    assert (sign["line"], [word["word"] for word in sign["words"]]) == ("NO PARKING", ["NO", "PARKING"])
    assert sign["box"]["top"] < 0.1 < sign["box"]["top"] + sign["box"]["height"]
    assert image["moderation"] == {
        "flagged": True,
        "labels": [
            {"name": "Weapons", "confidence": 99.0, "parent": "Violence", "level": 2},
            {"name": "Violence", "confidence": 99.0, "parent": None, "level": 1},
        ],
        "content_types": [],
    }
    assert (image["properties"], image["model_versions"].keys()) == (None, {"labels", "moderation", "text"})


@pytest.mark.parametrize("fmt", ["WEBP", "HEIF"])
def test_a_picture_as_browsers_and_phones_make_them_is_seen_upright(
    fmt: str, cloud: RunningCloud, aws: Aws, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # stored on its side
    stored = sample("astronaut.png").transpose(Image.Transpose.ROTATE_90)
    path = tmp_path / f"eileen.{fmt.lower()}"
    path.write_bytes(encoded(stored, fmt, exif=exif.tobytes()))
    aws("s3", "cp", str(path), f"s3://{cloud.bucket}/{path.name}")

    image = labelled(cloud.api, path.name)

    assert image.body["content_type"] == {"WEBP": "image/webp", "HEIF": "image/heic"}[fmt]
    [face] = cloud.api.get("images", image_id(path.name), "labels", "face").body["instances"]
    box = face["box"]
    assert box["left"] < 0.44 < box["left"] + box["width"]
    assert box["top"] < 0.22 < box["top"] + box["height"]


def test_the_printed_commands_work_to_the_letter(cloud: RunningCloud) -> None:
    export, upload, *asking, _, announce, put = cloud.commands
    uploaded = _shell(cloud, f"{export}\n{upload}")
    key = upload.split(f"s3://{cloud.bucket}/")[1]
    labelled(cloud.api, key)

    def ask(command: str) -> Any:
        return json.loads("".join(_shell(cloud, f"{export}\n{command}")))

    def found(answer: Any) -> list[str]:
        return [item["source_file"] for item in answer["items"]]

    by_key, image, label, showing = map(ask, asking[:-1])
    eventually(lambda: Answer(200, {}, ask(asking[-1])), lambda answer: key in found(answer.body))
    put_to = _shell(cloud, f"{announce}\n{put}\necho $url")[-1]

    assert "upload:" in "".join(uploaded)
    assert found(by_key) == [image["source_file"]] == [key]
    assert label in [{**label, **each} for each in image["labels"]]
    assert key in found(showing)
    assert "Cat" in names(labelled(cloud.api, f"uploads/{put_to.split('/uploads/')[1].split('?')[0]}")) or (
        not shutil.which("node")
    )


def test_a_picture_calls_back_whoever_listens(cloud: RunningCloud, tmp_path: Path) -> None:
    *_, listen, announce, put = cloud.commands
    port = str(free_port())
    command = [sys.executable, "-u", *listen.split()[1:], "--port", port]
    told: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert f":{port}/" in listener.stdout.readline()
        _shell(cloud, f"{announce.replace('9000', port)}\n{put}")
        for line in listener.stdout:
            told.append(line)
            if line == "}\n":
                break
        listener.terminate()  # a shell that runs this in the background has it ignore Ctrl-C

    assert told[0].startswith("image.labelled  evt_")
    assert told[0].endswith("verified\n")
    assert json.loads("".join(told[1:]))["data"]["callback"] == {"host": f"127.0.0.1:{port}"}


def test_a_picture_goes_up_through_the_api_by_a_presigned_url(cloud: RunningCloud) -> None:
    body = (ROOT / "samples/astronaut.png").read_bytes()
    expected = cloud.api.post("images", body={"filename": "eileen.png", "content_type": "image/png"}).body
    put = expected["upload"]

    answer = requests.put(put["url"], data=body, headers=put["headers"], timeout=30)

    assert answer.status_code == 200
    image = labelled(cloud.api, expected["source_file"])
    assert "Face" in names(image)
    assert image.body["image_id"] == expected["image_id"]


@pytest.mark.thorough
def test_it_asks_for_tokens_when_told_to(tmp_path: Path) -> None:
    shutil.copy(ROOT / "samples/coffee.png", tmp_path)
    with running_cloud(f"--samples={tmp_path}", API_AUTH="token") as cloud:
        export, _, *asking, _, announce, put = cloud.commands
        closed = cloud.api.get("images", key="coffee.png")
        shown = json.loads("".join(_shell(cloud, f"{export}\n{asking[0]}".replace("my/coffee", "coffee"))))
        put_to = _shell(cloud, f"{export}\n{announce}\n{put}\necho $url")[-1]
        unknown_path = cloud.api.get("nothing")

    assert any("coffee.png" in line and "labelled" in line for line in cloud.lines)
    assert (closed.status, closed.body["title"]) == (401, "Unauthorized")
    assert [item["source_file"] for item in shown["items"]] == ["coffee.png"]
    assert "/uploads/" in put_to
    assert (unknown_path.status, unknown_path.headers["content-type"]) == (404, "application/problem+json")


def test_each_route_answers_what_the_readme_asks(cloud: RunningCloud, aws: Aws) -> None:
    [block] = re.findall(r"^    api=.*\n((?:    curl .*\n)+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    telling = "curl -s -o /dev/null -w '%{http_code}'"
    commands = [line.strip().replace("curl", telling) for line in block.splitlines()]
    aws("s3", "cp", "samples/coffee.png", f"s3://{cloud.bucket}/my/cup.png")
    labelled(cloud.api, "my/cup.png")
    variables = {
        "api": f"http://127.0.0.1:{cloud.api.port}",
        "id": image_id("my/cup.png"),
        "next_cursor": cloud.api.get("images", limit="1").body["next_cursor"],
        "delivery_id": f"evt_{32 * '0'}",
    }
    given = "; ".join(f"{name}={value}" for name, value in variables.items())

    answers = {command: _shell(cloud, f"{given}; {command}")[0] for command in commands}

    others = {answer: command for command, answer in answers.items() if answer not in ("200", "201", "202")}
    assert {answer: command.rpartition("/")[2] for answer, command in others.items()} == {
        "409": "release",  # it is not in quarantine
        "404": "replay",  # nobody was told of it
    }


def test_what_is_removed_with_the_command_line_is_gone(cloud: RunningCloud, aws: Aws) -> None:
    aws("s3", "cp", "samples/chelsea.png", f"s3://{cloud.bucket}/cat.png")
    labelled(cloud.api, "cat.png")

    aws("s3", "rm", f"s3://{cloud.bucket}/cat.png")

    gone = eventually(
        lambda: cloud.api.get("images", image_id("cat.png")), lambda answer: answer.status == 404
    )
    assert gone.body["detail"] == "There is no such image."


def test_a_picture_is_labelled_again_when_asked(cloud: RunningCloud, aws: Aws) -> None:
    aws("s3", "cp", "samples/rocket.jpg", f"s3://{cloud.bucket}/again.jpg")
    labelled(cloud.api, "again.jpg")
    before = cloud.output.count("again.jpg: labelled")

    asked = cloud.api.post("images", image_id("again.jpg"), "relabel")

    assert asked.status == 202
    eventually(
        lambda: cloud.api.get("health"), lambda _: cloud.output.count("again.jpg: labelled") == before + 1
    )


def test_the_table_can_be_queried_by_source_file(cloud: RunningCloud, aws: Aws) -> None:
    table = "image-labeller-local-images"
    values = json.dumps({":file": {"S": "astronaut.png"}})
    labelled(cloud.api, "astronaut.png")

    condition = ("--key-condition-expression", "source_file = :file", "--expression-attribute-values", values)
    answer = aws("dynamodb", "query", "--table-name", table, *condition)

    entries = [item["entry"]["S"] for item in json.loads(answer)["Items"]]
    assert entries[0] == "image"
    assert "label#face" in entries


def test_rekognition_itself_can_be_asked(cloud: RunningCloud, aws: Aws) -> None:
    image = json.dumps({"S3Object": {"Bucket": cloud.bucket, "Name": "astronaut.png"}})

    answer = json.loads(aws("rekognition", "detect-labels", "--image", image, "--min-confidence", "60"))

    assert "Face" in [label["Name"] for label in answer["Labels"]]


def test_chalice_local_serves_the_same_api_beside_it_and_reloads(cloud: RunningCloud, tmp_path: Path) -> None:
    project = _project_on(cloud, tmp_path)
    labelled(cloud.api, "coffee.png")

    with _chalice_local(project) as api:
        answer = api.get("images", key="coffee.png")
        app = project / "app.py"
        app.write_text(app.read_text().replace('{"status": "ok"}', '{"status": "very well"}'))
        reloaded = eventually(lambda: api.get("health"), lambda each: each.body == {"status": "very well"})

    assert answer.body == cloud.api.get("images", key="coffee.png").body
    assert answer.body["items"][0]["status"] == "labelled"
    assert reloaded.status == 200


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "terminate"])
def test_it_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    with running_cloud(f"--samples={tmp_path}", **FOREIGN) as cloud:
        helpers = _children_of(cloud.process.pid)
        cloud.process.send_signal(number)
        code = cloud.process.wait(timeout=30)

    assert code == 0
    assert "Traceback" not in cloud.output
    assert [pid for pid in helpers if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.thorough
@pytest.mark.parametrize("option", ["--endpoint-port", "--api-port"])
def test_a_port_in_use_is_one_clear_sentence(option: str, tmp_path: Path) -> None:
    other = {"--endpoint-port": "--api-port", "--api-port": "--endpoint-port"}[option]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = _run("-m", "local_cloud", f"{option}={port}", f"{other}={free_port()}")

    assert done.returncode == 2
    [sentence] = done.stdout.splitlines()
    assert sentence.startswith(f"Port {port} on 127.0.0.1 is in use")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param({"RECOGNISER": "magic"}, "RECOGNISER is local or aws, not 'magic'.\n", id="recogniser"),
        pytest.param(
            {"LOG_LEVEL": "loud", "MIN_CONFIDENCE": "200"},
            "MIN_CONFIDENCE must be a number from 0 to 100, not '200'; "
            "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'loud'\n",
            id="settings",
        ),
    ],
)
def test_wrong_settings_are_one_clear_sentence(variables: dict[str, str], sentence: str) -> None:
    done = _run("-m", "local_cloud", **variables)

    assert (done.returncode, done.stdout) == (2, sentence)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(["--api-port=80000"], "'80000' is no port from 1 to 65535", id="no_port"),
        pytest.param(
            ["--api-port=4567", "--endpoint-port=4567"],
            "--endpoint-port and --api-port must differ",
            id="one_port",
        ),
        pytest.param(["--samples=/nowhere"], "there is no folder '/nowhere'", id="no_folder"),
    ],
)
def test_wrong_options_are_one_clear_sentence(options: list[str], sentence: str) -> None:
    done = _run("-m", "local_cloud", *options)

    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].endswith(sentence)


def test_an_old_python_is_one_clear_sentence(tmp_path: Path) -> None:
    python = tmp_path / "python3.9"
    pretend = "import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{pretend}' \"$2\"\n")
    python.chmod(0o755)

    done = subprocess.run(
        ["make", "run", f"PYTHON={python}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"Python 3.11 or later is needed, and {python} is 3.9: name another with make PYTHON=python3.12"
    )


def _shell(cloud: RunningCloud, commands: str) -> list[str]:
    return subprocess.check_output(
        ["bash", "-euc", commands],
        cwd=ROOT,
        env=cloud.environment,
        text=True,
        stderr=subprocess.DEVNULL,
        timeout=60,
    ).splitlines()


def _run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )


def _project_on(cloud: RunningCloud, folder: Path) -> Path:
    """The project, with a local stage that points to this cloud instead of port 4566."""
    shutil.copy(ROOT / "app.py", folder)
    (folder / "chalicelib").symlink_to(ROOT / "chalicelib")
    shutil.copytree(ROOT / ".chalice", folder / ".chalice")
    config = folder / ".chalice/config.json"
    content: Any = json.loads(config.read_text())
    variables = content["stages"]["local"]["environment_variables"]
    variables["AWS_ENDPOINT_URL"] = cloud.environment["AWS_ENDPOINT_URL"]
    config.write_text(json.dumps(content))
    return folder


@contextmanager
def _chalice_local(project: Path) -> Iterator[ApiClient]:
    port = free_port()
    command = [str(Path(sys.executable).with_name("chalice")), "local", "--stage=local", f"--port={port}"]
    with subprocess.Popen(
        command,
        cwd=project,
        env={**os.environ, "API_AUTH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it runs its server in a process of its own, which is to end with it
    ) as process:
        try:
            _wait_for_port(port)
            yield ApiClient(port, token=None)
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _wait_for_port(port: int) -> None:
    end = monotonic() + PATIENCE
    while not _answers(port):
        assert monotonic() < end
        sleep(0.05)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _children_of(pid: int) -> list[str]:
    """The processes that it has started: where Node is there, at least the finder of everyday objects."""
    end = monotonic() + PATIENCE
    children: list[str] = []
    while shutil.which("node") and not children and monotonic() < end:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
    return children
