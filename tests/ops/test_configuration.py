import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from chalice.config import Config

from chalicelib.settings import RESOURCES, Settings
from ops import configuration
from ops.account import Account
from ops.configuration import LABELLER, SIZES, changes, with_stage
from ops.lambda_runtime import default_architecture
from ops.problems import Problem
from ops.stage import API_HANDLER, Stage
from tests.conftest import ROOT, settings_of
from tests.ops.conftest import HANDLERS

OUTPUTS = {output: f"the {output}" for output in RESOURCES.values()}
EMPTY: dict[str, Any] = {"version": "2.0", "app_name": "image-labeller", "stages": {}}
ALL_OUTPUTS = {
    **OUTPUTS,
    "LabellingQueueArn": "arn:aws:sqs:us-east-1:123456789012:queue",
    "LabellingDeadLettersArn": "arn:aws:sqs:us-east-1:123456789012:dead",
    "CallbacksQueueArn": "arn:aws:sqs:us-east-1:123456789012:callbacks",
    "CallbacksDeadLettersArn": "arn:aws:sqs:us-east-1:123456789012:callbacks-dead",
    "StreamDeadLettersArn": "arn:aws:sqs:us-east-1:123456789012:stream-dead",
}


def configured(part: Mapping[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """The stage `dev` after it was written into a config.json in which this stood of it."""
    document = {**EMPTY, **top, "stages": {"dev": part} if part is not None else {}}
    after: dict[str, Any] = with_stage(document, "dev", OUTPUTS, SIZES, None)["stages"]["dev"]
    return after


def test_a_new_stage_has_all_that_it_needs() -> None:
    assert configured() == {
        "api_gateway_stage": "dev",
        "api_gateway_endpoint_type": "REGIONAL",
        "autogen_policy": False,
        "lambda_architecture": default_architecture(),
        "log_retention_in_days": 30,
        "environment_variables": {
            "STAGE": "dev",
            **{variable: OUTPUTS[output] for variable, output in RESOURCES.items()},
            "LABEL_TIMEOUT_SECONDS": "140",
        },
        "lambda_functions": {
            handler: {
                "iam_policy_file": f"policies/dev/{handler}.json",
                "lambda_timeout": size.timeout,
                "lambda_memory_size": size.memory,
            }
            for handler, size in SIZES.items()
        },
    }


def test_every_function_of_the_template_has_a_size() -> None:
    template = msgspec.yaml.decode((ROOT / ".chalice/policies.yaml").read_bytes())

    assert set(template["functions"]) == set(SIZES)


def test_what_the_deployer_has_changed_stays() -> None:
    mine = {
        "lambda_functions": {
            "label_uploaded_image": {"lambda_memory_size": 3008, "lambda_timeout": 150, "layers": ["a"]}
        },
        "environment_variables": {"MIN_CONFIDENCE": "70"},
        "log_retention_in_days": 365,
        "tags": {"team": "pictures"},
        "lambda_architecture": "arm64",
        "xray": True,
    }

    after = configured(mine)

    assert list(after)[:6] == list(mine)
    assert {
        name: after[name] for name in ("log_retention_in_days", "tags", "lambda_architecture", "xray")
    } == {name: mine[name] for name in ("log_retention_in_days", "tags", "lambda_architecture", "xray")}
    assert after["environment_variables"]["MIN_CONFIDENCE"] == "70"
    assert after["lambda_functions"]["label_uploaded_image"] == {
        "lambda_memory_size": 3008,
        "lambda_timeout": 150,
        "layers": ["a"],
        "iam_policy_file": "policies/dev/label_uploaded_image.json",
    }


def test_logs_kept_for_ever_by_choice_stay_so() -> None:
    assert configured({"log_retention_in_days": None})["log_retention_in_days"] is None


def test_what_must_fit_the_stack_follows_it() -> None:
    after = configured(
        {
            "api_gateway_stage": "api",
            "autogen_policy": True,
            "environment_variables": {"IMAGES_BUCKET": "old", "IMAGES_TABLE": "old", "STAGE": "other"},
        }
    )

    assert (after["api_gateway_stage"], after["autogen_policy"]) == ("dev", False)
    assert after["environment_variables"] == configured()["environment_variables"]


@pytest.mark.parametrize(
    ("part", "top"),
    [
        ({"lambda_functions": {"label_uploaded_image": {"lambda_timeout": 140}}}, {}),
        ({"lambda_timeout": 140}, {}),
        ({}, {"lambda_timeout": 140}),
        ({}, {"lambda_functions": {"label_uploaded_image": {"lambda_timeout": 140}}}),
        (
            {
                "environment_variables": {"LABEL_TIMEOUT_SECONDS": "61"},
                "lambda_functions": {"label_uploaded_image": {"lambda_timeout": 140}},
            },
            {},
        ),
    ],
    ids=[
        "of the function",
        "of the stage",
        "of all stages",
        "of the function in all stages",
        "over the other",
    ],
)
def test_the_lease_follows_the_functions_time_out(part: dict[str, Any], top: dict[str, Any]) -> None:
    after = configured(part, **top)

    effective = Config("dev", LABELLER, config_from_disk={**EMPTY, **top, "stages": {"dev": after}})
    assert effective.lambda_timeout == 140
    assert after["environment_variables"]["LABEL_TIMEOUT_SECONDS"] == "140"


@pytest.mark.parametrize(
    ("asked", "before", "after"), [(True, None, True), (False, True, False), (None, True, True)]
)
def test_tracing_is_as_asked_and_else_as_it_was(asked: bool | None, before: bool | None, after: bool) -> None:
    part = {} if before is None else {"xray": before}

    document = with_stage({**EMPTY, "stages": {"dev": part}}, "dev", OUTPUTS, SIZES, asked)

    assert document["stages"]["dev"]["xray"] is after


def test_writing_again_changes_nothing() -> None:
    once = with_stage(EMPTY, "dev", OUTPUTS, SIZES, True)

    assert with_stage(once, "dev", OUTPUTS, SIZES, None) == once
    assert EMPTY["stages"] == {}


def test_the_other_stages_stay() -> None:
    others = {"local": {"lambda_timeout": 140}, "prod": {"odd": [1, {"deep": None}]}}

    after = with_stage({**EMPTY, "stages": others}, "dev", OUTPUTS, SIZES, None)["stages"]

    assert list(after) == ["local", "prod", "dev"]
    assert {name: after[name] for name in others} == others


def test_the_functions_run_with_what_is_written() -> None:
    document = {**EMPTY, "stages": {"dev": configured({"environment_variables": {"MAX_LABELS": "7"}})}}

    for handler in SIZES:
        variables = Config("dev", handler, config_from_disk=document).environment_variables
        assert Settings.from_env(variables) == replace(settings_of("dev", OUTPUTS), max_labels=7)


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (
            {"environment_variables": {"MIN_CONFIDENCE": "110"}},
            "MIN_CONFIDENCE must be a number from 0 to 100",
        ),
        ({"lambda_timeout": 900}, "LABEL_TIMEOUT_SECONDS must be a whole number from 140 to 150, not '900'"),
        ({"environment_variables": {"MAX_LABELS": 7}}, 'MAX_LABELS of the stage dev must be in quotes: "7"'),
        (
            {"environment_variables": ["MAX_LABELS"]},
            "`environment_variables` in config.json must be an object",
        ),
        ({"lambda_functions": {"api_handler": 1}}, "`api_handler` in config.json must be an object"),
        (
            {"lambda_functions": {"api_handler": {"environment_variables": {"LOG_LEVEL": "LOUD"}}}},
            "LOG_LEVEL must be one of",
        ),
        (
            {"lambda_functions": {"recover": {"lambda_timeout": "60"}}},
            'recover in the stage dev must be a whole number of seconds, without quotes, not "60"',
        ),
        (
            {"lambda_functions": {"label_queued_image": {"lambda_timeout": "150"}}},
            "label_queued_image in the stage dev must be a whole number of seconds, without quotes",
        ),
        (
            {"lambda_functions": {"recover": {"lambda_timeout": 59}}},
            "lambda_timeout of recover in the stage dev must be at least 60 seconds, not 59",
        ),
        (
            {"lambda_functions": {"label_queued_image": {"lambda_timeout": 60}}},
            "lambda_timeout of label_queued_image in the stage dev must be at least 140 seconds, not 60",
        ),
        (
            {"lambda_functions": {"deliver_callback": {"lambda_timeout": 10}}},
            "lambda_timeout of deliver_callback in the stage dev must be at least 60 seconds, not 10",
        ),
        (
            {
                "lambda_timeout": 30,
                "lambda_functions": {name: {"lambda_timeout": 140} for name in configuration.LABELLERS},
            },
            "lambda_timeout of deliver_callback in the stage dev must be at least 60 seconds, not 30",
        ),
    ],
)
def test_a_stage_that_could_not_run_is_a_problem(part: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Problem) as problem:
        configured(part)

    assert complaint in problem.value.message


