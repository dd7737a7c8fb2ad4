"""What each function may do on AWS, written out for one stage."""

from collections.abc import Mapping
from string import Template
from typing import Annotated, Any, TypedDict

import msgspec

from ops.problems import Problem
from ops.stage import Stage


class Statement(TypedDict):
    Sid: str
    Effect: str
    Action: list[str]
    Resource: list[str]


class PolicyDocument(TypedDict):
    Version: str
    Statement: list[Statement]


_Some = Annotated[list[str], msgspec.Meta(min_length=1)]


class _Grant(msgspec.Struct, forbid_unknown_fields=True):
    actions: _Some
    resources: _Some


_Grants = Annotated[dict[str, _Grant], msgspec.Meta(min_length=1)]


class _Policies(msgspec.Struct, forbid_unknown_fields=True):
    every_function: _Grants
    with_xray: _Grants
    functions: dict[str, Any]  # _Grants; taken one by one, so that an error can name its function


def render(template_text: str, values: Mapping[str, str], *, xray: bool = False) -> dict[str, PolicyDocument]:
    """The policy of each function, by the name of its handler.

    The values are the outputs of the stage's stack, and Stage, AccountId, Region and Partition. Raises
    Problem for a placeholder that none of them fills, and for a function that is granted nothing.
    """
    template = _decoded(template_text)
    common = {**template.every_function, **(template.with_xray if xray else {})}
    stage = Stage(values["Stage"])
    policies: dict[str, PolicyDocument] = {}
    for handler, grants in template.functions.items():
        known = {**values, "Function": stage.function_name(handler)}
        granted = [*common.items(), *_granted(handler, grants).items()]
        statements = [_statement(sid, grant, known) for sid, grant in granted]
        policies[handler] = {"Version": "2012-10-17", "Statement": statements}
    return policies


def _decoded(template_text: str) -> _Policies:
    try:
        return msgspec.yaml.decode(template_text, type=_Policies)
    except msgspec.DecodeError as error:
        raise Problem(f"The template of the policies cannot be used: {error}") from error


def _granted(handler: str, grants: Any) -> dict[str, _Grant]:
    try:
        return msgspec.convert(grants, _Grants)
    except msgspec.ValidationError as error:
        raise Problem(f"The policy of {handler} cannot be used: {error}") from error


def _statement(sid: str, grant: _Grant, values: Mapping[str, str]) -> Statement:
    resources = [_filled(resource, values) for resource in grant.resources]
    return {"Sid": sid, "Effect": "Allow", "Action": [*grant.actions], "Resource": resources}


def _filled(resource: str, values: Mapping[str, str]) -> str:
    given = {name: value for name, value in values.items() if value}  # an empty name would widen the right
    try:
        filled = Template(resource).substitute(given)
    except KeyError as error:
        raise Problem(f"There is no {error.args[0]} to put into {resource!r} of the policies.") from error
    except ValueError as error:
        raise Problem(f"{resource!r} has an odd placeholder in the policies: {error}") from error
    if "${" in filled:
        raise Problem(f"{filled!r} has a placeholder left in the policies.")
    return filled
