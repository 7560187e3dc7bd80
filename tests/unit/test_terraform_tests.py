"""The tool behind `make tf-test`, with programs in the place of Terraform and of its provider."""

import os
import sys
from pathlib import Path

import pytest

from tools import terraform_tests
from tools.terraform_tests import Failed, Module

_TERRAFORM = """#!{python}
import json, os, pathlib, sys
command, folder = sys.argv[1], pathlib.Path.cwd()
with (folder / "calls").open("a") as calls:
    print(command, os.environ.get("TF_REATTACH_PROVIDERS", "starts its own"), file=calls)
if command == "init":
    data = pathlib.Path(os.environ["TF_DATA_DIR"], "providers", "registry.terraform.io/hashicorp/aws/5.0.0/here")
    data.mkdir(parents=True, exist_ok=True)
    (data / "terraform-provider-aws_v5").write_text({provider!r})
    (data / "terraform-provider-aws_v5").chmod(0o755)
elif command == "version":
    print(json.dumps({{"provider_selections": {{"registry.terraform.io/hashicorp/aws": "5.0.0"}}}}))
elif command == "test":
    print("a run that is wrong" if folder.name == "bad" else "Success! 3 passed, 0 failed.")
    sys.exit(folder.name == "bad")
"""
_PROVIDER = """#!{python}
import os, pathlib, time
pathlib.Path({pid!r}).write_text(str(os.getpid()))
print("Provider started.", flush=True)
print("\\tTF_REATTACH_PROVIDERS='where it is'", flush=True)
while True:
    time.sleep(1)
"""


@pytest.fixture
def pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the programs in place, and return where the provider notes its process."""
    noted, programs = tmp_path / "pid", tmp_path / "bin"
    programs.mkdir()
    provider = _PROVIDER.format(python=sys.executable, pid=str(noted))
    (programs / "terraform").write_text(_TERRAFORM.format(python=sys.executable, provider=provider))
    (programs / "terraform").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(terraform_tests, "CHECKS", tmp_path / "check")
    return noted


def module(tmp_path: Path, name: str) -> Module:
    folder = tmp_path / name
    folder.mkdir()
    return Module(name=name, folder=folder, data=tmp_path / "data" / name)


def test_every_module_is_tested_and_what_fails_is_shown(
    pid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [module(tmp_path, name) for name in ("root", "bad", "good")]
    (tmp_path / "root" / "tests").mkdir()
    (tmp_path / "root" / "tests" / "queues.tftest.hcl").touch()
    assert terraform_tests.run(found, 2) is False
    printed = capsys.readouterr().out
    assert "bad: terraform test -no-color\na run that is wrong" in printed
    for name in ("good", "infra: queues.tftest.hcl", "infra: the stage dev", "infra: the stage prod"):
        assert f"{name}: Success! 3 passed, 0 failed." in printed
    assert terraform_tests.run([each for each in found if each.name != "bad"], 2) is True


def test_tests_attach_to_one_provider_which_ends_with_them(pid: Path, tmp_path: Path) -> None:
    """The init of each module starts a provider of its own, so that the module's constraints are checked."""
    found = [module(tmp_path, name) for name in ("root", "good")]
    assert terraform_tests.run(found, 1)
    assert (tmp_path / "good" / "calls").read_text().splitlines() == [
        "init starts its own",
        "validate where it is",
        "test where it is",
    ]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_provider_that_does_not_start_is_named(pid: Path, tmp_path: Path) -> None:
    terraform = tmp_path / "bin" / "terraform"
    terraform.write_text(_TERRAFORM.format(python=sys.executable, provider=f"#!{sys.executable}\n"))
    with pytest.raises(Failed, match=r"The provider ended before it was ready: see what `.*-aws_v5 -debug` says"):
        terraform_tests.run([module(tmp_path, "root")], 1)
