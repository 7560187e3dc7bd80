"""A run of ``tally prove``: the stage comes, the probes run, the stage goes, whatever happens between."""

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tally.deploy.deployer import deploy_to_aws
from tally.deploy.destroyer import destroy_in_aws
from tally.errors import ExitCode, OperatorError
from tally.local.stack import LocalStack
from tally.output import Output
from tally.prove import checkout
from tally.prove.probe import DisprovedError, OnlyOnAwsError, Probe, Result, Verdict, World
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace

VARIABLES: Mapping[str, Any] = {
    "force_destroy": True,
    "deletion_protection": False,
    # A message whose worker died comes again after six timeouts.
    "function_overrides": {
        name: {"maximum_concurrency": 2, "timeout_seconds": seconds}
        for name, seconds in {"ingest": 10, "process": 3, "finish": 5, "dead_letters": 10}.items()
    },
}
"""What a stage that proves itself is deployed with beside the defaults."""
_PROTECTED = {"prod", "production", "live"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """Proves one stage, on a local AWS or in the account of the caller's credentials."""

    workspace: Workspace
    name: str
    on_aws: bool
    output: Output
    environ: Mapping[str, str]
    variables: Mapping[str, Any]
    confirm: Callable[[str], bool]

    def __post_init__(self) -> None:
        """Refuse a name that could be of somebody's stage."""
        if self.name in _PROTECTED or self.name.startswith("prod"):
            raise OperatorError(
                f"{self.name} may be somebody's stage: name one that is for proving, and goes afterwards.",
                code=ExitCode.USAGE,
            )
        known = self.workspace.stage(self.name).exists or self.workspace.aws_outputs(self.name).exists()
        if known:
            raise OperatorError(
                f"There is a stage {self.name} already: `tally prove` makes one of its own and removes it. "
                "Name another with --stage.",
                code=ExitCode.USAGE,
            )

    @property
    def root(self) -> Path:
        """Return where the stage's sources, state and logs are while it lives."""
        return self.workspace.home / "proving" / self.name

    def run(self, probes: Sequence[Probe], *, rows: int, patience: float) -> list[Result]:
        """Return what the probes saw, of a stage that is gone by then; an interrupt ends it early, and cleans up."""
        what = (
            f"Deploy a stage {self.name} to the account of your credentials, upload some {rows + 250_000:,} rows, and "
            "destroy it? It takes about 20 minutes and costs less than a dollar."
        )
        if self.on_aws and not self.confirm(what):
            raise OperatorError("Nothing was deployed.", code=ExitCode.NOT_AS_HOPED)
        results: list[Result] = []
        self.clean()  # what an earlier run could not remove
        with _ended_by_signals():
            try:
                world = World(stage=self._deploy(), rows=rows, patience=patience)
                for probe in probes:
                    results.append(self._try(probe, world))  # noqa: PERF401  those before an interrupt stay
            except KeyboardInterrupt:
                self.output.warn("interrupted: the stage is removed, please wait")
            finally:
                self.clean()
        done = {result.name for result in results}
        return results + [
            Result(name=probe.name, expected=probe.expected, seen="interrupted", verdict=Verdict.NOT_RUN, seconds=0)
            for probe in probes
            if probe.name not in done
        ]

    def clean(self) -> bool:
        """Remove a stage of this name that ``tally prove`` made, and all it left here; tells whether there was one."""
        if not self.root.exists():
            return False
        own = Workspace(repo=self.root / "checkout", home=self.root)
        if self._was_deployed_to_aws(own):
            destroy_in_aws(
                own,
                self.name,
                variables=self._variables,
                output=self.output,
                environ=self.environ,
                delete_data=True,
                confirm=lambda: True,
            )
        else:
            self._stack(own).down()
        shutil.rmtree(self.root)
        return True

    def _was_deployed_to_aws(self, own: Workspace) -> bool:
        return own.aws_unfinished(self.name).exists() or own.aws_outputs(self.name).exists()

    @property
    def _variables(self) -> dict[str, Any]:
        return {**VARIABLES, **self.variables}

    def _stack(self, own: Workspace) -> LocalStack:
        return LocalStack(
            workspace=own, name=self.name, output=self.output, environ=self.environ, variables=self._variables
        )

    def _deploy(self) -> Stage:
        own = checkout.make(self.workspace, self.root)
        if not self.on_aws:
            return self._stack(own).up(None)
        return deploy_to_aws(
            own,
            self.name,
            variables=self._variables,
            output=self.output,
            environ=self.environ,
            confirm=lambda _: True,
        )

    def _try(self, probe: Probe, world: World) -> Result:
        began = world.clock()
        with self.output.step(f"{probe.name}: {probe.expected}") as step:
            try:
                seen, verdict = probe.run(world), Verdict.PASSED
            except DisprovedError as error:
                seen, verdict = str(error), Verdict.FAILED
            except OnlyOnAwsError as error:
                seen, verdict = str(error), Verdict.ONLY_ON_AWS
            except Exception as error:  # noqa: BLE001  one probe that breaks must not hide what the others see
                seen, verdict = f"{type(error).__name__}: {error}", Verdict.FAILED
            step.note = f"{verdict}: {seen}"
        return Result(
            name=probe.name, expected=probe.expected, seen=seen, verdict=verdict, seconds=world.clock() - began
        )


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Take a SIGTERM for Ctrl-C, so that the stage is removed then too."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
