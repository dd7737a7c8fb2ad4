import sys
from pathlib import Path

import pytest

from ops.cold_start import ColdStart, ImportFailed


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text("import json\nimport parts.first\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/__init__.py").write_text("")
    (tmp_path / "parts/first.py").write_text("import other\n")
    (tmp_path / "other.py").write_text("sum(range(100_000))\n")
    return tmp_path


def test_an_import_takes_time(task: Path) -> None:
    by_clock, of_work = ColdStart(task, {}).seconds("app")

    assert by_clock > 0
    assert of_work > 0


def test_what_an_import_prints_is_not_its_time(task: Path) -> None:
    (task / "app.py").write_text("print('1 2')\n")

    assert 0 < ColdStart(task, {}).seconds("app")[0] != 1


def test_only_the_folder_and_the_standard_library_are_seen(task: Path) -> None:
    start = ColdStart(task, {})

    for module in ("pytest", "ops", "site_packages_of_the_user"):
        with pytest.raises(ImportFailed, match=f"^ModuleNotFoundError: No module named '{module}'$"):
            start.seconds(module)


def test_only_the_given_environment_is_seen(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "of this machine")
    monkeypatch.setenv("PYTHONPATH", str(task.parent))
    (task / "app.py").write_text("import os\nassert os.environ.get('WORD') == 'given'\n")

    assert ColdStart(task, {"WORD": "given"}).seconds("app")
    with pytest.raises(ImportFailed, match=r"^AssertionError$"):
        ColdStart(task, {}).seconds("app")


def test_a_process_that_ends_without_a_word_failed(task: Path) -> None:
    (task / "app.py").write_text("import os\nos._exit(7)\n")

    with pytest.raises(ImportFailed, match=r"^exit 7$"):
        ColdStart(task, {}).seconds("app")


def test_an_import_leaves_no_bytecode_as_lambda_keeps_none(task: Path) -> None:
    ColdStart(task, {}).seconds("app")

    assert not list(task.rglob("__pycache__"))


def test_an_import_can_be_made_to_do_without_the_bytecode_there(task: Path) -> None:
    cache = task / f"__pycache__/other.{sys.implementation.cache_tag}.pyc"
    cache.parent.mkdir()
    cache.write_bytes(b"that Python refuses to read")
    (task / "app.py").write_text(
        "import other\nassert other.__cached__ is None or 'nowhere' in other.__cached__\n"
    )

    assert ColdStart(task, {}).seconds("app", bytecode=False)
    with pytest.raises(ImportFailed, match=r"^AssertionError$"):
        ColdStart(task, {}).seconds("app")


def test_the_time_is_told_by_what_stands_at_the_top(task: Path) -> None:
    spent = ColdStart(task, {}).slowest("app")

    assert {"app", "parts", "other", "the standard library"} == set(spent)
    assert spent["other"] > 0
