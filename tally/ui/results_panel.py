"""The results of a batch: where they are and how long, downloads, their verdict, saving by key, its chain."""

import tempfile
from pathlib import Path

from nicegui import ui

from chalicelib.store.exports import Export
from tally.batch import chains
from tally.batch.saving import Saving
from tally.exported.fetch import fetch, why_missing
from tally.exported.show import show_verified
from tally.exported.state import Results, State
from tally.exported.verify import verify
from tally.output import Output
from tally.ui import downloads
from tally.ui.actions import command_line
from tally.ui.console import Console
from tally.ui.history import MAX_ATTEMPTS
from tally.ui.view import View


class ResultsPanel:
    """Shows the results of an attempt, the last one at first; files are offered only by a console that shows data."""

    def __init__(self, console: Console, batch_id: str) -> None:
        self._console, self._id = console, batch_id
        self._view: View | None = None
        self._last = 1
        self._attempt = ui.select([1], value=1, label="Attempt", on_change=self._chosen).props("dense")
        self._attempt.classes("min-w-24").set_visibility(False)
        self._lines = ui.column().classes("w-full gap-0").mark("results")
        self._get = ui.column().classes("w-full gap-1")
        self._shown: tuple[object, ...] = ()

    def show(self, view: View) -> None:
        """Show the results as they are known now."""
        self._view = view
        self._offer_attempts(view.batch.attempt)
        attempt: int = self._attempt.value
        lines = _lines(view, attempt)
        links = [(name, text, _linked(view, name)) for name, text in chains.described(view.batch)]
        export = _written(view, attempt)
        now = (attempt, lines, links, export)
        if now == self._shown:
            return
        self._shown = now
        self._lines.clear()
        with self._lines:
            for name, text in lines:
                ui.label(f"{name}: {text}").classes("tally-text")
            for name, text, batch in links:
                if batch:
                    with ui.row().classes("gap-1"):
                        ui.label(f"{name}:")
                        ui.link(text, f"/batch/{batch}").classes("tally-text")
                else:
                    ui.label(f"{name}: {text}").classes("tally-text")
        self._get.clear()
        if export:
            with self._get:
                self._offer(view, export)

    def verify(self, output: Output) -> None:
        """Fetch the files of the chosen attempt to a folder that is removed again, and say whether they are whole."""
        stage = self._console.stage
        export = downloads.export_of(self._console, self._id, self._attempt.value)
        with tempfile.TemporaryDirectory(prefix="tally-ui-") as folder:
            fetch(output, stage.s3, stage.resources.inbox_bucket, export, Path(folder))
            verified = verify(Path(folder))
        show_verified(output, verified, None)

    def _offer_attempts(self, last: int) -> None:
        """Offer each attempt whose export may be known; who looks at the last one looks at the next once it begins."""
        if last == self._last:
            return
        chosen = last if self._attempt.value == self._last else self._attempt.value
        self._last = last
        attempts = range(last, max(0, last - MAX_ATTEMPTS), -1)
        self._attempt.set_options(list(attempts), value=chosen if chosen in attempts else last)
        self._attempt.set_visibility(last > 1)

    def _chosen(self) -> None:
        if self._view:
            self.show(self._view)

    def _offer(self, view: View, export: Export) -> None:
        batch, at = view.batch, self._console.at
        if not self._console.show_data:
            ui.label("Files hold data: `tally ui --show-data` offers them here, and this fetches them:").classes(
                "text-sm opacity-70"
            )
            last = export.attempt == batch.attempt
            which, place = ("", batch.id) if last else (f" --attempt {export.attempt}", f"{batch.id}-{export.attempt}")
            command_line(f"tally results {batch.id}{which} -o {place}.{export.form}{at}")
            return
        with ui.row().classes("gap-4"):
            ui.link(f"Download the results ({export.form})", downloads.address(export)).props("download")
            if export.counts.failed or export.counts.rejected:
                name = f"failed.{batch.layout.format}"
                ui.link(f"Download {name}", downloads.address(export, failed=True)).props("download")


def _lines(view: View, attempt: int) -> list[tuple[str, str]]:
    """Return what is known of the results of an attempt, and of their saving by key."""
    batch = view.batch
    if attempt == batch.attempt:
        results = Results(batch, view.export, view.now)
        lines = results.table_rows()
        if results.state is State.LATER:
            lines.insert(0, ("results", "not yet"))
    else:
        export = view.history.exports.get(attempt)
        why, hint = why_missing(batch, attempt, export)
        if not view.history.known:
            lines = [("results", "not read yet")]
        else:
            lines = [("results", f"{why}: {hint}")] if why else Results(batch, export, view.now).table_rows()
    save = view.history.saves.get(attempt) if attempt < batch.attempt or batch.status.final else None
    return lines + ([("by key", Saving(save=save).line)] if save else [])


def _written(view: View, attempt: int) -> Export | None:
    """Return the export of an attempt if its files are there."""
    export = view.export if attempt == view.batch.attempt else view.history.exports.get(attempt)
    return export if export and Results(view.batch, export, view.now).state is State.WRITTEN else None


def _linked(view: View, name: str) -> str:
    """Return the batch that a line about the chain leads to; empty for one that says why there is none."""
    batch = view.batch
    if name == "made of" and batch.parent:
        return batch.parent.batch_id
    return batch.chained.child if name == "results to" and batch.chained else ""
