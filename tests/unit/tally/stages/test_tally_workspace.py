"""The workspace: mirroring, changes that count, stage names, the lock."""

import fcntl
import os
from pathlib import Path

import pytest

from tally.errors import ExitCode, OperatorError
from tally.stages.workspace import RESERVED, Workspace, exclusive, fingerprint, mirror

DEAD_PID = "4194999"
"""Above the highest process id that Linux and macOS give out by default."""


def put(root: Path, name: str, content: str = "x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_mirroring_deletes_what_vanished_and_keeps_what_the_tools_wrote(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    put(source, "main.tf", "new")
    put(target, "main.tf", "old")
    put(target, "vanished.tf")
    put(target, "modules/gone/main.tf")
    kept = [
        put(target, name)
        for name in ("terraform.tfstate", "terraform.tfstate.backup", ".terraform.lock.hcl", ".chalice/deployed/s.json")
    ]
    mirror(source, target)
    assert (target / "main.tf").read_text() == "new"
    assert not (target / "vanished.tf").exists()
    assert not (target / "modules/gone/main.tf").exists()
    assert all(path.exists() for path in kept)


def test_mirroring_leaves_the_state_of_the_source_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    put(source, "terraform.tfstate")
    put(source, ".chalice/config.json")
    put(source, "prod.auto.tfvars")
    put(source, "app.py")
    mirror(source, target)
    assert [path.name for path in target.rglob("*")] == ["app.py"]


def test_a_change_that_deploys_changes_the_fingerprint_and_one_that_does_not_does_not(tmp_path: Path) -> None:
    put(tmp_path, "app.py", "1")
    before = fingerprint([tmp_path], "setting")
    put(tmp_path, "README.md")
    put(tmp_path, "tests/a.tftest.hcl")
    put(tmp_path, "__pycache__/app.pyc")
    assert fingerprint([tmp_path], "setting") == before
    assert fingerprint([tmp_path], "another setting") != before
    put(tmp_path, "app.py", "2")
    assert fingerprint([tmp_path], "setting") != before


@pytest.mark.parametrize("name", ["", "Prod", "9lives", "a_b", "ends-", "../up", "a" * 21, *sorted(RESERVED)])
def test_a_name_that_can_be_no_stage_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be the name of a stage") as refused:
        Workspace(repo=tmp_path, home=tmp_path).stage(name)
    assert refused.value.code is ExitCode.USAGE


def test_tally_home_isolates_a_stage(tmp_path: Path) -> None:
    assert Workspace.find({"TALLY_HOME": str(tmp_path)}).stage("local").root == tmp_path / "local"


def test_a_second_tally_on_the_same_stage_is_told_which_process_is_at_it(tmp_path: Path) -> None:
    lock = tmp_path / "local.lock"
    with (
        exclusive(lock, what="stage local", say=print),
        pytest.raises(OperatorError, match=rf"process {os.getpid()}\) is working on stage local"),
        exclusive(lock, what="stage local", say=print),
    ):
        pass


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "local.lock"
    with pytest.raises(ZeroDivisionError), exclusive(lock, what="x", say=print):
        raise ZeroDivisionError
    with exclusive(lock, what="x", say=print):
        pass


def test_an_orphaned_tool_of_a_killed_tally_is_waited_for(tmp_path: Path) -> None:
    lock = put(tmp_path, "local.lock", DEAD_PID)
    orphan = os.open(lock, os.O_RDWR)
    fcntl.flock(orphan, fcntl.LOCK_EX)
    said: list[str] = []
    with exclusive(lock, what="stage local", say=said.append, sleep=lambda _seconds: os.close(orphan)):
        assert said == ["A tool of an interrupted run still works on stage local; waiting for it to end."]


def test_an_orphaned_tool_that_does_not_end_is_given_up_on(tmp_path: Path) -> None:
    lock = put(tmp_path, "local.lock", DEAD_PID)
    times = iter(range(0, 10_000, 100))
    with lock.open("r+") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        with (
            pytest.raises(OperatorError, match="interrupted run still works"),
            exclusive(lock, what="x", say=print, sleep=lambda _seconds: None, clock=lambda: next(times)),
        ):
            pass
