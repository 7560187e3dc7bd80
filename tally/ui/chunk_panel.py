"""One chunk of a batch: how far it is, and which of its rows did not succeed."""

from collections.abc import Sequence
from typing import Any

from nicegui import run, ui

from chalicelib.store.items import ChunkKey, Outcome
from tally.batch.reasons import Reason, Reasons
from tally.batch.rows import read_partition
from tally.errors import ExitCode, OperatorError
from tally.look import shorten
from tally.ui import heat_map
from tally.ui.actions import command_line, explained
from tally.ui.console import Console
from tally.ui.view import View

MAX_ROWS = 50
"""Rows of a chunk that are shown, those first that did not succeed."""
_MAX_REASON = 300


class ChunkPanel:
    """Shows the chunk whose number was asked for, or whose square was clicked."""

    def __init__(self, console: Console, batch_id: str) -> None:
        self._console, self._id = console, batch_id
        self._view: View | None = None
        with ui.row().classes("w-full items-center"):
            self._asked = ui.number("Chunk", min=0, precision=0).props("dense").classes("w-28").mark("chunk")
            shows = ui.button("Show its rows").props("outline no-caps dense").classes("px-2")
            ui.label("or click its square").classes("text-sm opacity-70")
        self._said = ui.column().classes("w-full gap-1 overflow-auto").style("max-height: 400px").mark("chunk-rows")
        shows.on_click(self._show)
        self._asked.on("keydown.enter", self._show)

    def know(self, view: View) -> None:
        """Take what is known of the batch now."""
        self._view = view

    async def clicked(self, cell: int) -> None:
        """Show the chunk of a square; of several the worst."""
        number = heat_map.worst_of_cell(self._view, cell) if self._view else None
        if number is not None:
            self._asked.set_value(number)
            await self._show()

    async def _show(self) -> None:
        self._said.clear()
        if self._asked.value is None:
            return
        number = int(self._asked.value)
        try:
            rows = await run.io_bound(self._read, number)
        except Exception as error:  # noqa: BLE001  shown where it was asked for
            with self._said:
                ui.label(explained(error)).classes("text-negative tally-text").props("role=alert")
            return
        with self._said:
            for line in heat_map.described(self._view, number) if self._view else ():
                ui.label(line).classes("tally-text text-sm")
            self._table(rows or [])
            command_line(self._command(rows or []))

    def _read(self, number: int) -> list[dict[str, Any]]:
        found = read_partition(self._console.reader, ChunkKey(self._id, number))
        if found is None:
            raise OperatorError(f"Batch {self._id} has no chunk {number:,}", code=ExitCode.USAGE)
        return shown(found.listed(None), show_data=self._console.show_data)

    def _table(self, rows: Sequence[dict[str, Any]]) -> None:
        if not rows:
            ui.label("No row of it has an outcome yet.").classes("text-sm")
            return
        columns = [
            {"name": name, "label": label, "field": name, "align": "left"}
            for name, label in (("id", "row"), ("line", "line"), ("outcome", "outcome"), ("reason", "reason"))
        ]
        ui.table(columns=columns, rows=list(rows[:MAX_ROWS]), row_key="id").classes("w-full").props(
            "dense flat bordered hide-pagination :rows-per-page-options=[0]"
        )
        if len(rows) > MAX_ROWS:
            ui.label(f"The first {MAX_ROWS:,} of {len(rows):,} rows that have an outcome.").classes(
                "text-sm opacity-70"
            )

    def _command(self, rows: Sequence[dict[str, Any]]) -> str:
        """Return what runs the chunk's failed rows again, or shows rows where none has failed."""
        stage = self._console.at
        failed = [row["id"] for row in rows if row["outcome"] == Outcome.FAILED]
        if failed and len(failed) <= MAX_ROWS:
            return f"tally redrive {self._id} --rows {','.join(failed)}{stage}"
        return f"tally rows {self._id}{stage}" + (" --outcome failed" if failed else "")


def shown(rows: Sequence[dict[str, Any]], *, show_data: bool) -> list[dict[str, Any]]:
    """Return rows as the page shows them, those first that did not succeed; reasons have values only if asked."""
    reasons = Reasons()
    for row in rows:
        reasons.add(Reason(outcome=Outcome(row["outcome"]), text=row["reason"], code=row["code"], row=row["id"]))
    grouping = reasons.grouped()

    def reason(row: dict[str, Any]) -> str:
        if show_data or not row["reason"]:
            return str(row["reason"])
        group = grouping.group_of(Outcome(row["outcome"]), row["reason"])
        return group[1] if group else ""

    return [
        {
            "id": row["id"],
            "line": row["line"] or "",
            "outcome": row["outcome"],
            "reason": shorten(reason(row), _MAX_REASON),
        }
        for row in sorted(rows, key=lambda row: (row["outcome"] == Outcome.SUCCEEDED, row["row"]))
    ]