MANY = ", ".join(f"Label {number}" for number in range(100))


@pytest.mark.parametrize("labels", [{}, {"HIDDEN_LABELS": "é" * 800}], ids=["few", "many"])
def test_an_environment_that_lambda_takes_will_do(labels: dict[str, str]) -> None:
    variables = {"INCLUDE_LABELS": MANY, **labels}

    after = configured({"environment_variables": variables})["environment_variables"]

    assert {name: after[name] for name in variables} == variables


@pytest.mark.parametrize("place", ["of the stage", "of the function"])
def test_an_environment_that_is_too_large_for_lambda_is_a_problem(place: str) -> None:
    variables = {"INCLUDE_LABELS": MANY, "HIDDEN_LABELS": "é" * 1500, "EXCLUDE_CATEGORIES": "Dogs"}
    part: dict[str, Any] = {"environment_variables": variables}
    if place == "of the function":
        part = {"lambda_functions": {"recover": part}}

    with pytest.raises(Problem) as problem:
        configured(part)

    size = f"{len(MANY) + len('INCLUDE_LABELS'):,}"
    assert "bytes, and Lambda has room for 4,000: shorten them" in problem.value.message
    assert f"The longest are HIDDEN_LABELS (3,013), INCLUDE_LABELS ({size})" in problem.value.message


