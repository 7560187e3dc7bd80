"""The results of a batch: where they are and how long, downloads, their verdict, saving by key, its chain."""

import tempfile
from pathlib import Path

from nicegui import ui

from chalicelib.store.exports import Exports
from tally.batch import chains
from tally.batch.saving import Saving
from tally.errors import ExitCode, OperatorError
from tally.exported.fetch import fetch
from tally.exported.show import show_verified
from tally.exported.state import Results, State
from tally.exported.verify import verify
from tally.output import Output
from tally.stages.services import table
from tally.ui import downloads
from tally.ui.actions import command_line
from tally.ui.console import Console
from tally.ui.view import View


class ResultsPanel:
    """Shows the results of the last attempt; files are offered only by a console that shows data."""

    def __init__(self, console: Console, batch_id: str) -> None:
        self._console, self._id = console, batch_id
        self._lines = ui.column().classes("w-full gap-0").mark("results")
        self._get = ui.column().classes("w-full gap-1")
        self._shown: tuple[object, ...] = ()

    def show(self, view: View) -> None:
        """Show the results as they are known now."""
        results = Results(view.batch, view.export, view.now)
        save = view.history.saves.get(view.batch.attempt) if view.batch.status.final else None
        lines = results.table_rows() + ([("by key", Saving(save=save).line)] if save else [])
        if results.state is State.LATER:
            lines.insert(0, ("results", "not yet"))
        links = [(name, text, _linked(view, name)) for name, text in chains.described(view.batch)]
        now = (lines, links, results.state)
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
        if results.state is State.WRITTEN and view.export:
            with self._get:
                self._offer(view)

    def verify(self, output: Output) -> None:
        """Fetch the files of the last attempt to a folder that is removed again, and say whether they are whole."""
        stage = self._console.stage
        batch = self._console.reader.require(self._id)
        export = Exports(table=table(stage)).find(batch.id, batch.attempt)
        if export is None or not export.exported_at:
            raise OperatorError(f"Attempt {batch.attempt} of {batch.id} has no results yet", code=ExitCode.USAGE)
        with tempfile.TemporaryDirectory(prefix="tally-ui-") as folder:
            fetch(output, stage.s3, stage.resources.inbox_bucket, export, Path(folder))
            verified = verify(Path(folder))
        show_verified(output, verified, None)

    def _offer(self, view: View) -> None:
        export, batch, at = view.export, view.batch, self._console.at
        if export is None:
            return
        if not self._console.show_data:
            ui.label("Files hold data: `tally ui --show-data` offers them here, and this fetches them:").classes(
                "text-sm opacity-70"
            )
            command_line(f"tally results {batch.id} -o {batch.id}.{export.form}{at}")
            return
        with ui.row().classes("gap-4"):
            ui.link(f"Download the results ({export.form})", downloads.address(export)).props("download")
            if export.counts.failed or export.counts.rejected:
                name = f"failed.{batch.layout.format}"
                ui.link(f"Download {name}", downloads.address(export, failed=True)).props("download")


def _linked(view: View, name: str) -> str:
    """Return the batch that a line about the chain leads to; empty for one that says why there is none."""
    batch = view.batch
    if name == "made of" and batch.parent:
        return batch.parent.batch_id
    return batch.chained.child if name == "results to" and batch.chained else ""
