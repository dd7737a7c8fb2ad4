"""Strangers use the API by its description: schemathesis with all its checks, and a generated client."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import requests

from chalicelib.model import image_id
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.tokens import Scope
from local_cloud.endpoint import Endpoint
from local_cloud.object_events import ObjectEvent
from tests.api_client import HOST, ApiClient
from tests.conftest import ROOT
from tests.lambda_events import context
from tests.pictures import picture
from tests.scripted_rekognition import ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = ("car.png", "dog.png", "a b/ü.png")
BIN = Path(sys.executable).parent
REFUSALS = [400, 401, 403, 404, 405, 409, 413, 414, 415, 422]
CONFIG = """
phases.stateful.generation.max-examples = {scenarios}
checks.negative_data_rejection.expected-statuses = {statuses}
"""


@pytest.fixture
def services(all_detectors: Settings, rekognition: ScriptedRekognition) -> Services:
    return Services(all_detectors)


@pytest.fixture
def closed(
    api: ApiClient,
    services: Services,
    s3: "S3Client",
    endpoint: Endpoint,
    app_module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> ApiClient:
    """The API with a few pictures and a real token, where events come at once."""

    def tell(event: ObjectEvent) -> None:
        app_module.label_uploaded_image({"Records": [event]}, context())

    monkeypatch.setattr(endpoint, "on_object_event", tell)
    for key in KEYS:
        s3.put_object(Bucket=services.settings.images_bucket, Key=key, Body=picture("Dog 90", "Car 80"))
        services.indexing.update(key)
    return api.bearing(services.tokens.create("a stranger", Scope, timedelta(days=1)))


@pytest.mark.thorough
def test_the_api_does_what_it_says_and_nothing_else(
    closed: ApiClient, exhaustive: bool, tmp_path: Path
) -> None:
    examples, seed = ("1000", []) if exhaustive else ("10", ["--seed=1"])
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(scenarios=100 if exhaustive else 10, statuses=REFUSALS))
    command = [
        *(str(BIN / "schemathesis"), f"--config-file={config}"),
        *("run", f"http://{HOST}:{closed.port}/openapi.json"),
        *("--checks=all", f"--header=Authorization: Bearer {closed.token}"),
        *(f"--max-examples={examples}", "--output-truncate=false", *seed),
    ]
    environment = {
        "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "KNOWN_IMAGES": " ".join(map(image_id, KEYS)),
        "TOKEN": str(closed.token),
    }

    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"([\d,]+) generated, \1 passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1].replace(",", "")) >= (10_000 if exhaustive else 200)


HOSTILE = {
    "deep": 30_000 * b'{"metadata":' + 30_000 * b"}",
    "deep lists": 60_000 * b"[",
    "huge": b'{"filename": "' + 5_000_000 * b"a" + b'"}',
    "huge number": b'{"size": 1' + 5_000 * b"0" + b"}",
    "NaN": b'{"size": NaN}',
    "Infinity": b'{"size": -Infinity}',
    "lone surrogate": b'{"filename": "\\ud800"}',
    "lone surrogate in a name": b'{"metadata": {"\\udfff": "a"}}',
    "duplicate keys": b'{"size": 1, "size": 2}',
    "duplicate keys, one escaped": b'{"size": 1, "s\\u0069ze": 2}',
    "no UTF-8": b'{"filename": "\xff\xfe"}',
    "UTF-16": '{"size": 1}'.encode("utf-16"),
    "byte-order mark": b'\xef\xbb\xbf{"size": 1}',
    "NUL": b"\0",
    "two documents": b"{}{}",
    "a list": b"[]",
    "a prototype": b'{"__proto__": {"size": 1}}',
    "multipart": b'--x\r\nContent-Disposition: form-data; name="size"\r\n\r\n1\r\n--x--',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_refused(body: bytes, api: ApiClient) -> None:
    answer = api.send("POST", "/images", body=body, headers={"Content-Type": "application/json"})

    assert answer.status in (400, 413, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.body["detail"]) <= 500


@pytest.fixture
def client(closed: ApiClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client library, made of the description and of nothing else."""
    document = closed.bearing(None).get("openapi.json").body
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    subprocess.run(
        [
            *(BIN / "openapi-python-client", "generate", "--path", "openapi.json"),
            *("--meta", "none", "--output-path", "labeller_client", "--fail-on-warning"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    monkeypatch.syspath_prepend(tmp_path)
    [server] = document["servers"]
    authenticated = import_module("labeller_client").AuthenticatedClient
    with authenticated(base_url=server["url"], token=closed.token) as client:
        yield client
    for name in [name for name in sys.modules if name.startswith("labeller_client")]:
        del sys.modules[name]


def call(client: Any, tag: str, operation: str, *arguments: str, **parameters: Any) -> Any:
    route = import_module(f"labeller_client.api.{tag}.{operation}")
    return route.sync(*arguments, client=client, **parameters)


@pytest.mark.thorough
def test_a_generated_client_does_the_whole_loop(client: Any) -> None:
    models = import_module("labeller_client.models")
    body = picture("Dog 90")
    request = models.UploadRequest(filename="dog.png", content_type="image/png", size=len(body))

    expected = call(client, "images", "create_upload", body=request)
    put = requests.put(expected.upload.url, data=body, headers=expected.upload.headers.to_dict(), timeout=30)
    image = call(client, "images", "get_image", expected.image_id)
    label = call(client, "images", "get_image_label", expected.image_id, "dog")
    showing = call(client, "labels", "list_images_with_label", "dog", min_confidence=85.5)
    found = call(client, "search", "search_images", label=["dog"], not_=["cat"], limit=1)
    names = call(client, "labels", "list_labels", prefix="d")
    page = call(client, "images", "list_images", limit=1)
    rest = call(client, "images", "list_images", cursor=page.next_cursor)
    relabelled = call(client, "images", "relabel_image", expected.image_id)
    deleted = call(client, "images", "delete_image", expected.image_id)
    gone = call(client, "images", "get_image", expected.image_id)
    refused = call(client, "images", "list_images", limit=1000)

    assert put.status_code == 200
    assert (image.status, [each.name for each in image.labels]) == ("labelled", ["Dog"])
    assert (label.name, label.confidence, label.image_id) == ("Dog", 90, expected.image_id)
    assert [(match.asked, match.because) for match in found.items[0].matched] == [("dog", "name")]
    assert [(name.name, name.count) for name in names.items] == [("Dog", 3)]
    assert expected.image_id in [each.image_id for each in showing.items]
    assert {each.source_file for each in [*page.items, *rest.items]} == {*KEYS, expected.source_file}
    assert relabelled.image_id == deleted.image_id == expected.image_id
    assert (gone.status, gone.title) == (404, "Not Found")
    assert (refused.status, refused.detail) == (400, "limit must be a whole number from 1 to 100.")
