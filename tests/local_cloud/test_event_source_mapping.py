import json
from typing import Any

import pytest

from local_cloud.event_source_mapping import EventSourceMapping, failed_identifiers


def test_the_defaults_are_those_of_aws() -> None:
    assert EventSourceMapping.of({}) == EventSourceMapping(
        reports_item_failures=False, bisects=False, maximum_retries=None, maximum_age=None, patterns=()
    )


def test_it_reads_what_lambda_s_api_is_given() -> None:
    pattern = {"eventName": ["INSERT"]}

    mapping = EventSourceMapping.of(
        {
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": 0,
            "MaximumRecordAgeInSeconds": -1,
            "FilterCriteria": {"Filters": [{"Pattern": json.dumps(pattern)}]},
        }
    )

    assert mapping == EventSourceMapping(
        reports_item_failures=True, bisects=True, maximum_retries=0, maximum_age=None, patterns=(pattern,)
    )


def test_any_of_several_patterns_lets_a_record_through() -> None:
    mapping = EventSourceMapping(patterns=({"a": [1]}, {"b": [1]}))

    assert [mapping.lets_through(record) for record in ({"a": 1}, {"b": 1}, {"c": 1})] == [True, True, False]


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([{"itemIdentifier": "3"}, {"itemIdentifier": "2"}], ["2", "3"]),
        ([{"itemIdentifier": "9"}], ["1", "2", "3"]),
    ],
    ids=["in-the-order-of-the-batch", "unknown-fails-all"],
)
def test_failed_items_are_named_in_the_order_of_the_batch(failures: list[Any], expected: list[str]) -> None:
    assert failed_identifiers({"batchItemFailures": failures}, ["1", "2", "3"]) == expected
