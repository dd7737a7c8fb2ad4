"""Data that an earlier stack of the stage has left behind, for a new stack to take up.

CloudFormation finds by itself (ImportExistingResources) only what has its very name in the template and is
identified by it: neither a name that is made of the stage's nor a secret. So it is told what there is, in
a step in which it can do nothing else:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from awscli.customizations.cloudformation.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from yaml import YAMLError

from ops.inventory import Inventory
from ops.problems import Problem

_NAMES = {
    "AWS::S3::Bucket": "BucketName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::SecretsManager::Secret": "Name",
}
# CloudFormation believes of what it takes up that it is as the template says, and changes nothing of it until
# the template says something else. So what may differ is said only afterwards: what is an option, and rules
# that may be younger than the data. The rest guards the data: a step that is taken back must not take it off.
_SAID_LATER = {"AWS::S3::Bucket": {"CorsConfiguration", "LifecycleConfiguration"}}


@dataclass(frozen=True)
class Adoption:
    template: str  # of nothing but what is taken up
    resources: list[dict[str, Any]]  # CreateChangeSet's ResourcesToImport


def find(template: str, inventory: Inventory) -> Adoption | None:
    """None where nothing was left behind."""
    there = _identifiers(inventory)
    if not there:
        return None
    parsed = _parsed(template)
    left = {
        logical_id: (definition, there[name])
        for logical_id, definition in parsed["Resources"].items()
        if (name := _name(definition, inventory)) in there
    }
    if not left:
        return None
    parsed["Resources"] = {logical_id: _first(definition) for logical_id, (definition, _) in left.items()}
    parsed.pop("Outputs", None)
    resources = [
        {
            "ResourceType": definition["Type"],
            "LogicalResourceId": logical_id,
            "ResourceIdentifier": identifier,
        }
        for logical_id, (definition, identifier) in left.items()
    ]
    return Adoption(json.dumps(parsed), resources)


def _first(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A resource as it is taken up."""
    later = _SAID_LATER.get(definition["Type"], set())
    properties = {name: value for name, value in definition["Properties"].items() if name not in later}
    return {**definition, "Properties": properties}


def _parsed(template: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = yaml_parse(template)
    except YAMLError as error:
        raise Problem(f"The template of the resources cannot be read: {error}") from error
    return parsed


def _identifiers(inventory: Inventory) -> dict[str, dict[str, str]]:
    """By name, what CloudFormation knows the data by."""
    return {
        **{name: {"BucketName": name} for name in inventory.buckets},
        **{name: {"TableName": name} for name in inventory.tables},
        **{name: {"Id": arn} for name, arn in inventory.secrets.items()},
    }


def _name(definition: Mapping[str, Any], inventory: Inventory) -> str:
    """The name that the template gives to a resource; empty where it is none that could be left behind."""
    given = definition.get("Properties", {}).get(_NAMES.get(definition["Type"]), "")
    values = {
        "Stage": inventory.stage.name,
        "AWS::AccountId": inventory.account.id,
        "AWS::Region": inventory.account.region,
    }
    text = given.get("Fn::Sub", "") if isinstance(given, dict) else given
    return re.sub(r"\$\{(.+?)\}", lambda found: values.get(found[1], found[0]), text)
