import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.endpoint import Endpoint
from ops.account import Account
from ops.inventory import Inventory
from ops.stack import Stack
from ops.stage import Stage
from tests.conftest import ROOT
from tests.ops.conftest import HANDLERS, Chalice, Operator, Screen
from tests.ops.deployment import Deployment


def files(project: Path) -> dict[str, bytes]:
    folder = project / ".chalice"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "deployments" not in path.parts
    }


def test_a_stage_is_made_and_a_second_run_changes_nothing(
    operate: Operator, stage: Stage, stack: Stack
) -> None:
    first = operate("resources", "--stage", stage.name)
    before = files(stage.project)
    second = operate("resources", "--stage", stage.name)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.splitlines()[-2 - len(HANDLERS) :] == [
        f"The stack {stage.stack_name} is as planned.",
        *(f".chalice/policies/{stage.name}/{handler}.json" for handler in HANDLERS),
        f"config.json: the stage {stage.name}",
    ]
    assert second.stdout.splitlines() == [
        f"The stack {stage.stack_name} needs no change.",
        "The stage in .chalice needs no change.",
    ]
    assert files(stage.project) == before
    assert stage.config()["environment_variables"]["IMAGES_BUCKET"] == stack.outputs["ImagesBucket"]


def parameters(stack: Stack) -> dict[str, str]:
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.describe()["Parameters"]}


def test_options_are_parameters_and_stay_until_they_are_given_again(
    operate: Operator, stage: Stage, stack: Stack
) -> None:
    operate("resources", "--stage", stage.name)
    defaults = parameters(stack)
    given = [
        *("--alarm-email", "me@example.com"),
        *("--daily-budget", "2.5"),
        *("--upload-origin", "https://a.example", "--upload-origin", "http://localhost:8000"),
        *("--api-rate-limit", "5", "--api-burst-limit", "7"),
    ]

    said = operate("resources", "--stage", stage.name, *given).stdout
    once = parameters(stack)
    operate("resources", "--stage", stage.name, "--api-rate-limit", "6")
    twice = parameters(stack)
    operate("resources", "--stage", stage.name, "--alarm-email", "", "--daily-budget", "0")

    assert defaults == {
        "Stage": stage.name,
        "AlarmEmail": "",
        "DailyBudget": "0",
        "UploadOrigins": "*",
        "ApiRateLimit": "50",
        "ApiBurstLimit": "100",
    }
    assert once == {
        "Stage": stage.name,
        "AlarmEmail": "me@example.com",
        "DailyBudget": "2.5",
        "UploadOrigins": "https://a.example,http://localhost:8000",
        "ApiRateLimit": "5",
        "ApiBurstLimit": "7",
    }
    assert "AWS sends a mail to the address for alarms" in said
    assert twice == {**once, "ApiRateLimit": "6"}
    assert parameters(stack) == {**twice, "AlarmEmail": "", "DailyBudget": "0"}


@pytest.mark.parametrize(
    "options",
    [
        ("--alarm-email", "nobody"),
        ("--daily-budget", "-1"),
        ("--daily-budget", "nan"),
        ("--upload-origin", "example.com"),
        ("--upload-origin", "https://a.example/"),
        ("--upload-origin", "https://a.example,https://b.example"),
        ("--api-rate-limit", "0"),
        ("--api-burst-limit", "many"),
        ("--unknown", "1"),
    ],
    ids="=".join,
)
def test_an_option_that_makes_no_sense_is_refused(
    operate: Operator, stage: Stage, stack: Stack, options: tuple[str, ...]
) -> None:
    done = operate("resources", "--stage", stage.name, *options)

    assert done.exit_code == 2
    assert "Usage: " in done.stderr
    assert stack.status is None


def test_tracing_is_written_with_its_rights(operate: Operator, stage: Stage) -> None:
    operate("resources", "--stage", stage.name, "--xray")
    on = files(stage.project)
    kept = operate("resources", "--stage", stage.name)
    operate("resources", "--stage", stage.name, "--no-xray")

    policy = f"policies/{stage.name}/api_handler.json"
    assert b"xray:PutTraceSegments" in on[policy]
    assert kept.stdout.endswith("The stage in .chalice needs no change.\n")
    assert b"xray:PutTraceSegments" not in files(stage.project)[policy]
    assert stage.config()["xray"] is False


