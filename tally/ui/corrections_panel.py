"""A corrected file dropped on the page of a batch: held to the batch first, and run once that is confirmed."""

import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nicegui import events, ui

from tally.batch.reasons import pattern_of
from tally.corrections.problems import Problems
from tally.corrections.run import Corrected, Corrector
from tally.errors import OperatorError
from tally.output import Output
from tally.stages.services import table
from tally.ui.actions import button, perform
from tally.ui.chooser import name_of, named
from tally.ui.console import Console
from tally.ui.report import Report


class CorrectionsPanel:
    """Takes a copy of failed.csv whose rows were corrected; a console that only reads has none of it."""

    def __init__(self, console: Console, batch_id: str, after: Callable[[], None]) -> None:
        self._console, self._id, self._after = console, batch_id, after
        if console.read_only:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="tally-ui-")
        ui.context.client.on_delete(self._folder.cleanup)
        upload = ui.upload(auto_upload=True, on_upload=self._dropped)
        named(upload, "Drop a corrected copy of failed.csv").props("flat bordered").classes("w-full max-w-md")
        self._said = ui.column().classes("w-full gap-1").mark("corrections")

    async def _dropped(self, event: events.UploadEventArguments) -> None:
        file = Path(self._folder.name) / name_of(event.file.name)
        await event.file.save(file)
        self._said.clear()
        with self._said:
            ui.label("Dry run, nothing is changed").classes("font-bold")
            said = ui.column().classes("w-full")
        would = await perform(self._console, said, lambda output: self._correct(output, file, dry_run=True))
        if would is None or not would.rows:
            return
        skips = " --skip-invalid" if would.problems.total else ""
        left_out = f"; {would.problems.total:,} lines are left out" if skips else ""
        with self._said:
            button(
                self._console,
                "Run the corrected rows",
                f"{would.rows:,} rows run again as {file.name} has them{left_out}.",
                f"tally redrive {self._id} --from {shlex.quote(file.name)}{skips}{self._console.at}",
                lambda output: self._correct(output, file, dry_run=False),
                self._after,
            )

    def _correct(self, output: Output, file: Path, *, dry_run: bool) -> Corrected:
        """Run or try the corrected rows; lines that cannot run are named without values unless data is shown."""
        shows, stage, quiet = self._console.show_data, self._console.stage, Report.begin()
        corrector = Corrector(
            output=output if shows else quiet,
            reader=self._console.reader,
            table=table(stage),
            s3=stage.s3,
            skips=True,
            dry_run=dry_run,
        )
        try:
            done = corrector.run(self._id, file)
        except OperatorError as error:
            if error.detail and not shows:
                raise OperatorError(
                    error.message, hint="`tally ui --show-data` shows the lines, with their values.", code=error.code
                ) from error
            raise
        if not shows:
            for line in [*without_lines(quiet.told.lines), *lines_of(done.problems)]:
                output.say(line)
        return done


def without_lines(said: Iterable[str]) -> Iterator[str]:
    """Return what was said but for the lines that cannot run, which are indented and quote what they have."""
    return (line for line in said if not line.startswith("  "))


def lines_of(problems: Problems) -> Iterator[str]:
    """Return why lines cannot run, without their values."""
    return (f"line {each.line:,}: {pattern_of(each.what)}" for each in problems.first)
