"""The buttons that change a batch: hold it, redrive its rows, repair it."""

from collections.abc import Callable

from nicegui import ui

from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.items import Counts, Outcome
from tally.batch import audit, hold, redrive, repair
from tally.output import Output
from tally.stages.services import services, table
from tally.ui.actions import Act, button
from tally.ui.console import Console
from tally.ui.groups_panel import redriven


class BatchActions:
    """A row of buttons, of which those are enabled that can do something; a console that only reads has none."""

    def __init__(self, console: Console, batch_id: str, after: Callable[[], None]) -> None:
        self._console, self._id, self._after = console, batch_id, after
        with ui.row().classes("gap-2"):
            self._pause = self._button(
                "Pause",
                "Rows that are not processed yet wait until the batch is resumed.",
                f"tally pause {batch_id}",
                lambda report: self._hold(report, Hold.PAUSED),
            )
            self._resume = self._button(
                "Resume",
                "Rows that wait start within a minute.",
                f"tally resume {batch_id}",
                lambda report: self._hold(report, None),
            )
            self._cancel = self._button(
                "Cancel",
                "Rows without an outcome fail with that reason, then the batch ends. A redrive runs them again.",
                f"tally cancel {batch_id}",
                lambda report: self._hold(report, Hold.CANCELLED),
            )
            self._redrive = self._button(
                "Redrive failed rows",
                "Every failed row runs again.",
                f"tally redrive {batch_id}",
                lambda report: redriven(console, report, batch_id, redrive.Which()),
            )
            self._read_again = self._button(
                "Read rejected rows again",
                "Every rejected row is read again from the file, by the job as it is deployed now.",
                f"tally redrive {batch_id} --rejected",
                lambda report: redriven(console, report, batch_id, redrive.Which(outcome=Outcome.REJECTED)),
            )
            self._repair = self._button(
                "Audit and repair",
                "What was lost is sent again, and counters that the markers prove wrong are corrected.",
                f"tally audit {batch_id} --repair",
                self._audit_and_repair,
            )

    def enable(self, batch: Batch, counts: Counts) -> None:
        """Enable the buttons that can do something for the batch as it is now."""
        running, has_rows = not batch.status.final, batch.status is not BatchStatus.REJECTED
        for each, enabled in (
            (self._pause, running and batch.hold is None),
            (self._resume, running and batch.hold is Hold.PAUSED),
            (self._cancel, running and (batch.hold is None or not batch.hold.stops)),
            (self._redrive, bool(counts.failed) and has_rows),
            (self._read_again, bool(counts.rejected) and has_rows),
            (self._repair, has_rows),
        ):
            if each:
                each.set_enabled(enabled)

    def _button(self, label: str, question: str, command: str, act: Act) -> ui.button | None:
        return button(self._console, label, question, f"{command}{self._console.at}", act, self._after)

    def _hold(self, output: Output, wanted: Hold | None) -> None:
        hold.run(output, self._console.reader, table(self._console.stage), self._id, wanted)

    def _audit_and_repair(self, output: Output) -> None:
        console = self._console
        repair.run(output, console.reader, services(console.workspace, console.stage).reconciler, self._id)
        audit.run(output, console.reader, self._id)