def test_a_region_without_rekognition_is_refused_before_anything_is_made(
    operate: Operator, stage: Stage, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    there = Stack(account.session.client("cloudformation", region_name="eu-north-1"), stage.stack_name)

    refused = operate("resources", "--stage", stage.name)
    before = there.status
    made = operate("resources", "--stage", stage.name, "--any-region")

    assert (refused.exit_code, before) == (1, None)
    assert "The region eu-north-1 is not known to have Rekognition" in refused.stderr
    assert (made.exit_code, there.status) == (0, "CREATE_COMPLETE")


@pytest.mark.thorough
def test_tracing_ends_before_chalice_takes_its_rights(
    operate: Operator, chalice: Chalice, stage: Stage
) -> None:
    operate("resources", "--stage", stage.name, "--xray")
    chalice("deploy")

    on = operate("resources", "--stage", stage.name)
    off = operate("resources", "--stage", stage.name, "--no-xray")

    assert "traces no more" not in on.stdout
    assert sorted(off.stdout.splitlines()[-len(HANDLERS) :]) == sorted(
        f"{stage.function_name(handler)}: traces no more" for handler in HANDLERS
    )


@pytest.mark.parametrize(
    ("given", "meant"), [("0.00", "0"), ("00", "0"), ("007.50", "7.5"), ("100", "100"), ("0.01", "0.01")]
)
def test_a_budget_has_one_form(operate: Operator, stage: Stage, stack: Stack, given: str, meant: str) -> None:
    operate("resources", "--stage", stage.name, "--daily-budget", given)

    assert parameters(stack)["DailyBudget"] == meant


@pytest.mark.parametrize("command", ["resources", "destroy", "status", "finish"])
@pytest.mark.parametrize("name", ["", "Dev", "dev-notify", "../dev", "local", "dev;ls", "[red]", "a" * 16])
def test_a_name_that_is_none_is_refused(operate: Operator, command: str, name: str) -> None:
    done = operate(command, "--stage", name)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("command", ["resources", "destroy", "status", "finish"])
def test_without_a_name_there_is_nothing_to_do(operate: Operator, command: str) -> None:
    done = operate(command)

    assert done.exit_code == 2
    assert "Missing option '--stage'" in done.stderr


@pytest.mark.thorough
def test_two_stages_live_side_by_side(operate: Operator, stage: Stage, account: Account) -> None:
    other = Stage(f"{stage.name}x", stage.project)
    operate("resources", "--stage", stage.name, "--api-rate-limit", "5")
    one = stage.config()

    operate("resources", "--stage", other.name)

    assert stage.config() == one
    assert list(stage.document()["stages"]) == ["local", stage.name, other.name]
    assert other.config()["environment_variables"]["IMAGES_TABLE"] == other.images_table
    operate("destroy", "--stage", other.name, "--yes", "--delete-data")
    assert stage.config() == one
    assert len(Inventory(stage, account).buckets) == 3
    again = operate("resources", "--stage", stage.name)
    assert again.stdout.splitlines()[0] == f"The stack {stage.stack_name} needs no change."


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "is not JSON"), ('{"stages": []}', "has no `stages`")],
)
@pytest.mark.parametrize("command", ["resources", "destroy", "status"])
def test_a_broken_config_is_told_before_anything_is_done(
    operate: Operator, stage: Stage, stack: Stack, command: str, text: str, complaint: str
) -> None:
    stage.config_file.write_text(text)

    done = operate(command, "--stage", stage.name)

    assert done.exit_code == 1
    assert complaint in done.stderr
    assert stack.status is None
    assert stage.config_file.read_text() == text


def test_a_setting_that_cannot_be_is_told_before_anything_is_made(
    operate: Operator, stage: Stage, stack: Stack
) -> None:
    part = {"environment_variables": {"MIN_CONFIDENCE": "lots"}}
    stage.config_file.write_text(json.dumps({"stages": {stage.name: part}}))

    done = operate("resources", "--stage", stage.name)

    assert done.exit_code == 1
    assert "MIN_CONFIDENCE must be a number from 0 to 100, not 'lots'" in done.stderr
    assert stack.status is None


@pytest.mark.parametrize(
    "command", [("resources",), ("finish",), ("destroy", "--yes"), ("status",)], ids=lambda it: it[0]
)
def test_a_stage_of_another_account_is_left_alone(
    operate: Operator, stage: Stage, resources: Stack, command: tuple[str, ...]
) -> None:
    variables = {"IMAGES_BUCKET": f"image-labeller-{stage.name}-210987654321-eu-west-1"}
    stage.config_file.write_text(json.dumps({"stages": {stage.name: {"environment_variables": variables}}}))

    done = operate(*command, "--stage", stage.name)

    assert done.exit_code == 1
    assert "is in account 210987654321, region eu-west-1" in done.stderr
    assert resources.status == "CREATE_COMPLETE"


