"""What Chalice goes by to find the API and the event sources that it made: .chalice/deployed/<stage>.json.

It finds functions and roles by their names, but makes a second API, and fails at a second event source, where
its record is lost or was never written, because a first deployment ended half-way.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError
from chalice.utils import serialize_to_json

from chalicelib.aws_errors import error_code
from ops.inventory import Found, Inventory
from ops.problems import Problem
from ops.stage import write_text

Entries = dict[str, dict[str, Any]]


def restore(inventory: Inventory, outputs: Mapping[str, str]) -> list[str]:
    """Completes the record by what there is on AWS, and returns a line for what it had to say."""
    stage = inventory.stage
    record = stage.deployed()
    lost, remarks = _api(inventory, record)
    for function in inventory.functions:
        lost |= _event_sources(inventory, function, record, set(outputs.values()))
    if lost:
        resources = [*{**record, **lost}.values()]
        text = serialize_to_json({"resources": resources, "schema_version": "2.0", "backend": "api"})
        write_text(stage.deployed_file, text)
        remarks += [
            f"{stage.deployed_file.name} did not know {_called(entry)}, which is there already: added it."
            for entry in lost.values()
        ]
    return remarks


def _api(inventory: Inventory, record: Entries) -> tuple[Entries, list[str]]:
    noted = record.get("rest_api", {}).get("rest_api_id")
    found = {api["id"]: api for api in inventory.apis}
    if noted and (noted in found or _exists(inventory, noted)):
        return {}, [_superfluous(api) for api in found if api != noted]
    if len(found) > 1:
        raise Problem(_ambiguous(inventory, found))
    if found:
        [api] = found
        url = inventory.account.api_url(api, inventory.stage.name)
        entry = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": api, "rest_api_url": url}
        return {"rest_api": entry}, []
    gone = f"The API {noted} is gone: `chalice deploy` makes a new one, with another address."
    return {}, [gone] if noted else []


def _exists(inventory: Inventory, api: str) -> bool:
    try:
        inventory.account.client("apigateway").get_rest_api(restApiId=api)
    except ClientError as error:
        if error_code(error) != "NotFoundException":
            raise
        return False
    return True


def _superfluous(api: str) -> str:
    return (
        f"The stage has another API, {api}, which Chalice does not know: unless somebody uses it, "
        f"run `aws apigateway delete-rest-api --rest-api-id {api}`."
    )


def _ambiguous(inventory: Inventory, found: Mapping[str, Found]) -> str:
    stage = inventory.stage
    apis = [
        f"  {inventory.account.api_url(api, stage.name)} made {each['createdDate']:%Y-%m-%d %H:%M %Z}"
        for api, each in found.items()
    ]
    return "\n".join(
        [
            f"The stage {stage.name} has {len(found)} APIs, and {stage.deployed_file} knows none of them:",
            *apis,
            "Delete those that nobody uses with `aws apigateway delete-rest-api --rest-api-id ...`, "
            "or take the file from git; then run the same command again.",
        ]
    )


def _event_sources(inventory: Inventory, function: Found, record: Entries, sources: set[str]) -> Entries:
    entries = [
        entry
        for mapping in inventory.mappings(function)
        if mapping["EventSourceArn"] in sources
        for entry in _entry(inventory.stage.handler(function["FunctionName"]), mapping)
    ]
    return {
        entry["name"]: entry
        for entry in entries
        if record.get(entry["name"], {}).get("event_uuid") != entry["event_uuid"]
    }


def _entry(handler: str, mapping: Found) -> Iterator[dict[str, Any]]:
    source = mapping["EventSourceArn"]
    kinds = {
        "sqs": ("sqs", {"queue_arn": source, "queue": source.rpartition(":")[2]}),
        "dynamodb": ("dynamodb", {"stream_arn": source}),
    }
    if kind := kinds.get(source.split(":")[2]):
        service, named = kind
        yield {
            "name": f"{handler}-{service}-event-source",
            "resource_type": f"{service}_event",
            **named,
            "event_uuid": mapping["UUID"],
            "lambda_arn": mapping["FunctionArn"],
        }


def _called(entry: Mapping[str, Any]) -> str:
    return f"the API {entry['rest_api_url']}" if "rest_api_url" in entry else str(entry["name"])
