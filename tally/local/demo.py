"""The demo on this machine, from nothing to an audited batch and proven results."""

import os
import shutil
import sysconfig
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from chalicelib import jobs
from chalicelib.clock import Clock, utc_now
from chalicelib.store.batch import BatchStatus
from chalicelib.store.exports import Exports
from tally.batch import audit, cost
from tally.batch.audit import Audit
from tally.batch.failures import Sampler
from tally.batch.reader import Progress, Reader
from tally.batch.submit import send
from tally.batch.watch import Watch, show
from tally.errors import ExitCode, OperatorError
from tally.exported.fetch import fetch, require_export
from tally.exported.show import show_fetched, show_verified
from tally.exported.verify import verify
from tally.local import sample
from tally.local.sample import Expected
from tally.local.stack import LocalStack
from tally.output import Output
from tally.stages.services import table
from tally.stages.stage import Stage

_STALL_SECONDS = 180.0
"""Longer than the local queues need to bring a message back; a demo that stands still must end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One run of the demo."""

    output: Output
    stack: LocalStack
    timeout: float | None
    console: bool = True
    now: Clock = utc_now

    def __call__(self, *, file: Path | None, rows: int, job: str, port: int | None) -> ExitCode:
        """Process a file, or a sample of so many rows; OK only if every row is accounted for.

        The console starts before the file is sent, so that the batch can be watched in it, and is left running.
        """
        with self.stack.brought_up(port) as stage:
            url = self._serve(stage) if self.console else None
        expected = None
        if file is None:
            job, file = "transactions", self.stack.folder.samples / f"demo-{rows}.csv"
            with self.output.step(f"sample: {rows:,} transactions, one in a hundred bad"):
                expected = sample.write_file(file, rows)
        began = self.now()
        # A name of its own for each run, so that `tally list` tells them apart.
        batch_id = send(self.output, stage, file, job, f"{file.stem}-{began:%Y%m%dT%H%M%S%f}{file.suffix}")
        self.output.command(f"batch {batch_id}")
        reader = Reader(dynamodb=stage.dynamodb, table=stage.resources.table)
        watch = Watch(
            reader=reader,
            output=self.output,
            where_to_look=stage.where_to_look,
            come_back=stage.watch_command,
            interval=0.5,
            timeout=self.timeout,
            stall_timeout=_STALL_SECONDS,
        )
        progress = watch.until_final(batch_id)
        show(self.output, progress, Sampler(reader).top(progress), self.now())
        audited = audit.run(self.output, reader, batch_id)
        problems = find_problems(progress, audited, expected)
        if not problems and jobs.require(job).export:
            problems = self._prove_results(stage, reader, batch_id, file)
        took = cost.of(stage, progress.batch, self.now())
        self.output.say(f"It took {took.summary}.")
        self._conclude(stage, batch_id, problems, began, url)
        shown = report(progress, audited, expected, problems)
        self.output.result(shown | {"cost": took.as_json(), "console": url})
        return ExitCode.NOT_AS_HOPED if problems else ExitCode.OK

    def _serve(self, stage: Stage) -> str | None:
        """Return the address of the stage's console, started if need be; None, with a warning, if none starts."""
        try:
            with self.output.step("console, in the background"):
                url = self.stack.console.start(stage).url
        except OperatorError as error:
            # A machine without a browser is no reason not to process a file.
            self.output.warn(f"There is no console. {error}")
            return None
        self.output.command(f"Console of stage {stage.name}: {url}")
        return url

    def _prove_results(self, stage: Stage, reader: Reader, batch_id: str, file: Path) -> list[str]:
        """Fetch the results and return their problems."""
        exports = Exports(table=table(stage))
        export = require_export(exports, reader.require(batch_id), None, timeout=_STALL_SECONDS)
        folder = self.stack.folder.samples.parent / "results" / batch_id
        show_fetched(self.output, fetch(self.output, stage.s3, stage.resources.inbox_bucket, export, folder))
        verified = verify(folder, file)
        show_verified(self.output, verified, file)
        return verified.problems

    def _conclude(self, stage: Stage, batch_id: str, problems: list[str], began: datetime, console: str | None) -> None:
        for problem in problems:
            self.output.warn(problem)
        if not problems:
            seconds = (self.now() - began).total_seconds()
            self.output.say(f"Every row is accounted for, {seconds:.1f} s from upload to proof. Look further:")
        if console:
            self.output.command(f"  {console}   (the console, until the stage is taken down)")
        where = "" if stage.name == "local" else f" --stage {stage.name}"
        opened = () if console else (f"ui --open{where}",)
        for command in (
            f"rows {batch_id} --outcome failed{where}",
            f"rows {batch_id} --outcome rejected{where}",
            f"results {batch_id} -o results{where}",
            f"audit {batch_id}{where}",
            f"cost {batch_id}{where}",
            f"list{where}",
            *opened,
            f"env{where}",
            f"down{where}",
        ):
            self.output.command(f"  {_program()} {command}")


def _program() -> str:
    """Return the command line of this program: `make demo` has no virtual environment activated."""
    return "tally" if shutil.which("tally") else os.path.relpath(Path(sysconfig.get_path("scripts")) / "tally")


def find_problems(progress: Progress, audited: Audit, expected: Expected | None) -> list[str]:
    """Return the rows that are not accounted for as they must be, in words; nothing if all are."""
    counts = progress.counts
    problems = []
    if progress.batch.status not in {BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES}:
        problems.append(f"the batch is {progress.batch.status}: {progress.batch.reason}")
    if counts.total != progress.found:
        problems.append(f"{progress.found:,} rows were found, {counts.total:,} have an outcome")
    if not audited.exact:
        problems.append(f"the audit found {len(audited.differences):,} differences")
    if expected is not None:
        has = Expected(rows=progress.found, succeeded=counts.succeeded, failed=counts.failed, rejected=counts.rejected)
        if has != expected:
            problems.append(f"the sample must give {expected}, the batch has {has}")
    return problems


def report(progress: Progress, audited: Audit, expected: Expected | None, problems: list[str]) -> dict[str, Any]:
    """Return the result for ``--json``."""
    return {
        **progress.as_json(),
        "audit": audited.as_json(),
        "expected": asdict(expected) if expected else None,
        "problems": problems,
    }