def test_a_stack_that_fails_is_told_and_tried_again(
    operate: Operator, stage: Stage, session: boto3.Session, stack: Stack
) -> None:
    sqs = session.client("sqs")
    url = sqs.create_queue(QueueName=f"{stage.prefix}-callbacks")["QueueUrl"]

    failed = operate("resources", "--stage", stage.name)
    sqs.delete_queue(QueueUrl=url)
    again = operate("resources", "--stage", stage.name)

    assert failed.exit_code == 1
    assert "CREATE_FAILED CallbacksQueue" in failed.stdout
    assert "(ROLLBACK_COMPLETE):\n  CallbacksQueue (AWS::SQS::Queue): " in failed.stderr
    assert "already exists" in failed.stderr
    assert stage.name in stage.document()["stages"]
    assert again.exit_code == 0
    assert stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")


def test_what_cloudformation_refuses_is_told(operate: Operator, stage: Stage) -> None:
    (stage.project / ".chalice/resources.yaml").write_text("Resources: [odd]")

    done = operate("resources", "--stage", stage.name)

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: AWS refuses CreateChangeSet: ")


def test_several_apis_stop_the_deployment(operate: Operator, stage: Stage, deployment: Deployment) -> None:
    function = deployment.function("api_handler")
    deployment.api(function)
    deployment.api(function)

    done = operate("resources", "--stage", stage.name)

    assert done.exit_code == 1
    assert f"The stage {stage.name} has 2 APIs" in done.stderr


@pytest.mark.thorough
def test_a_stage_lives(operate: Operator, chalice: Chalice, stage: Stage, inventory: Inventory) -> None:
    operate("resources", "--stage", stage.name)
    chalice("deploy")
    unfinished = operate("status", "--stage", stage.name).stdout
    finished = operate("finish", "--stage", stage.name)
    whole = operate("status", "--stage", stage.name).stdout
    [api] = inventory.apis

    assert f"`python -m ops finish --stage {stage.name}`" in unfinished
    assert finished.exit_code == 0
    assert "`" not in whole
    assert api["id"] in whole

    stage.deployed_file.unlink()
    lost = operate("status", "--stage", stage.name).stdout
    restored = operate("resources", "--stage", stage.name).stdout
    chalice("deploy")

    assert f"`python -m ops resources --stage {stage.name}`" in lost
    assert f"did not know the API https://{api['id']}.execute-api" in restored
    assert [each["id"] for each in inventory.apis] == [api["id"]]
    assert stage.deployed()["rest_api"]["rest_api_id"] == api["id"]
    functions = {
        each for each in stage.deployed() if stage.deployed()[each]["resource_type"] == "lambda_function"
    }
    assert functions == set(HANDLERS)

    destroyed = operate("destroy", "--stage", stage.name, "--yes")
    again = operate("destroy", "--stage", stage.name, "--yes")

    assert destroyed.stdout.splitlines()[-3] == f"The stage {stage.name} is gone."
    assert again.stdout.startswith(f"There is nothing of the stage {stage.name} in ")
    assert inventory.functions == []

    taken_up = operate("resources", "--stage", stage.name)
    chalice("deploy")

    assert taken_up.exit_code == 0
    assert [line for line in taken_up.stdout.splitlines() if line.startswith("taken up again  ImageBucket")]
    operate("destroy", "--stage", stage.name, "--yes", "--delete-data")
    assert (inventory.buckets, inventory.apis, stage.config()) == ([], [], {})


@pytest.mark.thorough
def test_a_deployment_that_ended_half_way_goes_on_with_its_api(
    operate: Operator, chalice: Chalice, stage: Stage, deployment: Deployment, inventory: Inventory
) -> None:
    operate("resources", "--stage", stage.name)
    api = deployment.api(deployment.function("api_handler"), deployed=False)

    said = operate("resources", "--stage", stage.name).stdout
    chalice("deploy")

    assert f"did not know the API https://{api}." in said
    assert [each["id"] for each in inventory.apis] == [api]
    assert stage.deployed()["rest_api"]["rest_api_id"] == api


