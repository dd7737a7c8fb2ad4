"""The endpoint that every test talks to, and the app on resources of the test's own."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import boto3
import botocore.session
import pytest
from botocore.config import Config
from hypothesis import settings as hypothesis_settings

ROOT = Path(__file__).parent.parent
LOCAL = json.loads((ROOT / ".chalice/config.json").read_text())["stages"]["local"]["environment_variables"]
os.environ.update(LOCAL, API_AUTH="token")  # app.py reads the environment when it is imported
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ.pop("AWS_PROFILE", None)

from chalicelib.services import STATE_PATIENCE, Services  # noqa: E402
from chalicelib.settings import DETECTORS, RESOURCES, Settings  # noqa: E402
from local_cloud import resources  # noqa: E402
from local_cloud.endpoint import Endpoint  # noqa: E402
from tests.api_client import ApiClient, everything_granted, served  # noqa: E402
from tests.catalogue import Catalogue  # noqa: E402
from tests.permissions import Guard, guarding, policies_of  # noqa: E402
from tests.scripted_rekognition import ScriptedRekognition  # noqa: E402

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Every test makes clients of its own; the service models that they are made of need reading only once.
botocore.session.create_loader = cache(botocore.session.create_loader)

hypothesis_settings.register_profile("here", deadline=None)  # a test asserts no time
hypothesis_settings.load_profile("here")


@pytest.fixture(scope="session")
def scripted_rekognition() -> ScriptedRekognition:
    return ScriptedRekognition()


@pytest.fixture(scope="session")
def endpoint(scripted_rekognition: ScriptedRekognition) -> Iterator[Endpoint]:
    with Endpoint(0, rekognition=scripted_rekognition) as endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint.url
        yield endpoint


@pytest.fixture
def rekognition(scripted_rekognition: ScriptedRekognition) -> Iterator[ScriptedRekognition]:
    scripted_rekognition.reset()
    yield scripted_rekognition
    scripted_rekognition.reset()


@pytest.fixture(scope="session")
def session(endpoint: Endpoint) -> boto3.Session:
    return boto3.Session()


@pytest.fixture(scope="session")
def template(endpoint: Endpoint) -> str:
    """The URL of the project's template: to send it for each stage takes longer than to make what it says."""
    client = boto3.client("s3")
    client.create_bucket(Bucket="templates")
    client.upload_file(str(ROOT / ".chalice/resources.yaml"), "templates", "resources.yaml")
    return "https://s3.amazonaws.com/templates/resources.yaml"


def settings_of(stage: str, outputs: Mapping[str, str]) -> Settings:
    """What a stage's stack makes, and else the defaults."""
    variables = {variable: outputs[output] for variable, output in RESOURCES.items()}
    return Settings.from_env({**variables, "STAGE": stage})


@pytest.fixture
def settings(session: boto3.Session, template: str) -> Settings:
    """Settings for a stage that only this test has, where one detector is asked."""
    stage = f"t{secrets.token_hex(6)}"
    outputs = resources.create(session, stage, template)
    return replace(settings_of(stage, outputs), detect=("labels",))


@pytest.fixture
def all_detectors(settings: Settings) -> Settings:
    return replace(settings, detect=DETECTORS)


@pytest.fixture
def services(settings: Settings, rekognition: ScriptedRekognition) -> Services:
    return Services(settings)


@pytest.fixture
def thrifty(all_detectors: Settings, rekognition: ScriptedRekognition, unhurried: None) -> Services:
    """All detectors, and no picture paid for twice."""
    return Services(replace(all_detectors, reuse="on"))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the table `state` the time that a busy machine takes for it."""
    monkeypatch.setattr("chalicelib.services.STATE_PATIENCE", STATE_PATIENCE.merge(Config(read_timeout=30)))


@pytest.fixture
def s3(endpoint: Endpoint) -> "S3Client":
    return boto3.client("s3")


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    with guarding() as guard:
        yield guard


@pytest.fixture(autouse=True)
def within_its_rights(guard: Guard) -> Iterator[None]:
    """No function may do what its policy does not grant, even where the app takes a refusal in its stride."""
    yield
    refused, guard.refused[:] = [*guard.refused], []
    assert refused == []


@pytest.fixture(scope="session")
def app_module(guard: Guard) -> ModuleType:
    import app

    guard.watch(app.app, lambda: policies_of(app.services.settings.stage))
    return app


@pytest.fixture(scope="session")
def server(app_module: ModuleType) -> Iterator[ApiClient]:
    with served(app_module, everything_granted()) as client:
        yield client


@pytest.fixture
def api(
    server: ApiClient, app_module: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
) -> ApiClient:
    """The API over this test's own resources."""
    monkeypatch.setattr(app_module, "services", services)
    return server


@pytest.fixture
def catalogue(services: Services, s3: "S3Client") -> Catalogue:
    return Catalogue(services, s3, boto3.client("dynamodb"))


# Tests that only run when they are asked for, and by what.
SLOW = {"thorough": ("--thorough", "--exhaustive"), "search": ("--exhaustive",)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="search in full instead of by sample")
    parser.addoption("--thorough", action="store_true", help="also what takes seconds, or minutes, each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, options in SLOW.items():
        if not any(map(config.getoption, options)):
            slow = {item for item in items if item.get_closest_marker(marker)}
            config.hook.pytest_deselected(items=list(slow))
            items[:] = [item for item in items if item not in slow]


@pytest.fixture
def exhaustive(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--exhaustive"))
