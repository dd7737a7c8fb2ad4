"""What .chalice holds of a stage, beside what Chalice writes: its part of config.json, and its policies."""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chalice.config import Config

from chalicelib.settings import RESOURCES, Settings, SettingsError
from ops import policies
from ops.account import Account
from ops.problems import Problem
from ops.stage import API_HANDLER, Stage, architecture, write_text

Document = Mapping[str, Any]

LABELLER = "label_uploaded_image"
AUTHORIZER = "api_token"
LABELLERS = (LABELLER, "label_queued_image")
LOG_RETENTION = 30  # days


@dataclass(frozen=True)
class Size:
    timeout: int  # seconds
    memory: int  # MB; processor time comes in proportion


SIZES = {
    API_HANDLER: Size(timeout=29, memory=1024),  # API Gateway waits no longer; a search may look at many
    AUTHORIZER: Size(timeout=29, memory=512),
    # Room for a conversion of any picture: bench/conversion.md
    **dict.fromkeys(LABELLERS, Size(timeout=140, memory=2048)),
    "notify": Size(timeout=60, memory=512),
    "index_image": Size(timeout=60, memory=512),
    "deliver_callback": Size(timeout=60, memory=512),  # and its lease in chalicelib/callbacks.py is longer
    "recover": Size(timeout=60, memory=512),
}
USUAL = Size(timeout=60, memory=512)
# With less, while services or receivers hang, nothing is healed, and no attempt is written down.
LEAST_TIMEOUTS = {name: SIZES[name].timeout for name in (*LABELLERS, "deliver_callback", "recover")}
MOST_VARIABLES = 4000  # bytes of the JSON of which Lambda takes 4 kB
NAMED = 80  # characters, of what CloudFormation names: more than it takes on the average


def with_stage(
    document: Document, name: str, outputs: Mapping[str, str], handlers: Iterable[str], xray: bool | None
) -> dict[str, Any]:
    """config.json with what the stage needs: what must fit the stack, and else only what is missing."""
    after: dict[str, Any] = copy.deepcopy(dict(document))
    part = _section(_section(after, "stages"), name)
    part |= {
        "api_gateway_stage": name,
        "api_gateway_endpoint_type": "REGIONAL",
        "autogen_policy": False,
        "lambda_architecture": architecture(part, document),
    }
    if xray is not None:
        part["xray"] = xray
    if Config(name, config_from_disk=after).log_retention_in_days is None:
        part.setdefault("log_retention_in_days", LOG_RETENTION)  # an explicit null stays
    environment = _section(part, "environment_variables")
    environment |= {"STAGE": name, **{variable: outputs[output] for variable, output in RESOURCES.items()}}
    functions = _section(part, "lambda_functions")
    handlers = [*handlers]
    for handler in handlers:
        so_far = Config(name, handler, config_from_disk=after)
        _write_function(_section(functions, handler), f"policies/{name}/{handler}.json", so_far)
    labellers = [Config(name, each, config_from_disk=after) for each in LABELLERS if each in handlers]
    environment["LABEL_TIMEOUT_SECONDS"] = str(max(map(_timeout, labellers)))
    for handler in handlers:
        _check(Config(name, handler, config_from_disk=after))
    return after


def changes(before: Any, after: Any, path: str) -> Iterator[str]:
    """What is different in `after`, a line for each value."""
    if isinstance(after, dict):
        for name, value in after.items():
            yield from changes(
                before.get(name) if isinstance(before, dict) else None, value, f"{path}.{name}"
            )
    elif before != after:
        was = "" if before is None else f" (was {json.dumps(before)})"
        yield f"{path}: {json.dumps(after)}{was}"


def check(stage: Stage) -> None:
    """Raises Problem early for what would make `write` fail after CloudFormation's work."""
    outputs = {output: output.ljust(NAMED, ".") for output in RESOURCES.values()}
    with_stage(stage.document(), stage.name, outputs, SIZES, None)


def write(stage: Stage, account: Account, outputs: Mapping[str, str], xray: bool | None) -> list[str]:
    """Writes what is not there yet, and returns a line for each thing that is different now."""
    before = stage.document()
    template = (stage.project / ".chalice/policies.yaml").read_text(encoding="utf-8")
    values = {
        **outputs,
        "Stage": stage.name,
        "AccountId": account.id,
        "Region": account.region,
        "Partition": account.partition,
    }
    handlers = list(policies.render(template, values))
    after = with_stage(before, stage.name, outputs, handlers, xray)
    traced = any(Config(stage.name, name, config_from_disk=after).xray_enabled for name in handlers)
    rendered = policies.render(template, values, xray=traced)
    written = list(_write_policies(stage, rendered))
    if replace_document(stage, after):
        was, part = before["stages"].get(stage.name), after["stages"][stage.name]
        written += changes(was, part, stage.name) if was else [f"config.json: the stage {stage.name}"]
    return written