@pytest.mark.thorough
def test_where_the_noted_api_is_gone_chalice_makes_another(
    operate: Operator, chalice: Chalice, stage: Stage, inventory: Inventory, session: boto3.Session
) -> None:
    operate("resources", "--stage", stage.name)
    chalice("deploy")
    gone = stage.deployed()["rest_api"]["rest_api_id"]
    session.client("apigateway").delete_rest_api(restApiId=gone)

    said = operate("resources", "--stage", stage.name).stdout
    chalice("deploy")

    assert f"The API {gone} is gone: `chalice deploy` makes a new one" in said
    [api] = inventory.apis
    assert stage.deployed()["rest_api"]["rest_api_id"] == api["id"] != gone


APP_WITH_SOURCES = """
import os
from chalice import Chalice

app = Chalice(app_name="image-labeller", configure_logs=False)

@app.route("/health")
def health():
    return {}

@app.on_sqs_message(queue_arn=os.environ["QUEUE"])
def queued(event):
    pass

@app.on_dynamodb_record(os.environ["STREAM"])
def written(event):
    pass
"""
POLICIES_WITH_SOURCES = """
every_function:
  All: {actions: ["sqs:*", "dynamodb:*"], resources: ["*"]}
with_xray:
  All: {actions: ["xray:*"], resources: ["*"]}
functions:
  api_handler: {More: {actions: ["s3:*"], resources: ["*"]}}
  queued: {More: {actions: ["s3:*"], resources: ["*"]}}
  label_uploaded_image: {More: {actions: ["s3:*"], resources: ["*"]}}
  written: {More: {actions: ["s3:*"], resources: ["*"]}}
"""


@pytest.mark.thorough
def test_lost_event_sources_are_not_made_twice(
    operate: Operator, chalice: Chalice, stage: Stage, stack: Stack, inventory: Inventory
) -> None:
    (stage.project / "app.py").write_text(APP_WITH_SOURCES)
    (stage.project / ".chalice/policies.yaml").write_text(POLICIES_WITH_SOURCES)
    operate("resources", "--stage", stage.name)
    document = stage.document()
    document["stages"][stage.name]["environment_variables"] |= {
        "QUEUE": stack.outputs["LabellingQueueArn"],
        "STREAM": stack.outputs["ImagesStreamArn"],
    }
    stage.config_file.write_text(json.dumps(document))
    chalice("deploy")
    noted = stage.deployed()
    stage.deployed_file.unlink()

    operate("resources", "--stage", stage.name)
    chalice("deploy")

    assert stage.deployed() == noted
    assert len([mapping for function in inventory.functions for mapping in inventory.mappings(function)]) == 2
    operate("destroy", "--stage", stage.name, "--yes", "--delete-data")
    assert inventory.functions == []


