"""The shape of the house: who may import whom, what triggers what, and where things are."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from chalice.app import DynamoDBEventConfig, S3EventConfig, SQSEventConfig

from chalicelib.queue import queue_name
from chalicelib.settings import Settings
from tests.conftest import LOCAL, ROOT

EDGE = {"api", "auth", "docs", "events", "headers", "openapi"}
USE_CASES = {
    "contents",
    "daily_limit",
    "deaths",
    "delivery",
    "detection",
    "dispatching",
    "indexing",
    "labelling",
    "recovery",
    "quarantining",
    "reuse",
    "search",
    "slow_path",
    "wishes",
    "uploads",
}
ADAPTERS = {
    "bucket",
    "callbacks",
    "claims",
    "conversion",
    "quarantine",
    "queue",
    "receivers",
    "rekognition",
    "signing_secret",
    "state",
    "store",
    "terms",
    "tokens",
    "webhook",
}
PURE = {
    "callback",
    "claim",
    "deny_list",
    "document",
    "model",
    "room",
    "errors",
    "imaging",
    "settings",
    "stopwatch",
    "taxonomy",
}
SUPPORT = {
    "announcement",
    "aws_errors",
    "callback_url",
    "contract",
    "decoding",
    "dynamodb",
    "exchange",
    "items",
    "log",
    "metrics",
    "notifications",
    "rows",
    "silence",
}
# Who imports whom, no more and no less.
IMPORTED = {
    "api": "callback contract document errors items log model search stopwatch store terms uploads",
    "auth": "api log silence tokens",
    "docs": "",
    "events": "deaths errors items log notifications queue state",
    "headers": "",
    "openapi": "auth contract headers",
    "contents": "bucket model",
    "daily_limit": "errors state",
    "deaths": "errors state",
    "delivery": "callback callbacks errors items log metrics queue "
    "receivers signing_secret stopwatch webhook",
    "detection": "bucket claim contents conversion daily_limit errors imaging metrics "
    "model rekognition reuse stopwatch",
    "dispatching": "announcement callback callback_url callbacks deny_list errors items "
    "log queue receivers rows",
    "indexing": "document errors items rows store terms",
    "labelling": "bucket claim claims deaths detection errors imaging log "
    "metrics model quarantining stopwatch",
    "quarantining": "bucket claim claims contents errors model quarantine",
    "recovery": "bucket claims daily_limit dispatching errors log model queue state store",
    "reuse": "contents errors log model state",
    "search": "deny_list document model terms",
    "slow_path": "errors labelling log model queue",
    "uploads": "bucket callback_url model store",
    "wishes": "bucket claims queue",
    "bucket": "aws_errors errors model",
    "callbacks": "aws_errors callback dynamodb items rows",
    "claims": "aws_errors claim dynamodb errors items model rows",
    "conversion": "errors",
    "quarantine": "aws_errors bucket claim errors",
    "queue": "aws_errors errors notifications",
    "receivers": "aws_errors dynamodb items",
    "rekognition": "aws_errors errors model room",
    "signing_secret": "aws_errors errors",
    "state": "aws_errors dynamodb items",
    "store": "aws_errors deny_list dynamodb items model rows",
    "terms": "aws_errors document dynamodb items model",
    "tokens": "aws_errors dynamodb items",
    "webhook": "callback_url errors exchange",
    "announcement": "contract model room",
    "aws_errors": "errors",
    "callback_url": "errors",
    "contract": "callback callback_url document model room",
    "decoding": "errors imaging",
    "dynamodb": "aws_errors errors",
    "exchange": "callback_url",
    "items": "",
    "log": "errors",
    "metrics": "",
    "notifications": "log model",
    "rows": "callback_url claim items model",
    "silence": "aws_errors errors",
    "callback": "",
    "claim": "model",
    "deny_list": "model",
    "document": "model",
    "errors": "",
    "imaging": "",
    "model": "",
    "room": "model",
    "settings": "callback_url errors taxonomy",
    "stopwatch": "",
    "taxonomy": "",
}
IMPORTS = {
    "app": {"log", "queue", "services", "settings", "silence"} | EDGE,
    "services": ADAPTERS
    | USE_CASES - {"contents"}
    | {"callback_url", "deny_list", "metrics", "model", "settings", "silence"},
    **{name: set(imported.split()) for name, imported in IMPORTED.items()},
}
MODULES = {path.stem: path for path in [ROOT / "app.py", *(ROOT / "chalicelib").glob("*.py")]}
MODULES.pop("__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, with the names taken from chalicelib itself spelled out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"chalicelib.{alias.name}" for alias in node.names]
            yield from names if node.module == "chalicelib" else [node.module]


def test_every_module_has_its_place() -> None:
    assert set(MODULES) == set(IMPORTS) == {"app", "services"} | EDGE | USE_CASES | ADAPTERS | PURE | SUPPORT


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_one_way(name: str) -> None:
    ours = {module.split(".")[1] for module in imports(MODULES[name]) if module.startswith("chalicelib.")}

    assert ours == IMPORTS[name]


@pytest.mark.parametrize("name", sorted(PURE))
def test_rules_need_nothing_but_the_standard_library(name: str) -> None:
    foreign = {module.split(".")[0] for module in imports(MODULES[name])} - sys.stdlib_module_names

    assert foreign <= {"chalicelib"}


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"settings"}))
def test_only_settings_reads_the_environment(name: str) -> None:
    assert not re.search(r"\benviron\b|\bgetenv\b", MODULES[name].read_text())


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"items", "services"}))
def test_only_services_makes_clients(name: str) -> None:
    at_run_time = {module.split(".")[0] for module in imports(MODULES[name])}

    assert "boto3" not in at_run_time


def test_nothing_scans_a_table() -> None:
    assert [name for name, path in MODULES.items() if re.search(r"\.scan\(|\"scan\"", path.read_text())] == []


def test_the_routes_are_these(app_module: ModuleType) -> None:
    routes = {(method, route) for route, methods in app_module.app.routes.items() for method in methods}

    assert routes == {
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("POST", "/images"),
        ("GET", "/images"),
        ("GET", "/images/{image_id}"),
        ("DELETE", "/images/{image_id}"),
        ("POST", "/images/{image_id}/release"),
        ("POST", "/images/{image_id}/relabel"),
        ("GET", "/images/{image_id}/deliveries"),
        ("POST", "/images/{image_id}/deliveries/{delivery_id}/replay"),
        ("GET", "/images/{image_id}/labels/{label}"),
        ("GET", "/labels/{label}/images"),
        ("GET", "/labels"),
        ("GET", "/search"),
    }


def test_one_function_hears_of_creation_and_removal_so_that_they_cannot_race(
    app_module: ModuleType,
) -> None:
    [trigger] = [each for each in app_module.app.event_sources if isinstance(each, S3EventConfig)]

    assert trigger.name == "label_uploaded_image"
    assert trigger.bucket == LOCAL["IMAGES_BUCKET"]
    assert trigger.events == [
        "s3:ObjectCreated:*",
        "s3:ObjectRemoved:*",
        "s3:LifecycleExpiration:*",
    ]


@pytest.mark.parametrize(
    ("handler", "queue", "concurrency"),
    [("label_queued_image", "LABELLING_QUEUE_URL", 8), ("deliver_callback", "CALLBACKS_QUEUE_URL", 5)],
)
def test_a_message_is_taken_up_by_itself_and_few_at_once(
    handler: str, queue: str, concurrency: int, app_module: ModuleType
) -> None:
    [trigger] = [each for each in app_module.app.event_sources if each.name == handler]

    assert isinstance(trigger, SQSEventConfig)
    assert trigger.queue == queue_name(LOCAL[queue])
    assert (trigger.batch_size, trigger.maximum_concurrency) == (1, concurrency)


def test_what_the_stream_told_before_it_was_listened_to_is_heard(app_module: ModuleType) -> None:
    triggers = [each for each in app_module.app.event_sources if isinstance(each, DynamoDBEventConfig)]

    assert [trigger.name for trigger in triggers] == ["notify", "index_image"]
    assert {trigger.stream_arn for trigger in triggers} == {LOCAL["IMAGES_STREAM_ARN"]}
    assert {trigger.starting_position for trigger in triggers} == {"TRIM_HORIZON"}


def test_a_handler_is_a_line_in_a_table_of_contents() -> None:
    functions = [
        node for node in ast.parse(MODULES["app"].read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    long = {node.name for node in functions if (node.end_lineno or 0) - node.body[0].lineno + 1 > 6}

    assert long == set()


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"errors"}))
def test_every_module_has_tests_of_its_name(name: str) -> None:
    assert (ROOT / f"tests/test_{name}.py").is_file()


def test_only_code_ships() -> None:
    tracked = subprocess.check_output(["git", "ls-files", "chalicelib"], cwd=ROOT, text=True).split()

    assert {Path(name).suffix for name in tracked} == {".py"}


def test_chalice_gives_the_function_the_time_that_its_lease_counts_on() -> None:
    config = json.loads((ROOT / ".chalice/config.json").read_text())["stages"]["local"]

    assert config["lambda_timeout"] == Settings.from_env(LOCAL).label_timeout_seconds
