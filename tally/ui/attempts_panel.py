"""The attempts of a batch: when each began and ended, why it ran, its rows by outcome, its results."""

from typing import Any

from nicegui import ui

from chalicelib.store.items import Counts
from tally.announced.announcements import announced
from tally.exported.state import Results, State
from tally.ui.history import MAX_ATTEMPTS
from tally.ui.view import View

_COLUMNS = ("attempt", "began", "why", "ended", "status", "succeeded", "failed", "rejected", "results")


class AttemptsPanel:
    """Shows a row for each attempt, and what was announced of them."""

    def __init__(self) -> None:
        columns = [{"name": name, "label": name, "field": name, "align": "left"} for name in _COLUMNS]
        self._table = ui.table(columns=columns, rows=[], row_key="attempt").classes("w-full").mark("attempts")
        self._table.props("dense flat bordered hide-pagination :rows-per-page-options=[0] :grid=Quasar.Screen.lt.sm")
        self._notes = ui.column().classes("w-full gap-0")
        self._shown: list[str] = []

    def show(self, view: View) -> None:
        """Show the attempts as they are known now."""
        rows = rows_of(view)
        if rows != self._table.rows:
            self._table.rows = rows
        lines = [*_taken_back(view), *events_of(view)]
        if lines != self._shown:
            self._shown = lines
            self._notes.clear()
            with self._notes:
                for line in lines:
                    ui.label(line).classes("tally-text text-sm")


def rows_of(view: View) -> list[dict[str, Any]]:
    """Return a row for each attempt, the last one first; of earlier ones what their exports keep."""
    batch, exports = view.batch, view.history.exports
    rows = []
    for attempt in range(batch.attempt, max(0, batch.attempt - MAX_ATTEMPTS), -1):
        export, before = exports.get(attempt), exports.get(attempt - 1)
        last = attempt == batch.attempt
        if last:
            ended, status, counts = batch.completed_at, batch.status.value, view.counts
        elif export:
            ended, status, counts = export.completed_at, export.status, export.counts
        else:
            ended, status, counts = "", "not kept" if view.history.known else "not read yet", Counts()
        known = last or export is not None
        rows.append(
            {
                "attempt": attempt,
                "began": _moment(batch.created_at) if attempt == 1 else _after(before.completed_at if before else ""),
                "why": _why(view, attempt),
                "ended": _moment(ended) if ended else "",
                "status": status,
                **{name: f"{getattr(counts, name):,}" if known else "" for name in ("succeeded", "failed", "rejected")},
                "results": _files(Results(batch, export, view.now)),
            }
        )
    return rows


def events_of(view: View) -> list[str]:
    """Return what was announced of the end and the results of attempts, a line each, oldest first."""
    found = announced(view.batch, view.history.exports.values())
    return [each.line for each in sorted(found, key=lambda each: (each.at, each.detail.event_id))]


def _why(view: View, attempt: int) -> str:
    files = [each.file for each in view.corrections if each.attempt == attempt]
    if files:
        return ", ".join(f"corrected by {file.name} ({file.rows:,} rows)" for file in files)
    return "upload" if attempt == 1 else "redrive"


def _taken_back(view: View) -> list[str]:
    rows = view.redriven
    return [f"{rows:,} outcomes taken back by redrives, of all attempts."] if rows else []


def _files(results: Results) -> str:
    export = results.export
    if export is None or results.state is State.EXPIRED:
        return results.state.value if export else ""
    pieces = len(export.pieces)
    return f"{pieces:,} files" if export.complete else f"{export.written:,} of {pieces:,} files"


def _after(ended: str) -> str:
    """Return when a later attempt began: the ledger keeps when the one before it had ended."""
    return f"after {_moment(ended)}" if ended else "not kept"


def _moment(iso: str) -> str:
    return iso[:19].replace("T", " ")
