import json
import re
from pathlib import Path
from typing import Any

import pytest
from awscli.customizations.cloudformation.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from ops.account import Account
from ops.lambda_runtime import default_architecture
from ops.problems import Problem
from ops.stage import Stage, read_json, write_text
from tests.conftest import ROOT

IN_CONFIG = {"IMAGES_BUCKET": "image-labeller-dev-210987654321-eu-west-1"}


@pytest.fixture
def dev(project: Path) -> Stage:
    return Stage("dev", project)


def configure(stage: Stage, text: str) -> None:
    stage.config_file.write_text(text)


def configure_part(stage: Stage, part: Any) -> None:
    configure(stage, json.dumps({"stages": {stage.name: part}}))


@pytest.mark.parametrize("name", ["d", "dev", "a2345678901234x"])
def test_a_name_is_letters_and_digits(name: str) -> None:
    assert Stage(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1dev",
        "dev-notify",
        "Dev",
        "dev ",
        "dev\n",
        "a23456789012345x",
        "ä",
        "../x",
        "a/b",
        "$(x)",
        "dev;ls",
    ],
)
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="is no name for a stage"):
        Stage(name)


def test_the_stage_local_is_the_laptops() -> None:
    with pytest.raises(Problem, match="this machine's own"):
        Stage("local")


def test_names_follow_chalices(dev: Stage) -> None:
    assert dev.stack_name == "image-labeller-dev-resources"
    assert dev.function_name("api_handler") == "image-labeller-dev"
    assert dev.function_name("notify") == "image-labeller-dev-notify"
    assert dev.role_name("api_handler") == "image-labeller-dev-api_handler"


@pytest.mark.parametrize("handler", ["api_handler", "notify"])
def test_a_handler_is_told_by_its_functions_name(dev: Stage, handler: str) -> None:
    assert dev.handler(dev.function_name(handler)) == handler


@pytest.mark.parametrize(
    ("name", "owned"),
    [
        ("image-labeller-dev", True),
        ("image-labeller-dev-notify", True),
        ("image-labeller-dev2", False),
        ("image-labeller-dev2-notify", False),
        ("image-labeller-de", False),
        ("my-image-labeller-dev", False),
    ],
)
def test_a_stage_owns_what_bears_its_name(dev: Stage, name: str, owned: bool) -> None:
    assert dev.owns(name) is owned


def test_the_data_is_what_the_template_keeps(dev: Stage) -> None:
    template = yaml_parse((ROOT / ".chalice/resources.yaml").read_text())
    values = {"Stage": "dev", "AWS::AccountId": "123456789012", "AWS::Region": "us-east-1"}
    kept = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    ]

    named = [each.get("BucketName") or each.get("TableName") or each["Name"] for each in kept]
    names = [re.sub(r"\$\{(.+?)\}", lambda found: values[found[1]], name["Fn::Sub"]) for name in named]

    assert sorted(names) == sorted([*dev.buckets("123456789012", "us-east-1"), *dev.tables, dev.secret])


def test_the_longest_names_are_not_too_long() -> None:
    names = Stage("a" * 15).buckets("123456789012", "ap-southeast-1")

    assert max(map(len, names)) <= 63


def test_a_stage_that_config_does_not_name_has_no_part_of_it(dev: Stage) -> None:
    assert dev.config() == {}
    assert dev.handlers == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}{}", "is not JSON"),
        ("[]", "has no `stages`"),
        ('{"stages": []}', "has no `stages`"),
        ('{"stages": {"dev": 1}}', "must be an object"),
    ],
)
def test_a_config_that_cannot_be_used_is_a_problem(dev: Stage, text: str, complaint: str) -> None:
    configure(dev, text)

    with pytest.raises(Problem, match=complaint):
        dev.config()


def test_a_config_in_another_encoding_is_a_problem(dev: Stage) -> None:
    dev.config_file.write_bytes('{"stages": {"é": {}}}'.encode("latin-1"))

    with pytest.raises(Problem, match="is not JSON"):
        dev.config()


def test_a_missing_config_is_a_problem(dev: Stage) -> None:
    dev.config_file.unlink()

    with pytest.raises(Problem, match="There is no"):
        dev.config()


def test_handlers_that_are_no_object_are_none(dev: Stage) -> None:
    configure_part(dev, {"lambda_functions": 3})

    assert dev.handlers == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"stages": {"dev": {"lambda_architecture": "arm64"}}, "lambda_architecture": "x86_64"}, "arm64"),
        (
            {
                "stages": {"dev": {}, "other": {"lambda_architecture": "x86_64"}},
                "lambda_architecture": "arm64",
            },
            "arm64",
        ),
        ({"stages": {}}, default_architecture()),
    ],
    ids=["of the stage", "of all stages", "of this Python"],
)
def test_the_processor_is_the_configured_one(dev: Stage, document: dict[str, Any], expected: str) -> None:
    configure(dev, json.dumps(document))

    assert dev.architecture() == expected


def test_credentials_for_another_account_are_a_problem(dev: Stage, account: Account) -> None:
    configure_part(dev, {"environment_variables": IN_CONFIG})

    with pytest.raises(Problem) as problem:
        dev.check_home(account)

    assert "is in account 210987654321, region eu-west-1" in problem.value.message
    assert "these credentials are for account 123456789012, region us-east-1" in problem.value.message


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"environment_variables": 1},
        {"environment_variables": {"IMAGES_BUCKET": "my-own"}},
        {"environment_variables": {"IMAGES_BUCKET": "image-labeller-dev-123456789012-us-east-1"}},
    ],
)
def test_a_stage_that_is_nowhere_else_is_at_home(dev: Stage, account: Account, part: Any) -> None:
    configure_part(dev, part)

    dev.check_home(account)


def test_nothing_is_deployed_without_chalices_record(dev: Stage) -> None:
    assert dev.deployed() == {}


@pytest.mark.parametrize("text", ["[]", "{}", '{"resources": [{}]}', '{"resources": 1}'])
def test_a_record_that_is_not_chalices_is_a_problem(dev: Stage, text: str) -> None:
    write_text(dev.deployed_file, text)

    with pytest.raises(Problem, match="is not what Chalice writes"):
        dev.deployed()


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be read: Is a directory"):
        read_json(tmp_path)


def test_a_file_is_written_with_its_folder_and_only_if_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "new/file"

    assert write_text(path, "é\r\n")
    assert not write_text(path, "é\r\n")
    assert path.read_bytes() == "é\r\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)

    write_text(link, "new")

    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_a_problem_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder must be")

    with pytest.raises(Problem, match="cannot be written"):
        write_text(tmp_path / "file/below", "text")

    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert (tmp_path / "file").read_text() == "a file where a folder must be"
