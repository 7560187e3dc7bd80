"""Validate and test the root module, and each module and example alone, with a mocked provider.

Terraform starts the provider for each step of each test, and the AWS provider takes most of a second of a core for it.
So one provider is started here, and every Terraform attaches to it, in the way that providers are debugged.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from tools.generated import REPO

ROOT = REPO / "infra"
CHECKS = REPO / ".tally" / "check"
"""The folder of the provider, so that nothing is left in infra/."""
STAGES = ("dev", "prod")
_PROVIDER = "registry.terraform.io/hashicorp/aws"
_ATTACH = re.compile(r"TF_REATTACH_PROVIDERS='(.+)'")


class Failed(Exception):  # noqa: N818  # of what a tool did, as its output says
    """Terraform or its provider failed; the text is its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A folder of Terraform code, to be tested in ``folder``."""

    name: str
    folder: Path
    data: Path

    def run(self, environ: Mapping[str, str], *arguments: str) -> str:
        """Run Terraform in the folder and return its output; raises ``Failed`` if it fails."""
        done = subprocess.run(  # noqa: S603  # our own arguments
            ["terraform", *arguments],  # noqa: S607  # from PATH, as everywhere
            cwd=self.folder,
            env={**environ, "TF_DATA_DIR": str(self.data)},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise Failed(f"{self.name}: terraform {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def init(self, environ: Mapping[str, str]) -> None:
        """Install the provider that the folder's constraints allow."""
        self.run(environ, "init", "-backend=false", "-input=false", "-no-color")


def modules() -> list[Module]:
    """Return the root module and, as copies of their folders alone, all others, so that none needs the repository."""
    alone = CHECKS / "alone"
    shutil.rmtree(alone, ignore_errors=True)
    found = [Module(name="infra", folder=ROOT, data=CHECKS / "data" / "infra")]
    for versions in sorted([*ROOT.glob("modules/*/versions.tf"), *ROOT.glob("examples/*/versions.tf")]):
        source = versions.parent
        shutil.copytree(source, alone / source.name)
        name = source.relative_to(REPO).as_posix()
        found.append(Module(name=name, folder=alone / source.name, data=CHECKS / "data" / source.name))
    return found


def environment() -> dict[str, str]:
    """Return Terraform's environment: one copy of the provider for all folders, and no lock file is kept."""
    plugins = CHECKS / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "TF_PLUGIN_CACHE_DIR": str(plugins),
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "true",
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }


@contextlib.contextmanager
def attached(root: Module, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start the provider that the root module has selected; yields an environment in which Terraform attaches to it."""
    root.init(environ)
    selected = json.loads(root.run(environ, "version", "-json"))["provider_selections"][_PROVIDER]
    (program,) = (root.data / "providers" / _PROVIDER / selected).glob("*/terraform-provider-aws*")
    # In this mode it logs a megabyte for each Terraform that attaches, which would fill a pipe and block it.
    with subprocess.Popen(  # noqa: S603  # the provider that Terraform has found
        [program, "-debug"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as provider:
        try:
            found = next((match for line in provider.stdout or () if (match := _ATTACH.search(line))), None)
            if found is None:
                raise Failed(f"The provider ended before it was ready: see what `{program} -debug` says.")
            yield {**environ, "TF_REATTACH_PROVIDERS": found[1]}
        finally:
            provider.kill()  # it has no state: the tests mock what it would do


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One run of Terraform's tests: all of a module, or one file of the root module, which has the most."""

    module: Module
    name: str
    options: tuple[str, ...] = ()

    def __call__(self, environ: Mapping[str, str]) -> str:
        """Run it and return Terraform's last line; raises ``Failed`` if a test fails."""
        return self.module.run(environ, "test", "-no-color", *self.options).strip().rpartition("\n")[2]


def tests(root: Module, others: Sequence[Module]) -> list[Test]:
    """Return all tests: the root module's first, because they take the longest."""
    files = sorted((root.folder / "tests").glob("*.tftest.hcl"), key=lambda path: -path.stat().st_size)
    return [
        *(Test(module=root, name=f"infra: {file.name}", options=(f"-filter=tests/{file.name}",)) for file in files),
        *(
            Test(
                module=root,
                name=f"infra: the stage {stage}",
                options=("-test-directory=examples", f"-var-file=examples/{stage}.example.tfvars"),
            )
            for stage in STAGES
        ),
        *(Test(module=module, name=module.name) for module in others),
    ]


def run(found: Sequence[Module], at_once: int) -> bool:
    """Validate modules, the root module first, and run their tests, so many at once; tells whether all pass.

    Prints a line for each run of tests, or what Terraform wrote if it fails.
    """
    environ = environment()

    def holds(test: Test) -> bool:
        try:
            click.echo(f"{test.name}: {test(attaching)}")
        except Failed as failed:
            click.echo(str(failed))
            return False
        return True

    for module in found[1:]:  # one after the other: Terraform does not lock the cache of providers
        module.init(environ)
    with attached(found[0], environ) as attaching, ThreadPoolExecutor(at_once) as pool:
        for module in found:
            module.run(attaching, "validate", "-no-color")
        return all(list(pool.map(holds, tests(found[0], found[1:]))))


@click.command()
@click.option("--at-once", type=click.IntRange(1), default=2, show_default=True, help="Modules to test at once.")
def main(at_once: int) -> None:
    """Validate and test all of infra/ with a mocked provider."""
    try:
        held = run(modules(), at_once)
    except Failed as failed:
        click.echo(str(failed))
        held = False
    sys.exit(not held)


if __name__ == "__main__":
    main()
