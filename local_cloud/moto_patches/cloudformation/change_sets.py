"""Change sets, and the requests that make, show, carry out and drop them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import moto.cloudformation.models as models
import moto.cloudformation.responses as responses
from moto.cloudformation.exceptions import AlreadyExistsException, CloudFormationError, ValidationError
from moto.cloudformation.utils import generate_changeset_id, generate_stack_id
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow

from local_cloud.moto_patches.cloudformation import resource_types, stacks
from local_cloud.moto_patches.cloudformation.templates import settled

_NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
_UPDATABLE = {
    "CREATE_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
}


class ChangeSetNotFound(CloudFormationError):  # type: ignore[misc]
    code = "ChangeSetNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(f"ChangeSet [{name}] does not exist")


class InvalidChangeSetStatus(CloudFormationError):  # type: ignore[misc]
    code = "InvalidChangeSetStatus"


@dataclass
class ChangeSet:
    """What it would do to a stack, under the names by which the answers are written."""

    change_set_id: str
    change_set_name: str
    change_set_type: str
    stack_id: str
    stack_name: str
    template: str
    given: Mapping[str, str]
    parameters: Mapping[str, str]
    imports: Mapping[str, str]
    changes: list[Any]
    description: str | None
    tags: list[Mapping[str, str]]
    import_existing_resources: bool
    status: str = "CREATE_COMPLETE"
    execution_status: str = "AVAILABLE"
    status_reason: str | None = None
    creation_time: datetime = field(default_factory=utcnow)


def apply() -> None:
    for request in (
        create_change_set,
        describe_change_set,
        execute_change_set,
        delete_change_set,
        list_change_sets,
        delete_stack,
        _validate_different_update,
        _validate_status,
    ):
        setattr(responses.CloudFormationResponse, request.__name__, request)
    models.CloudFormationBackend.delete_stack = _delete_stack
    models.CloudFormationBackend._resolve_update_parameters = _values


def create_change_set(self: Any) -> ActionResult:
    backend, kind = self.cloudformation_backend, self._get_param("ChangeSetType", "UPDATE")
    name = self._get_param("ChangeSetName")
    found = _stack(backend, self._get_param("StackName"))
    _check_state(found, kind, self._get_param("StackName"), name)
    if found and _change_sets(backend, found.stack_id, name):
        raise AlreadyExistsException(f"ChangeSet {name} already exists")
    stack = found or _review(backend, self._get_param("StackName"))
    change_set = _propose(self, stack, kind, name)
    backend.stacks[stack.stack_id] = stack
    backend.change_sets[change_set.change_set_id] = change_set
    return ActionResult({"Id": change_set.change_set_id, "StackId": stack.stack_id})


def describe_change_set(self: Any) -> ActionResult:
    return ActionResult(_asked_for(self))


def execute_change_set(self: Any) -> EmptyResult:
    backend, change_set = self.cloudformation_backend, _asked_for(self)
    if change_set.execution_status != "AVAILABLE":
        raise InvalidChangeSetStatus(
            f"ChangeSet [{change_set.change_set_id}] cannot be executed in its current status of "
            f"[{change_set.status}]"
        )
    for other in _change_sets(backend, change_set.stack_id):
        if other is not change_set:
            del backend.change_sets[other.change_set_id]
    stack = backend.stacks[change_set.stack_id]
    stack.tags = {tag["Key"]: tag["Value"] for tag in change_set.tags} or stack.tags
    carry_out = stacks.create if stack.status == "REVIEW_IN_PROGRESS" else stacks.update
    carry_out(stack, change_set.template, change_set.given, change_set.imports, change_set.change_set_type)
    change_set.execution_status = "EXECUTE_COMPLETE"
    return EmptyResult()


def delete_change_set(self: Any) -> EmptyResult:
    change_set = _asked_for(self)
    del self.cloudformation_backend.change_sets[change_set.change_set_id]
    return EmptyResult()


def list_change_sets(self: Any) -> ActionResult:
    stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
    return ActionResult({"Summaries": _change_sets(self.cloudformation_backend, stack.stack_id)})


def delete_stack(self: Any) -> EmptyResult:
    retained = self._get_param("RetainResources", [])
    stack = _stack(self.cloudformation_backend, self._get_param("StackName"))
    if retained and stack and stack.status != "DELETE_FAILED":
        raise ValidationError(
            message=f"Invalid operation on stack [{stack.stack_id}]. When you delete a stack, specify which "
            "resources to retain only when the stack is in the DELETE_FAILED state."
        )
    self.cloudformation_backend.delete_stack(self._get_param("StackName"), retained)
    return EmptyResult()


def _delete_stack(self: Any, name_or_stack_id: str, retained: tuple[str, ...] = ()) -> None:
    """A stack whose deletion failed stays; to delete what is not there is no error."""
    stack = _stack(self, name_or_stack_id)
    if stack is None:
        return
    stack.delete(retained)
    if stack.status == "DELETE_COMPLETE":
        del self.stacks[stack.stack_id]
        self.deleted_stacks[stack.stack_id] = stack
        for change_set in _change_sets(self, stack.stack_id):
            del self.change_sets[change_set.change_set_id]


def _validate_different_update(self: Any, given: Any, template: str, stack: Any) -> None:
    _validate_status(self, stack)
    parsed = models.Stack.parse_template(template)
    resources = stacks.resources_of(stack, parsed, _values(None, stack, given))
    if not _differs(stack, resources):
        raise ValidationError(message="No updates are to be performed.")


def _validate_status(self: Any, stack: Any) -> None:  # noqa: ARG001
    _check_state(stack, "UPDATE", stack.name, "")


def _values(_: Any, instance: Any, incoming_params: list[Mapping[str, Any]]) -> dict[str, str]:
    """The parameters as given; what is not given takes its default, whatever it was before."""
    previous = stacks.parameter_values(instance.resource_map) if isinstance(instance, models.Stack) else {}
    for given in incoming_params:
        if given.get("UsePreviousValue") and given["ParameterKey"] not in previous:
            raise ValidationError(message=f"Parameters: [{given['ParameterKey']}] must have values")
    return {
        given["ParameterKey"]: previous[given["ParameterKey"]]
        if given.get("UsePreviousValue")
        else given["ParameterValue"]
        for given in incoming_params
    }


def _stack(backend: Any, name_or_id: str) -> Any:
    return next((each for each in backend.stacks.values() if name_or_id in (each.name, each.stack_id)), None)


def _check_state(stack: Any, kind: str, stack_name: str, name: str) -> None:
    if stack is None and kind == "UPDATE":
        raise ValidationError(message=f"Stack [{stack_name}] does not exist")
    if stack is None or (kind != "UPDATE" and stack.status == "REVIEW_IN_PROGRESS"):
        return
    if kind == "CREATE":
        raise ValidationError(
            message=f"Stack [{stack_name}] already exists and cannot be created again "
            f"with the changeSet [{name}]."
        )
    if stack.status not in _UPDATABLE:
        raise ValidationError(
            message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated."
        )


def _review(backend: Any, name: str) -> Any:
    stack_id = generate_stack_id(name, backend.region_name, backend.account_id)
    stack = models.Stack(stack_id, name, {}, {}, backend.account_id, backend.region_name)
    stacks.report_stack(stack, "REVIEW_IN_PROGRESS", "User Initiated")
    return stack


def _propose(self: Any, stack: Any, kind: str, name: str) -> ChangeSet:
    backend = self.cloudformation_backend
    template = _template(self, stack)
    given = _values(None, stack, self._get_param("Parameters", []))
    resources = stacks.resources_of(stack, models.Stack.parse_template(template), given)
    import_existing = bool(self._get_bool_param("ImportExistingResources", False))
    imports = _named_imports(self, stack, resources) if kind == "IMPORT" else {}
    if import_existing:
        imports = dict(_found_imports(backend, stack, resources))
    change_set = ChangeSet(
        change_set_id=generate_changeset_id(name, backend.region_name, backend.account_id),
        change_set_name=name,
        change_set_type=kind,
        stack_id=stack.stack_id,
        stack_name=stack.name,
        template=template,
        given=given,
        parameters=stacks.shown_values(resources),
        imports=imports,
        changes=list(_changes(stack, resources, imports)),
        description=self._get_param("Description"),
        tags=self._get_param("Tags", []),
        import_existing_resources=import_existing,
    )
    if kind == "UPDATE" and not change_set.changes and not _differs(stack, resources):
        change_set.status, change_set.execution_status = "FAILED", "UNAVAILABLE"
        change_set.status_reason = _NO_CHANGES
    return change_set


def _template(self: Any, stack: Any) -> str:
    if self._get_bool_param("UsePreviousTemplate", False):
        return str(stack.template)
    if url := self._get_param("TemplateURL"):
        return str(self._get_stack_from_s3_url(url))
    body = self._get_param("TemplateBody")
    if not body:
        raise ValidationError(message="Either Template URL or Template Body must be specified.")
    return str(body)


def _differs(stack: Any, resources: Any) -> bool:
    """Whether an update has anything to do; other policies or words about the template are nothing."""
    outputs = settled(resources._template.get("Outputs"), resources)
    before = settled(stack.resource_map._template.get("Outputs"), stack.resource_map)
    return outputs != before or any(True for _ in _changes(stack, resources, {}))


def _changes(stack: Any, resources: Any, imports: Mapping[str, str]) -> Iterator[Any]:
    there = stacks.existing(stack.resource_map)
    wanted = [name for name in resources if stacks.is_wanted(name, resources)]
    for name in wanted:
        kind = resources._resource_json_map[name]["Type"]
        if name in imports:
            yield _change("Import", name, kind, imports[name])
        elif name not in there:
            yield _change("Add", name, kind)
        elif stacks.is_changed(name, resources, stack.resource_map):
            yield _change(
                "Modify",
                name,
                kind,
                there[name].physical_resource_id,
                replacement="True" if stacks.is_replaced(name, there[name], resources) else "False",
                scope=["Properties"],
            )
    for name, resource in there.items():
        if name not in wanted:
            yield _change("Remove", name, resource.cf_resource_type, resource.physical_resource_id)


def _change(action: str, name: str, kind: str, physical_id: str | None = None, **details: Any) -> Any:
    change = models.Change(action=action, logical_resource_id=name, resource_type=kind)
    vars(change).update(physical_resource_id=physical_id, **details)
    return change


def _found_imports(backend: Any, stack: Any, resources: Any) -> Iterator[tuple[str, str]]:
    """What there is of the template's resources by their names, and may be imported without being asked for.

    AWS looks only at names that stand in the template as they are ("Dynamic names (using !Ref or other
    functions) are not currently supported"), of types that are identified by them, and at what is retained:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    """
    for name in resources:
        definition = resources._resource_json_map[name]
        given = definition.get("Properties", {}).get(resource_types.IDENTIFIERS.get(definition["Type"]))
        if (
            isinstance(given, str)
            and name not in stacks.existing(stack.resource_map)
            and stacks.is_wanted(name, resources)
            and definition.get("DeletionPolicy") in stacks.KEPT
            and _is_free(backend, definition["Type"], given)
        ):
            yield name, given


