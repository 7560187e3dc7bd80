"""Terraform and Chalice as Tally drives them: what is missing, what went wrong, what was packaged."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tally.errors import ChaliceError, OperatorError, TerraformError
from tally.tools.chalice import SHIPPED, ChaliceProject, runs_lambda_wheels
from tally.tools.subprocess import Finished, Runner
from tally.tools.terraform import Terraform, require, summary

CLI_CONFIG_WARNING = """There are some problems with the CLI configuration:
╷
│ Warning: Unable to open CLI configuration file
╵

"""


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    """Write a program and return an environment in which it, and the system's own, are found."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.defpath}"}


@pytest.fixture
def terraform_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Terraform]:
    """Return what makes a Terraform of a script, run in ``tmp_path``."""

    def make(script: str) -> Terraform:
        environ = program(tmp_path / "bin", "terraform", script)
        monkeypatch.setenv("PATH", environ["PATH"])
        return Terraform.at(tmp_path, Runner(env=environ, log=tmp_path / "log"))

    return make


def test_a_missing_terraform_is_one_line_that_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"not on PATH.*1\.9.*https://developer\.hashicorp\.com") as missing:
        require({"PATH": str(tmp_path)})
    assert "\n" not in str(missing.value)


@pytest.mark.parametrize(("version", "fits"), [("1.8.5", False), ("0.15.0", False), ("1.9.0", True), ("1.11.4", True)])
def test_versions_are_compared_as_numbers(tmp_path: Path, version: str, fits: bool) -> None:
    environ = program(tmp_path, "terraform", f"""echo '{{"terraform_version": "{version}"}}'""")
    if fits:
        assert require(environ) == version
    else:
        with pytest.raises(OperatorError, match=rf"is {version}: .*1\.9 or newer"):
            require(environ)


def test_a_failure_shows_terraforms_own_words_without_the_warning_about_its_configuration(
    tmp_path: Path, terraform_that: Callable[[str], Terraform]
) -> None:
    (tmp_path / "warning").write_text(CLI_CONFIG_WARNING)
    terraform = terraform_that("cat >&2 warning; echo 'Error: no such bucket' >&2; exit 1")
    with pytest.raises(TerraformError) as failed:
        terraform.apply({"stage": "local"})
    assert failed.value.detail == "Error: no such bucket"
    assert "Error: no such bucket" in (tmp_path / "log").read_text()


def test_variables_reach_terraform_and_their_file_is_removed(
    tmp_path: Path, terraform_that: Callable[[str], Terraform]
) -> None:
    script = 'for a in "$@"; do case $a in -var-file=*) f=${a#-var-file=}; cat $f >seen; echo $f >file;; esac; done'
    terraform = terraform_that(f"{script}; echo 'Apply complete! Resources: 1 added.'")
    assert terraform.apply({"stage": "local", "chunk_rows": 7}) == "Apply complete! Resources: 1 added."
    assert json.loads((tmp_path / "seen").read_text()) == {"stage": "local", "chunk_rows": 7}
    assert not Path((tmp_path / "file").read_text().strip()).exists()


def test_files_of_variables_come_before_the_variables_that_are_named_and_not_with_a_plan(tmp_path: Path) -> None:
    """Of two values Terraform takes the later one; a written plan has its values, and refuses others."""
    environ = program(tmp_path / "bin", "terraform", 'echo "$@" >>seen')
    runner = Runner(env={"PATH": environ["PATH"]}, log=tmp_path / "log")
    terraform = Terraform.at(tmp_path, runner, var_files=[Path("/etc/prod.tfvars")])
    terraform.command_line.terraform_bin_path = str(tmp_path / "bin" / "terraform")
    terraform.apply({"stage": "dev"})
    terraform.plan({"stage": "dev"}, tmp_path / "a.tfplan")
    terraform.adopt("aws_sqs_queue.this", "https://queue", {"stage": "dev"})
    terraform.apply_plan(tmp_path / "a.tfplan")
    *with_variables, with_plan = (tmp_path / "seen").read_text().splitlines()
    for line in with_variables:
        files = [word for word in line.split() if word.startswith("-var-file=")]
        assert (len(files), files[0]) == (2, "-var-file=/etc/prod.tfvars")
    assert with_variables[-1].endswith("aws_sqs_queue.this https://queue")
    assert "-var-file" not in with_plan


def test_a_destruction_does_not_ask_and_says_what_went(
    tmp_path: Path, terraform_that: Callable[[str], Terraform]
) -> None:
    """Without python-terraform's own -force, which Terraform has no longer."""
    terraform = terraform_that('echo "$@" >seen; echo "Destroy complete! Resources: 3 destroyed."')
    assert terraform.destroy({"stage": "dev"}) == "Destroy complete! Resources: 3 destroyed."
    seen = (tmp_path / "seen").read_text().split()
    assert seen[0] == "destroy"
    assert "-auto-approve" in seen
    assert "-force" not in seen


def test_only_some_resources_can_be_applied_to(tmp_path: Path, terraform_that: Callable[[str], Terraform]) -> None:
    terraform = terraform_that('echo "$@" >seen')
    terraform.apply({"stage": "dev"}, targets=["module.table", "module.inbox"])
    assert {"-target=module.table", "-target=module.inbox"} <= set((tmp_path / "seen").read_text().split())
    terraform.apply({"stage": "dev"})
    assert "-target" not in (tmp_path / "seen").read_text()


