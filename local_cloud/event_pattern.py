"""Event patterns, by which Lambda filters records and EventBridge picks events."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = object()


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Say whether every field of the pattern finds one of its values in the event."""
    return all(_field_matches(wanted, event.get(name, _MISSING)) for name, wanted in pattern.items())


def _field_matches(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, Mapping):
        return matches(wanted, value if isinstance(value, Mapping) else {})
    values = value if isinstance(value, list) else [value]
    return any(_value_matches(each, found) for each in wanted for found in values)


def _value_matches(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(wanted == value)
    [(name, operand)] = wanted.items()
    return _OPERATORS[name](operand, value)


def _anything_but(operand: Any, value: Any) -> bool:
    excluded = operand if isinstance(operand, list) else [operand]
    return value is not _MISSING and not any(_value_matches(each, value) for each in excluded)


def _numeric(operand: list[Any], value: Any) -> bool:
    pairs = zip(operand[::2], operand[1::2], strict=True)
    return isinstance(value, int | float) and all(_COMPARISONS[sign](value, limit) for sign, limit in pairs)


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "exists": lambda operand, value: (value is not _MISSING) is operand,
    "prefix": lambda operand, value: isinstance(value, str) and value.startswith(operand),
    "suffix": lambda operand, value: isinstance(value, str) and value.endswith(operand),
    "equals-ignore-case": lambda operand, value: isinstance(value, str) and value.lower() == operand.lower(),
    "anything-but": _anything_but,
    "numeric": _numeric,
}
