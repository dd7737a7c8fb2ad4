"""Stacks: made, changed and deleted with an event for each step, and rolled back where a step fails.

Retained resources stay, failures are told in events and in the stack's status, as on AWS:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import moto.cloudformation.models as models
import moto.cloudformation.parsing as parsing
from moto.cloudformation.exceptions import AlreadyExistsException

from local_cloud.moto_patches.cloudformation import resource_types
from local_cloud.moto_patches.cloudformation.templates import settled
from local_cloud.moto_patches.mending import Function, mend

KEPT = frozenset({"Retain", "RetainExceptOnCreate"})
_KEPT_ON_ROLLBACK = frozenset({"Retain"})
_POLICIES = {"Condition", "DeletionPolicy", "DependsOn", "UpdateReplacePolicy"}


class ResourceFailed(Exception):
    """A resource could not be brought about; its event says why."""

    def __init__(self, logical_id: str) -> None:
        super().__init__(logical_id)
        self.logical_id = logical_id


def apply() -> None:
    parsing.parse_and_create_resource = _create_resource
    mend(models.Stack, "_create_resource_map", _create_resource_map)
    mend(models.Stack, "create_resources", _create_resources)
    mend(models.Stack, "update", _update)
    mend(models.Stack, "delete", _delete)
    models.Stack.stack_resources = property(lambda stack: list(existing(stack.resource_map).values()))
    models.Stack.parameter_list = property(_parameter_list)


def resources_of(stack: Any, template: Mapping[str, Any], parameters: Mapping[str, str]) -> Any:
    """moto's map of what a template asks for, which makes each resource when it is asked for it."""
    resources = parsing.ResourceMap(
        stack.stack_id,
        stack.name,
        parameters,
        stack.tags,
        account_id=stack.account_id,
        region_name=stack.region_name,
        template=template,
        cross_stack_resources=stack.cross_stack_resources,
    )
    resources.load()
    resources.stack = stack
    resources.imports = {}
    resources.is_open = False  # moto would make a resource again when somebody asks for what has gone
    return resources


def existing(resources: Any) -> dict[str, Any]:
    """What has been made of the template, in the order in which it was."""
    return {
        name: resource
        for name, resource in resources._parsed_resources.items()
        if name in resources._resource_json_map and hasattr(resource, "logical_resource_id")
    }


def is_wanted(name: str, resources: Any) -> bool:
    definition = resources._resource_json_map.get(name)
    condition = definition and definition.get("Condition")
    return bool(definition) and (not condition or resources.lazy_condition_map[condition])


def is_changed(name: str, resources: Any, before: Any) -> bool:
    return bool(_definition(name, resources) != _definition(name, before))


def _definition(name: str, resources: Any) -> Any:
    definition = resources._resource_json_map[name]
    return settled({key: part for key, part in definition.items() if key not in _POLICIES}, resources)


def create(
    stack: Any, template: str, parameters: Mapping[str, str], imports: Mapping[str, str], verb: str = "CREATE"
) -> None:
    """Fill a stack that has nothing yet; `imports` are the resources to take up, by their identifiers."""
    _adopt(stack, template, parameters, imports)
    report_stack(stack, f"{verb}_IN_PROGRESS", "User Initiated")
    _fill(stack, verb)


