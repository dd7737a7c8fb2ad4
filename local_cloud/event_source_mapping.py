"""What an event source mapping can be told beyond what Chalice's decorators say, in Lambda's words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from local_cloud import event_pattern


@dataclass(frozen=True)
class EventSourceMapping:
    """The defaults are AWS's: whole batches, in one piece, until the records expire, unfiltered."""

    reports_item_failures: bool = False
    bisects: bool = False
    maximum_retries: int | None = None
    maximum_age: float | None = None
    patterns: tuple[Any, ...] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what UpdateEventSourceMapping would be given; -1 means without limit."""
        filters = parameters.get("FilterCriteria", {}).get("Filters", [])
        return cls(
            reports_item_failures="ReportBatchItemFailures" in parameters.get("FunctionResponseTypes", []),
            bisects=parameters.get("BisectBatchOnFunctionError", False),
            maximum_retries=_limit(parameters.get("MaximumRetryAttempts")),
            maximum_age=_limit(parameters.get("MaximumRecordAgeInSeconds")),
            patterns=tuple(json.loads(each["Pattern"]) for each in filters),
        )

    def lets_through(self, record: Mapping[str, Any]) -> bool:
        return not self.patterns or any(event_pattern.matches(pattern, record) for pattern in self.patterns)


def _limit(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


def failed_identifiers(answer: Any, known: list[str]) -> list[str]:
    """The items that a function's partial batch response calls failed, in the order of the batch.

    Anything but a list of known identifiers fails the whole batch:
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    if not isinstance(answer, dict) or not answer.get("batchItemFailures"):
        return []
    failures = answer["batchItemFailures"]
    named = [each.get("itemIdentifier") if isinstance(each, dict) else None for each in failures]
    return [name for name in known if name in named] if set(named) <= set(known) else known
