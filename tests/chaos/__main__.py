"""``python -m tests.chaos``: Tally and the counters that compete with it, under the same faults, and who is right."""

import math
import os
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from botocore.config import Config

from chalicelib.retry import Retry
from chalicelib.services import Services
from tally import cli
from tally.errors import ExitCode, OperatorError
from tally.local.stack import LocalStack
from tally.output import Output
from tally.stages import services
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tests.chaos import detour
from tests.chaos.contest import Contest
from tests.chaos.faults import OPERATOR, Rates
from tests.chaos.pipeline import Pipeline
from tests.chaos.proxy import Proxy, free_port
from tests.chaos.report import Report

_ENVIRONMENT = Path("check") / "mitmproxy"
"""Where under TALLY_HOME `make chaos` puts the proxy's environment."""
_SHORT: dict[str, dict[str, int]] = {
    # A message whose worker was killed returns after six timeouts: short ones keep a run short.
    "ingest": {"timeout_seconds": 15, "batch_size": 2, "maximum_concurrency": 2},
    "process": {"timeout_seconds": 10, "maximum_concurrency": 2},
    "process_heavy": {"timeout_seconds": 10, "maximum_concurrency": 2},
    "finish": {"timeout_seconds": 15, "batch_size": 5, "maximum_concurrency": 2},
    "export": {"timeout_seconds": 15, "maximum_concurrency": 2},
    "dead_letters": {"timeout_seconds": 15, "maximum_concurrency": 2},
}
_COUNTED_BY_DEFAULT = 600
_CHUNKS = 100
"""About how many chunks all batches have together by default. A chunk is some ten requests, however many rows it has:
fewer chunks would not meet each kind of fault."""
_MIN_CHUNK_ROWS, _MAX_CHUNK_ROWS = 5, 1_000


class Run:
    """One run of chaos: a stage of its own, the proxy, the batches and the contest."""

    def __init__(
        self, *, stage: str, seed: int, rates: Rates, chunk_rows: int, program: Path | None, output: Output
    ) -> None:
        self.workspace = Workspace.find(os.environ)
        self.seed, self.rates, self.output = seed, rates, output
        self.folder = self.workspace.home / "check" / "chaos" / stage
        self.proxy = Proxy(
            program=program or self._program(), repo=self.workspace.repo, port=free_port(), folder=self.folder
        )
        # Deliveries before the dead-letter queue: more of them where killing is the rule.
        deliveries = max(5, math.ceil(200 * rates.kills))
        self.stack = LocalStack(
            workspace=self.workspace,
            name=stage,
            output=output,
            environ=os.environ,
            variables={
                "chunk_rows": chunk_rows,
                "function_overrides": _SHORT,
                "max_receive_count": deliveries,
            },
        )

    def __call__(self, *, rows: int, batches: int, things: int, patience: float, commands: bool) -> Report:
        """Bring the stage up, let all of it happen, and report; the stage stays up."""
        stage = self.stack.up(None)
        assert stage.server is not None
        pipeline = Pipeline(
            stage=stage, folder=self.folder, seed=self.seed, rates=self.rates, rows=rows, batches=batches,
            patience=patience, services=self._services(stage), commands=commands, say=self.output.say,
        )  # fmt: skip
        contest = Contest(
            operator=stage.dynamodb,
            client=lambda config: stage.session.client("dynamodb", endpoint_url=self.proxy.url, config=config),
            seed=self.seed,
            rates=self.rates,
            things=things,
        )
        workers = self.stack.folder.tmp
        with (
            self.proxy.running(server=stage.server, workers=workers, seed=self.seed, rates=self.rates),
            detour.functions(stage, self.proxy.url),
            ThreadPoolExecutor(1) as pool,
        ):
            # Beside the batches: they wait for messages of killed workers, and the counters for nothing.
            rival = pool.submit(contest, lambda name: self.output.say(f"   counter: {name}")) if things else None
            outcome = pipeline()
            scores = rival.result() if rival else []
        complaints = self.proxy.complaints()
        if complaints:
            self.output.warn(f"the proxy said: {complaints[:2000]}")
        return Report(
            seed=self.seed, rates=self.rates, outcome=outcome, scores=tuple(scores), traffic=self.proxy.traffic()
        )

    def _services(self, stage: Stage) -> Services:
        """Return the operator's services, whose requests go through the proxy."""
        config = Config(
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 3},
            user_agent_extra=f"counter/{OPERATOR}",  # its requests are no part of what a row costs
        )
        return Services(
            services.settings(self.workspace, stage),
            Retry(),
            client=lambda name: stage.session.client(name, endpoint_url=self.proxy.url, config=config),  # type: ignore[call-overload]
        )

    def _program(self) -> Path:
        own = self.workspace.home / _ENVIRONMENT / "bin" / "mitmdump"
        shared = self.workspace.repo / ".tally" / _ENVIRONMENT / "bin" / "mitmdump"
        on_path = shutil.which("mitmdump")
        for candidate in (own, shared, Path(on_path or "mitmdump")):
            if candidate.is_file():
                return candidate
        raise OperatorError(f"mitmproxy is not there: `make chaos` installs it into {own.parents[1]}.")


