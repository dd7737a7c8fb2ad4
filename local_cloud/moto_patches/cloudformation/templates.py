"""Templates: read once each, with their parameters held to what they allow."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import moto.cloudformation.models as models
import moto.cloudformation.parsing as parsing
import yaml
from moto.cloudformation.exceptions import ValidationError

from local_cloud.moto_patches.mending import Function, mend

Part = Mapping[str, Any]


def apply() -> None:
    mend(models.Stack, "parse_template", _parse_template)
    mend(parsing.ResourceMap, "load_parameters", _load_parameters)


def _parse_template(original: Function) -> Function:
    """moto takes ten times as long to read a template's YAML as to make what stands in it."""

    @lru_cache(maxsize=32)
    def read(text: str) -> str:
        try:
            template = original(text)
        except (yaml.YAMLError, ValueError) as error:
            raise ValidationError(message=f"Template format error: {error}") from error
        if not isinstance(template, dict):
            raise ValidationError(message="Template format error: unsupported structure.")
        return json.dumps(template, default=str)  # YAML takes 2012-10-17 for a date

    def parse_template(template: str) -> Any:
        return json.loads(read(template))

    return parse_template


def _load_parameters(original: Function) -> Function:
    """A value that the template does not allow is refused, and the default of a list is a list too."""

    def load_parameters(self: Any) -> None:
        slots = self._template.get("Parameters", {})
        if problem := next(_problems(slots, self.input_parameters), None):
            raise ValidationError(message=problem)
        original(self)
        lists = {
            name: [item.strip() for item in (value.split(",") if isinstance(value, str) else value)]
            for name, value in self.resolved_parameters.items()
            if slots[name]["Type"] == "CommaDelimitedList"
        }
        self.resolved_parameters |= lists
        self._parsed_resources |= lists

    return load_parameters


def _problems(slots: Mapping[str, Part], given: Mapping[str, Any]) -> Iterator[str]:
    unknown = sorted(set(given) - set(slots))
    missing = [name for name, slot in slots.items() if name not in given and "Default" not in slot]
    if unknown:
        yield f"Parameters: [{', '.join(unknown)}] do not exist in the template"
    if missing:
        yield f"Parameters: [{', '.join(missing)}] must have values"
    for name in set(slots) & set(given):
        if rule := _broken_rule(slots[name], str(given[name])):
            description = slots[name].get("ConstraintDescription")
            yield (
                f"Parameter {name} failed to satisfy constraint: {description}"
                if description
                else f"Parameter '{name}' must {rule}"
            )


def _broken_rule(slot: Part, value: str) -> str | None:
    if "AllowedPattern" in slot and not re.fullmatch(slot["AllowedPattern"], value):
        return f"match pattern {slot['AllowedPattern']}"
    if "AllowedValues" in slot and value not in map(str, slot["AllowedValues"]):
        return "be one of AllowedValues"
    if slot["Type"] == "Number":
        return _broken_bound(slot, value)
    return None


def _broken_bound(slot: Part, value: str) -> str | None:
    try:
        number = float(value)
    except ValueError:
        return "be a number"
    if number < float(slot.get("MinValue", number)):
        return f"be a number not less than {slot['MinValue']}"
    if number > float(slot.get("MaxValue", number)):
        return f"be a number not greater than {slot['MaxValue']}"
    return None


def settled(part: Any, resources: Any) -> Any:
    """A part of a template, with all that parameters and conditions decide filled in."""
    if isinstance(part, list):
        return [settled(item, resources) for item in part]
    if not isinstance(part, dict):
        return part
    values = resources.resolved_parameters
    if part.keys() == {"Ref"} and part["Ref"] in values:
        return values[part["Ref"]]
    if "Fn::If" in part:
        condition, yes, no = part["Fn::If"]
        return settled(yes if resources.lazy_condition_map[condition] else no, resources)
    if "Fn::Sub" in part and isinstance(part["Fn::Sub"], str):
        return {"Fn::Sub": _filled(part["Fn::Sub"], values)}
    return {name: settled(item, resources) for name, item in part.items()}


def _filled(text: str, values: Part) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), text)
