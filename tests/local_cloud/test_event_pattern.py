from typing import Any

import pytest

from local_cloud.event_pattern import matches

EVENT = {
    "eventName": "MODIFY",
    "dynamodb": {"Keys": {"entry": {"S": "image"}}, "NewImage": {"run": {"S": "1"}, "size": 300}},
    "tags": ["a", "b"],
    "empty": None,
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param({}, True, id="nothing-asked"),
        pytest.param({"eventName": ["INSERT", "MODIFY"]}, True, id="one-of"),
        pytest.param({"eventName": ["REMOVE"]}, False, id="none-of"),
        pytest.param(
            {"eventName": ["MODIFY"], "dynamodb": {"Keys": {"entry": {"S": ["x"]}}}}, False, id="all-of"
        ),
        pytest.param({"dynamodb": {"Keys": {"entry": {"S": ["image"]}}}}, True, id="nested"),
        pytest.param({"dynamodb": {"OldImage": {"run": {"S": ["1"]}}}}, False, id="nested-missing"),
        pytest.param({"eventName": {"S": ["MODIFY"]}}, False, id="nested-where-there-is-text"),
        pytest.param({"tags": ["b"]}, True, id="in-a-list"),
        pytest.param({"empty": [None]}, True, id="null"),
        pytest.param({"userIdentity": [{"exists": False}]}, True, id="not-there"),
        pytest.param({"eventName": [{"exists": False}]}, False, id="there"),
        pytest.param({"eventName": [{"exists": True}]}, True, id="exists"),
        pytest.param({"eventName": [{"prefix": "MOD"}]}, True, id="prefix"),
        pytest.param({"eventName": [{"prefix": "X"}]}, False, id="other-prefix"),
        pytest.param({"eventName": [{"suffix": "IFY"}]}, True, id="suffix"),
        pytest.param({"eventName": [{"equals-ignore-case": "modify"}]}, True, id="ignore-case"),
        pytest.param({"eventName": [{"anything-but": ["INSERT"]}]}, True, id="anything-but"),
        pytest.param({"eventName": [{"anything-but": "MODIFY"}]}, False, id="but-that"),
        pytest.param({"eventName": [{"anything-but": {"prefix": "MOD"}}]}, False, id="but-that-prefix"),
        pytest.param({"missing": [{"anything-but": "x"}]}, False, id="anything-but-nothing"),
        pytest.param(
            {"dynamodb": {"NewImage": {"size": [{"numeric": [">", 100, "<=", 300]}]}}}, True, id="range"
        ),
        pytest.param({"dynamodb": {"NewImage": {"size": [{"numeric": ["=", 1]}]}}}, False, id="other-number"),
        pytest.param({"eventName": [{"numeric": [">", 1]}]}, False, id="no-number"),
    ],
)
def test_a_pattern_matches_as_lambda_has_it(pattern: dict[str, Any], expected: bool) -> None:
    assert matches(pattern, EVENT) is expected