def _is_free(backend: Any, kind: str, identifier: str) -> bool:
    found = resource_types.find(kind, identifier, backend.account_id, backend.region_name)
    return found is not None and not any(
        (each.cf_resource_type, each.physical_resource_id) == (kind, found.physical_resource_id)
        for stack in backend.stacks.values()
        for each in stack.stack_resources
    )


def _named_imports(self: Any, stack: Any, resources: Any) -> dict[str, str]:
    """What an import asks for; it can do nothing else at the same time:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resource-import.html"""
    imports = {}
    for each in self._get_param("ResourcesToImport", []):
        name, kind = each["LogicalResourceId"], each["ResourceType"]
        identifier = each["ResourceIdentifier"].get(resource_types.IDENTIFIERS.get(kind))
        definition = resources._resource_json_map.get(name, {})
        if definition.get("Type") != kind or identifier is None:
            raise ValidationError(
                message=f"Resource {name} to import is not in the template, or not so identified"
            )
        if "DeletionPolicy" not in definition:
            raise ValidationError(message=f"Resource {name} to import must have a DeletionPolicy attribute")
        if not _is_free(self.cloudformation_backend, kind, identifier):
            raise ValidationError(
                message=f"Resource {identifier} does not exist, or belongs to a stack already"
            )
        imports[name] = identifier
    _refuse_other_changes(stack, resources, imports)
    return imports


def _refuse_other_changes(stack: Any, resources: Any, imports: Mapping[str, str]) -> None:
    others = [change.logical_resource_id for change in _changes(stack, resources, imports)]
    others = [name for name in others if name not in imports]
    if others:
        raise ValidationError(
            message=f"As part of the import operation, you cannot modify or add [{', '.join(others)}]"
        )
    if settled(resources._template.get("Outputs"), resources) != settled(
        stack.resource_map._template.get("Outputs"), stack.resource_map
    ):
        raise ValidationError(message="As part of the import operation, you cannot modify or add [Outputs]")


def _change_sets(backend: Any, stack_id: str, name: str | None = None) -> list[ChangeSet]:
    return [
        each
        for each in backend.change_sets.values()
        if each.stack_id == stack_id and name in (None, each.change_set_name)
    ]


def _asked_for(self: Any) -> Any:
    backend, name = self.cloudformation_backend, self._get_param("ChangeSetName")
    if name in backend.change_sets:
        return backend.change_sets[name]
    stack = _stack(backend, self._get_param("StackName"))
    found = _change_sets(backend, stack.stack_id, name) if stack else []
    if not found:
        raise ChangeSetNotFound(name)
    return found[0]
