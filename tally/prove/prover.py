"""A run of ``tally prove``: the stage is made, the probes run, and the stage is always removed."""

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
from tally.deploy.preflight import Account, require_account
from tally.errors import ExitCode, OperatorError
from tally.local.stack import LocalStack
from tally.output import Output
from tally.prove import checkout, mailbox
from tally.prove.injected import Plan
from tally.prove.probe import DisprovedError, OnlyOnAwsError, Probe, RefusedError, Result, Verdict, World
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace, exclusive

VARIABLES: Mapping[str, Any] = {
    "force_destroy": True,
    "deletion_protection": False,
    "alarms": True,
    "function_overrides": {
        # It hands over with less than 20 seconds left: so each invocation does one step.
        "plan": {"timeout_seconds": 20},
        # A message whose worker died comes again after six timeouts. Ingest keeps its own: it waits with them until
        # the versioning of a new bucket has settled.
        "ingest": {"maximum_concurrency": 2},
        **{
            name: {"maximum_concurrency": 2, "timeout_seconds": seconds}
            for name, seconds in {"process": 3, "finish": 5, "dead_letters": 10}.items()
        },
    },
}
"""Variables of a stage for proving, beside the defaults."""
_PROTECTED = {"live", "main", "master"}
_STYLES = {Verdict.PASSED: "green", Verdict.FAILED: "red"}


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
    plan: Plan
    account: Callable[[Mapping[str, str]], Account] = require_account

    def __post_init__(self) -> None:
        """Refuse a name that may be that of a real stage."""
        if self.name.startswith("prod") or self.name in _PROTECTED:
            raise OperatorError(
                f"{self.name} may be somebody's stage: name another with --stage, which is removed afterwards.",
                code=ExitCode.USAGE,
            )
        if self.workspace.stage(self.name).exists or self.workspace.aws_outputs(self.name).exists():
            raise self._exists("here")

    def run(self, probes: Sequence[Probe], *, rows: int, patience: float) -> list[Result]:
        """Return the results of the probes, once the stage is removed; an interrupt ends it early, and cleans up."""
        results: list[Result] = []
        with self._alone():
            if self._clean():
                self.output.say(f"Removed the rest of stage {self.name} from an earlier run.")
            if self.on_aws:
                self._agree(rows)
            with _ended_by_signals():
                try:
                    world = World(stage=self._deploy(), rows=rows, patience=patience)
                    self._probe(probes, world, results)
                except KeyboardInterrupt:
                    self.output.warn(f"interrupted: stage {self.name} is being removed, please wait")
                finally:
                    self._clean()
        return [*results, *map(_not_run, probes[len(results) :])]

    def clean(self) -> bool:
        """Remove the stage and the files of an earlier `tally prove` of this name; tells whether there was one."""
        with self._alone():
            return self._clean()

    def _agree(self, rows: int) -> None:
        """Raise OperatorError if such a stage exists, which would be destroyed, or if the operator does not agree."""
        account = self.account(self.environ)
        dynamodb = account.stage(self.name).dynamodb
        with contextlib.suppress(dynamodb.exceptions.ResourceNotFoundException):
            dynamodb.describe_table(TableName=f"tally-{self.name}")
            raise self._exists(f"in {account}")
        if not self.confirm(
            f"Deploy a stage {self.name} to {account}, upload some {4 * rows + max(160_000, 10 * rows):,} rows, and "
            "destroy it? It takes about 25 minutes and costs less than a dollar."
        ):
            raise OperatorError("Nothing was deployed.", code=ExitCode.NOT_AS_HOPED)

    def _exists(self, where: str) -> OperatorError:
        return OperatorError(
            f"There is a stage {self.name} {where} already: `tally prove` makes one of its own and removes it. "
            "Name another with --stage.",
            code=ExitCode.USAGE,
        )

    def _alone(self) -> contextlib.AbstractContextManager[int]:
        """Hold a lock, so that a second run cannot remove the stage of the first."""
        root = self._root
        return exclusive(root.with_name(f"{root.name}.lock"), what=f"proving {self.name}", say=self.output.say)

    @property
    def _root(self) -> Path:
        return self.workspace.proving(self.name)

    def _clean(self) -> bool:
        if not self._root.exists():
            return False
        own = checkout.existing(self._root)
        try:
            if own.aws_unfinished(self.name).exists() or own.aws_outputs(self.name).exists():
                mailbox.remove(self.account(self.environ).stage(self.name))
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
        except BaseException:
            self.output.warn(
                f"Stage {self.name} may still exist: `tally prove --clean --stage {self.name}` removes it, with "
                "the same --var."
            )
            raise
        shutil.rmtree(self._root)
        return True

    @property
    def _variables(self) -> dict[str, Any]:
        return {**VARIABLES, **self.variables}

    def _stack(self, own: Workspace) -> LocalStack:
        return LocalStack(
            workspace=own, name=self.name, output=self.output, environ=self.environ, variables=self._variables
        )

    def _deploy(self) -> Stage:
        own = checkout.make(self.workspace, self._root, self.plan)
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

    def _probe(self, probes: Sequence[Probe], world: World, results: list[Result]) -> None:
        """Run the probes. Those that take minutes begin once the first has used the new stage."""
        for position, probe in enumerate(probes):
            results.append(self._try(probe, world))
            if position == 0:
                for later in probes[1:]:
                    with contextlib.suppress(Exception):  # its own turn tells
                        self._begin(later, world)

    def _begin(self, probe: Probe, world: World) -> None:
        if probe.begin and probe.name not in world.begun:
            world.begun[probe.name] = probe.begin(world)

    def _try(self, probe: Probe, world: World) -> Result:
        began = world.clock()
        with self.output.step(f"{probe.name}: {probe.expected}") as step:
            world.show = step.show
            try:
                self._begin(probe, world)
                seen, verdict = probe.run(world), Verdict.PASSED
            except DisprovedError as error:
                seen, verdict = str(error), Verdict.FAILED
            except OnlyOnAwsError as error:
                seen, verdict = str(error), Verdict.ONLY_ON_AWS
            except RefusedError as error:
                seen, verdict = str(error), Verdict.REFUSED
            except Exception as error:  # noqa: BLE001  one probe that breaks must not hide what the others see
                seen, verdict = f"{type(error).__name__}: {error}", Verdict.FAILED
            step.note, step.ended, step.style = seen, verdict.value, _STYLES.get(verdict, "yellow")
        return Result(
            name=probe.name, expected=probe.expected, seen=seen, verdict=verdict, seconds=world.clock() - began
        )


def _not_run(probe: Probe) -> Result:
    return Result(name=probe.name, expected=probe.expected, seen="interrupted", verdict=Verdict.NOT_RUN, seconds=0)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Treat signals that end a process like Ctrl-C, so that the stage is removed then too.

    An ignored signal stays ignored, as `nohup` asks.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    ending = (number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN)
    before = {number: signal.signal(number, interrupt) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
