import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.metrics import Metrics
from tests.conftest import LOCAL

IMAGE = {
    "Namespace": "ImageLabeller",
    "Dimensions": [["stage", "outcome"]],
    "Metrics": [{"Name": "Images", "Unit": "Count"}],
}
CALL = {
    "Namespace": "ImageLabeller",
    "Dimensions": [["stage", "detector"]],
    "Metrics": [
        {"Name": "DetectorCalls", "Unit": "Count"},
        {"Name": "DetectorMilliseconds", "Unit": "Milliseconds"},
    ],
}

HIT = {
    "Namespace": "ImageLabeller",
    "Dimensions": [["stage", "detector"]],
    "Metrics": [{"Name": "ReuseHits", "Unit": "Count"}],
}

REFUSAL = {
    "Namespace": "ImageLabeller",
    "Dimensions": [["stage"]],
    "Metrics": [{"Name": "AccessLost", "Unit": "Count"}],
}


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("dev")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def timestamps(documents: list[dict[str, Any]]) -> list[datetime]:
    """Takes the timestamps out of the documents."""
    return [datetime.fromtimestamp(each["_aws"].pop("Timestamp") / 1000, UTC) for each in documents]


def test_an_image_is_counted_by_stage_and_outcome(
    metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.image("labelled")

    documents = lines(capsys)
    [written_at] = timestamps(documents)
    assert documents == [
        {"_aws": {"CloudWatchMetrics": [IMAGE]}, "stage": "dev", "outcome": "labelled", "Images": [1.0]}
    ]
    assert abs(datetime.now(UTC) - written_at) < timedelta(minutes=1)  # and so its unit is milliseconds


def test_a_callback_is_counted_by_stage_and_outcome(
    metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.callback("delivered")

    [document] = lines(capsys)
    assert document.pop("_aws")["CloudWatchMetrics"] == [
        {**IMAGE, "Metrics": [{"Name": "Callbacks", "Unit": "Count"}]}
    ]
    assert document == {"stage": "dev", "outcome": "delivered", "Callbacks": [1.0]}


def test_a_detector_call_is_counted_and_timed_by_stage_and_detector(
    metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.detector_call("labels", 812)

    documents = lines(capsys)
    timestamps(documents)
    assert documents == [
        {
            "_aws": {"CloudWatchMetrics": [CALL]},
            "stage": "dev",
            "detector": "labels",
            "DetectorCalls": [1.0],
            "DetectorMilliseconds": [812.0],
        }
    ]


def test_a_detector_that_need_not_be_asked_is_counted_by_stage_and_detector(
    metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.reuse_hit("labels")

    documents = lines(capsys)
    timestamps(documents)
    assert documents == [
        {"_aws": {"CloudWatchMetrics": [HIT]}, "stage": "dev", "detector": "labels", "ReuseHits": [1.0]}
    ]


def test_a_refusal_is_counted_by_stage(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    metrics.access_lost()

    documents = lines(capsys)
    timestamps(documents)
    assert documents == [{"_aws": {"CloudWatchMetrics": [REFUSAL]}, "stage": "dev", "AccessLost": [1.0]}]


def test_each_line_stands_for_itself(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    metrics.image("labelled")
    metrics.detector_call("labels", 812)
    Metrics("prod").image("failed")
    metrics.image("labelled")

    documents = lines(capsys)
    facts = [
        {name: fact for name, fact in each.items() if name not in ("_aws", "DetectorMilliseconds")}
        for each in documents
    ]
    assert facts == [
        {"stage": "dev", "outcome": "labelled", "Images": [1.0]},
        {"stage": "dev", "detector": "labels", "DetectorCalls": [1.0]},
        {"stage": "prod", "outcome": "failed", "Images": [1.0]},
        {"stage": "dev", "outcome": "labelled", "Images": [1.0]},
    ]


@pytest.mark.parametrize("name", ["POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"])
def test_the_environment_adds_no_dimension_and_moves_nothing(
    name: str, metrics: Metrics, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "another")

    metrics.image("labelled")

    [document] = lines(capsys)
    assert document["_aws"]["CloudWatchMetrics"] == [IMAGE]
    assert document.keys() == {"_aws", "stage", "outcome", "Images"}


def test_the_laptop_has_no_cloudwatch_and_no_such_lines(
    metrics: Metrics, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", LOCAL["POWERTOOLS_METRICS_DISABLED"])

    metrics.image("labelled")
    metrics.detector_call("labels", 812)

    assert capsys.readouterr().out == ""