def test_changes_are_told_value_by_value() -> None:
    before = {"a": 1, "b": {"c": "x", "same": 0}, "gone": 1}
    after = {"a": 2, "b": {"c": "y", "same": 0, "new": [1]}, "d": {"e": True}}

    assert list(changes(before, after, "dev")) == [
        "dev.a: 2 (was 1)",
        'dev.b.c: "y" (was "x")',
        "dev.b.new: [1]",
        "dev.d.e: true",
    ]


def write(stage: Stage, account: Account, xray: bool | None = None) -> list[str]:
    return configuration.write(stage, account, ALL_OUTPUTS, xray)


def test_a_stage_is_written_with_its_policies(stage: Stage, account: Account) -> None:
    written = write(stage, account)

    files = [f".chalice/policies/{stage.name}/{handler}.json" for handler in HANDLERS]
    assert written == [*files, f"config.json: the stage {stage.name}"]
    policy = json.loads((stage.policies_folder / f"{LABELLER}.json").read_text())
    resources = [resource for statement in policy["Statement"] for resource in statement["Resource"]]
    assert f"arn:aws:s3:::{OUTPUTS['ImagesBucket']}/*" in resources
    assert (
        f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/{stage.prefix}-{LABELLER}:*" in resources
    )
    assert write(stage, account) == []


def test_a_change_is_told_and_written(stage: Stage, account: Account) -> None:
    write(stage, account)

    written = write(stage, account, xray=True)

    assert f"{stage.name}.xray: true" in written
    assert ".chalice/policies/" + f"{stage.name}/{API_HANDLER}.json" in written
    assert "xray:PutTraceSegments" in (stage.policies_folder / f"{API_HANDLER}.json").read_text()


def test_the_policy_of_a_function_that_is_no_more_goes(stage: Stage, account: Account) -> None:
    write(stage, account)
    stale = stage.policies_folder / "former.json"
    stale.write_text("{}")

    assert write(stage, account) == [f".chalice/policies/{stage.name}/former.json (removed)"]
    assert not stale.exists()


@pytest.mark.parametrize(
    "manner",
    [
        {"indent": 2},
        {"indent": 4},
        {"indent": "\t"},
        {"indent": 2, "ensure_ascii": False},
    ],
    ids=["two", "four", "tab", "unicode"],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_rest_of_the_file_stays_byte_for_byte(
    stage: Stage, account: Account, manner: dict[str, Any], end: str
) -> None:
    document = {**EMPTY, "stages": {"prod": {"tags": {"who": "Zoë", "n": 1.0, "list": [1, []]}}}}
    before = json.dumps(document, **manner) + end
    stage.config_file.write_text(before)

    write(stage, account)
    written = stage.config_file.read_text()
    configuration.forget(stage)

    assert before.partition('"prod"')[2].partition("}")[0] in written
    assert stage.config_file.read_text() == before


def test_a_stage_is_forgotten_with_its_files_and_no_other(stage: Stage, account: Account) -> None:
    other = Stage("other", stage.project)
    for each in (stage, other):
        write(each, account)
        each.deployed_file.parent.mkdir(exist_ok=True)
        each.deployed_file.write_text("{}")

    configuration.forget(stage)

    assert list(stage.document()["stages"]) == ["local", "other"]
    assert [path.name for path in (stage.project / ".chalice/policies").iterdir()] == ["other"]
    assert list(stage.deployed_file.parent.iterdir()) == [other.deployed_file]
    configuration.forget(stage)


def test_a_file_of_somebody_elses_among_the_policies_stays(stage: Stage, account: Account) -> None:
    write(stage, account)
    (stage.policies_folder / ".DS_Store").touch()

    configuration.forget(stage)

    assert [path.name for path in stage.policies_folder.iterdir()] == [".DS_Store"]


def test_what_would_fail_after_cloudformations_work_fails_before_it(stage: Stage, account: Account) -> None:
    configuration.check(stage)
    part = {"environment_variables": {"LOG_LEVEL": "LOUD"}}
    stage.config_file.write_text(json.dumps({"stages": {stage.name: part}}))

    with pytest.raises(Problem, match="LOG_LEVEL must be one of"):
        configuration.check(stage)


def test_what_cloudformation_will_name_is_counted_before_its_work(stage: Stage, account: Account) -> None:
    part = {"environment_variables": {"HIDDEN_LABELS": "x" * 3000}}
    stage.config_file.write_text(json.dumps({"stages": {stage.name: part}}))

    with pytest.raises(Problem, match="Lambda has room for 4,000"):
        configuration.check(stage)