@pytest.fixture
def copied(project: Path) -> Path:
    """A whole project of the test's own, to run as a process."""
    for name in ("ops", "chalicelib"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    return project


@pytest.mark.thorough
def test_without_a_terminal_nothing_is_destroyed(
    copied: Path, stage: Stage, resources: Stack, endpoint: Endpoint
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops", "destroy", "--stage", stage.name],
        cwd=copied,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "Error: This asks before it begins: run it on a terminal, or with --yes.\n"
    assert ["goes", "stack", f"{stage.stack_name},", "CREATE_COMPLETE"] in [
        line.split() for line in done.stdout.splitlines()
    ]
    assert resources.status == "CREATE_COMPLETE"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("typed", "code", "status"),
    [("{stage}", 0, None), ("no", 1, "CREATE_COMPLETE"), ("", 1, "CREATE_COMPLETE")],
)
def test_on_a_terminal_the_stages_name_must_be_typed(
    copied: Path, stage: Stage, resources: Stack, typed: str, code: int, status: str | None
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ops", "destroy", "--stage", stage.name],
        cwd=copied,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.write(ours, f"{typed.format(stage=stage.name)}\n".encode())
        output, errors = process.communicate()
    os.close(ours)
    os.close(theirs)

    assert f"Type {stage.name} to go on" in output
    assert (process.returncode, resources.status) == (code, status)
    assert errors == ("" if code == 0 else "Error: Nothing was removed.\n")


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """The Makefile with commands that only say how they were called; that in FAILS fails, ONCE or always."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    commands = tmp_path / ".venv/bin"
    commands.mkdir(parents=True)
    for name in ("python", "chalice", "sleep"):
        script = (
            f'#!/bin/sh\necho "{name} $*"\n'
            'case "$*" in *"${FAILS:-nothing at all}"*)\n'
            '  mkdir "${ONCE:-/}" 2>&- || [ -z "$ONCE" ] && exit 3;;\n'
            "esac\nexit 0\n"
        )
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    for name in ("requirements.txt", "requirements-dev.txt", ".venv/installed"):
        (tmp_path / name).touch()

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value for name, value in os.environ.items() if name not in ("STAGE", "MAKEFLAGS")
        }
        return subprocess.run(
            ["make", "--silent", *arguments],
            cwd=tmp_path,
            env={**environment, "PATH": f"{commands}:{environment['PATH']}", **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_make_deploys_in_four_steps(make: Any) -> None:
    done = make("deploy", "STAGE=dev", "ARGS=--alarm-email me@example.com")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "python -m ops package --check --stage dev",
        "python -m ops resources --stage dev --alarm-email me@example.com",
        "chalice deploy --stage dev",
        "python -m ops finish --stage dev",
    ]


@pytest.mark.parametrize(("failing", "steps"), [("package", 1), ("resources", 2), ("finish", 4)])
def test_make_stops_at_the_step_that_fails(make: Any, failing: str, steps: int) -> None:
    done = make("deploy", "STAGE=dev", FAILS=failing)

    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == steps


@pytest.mark.thorough
def test_a_secret_that_is_taken_up_keeps_its_value(
    operate: Operator, stage: Stage, session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, apply = session.client("secretsmanager"), Stack.apply

    def value() -> str:
        found = client.get_secret_value(SecretId=stage.secret, VersionStage="AWSCURRENT")
        return str(found["SecretString"])

    def apply_and_regenerate(*arguments: Any, **more: Any) -> Any:
        changes = apply(*arguments, **more)
        client.put_secret_value(SecretId=stage.secret, SecretString="generated")
        return changes

    operate("resources", "--stage", stage.name)
    before = value()
    operate("destroy", "--stage", stage.name, "--yes")
    monkeypatch.setattr(Stack, "apply", apply_and_regenerate)

    said = operate("resources", "--stage", stage.name).stdout

    assert value() == before
    assert f"CloudFormation gave the secret {stage.secret} a new value" in said


MORE = "--any-region"
SECOND_TRY = [
    "AWS may need a moment to see what is new: the same once more, in 15 seconds.",
    "sleep 15",
    f"python -m ops resources --stage dev {MORE}",
    "chalice deploy --stage dev",
]


def test_make_lets_chalice_try_again_once_its_record_is_whole(make: Any, tmp_path: Path) -> None:
    done = make("deploy", "STAGE=dev", f"ARGS={MORE}", FAILS="deploy", ONCE=str(tmp_path / "failed"))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2:] == [
        "chalice deploy --stage dev",
        *SECOND_TRY,
        "python -m ops finish --stage dev",
    ]


def test_make_stops_where_chalice_fails_twice(make: Any) -> None:
    done = make("deploy", "STAGE=dev", f"ARGS={MORE}", FAILS="deploy")

    assert done.returncode == 2
    assert done.stdout.splitlines()[2:] == ["chalice deploy --stage dev", *SECOND_TRY]


def test_make_destroys(make: Any) -> None:
    done = make("destroy", "STAGE=dev", "ARGS=--delete-data --yes")

    assert done.stdout == "python -m ops destroy --stage dev --delete-data --yes\n"


@pytest.mark.parametrize("target", ["deploy", "destroy"])
def test_make_wants_a_stage(make: Any, target: str) -> None:
    done = make(target)

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"Name the stage, as in: make {target} STAGE=dev." in done.stderr


def test_make_takes_a_stages_name_as_it_is(make: Any) -> None:
    done = make("destroy", "STAGE=a b; $(HOME) `ls` $$(ls)")

    assert done.stdout.startswith("python -m ops destroy --stage a b; ")
    assert "`ls` $(ls)" in done.stdout


@pytest.mark.parametrize(
    "path", [".chalice/config.json", ".chalice/policies/dev/api_handler.json", ".chalice/deployed/dev.json"]
)
def test_what_the_deployer_commits_is_not_ignored(path: str) -> None:
    assert subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode == 1


def test_what_is_built_is_ignored() -> None:
    command = ["git", "check-ignore", "--quiet", ".chalice/deployments/x.zip"]

    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_a_narrow_terminal_cuts_nothing_off(stage: Stage, stack: Stack) -> None:
    screen = Screen()
    screen.width = 40
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": stage.prefix}}}
    }

    stack.apply(json.dumps(template), {}, screen)

    assert "…" not in "".join(screen.lines)