def update(
    stack: Any,
    template: str,
    parameters: Mapping[str, str],
    imports: Mapping[str, str],
    verb: str = "UPDATE",
) -> None:
    before = _Snapshot.of(stack)
    _adopt(stack, template, parameters, imports)
    report_stack(stack, f"{verb}_IN_PROGRESS", "User Initiated")
    updated: list[str] = []
    try:
        _bring(stack.resource_map, before.resource_map, updated)
    except ResourceFailed as failed:
        _undo(stack, before, updated, failed, verb)
        return
    if verb == "UPDATE":
        report_stack(stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    superfluous = set(existing(before.resource_map)) - set(existing(stack.resource_map))
    _delete_resources(stack, before.resource_map, superfluous, KEPT)
    report_stack(stack, f"{verb}_COMPLETE")


def _create_resource_map(_: Function) -> Function:
    def create_resource_map(self: Any) -> Any:
        return resources_of(self, self.template_dict, self.parameters)

    return create_resource_map


def _create_resources(_: Function) -> Function:
    def create_resources(self: Any) -> None:
        _fill(self, "CREATE")

    return create_resources


def _update(_: Function) -> Function:
    def update_stack(
        self: Any, template: str, role_arn: str | None = None, parameters: Any = None, tags: Any = None
    ) -> None:
        self.role_arn = role_arn
        self.tags = self.tags if tags is None else tags
        update(self, template, parameters or {}, {})

    return update_stack


def _delete(_: Function) -> Function:
    def delete(self: Any, retained: Collection[str] = ()) -> None:
        report_stack(self, "DELETE_IN_PROGRESS", "User Initiated")
        resources = self.resource_map
        self.output_map = parsing.OutputMap(resources, {}, self.stack_id)
        undeleted = _delete_resources(self, resources, existing(resources), KEPT, retained)
        if undeleted:
            report_stack(
                self,
                "DELETE_FAILED",
                f"The following resource(s) failed to delete: [{', '.join(undeleted)}]. ",
            )
        else:
            report_stack(self, "DELETE_COMPLETE")

    return delete


def parameter_values(resources: Any) -> dict[str, str]:
    """All parameters as text."""
    return {name: _as_text(value) for name, value in resources.resolved_parameters.items()}


def shown_values(resources: Any) -> dict[str, str]:
    """The same, as AWS tells them."""
    secret = dict.fromkeys(resources.no_echo_parameter_keys, "****")
    return parameter_values(resources) | secret


def _parameter_list(stack: Any) -> list[dict[str, str]]:
    values = shown_values(stack.resource_map)
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class _Snapshot:
    """What of a stack says what is in it."""

    template: Any
    template_dict: Any
    description: Any
    parameters: Any
    resource_map: Any
    output_map: Any

    @classmethod
    def of(cls, stack: Any) -> "_Snapshot":
        return cls(**{name: getattr(stack, name) for name in cls.__dataclass_fields__})

    def restore(self, stack: Any) -> None:
        for name in self.__dataclass_fields__:
            setattr(stack, name, getattr(self, name))


def _adopt(stack: Any, template: str, parameters: Mapping[str, str], imports: Mapping[str, str]) -> None:
    """Take over the template, and of the resources those that it still wants; raises ValidationError."""
    parsed = models.Stack.parse_template(template)
    resources = resources_of(stack, parsed, parameters)
    resources.imports = dict(imports)
    there = existing(stack.resource_map)
    resources._parsed_resources |= {name: there[name] for name in there if is_wanted(name, resources)}
    stack.template, stack.template_dict, stack.parameters = template, parsed, dict(parameters)
    stack.description = parsed.get("Description")
    stack.resource_map = resources
    stack.output_map = parsing.OutputMap(resources, parsed, stack.stack_id)


def _fill(stack: Any, verb: str) -> None:
    stack.status = f"{verb}_IN_PROGRESS"
    try:
        _bring(stack.resource_map, stack.resource_map, [])
    except ResourceFailed as failed:
        rollback = "ROLLBACK" if verb == "CREATE" else f"{verb}_ROLLBACK"
        report_stack(stack, f"{rollback}_IN_PROGRESS", _why(failed, verb))
        stack.output_map = parsing.OutputMap(stack.resource_map, {}, stack.stack_id)
        resources = stack.resource_map
        undeleted = _delete_resources(stack, resources, existing(resources), _KEPT_ON_ROLLBACK)
        report_stack(stack, f"{rollback}_{'FAILED' if undeleted else 'COMPLETE'}")
    else:
        report_stack(stack, f"{verb}_COMPLETE")


def _why(failed: ResourceFailed, verb: str) -> str:
    end = "Rollback requested by user." if verb == "CREATE" else ""
    return f"The following resource(s) failed to {verb.lower()}: [{failed.logical_id}]. {end}"


def _bring(resources: Any, before: Any, updated: list[str]) -> None:
    """Make what is missing and update what has changed; names what it began to update."""
    there = existing(resources)
    resources.is_open = True
    try:
        for name in resources:
            if name not in there:
                _ = resources[name]
            elif is_changed(name, resources, before):
                updated.append(name)
                _update_resource(name, resources)
    finally:
        resources.is_open = False


def _undo(stack: Any, before: _Snapshot, updated: list[str], failed: ResourceFailed, verb: str) -> None:
    report_stack(stack, f"{verb}_ROLLBACK_IN_PROGRESS", _why(failed, verb))
    there = existing(before.resource_map)
    made = [name for name in existing(stack.resource_map) if name not in there]
    half_way = stack.resource_map
    before.restore(stack)
    try:
        for name in updated:
            _update_resource(name, stack.resource_map)
    except ResourceFailed as again:
        report_stack(stack, f"{verb}_ROLLBACK_FAILED", _why(again, verb))
    else:
        _delete_resources(stack, half_way, made, _KEPT_ON_ROLLBACK)
        report_stack(stack, f"{verb}_ROLLBACK_COMPLETE")


def _create_resource(
    logical_id: str, resource_json: dict[str, Any], resources: Any, account_id: str, region_name: str
) -> Any:
    """Make one resource of the map, after those that it refers to."""
    if not (resources.is_open and is_wanted(logical_id, resources)):
        return None
    depends_on = resource_json.get("DependsOn", [])
    for other in [depends_on] if isinstance(depends_on, str) else depends_on:
        _ = resources[other]
    model, cleaned, name = _parse(logical_id, resource_json, resources)
    kind, verb = resource_json["Type"], _verb(logical_id, resources)
    there = resource_types.find(kind, resources.imports.get(logical_id, name), account_id, region_name)
    with _step(resources.stack, logical_id, kind, verb) as step:
        if verb == "IMPORT":
            resource = there
        elif there is not None and _is_named(resource_json):
            raise AlreadyExistsException(
                f"Resource of type '{kind}' with identifier '{name}' already exists."
            )
        else:
            resource = model.create_from_cloudformation_json(
                name,
                cleaned,
                account_id,
                region_name,
                LogicalId=logical_id,
                StackId=resources.stack_id,
                ResourceType=kind,
            )
        resource.cf_resource_type = kind
        resource.logical_resource_id = logical_id
        step.physical_id = resource.physical_resource_id
    return resource


def _verb(logical_id: str, resources: Any) -> str:
    return "IMPORT" if logical_id in resources.imports else "CREATE"


def _parse(logical_id: str, definition: dict[str, Any], resources: Any) -> Any:
    """Its class, its definition with all that it refers to, which is made for it, and its name."""
    kind = definition["Type"]
    try:
        if kind not in parsing.get_model_map():
            raise NotImplementedError(f"There is no {kind} here")
        resource_types.check(kind, definition.get("Properties", {}))
        return parsing.parse_resource_and_generate_name(logical_id, definition, resources)
    except ResourceFailed:
        raise
    except Exception:
        with _step(resources.stack, logical_id, kind, _verb(logical_id, resources)):
            raise


def _is_named(definition: Mapping[str, Any]) -> bool:
    return parsing.resource_name_property_from_type(definition["Type"]) in definition.get("Properties", {})


def _update_resource(logical_id: str, resources: Any) -> None:
    definition = resources._resource_json_map[logical_id]
    resource = resources[logical_id]
    with _step(resources.stack, logical_id, definition["Type"], "UPDATE", resource.physical_resource_id):
        if is_replaced(logical_id, resource, resources):
            raise NotImplementedError("The update needs another resource in place of this one")
        resource_types.check(definition["Type"], definition.get("Properties", {}))
        updated = parsing.parse_and_update_resource(
            logical_id, definition, resources, resources._account_id, resources._region_name
        )
        resources._parsed_resources[logical_id] = updated or resource


def is_replaced(logical_id: str, resource: Any, resources: Any) -> bool:
    """Whether the template names the resource otherwise than it is named."""
    definition = resources._resource_json_map[logical_id]
    if not _is_named(definition):
        return False
    name = definition["Properties"][parsing.resource_name_property_from_type(definition["Type"])]
    return bool(parsing.clean_json(name, resources) != resource.name)


def _delete_resources(
    stack: Any, resources: Any, names: Iterable[str], kept: frozenset[str], retained: Collection[str] = ()
) -> list[str]:
    """Delete them, the last made first, and return those that could not be."""
    undeleted = []
    there, chosen = existing(resources), set(names)
    for name in [name for name in reversed(there) if name in chosen]:
        definition = resources._resource_json_map[name]
        keep = name in retained or name in resources.imports or definition.get("DeletionPolicy") in kept
        if keep:
            report(stack, name, definition["Type"], "DELETE_SKIPPED", there[name].physical_resource_id)
        elif not _delete_resource(stack, name, there[name], resources):
            undeleted.append(name)
            continue
        del resources._parsed_resources[name]
    return undeleted


def _delete_resource(stack: Any, logical_id: str, resource: Any, resources: Any) -> bool:
    kind, physical_id = resource.cf_resource_type, resource.physical_resource_id
    try:
        with _step(stack, logical_id, kind, "DELETE", physical_id):
            if not _is_gone(kind, physical_id, resources):
                resources._delete_resource(resource, resources._resource_json_map[logical_id])
    except ResourceFailed:
        return False
    return True


def _is_gone(kind: str, physical_id: str, resources: Any) -> bool:
    there = resource_types.find(kind, physical_id, resources._account_id, resources._region_name)
    return kind in resource_types.IDENTIFIERS and there is None


@dataclass
class _Step:
    physical_id: str


@contextmanager
def _step(stack: Any, logical_id: str, kind: str, verb: str, physical_id: str = "") -> Iterator[_Step]:
    """One resource's part of an operation, told by its events; a failure becomes ResourceFailed."""
    step = _Step(physical_id)
    tell: Callable[..., None] = lambda status, reason=None: report(  # noqa: E731
        stack, logical_id, kind, f"{verb}_{status}", step.physical_id, reason
    )
    tell("IN_PROGRESS")
    try:
        yield step
    except Exception as error:
        tell("FAILED", _handler_message(error))
        raise ResourceFailed(logical_id) from error
    tell("COMPLETE")


def _handler_message(error: Exception) -> str:
    code = "AlreadyExists" if isinstance(error, AlreadyExistsException) else "GeneralServiceException"
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return (
        f'Resource handler returned message: "{message}" (RequestToken: {uuid4()}, HandlerErrorCode: {code})'
    )


def report_stack(stack: Any, status: str, reason: str | None = None) -> None:
    stack.status = status
    stack.stack_status_reason = reason
    stack._add_stack_event(status, resource_status_reason=reason)


def report(
    stack: Any, logical_id: str, kind: str, status: str, physical_id: str, reason: str | None = None
) -> None:
    event = models.Event(
        stack_id=stack.stack_id,
        stack_name=stack.name,
        logical_resource_id=logical_id,
        physical_resource_id=physical_id,
        resource_type=kind,
        resource_status=status,
        resource_status_reason=reason,
        resource_properties=None,
    )
    stack.events.append(event)