def replace_document(stage: Stage, document: Document) -> bool:
    """Writes config.json in the manner in which it stands there."""
    text = stage.config_file.read_text(encoding="utf-8")
    indentation = re.search(r"^[ \t]+", text, re.MULTILINE)
    return write_text(
        stage.config_file,
        json.dumps(document, indent=indentation[0] if indentation else 2, ensure_ascii=text.isascii())
        + "\n" * text.endswith("\n"),
    )


def forget(stage: Stage) -> None:
    """Takes the stage out of config.json, with its policies and what Chalice noted of it."""
    document = stage.document()
    if document["stages"].pop(stage.name, None) is not None:
        replace_document(stage, document)
    for path in [*_policy_files(stage), stage.deployed_file]:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # there is none, or somebody keeps more in it
        stage.policies_folder.rmdir()


def _write_function(function: dict[str, Any], policy_file: str, so_far: Config) -> None:
    function["iam_policy_file"] = policy_file
    size = SIZES.get(so_far.function_name, USUAL)
    if so_far.lambda_timeout is None:
        function["lambda_timeout"] = size.timeout
    if so_far.lambda_memory_size is None:
        function["lambda_memory_size"] = size.memory


def _section(parent: dict[str, Any], name: str) -> dict[str, Any]:
    section = parent.setdefault(name, {})
    if not isinstance(section, dict):
        raise Problem(f"`{name}` in config.json must be an object in braces, not {json.dumps(section)}.")
    return section


def _check(function: Config) -> None:
    _check_timeout(function)
    name, variables = function.chalice_stage, function.environment_variables
    for variable, value in variables.items():
        if not isinstance(value, str):
            raise Problem(f"{variable} of the stage {name} must be in quotes: {json.dumps(str(value))}.")
    try:
        Settings.from_env(variables)
    except SettingsError as error:
        raise Problem(f"The stage {name} cannot run with its settings: {error}.") from error
    _check_size(name, variables)


def _timeout(function: Config) -> int:
    seconds = function.lambda_timeout
    if type(seconds) is not int:
        raise Problem(
            f"lambda_timeout of {function.function_name} in the stage {function.chalice_stage} must be a "
            f"whole number of seconds, without quotes, not {json.dumps(seconds)}."
        )
    return seconds


def _check_timeout(function: Config) -> None:
    name, seconds = function.function_name, _timeout(function)
    if seconds < (least := LEAST_TIMEOUTS.get(name, 0)):
        raise Problem(
            f"lambda_timeout of {name} in the stage {function.chalice_stage} must be at least {least} "
            f"seconds, not {seconds}: write {least} in config.json, under `lambda_functions` of the stage."
        )


def _check_size(name: str, variables: Mapping[str, str]) -> None:
    size = _bytes(json.dumps(dict(variables), ensure_ascii=False, separators=(",", ":")))
    if size > MOST_VARIABLES:
        sizes = {variable: _bytes(variable + value) for variable, value in variables.items()}
        longest = sorted(sizes, key=lambda variable: sizes[variable], reverse=True)[:3]
        raise Problem(
            f"The environment variables of the stage {name} take {size:,} bytes, and Lambda has room "
            f"for {MOST_VARIABLES:,}: shorten them in config.json. The longest are "
            f"{', '.join(f'{variable} ({sizes[variable]:,})' for variable in longest)}."
        )


def _bytes(text: str) -> int:
    return len(text.encode())


def _write_policies(stage: Stage, rendered: Mapping[str, Any]) -> Iterator[str]:
    for handler, policy in rendered.items():
        path = stage.policies_folder / f"{handler}.json"
        if write_text(path, json.dumps(policy, indent=2) + "\n"):
            yield f"{path.relative_to(stage.project)}"
    for path in _policy_files(stage):
        if path.stem not in rendered:
            path.unlink()
            yield f"{path.relative_to(stage.project)} (removed)"


def _policy_files(stage: Stage) -> Iterable[Any]:
    return sorted(stage.policies_folder.glob("*.json"))
