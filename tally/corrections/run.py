"""Correct rows and run them again (`tally redrive ID --from FILE`), all of them or none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock, utc_now
from chalicelib.files.source import ObjectReader
from chalicelib.results.corrections import header
from chalicelib.retry import Retry
from chalicelib.rows import Schema
from chalicelib.steps.redrive import NotRedrivableError, Redriver
from chalicelib.store.batch import Batch, Hold
from chalicelib.store.corrections import Correction, CorrectionsFile
from tally.batch.reader import Reader
from tally.batch.redrive import check_batch, say_lifted, warn_of_hold
from tally.corrections.corrected_file import CorrectedFile
from tally.corrections.matching import Matcher
from tally.corrections.problems import Problem, Problems
from tally.corrections.staging import Staging
from tally.corrections.upload import Uploader
from tally.errors import ExitCode, OperatorError
from tally.look import several
from tally.output import Output
from tally.trial.loading import load

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """The result: ``rows`` run again with the values in ``file``; after a dry run, they would.

    ``already`` counts rows that an earlier run with the same file took back, and that have not failed since.
    ``problems`` are lines that were left out, ``lifted`` is the hold that was removed.
    """

    batch: Batch
    rows: int
    already: int
    lifted: Hold | None
    file: CorrectionsFile | None
    problems: Problems
    dry_run: bool

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "id": self.batch.id,
            "redriven": 0 if self.dry_run else self.rows,
            "attempt": self.batch.attempt,
            "lifted": self.lifted.value if self.lifted else "",
            "corrected": {
                "dry_run": self.dry_run,
                "rows": self.rows,
                "already": self.already,
                "left_out": self.problems.total,
                "problems": self.problems.as_json(),
                "key": self.file.source.key if self.file else "",
                "sha256": self.file.sha256 if self.file else "",
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrector:
    """Runs rows of a batch again with the values of a file.

    ``skips`` leaves out lines that cannot run; without it one such line means that nothing is changed. ``dry_run``
    changes nothing at all.
    """

    output: Output
    reader: Reader
    table: "Table"
    s3: "S3Client"
    skips: bool = False
    dry_run: bool = False
    clock: Clock = utc_now

    def run(self, batch_id: str, path: Path) -> Corrected:
        """Check the whole file, then run the rows that it replaces again; raises OperatorError.

        Safe to repeat, to interrupt, and while the batch is running.
        """
        batch = self.reader.require(batch_id)
        check_batch(batch, frozenset())
        if self.clock().timestamp() >= batch.expires_at:
            raise NotRedrivableError(f"the rows of {batch_id} have expired; upload the file again")
        with TemporaryDirectory(prefix="tally-") as folder, Staging(Path(folder)) as staging:
            problems = Problems()
            self._read(batch, path, staging, problems)
            place = Path(folder) / "corrections"
            sha256 = staging.write(header(batch.header, batch.layout), place)
            already = self._match(batch, staging, sha256, problems)
            rows, _ = staging.matched()
            if problems.total and not (self.skips and rows + already):
                raise _refused(path, problems, rows, skips=self.skips)
            done = Corrected(
                batch=batch,
                rows=rows,
                already=already,
                lifted=None,
                file=None,
                problems=problems,
                dry_run=self.dry_run,
            )
            if rows and not self.dry_run:
                uploader = Uploader(s3=self.s3, retry=Retry(sleep=self.reader.sleep), clock=self.clock)
                file = uploader.upload(self.output, batch, place, sha256, staging.count())
                done = self._take(done, staging, file)
        self._report(batch, done)
        return done

    def _read(self, batch: Batch, path: Path, staging: Staging, problems: Problems) -> None:
        schema = self._schema(batch)
        read = 0
        with self.output.progress("reading corrected rows", None) as advance:
            for each in CorrectedFile(path=path, batch=batch, schema=schema).rows():
                for problem in [each] if isinstance(each, Problem) else staging.add(each):
                    problems.add(problem)
                read += 1
                if read % 1_000 == 0:
                    advance(1_000)
            advance(read % 1_000)
        if not read:
            raise OperatorError(
                f"{path.name} has no rows", hint="keep the rows in it that should run again.", code=ExitCode.USAGE
            )

    def _match(self, batch: Batch, staging: Staging, sha256: str, problems: Problems) -> int:
        """Match the file's rows with the batch; returns how many an earlier run with the same file took back."""
        retry = Retry(sleep=self.reader.sleep)
        upload = ObjectReader(s3=self.s3, source=batch.content, retry=retry)
        matcher = Matcher(table=self.table, batch=batch, file=upload, sha256=sha256)
        begin = len(header(batch.header, batch.layout))
        with self.output.progress("comparing with the batch, chunks", batch.chunks) as advance:
            for problem in matcher.match(staging, begin, lambda: advance(1)):
                problems.add(problem)
        return matcher.already

    def _schema(self, batch: Batch) -> Schema | None:
        """Return the job's row type; None with a warning if the job cannot be loaded here. ``ingest`` checks too."""
        try:
            return load(batch.job).schema
        except OperatorError as error:
            self.output.warn(f"rows are not checked here, only when they are read again. {error}")
            return None

    def _take(self, done: Corrected, staging: Staging, file: CorrectionsFile) -> Corrected:
        """Take rows back, a chunk per transaction. After a crash the next run of the file takes the rest."""

        def corrections() -> Iterator[tuple[int, Correction]]:
            for span in staging.spans():
                yield (
                    span.chunk,
                    Correction(file=file, generation=0, start=span.start, end=span.end, lines=span.lines),
                )

        with self.output.progress("taking rows back, chunks", staging.matched()[1]) as advance:
            redriver = Redriver(table=self.table, clock=self.clock)
            taken = redriver.correct(done.batch.id, corrections(), on_chunk=lambda: advance(1))
        batch = self.reader.require(done.batch.id)
        return replace(done, batch=batch, rows=taken.rows, lifted=taken.lifted, file=file)

    def _report(self, before: Batch, done: Corrected) -> None:
        problems = done.problems
        if problems.total:
            self.output.warn(f"left out: {problems.lines()[0]}")
            for line in problems.lines()[1:]:
                self.output.say(f"  {line}")
        if done.already:
            self.output.say(
                f"{several(done.already, 'row')} of the file run already, or have succeeded, with these values."
            )
        if done.dry_run:
            attempt = before.attempt + before.status.final
            self.output.say(f"{several(done.rows, 'row')} would run again, in attempt {attempt}. Nothing was changed.")
            return
        say_lifted(self.output, before, done.lifted)
        runs = "runs" if done.rows == 1 else "run"
        self.output.say(f"{several(done.rows, 'row')} {runs} again as corrected, in attempt {done.batch.attempt}.")
        if done.rows:
            warn_of_hold(self.output, done.batch)


def _refused(path: Path, problems: Problems, rows: int, *, skips: bool) -> OperatorError:
    lines = "1 line" if problems.total == 1 else f"{problems.total:,} lines"
    if skips:
        said = f"No line of {path.name} can run, {lines} cannot: nothing was changed"
        return OperatorError(
            said, hint="the lines below say why.", code=ExitCode.USAGE, detail="\n".join(problems.lines())
        )
    return OperatorError(
        f"{lines} of {path.name} cannot run, {rows:,} can: nothing was changed",
        hint="correct them, or leave them out with --skip-invalid.",
        code=ExitCode.USAGE,
        detail="\n".join(problems.lines()),
    )