def _rate_options(command: Any) -> Any:
    for each in reversed(fields(Rates)):
        command = click.option(
            f"--{each.name}", type=click.FloatRange(0, 0.5), default=each.default, show_default=True,
            help="Share of the invocations." if each.name == "kills" else "Share of the requests that can meet it.",
        )(command)  # fmt: skip
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--rows", type=click.IntRange(1), default=5_000, show_default=True, help="Rows of all batches together.")
@click.option("--batches", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--counter-rows",
    type=click.IntRange(0),
    help=f"Rows that each counter counts; default {_COUNTED_BY_DEFAULT:,} at most.",
)
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, 2_000),
    help=f"Rows of a chunk; by default about {_CHUNKS} chunks, of {_MAX_CHUNK_ROWS:,} rows at most.",
)
@click.option("--commands/--no-commands", default=True, show_default=True, help="Redrive and repair meanwhile.")
@click.option("--seed", type=int, help="Which faults; by default another one each time. It is printed.")
@click.option("--stage", default="chaos", show_default=True, help="Local stage; made if it is not there.")
@click.option("--patience", type=float, default=240.0, show_default=True, help="Seconds without progress: it is stuck.")
@click.option("--mitmdump", type=click.Path(exists=True, path_type=Path), help="Program of the proxy.")
@click.option("--keep", is_flag=True, help="Leave the stage up, to look into it or to run again sooner.")
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON to stdout.")
@_rate_options
def chaos(
    rows: int, batches: int, counter_rows: int | None, chunk_rows: int | None, commands: bool, seed: int | None,
    stage: str, patience: float, mitmdump: Path | None, keep: bool, as_json: bool, **rates: float,
) -> ExitCode:  # fmt: skip
    """Count under faults.

    Exits with 0 only if Tally lost nothing, overcounted nothing, left nothing open and completed once an attempt.

    Requests meet faults, and a chunk makes as many of them however many rows it has. A run of few rows has small
    chunks, so that each kind of fault happens; with --chunk-rows 1000 and few rows, raise the rates.
    """
    output = Output.make(as_json=as_json)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    things = min(rows, _COUNTED_BY_DEFAULT) if counter_rows is None else counter_rows
    output.say(f"chaos: seed {seed}, {rows:,} rows in {batches} batches, {things:,} for each counter")
    chunk_rows = chunk_rows or max(_MIN_CHUNK_ROWS, min(_MAX_CHUNK_ROWS, rows // _CHUNKS))
    run = Run(stage=stage, seed=seed, rates=Rates(**rates), chunk_rows=chunk_rows, program=mitmdump, output=output)
    try:
        report = run(rows=rows, batches=batches, things=things, patience=patience, commands=commands)
    finally:
        if not keep:
            run.stack.down()
    report.show(output)
    output.result(report.as_json())
    return ExitCode.OK if report.passed else ExitCode.NOT_AS_HOPED


if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:], command=chaos, name="python -m tests.chaos", explained=OperatorError))