def test_the_state_is_read_without_what_is_merely_looked_up(
    tmp_path: Path, terraform_that: Callable[[str], Terraform]
) -> None:
    """From the root and from every module below it; a state that holds nothing says so."""
    table = {"address": "module.table.aws_dynamodb_table.this[0]", "mode": "managed", "type": "aws_dynamodb_table"}
    account = {"address": "data.aws_caller_identity.current", "mode": "data", "type": "aws_caller_identity"}
    modules = [{"resources": [{**table, "values": {"name": "t"}}]}]
    state = {"values": {"root_module": {"resources": [{**account, "values": {}}], "child_modules": modules}}}
    (tmp_path / "state").write_text(json.dumps(state))
    terraform = terraform_that("cat state")
    assert [(one.type, one.values) for one in terraform.resources()] == [("aws_dynamodb_table", {"name": "t"})]
    (tmp_path / "state").write_text('{"format_version":"1.0"}')
    assert terraform.resources() == []


def test_only_what_an_apply_would_create_is_planned(tmp_path: Path, terraform_that: Callable[[str], Terraform]) -> None:
    """With what is known of it; what is there already, changed or not, is left out."""
    changes = [
        {"address": f"aws_sqs_queue.{name}", "type": "aws_sqs_queue", "change": {"actions": actions, "after": after}}
        for name, actions, after in [
            ("new", ["create"], {"name": "new"}),
            ("kept", ["no-op"], {"name": "kept"}),
            ("replaced", ["delete", "create"], {"name": "replaced"}),
            ("gone", ["delete"], None),
        ]
    ]
    (tmp_path / "plan").write_text(json.dumps({"resource_changes": changes}))
    terraform = terraform_that('case "$1" in show) cat plan;; esac')
    assert [(one.address, one.values) for one in terraform.planned({}, tmp_path / "tfplan")] == [
        ("aws_sqs_queue.new", {"name": "new"})
    ]


def test_workspaces_are_listed_and_the_default_one_is_kept(
    tmp_path: Path, terraform_that: Callable[[str], Terraform]
) -> None:
    script = 'echo "$@" >>seen; case "$*" in *list*) printf "  default\\n* dev\\n\\n";; esac'
    terraform = terraform_that(script)
    assert terraform.workspaces() == {"default", "dev"}
    terraform.delete_workspace("dev")
    terraform.delete_workspace("default")
    assert [line for line in (tmp_path / "seen").read_text().splitlines() if "delete" in line] == [
        "workspace delete dev"
    ]


def test_the_summary_is_terraforms_last_word() -> None:
    assert summary("Plan: 3 to add, 0 to change.\nsomething\n") == "Plan: 3 to add, 0 to change."
    assert summary("nothing of the kind") == ""


def project(tmp_path: Path, *packaged: str) -> ChaliceProject:
    deployments = tmp_path / ".chalice/deployments"
    deployments.mkdir(parents=True)
    with ZipFile(deployments / "a.zip", "w") as package:
        for name in packaged:
            package.writestr(name, "")
    return ChaliceProject(folder=tmp_path, stage="local")


def test_a_package_with_every_requirement_passes(tmp_path: Path) -> None:
    project(tmp_path, *SHIPPED.values()).check_package()


@pytest.mark.parametrize("missing", sorted(SHIPPED))
def test_a_package_without_a_requirement_is_refused_and_not_used_again(tmp_path: Path, missing: str) -> None:
    broken = project(tmp_path, *(file for name, file in SHIPPED.items() if name != missing))
    with pytest.raises(ChaliceError, match=f"lacks {missing}"):
        broken.check_package()
    assert not list(tmp_path.glob(".chalice/deployments/*.zip"))


@pytest.mark.parametrize("torn", ["unreadable", "without a source"])
def test_a_package_that_an_interrupt_left_is_not_deployed(tmp_path: Path, torn: str) -> None:
    """Chalice finds a package of the right name, and uploads it without a look."""
    (tmp_path / "chalicelib" / "steps").mkdir(parents=True)
    for source in ("app.py", "chalicelib/rows.py", "chalicelib/steps/plan.py"):
        (tmp_path / source).write_text("")
    chalice = project(tmp_path, "app.py", "chalicelib/rows.py", "chalicelib/steps/plan.py")
    whole, broken = tmp_path / ".chalice/deployments/a.zip", tmp_path / ".chalice/deployments/b.zip"
    if torn == "unreadable":
        broken.write_bytes(whole.read_bytes()[:-30])
    else:
        with ZipFile(broken, "w") as package:
            package.writestr("app.py", "")
    chalice.deploy(_runs_nothing())
    assert (whole.exists(), broken.exists()) == (True, False)


def test_a_refusal_of_chalice_is_explained_with_the_place_of_the_log(tmp_path: Path) -> None:
    finished = Finished(1, "", "ExpiredTokenException: The security token included in the request is expired")
    with pytest.raises(ChaliceError, match=r"credentials have expired.*then run this again.*\(log: .*log\)") as failed:
        project(tmp_path).deploy(_runs_nothing(finished))
    assert "ExpiredTokenException" in failed.value.detail


def _runs_nothing(finished: Finished | None = None) -> Any:
    class Nothing(Runner):
        def __call__(self, _argv: Sequence[str], *, cwd: Path) -> Finished:
            return finished or Finished(0, "", "")

    return Nothing(env={}, log=Path("log"))


def test_a_configuration_of_another_stage_is_not_rendered(tmp_path: Path) -> None:
    chalice = ChaliceProject(folder=tmp_path, stage="local")
    with pytest.raises(OperatorError, match="has no stage 'local'"):
        chalice.render(json.dumps({"stages": {"prod": {}}}))
    assert not chalice.config_file.exists()


def test_wheels_for_lambda_run_on_linux_on_x86_only() -> None:
    assert runs_lambda_wheels("Linux", "x86_64")
    assert not runs_lambda_wheels("Linux", "aarch64")
    assert not runs_lambda_wheels("Darwin", "x86_64")
