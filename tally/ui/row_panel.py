"""One row of a batch, found by its line or its name."""

from nicegui import run, ui

from tally.batch import rows
from tally.batch.reasons import pattern_of
from tally.ui.actions import explained
from tally.ui.console import Console


def row_panel(console: Console, batch_id: str) -> None:
    """Show where a row is asked for, and what is known of it; its cells, its result and its reason only if asked."""
    with ui.row().classes("w-full items-center"):
        asked = ui.input("Line, or CHUNK:ROW").props("dense").classes("grow").mark("row")
        look = ui.button("Look up").props("outline no-caps dense").classes("px-2")
    said = ui.column().classes("w-full gap-0 overflow-auto").style("max-height: 220px")

    async def find() -> None:
        said.clear()
        try:
            found = await run.io_bound(_find, console, batch_id, (asked.value or "").strip())
        except Exception as error:  # noqa: BLE001  shown where it was asked for
            with said:
                ui.label(explained(error)).classes("text-negative tally-text").props("role=alert")
            return
        if found is None:
            return
        with said:
            for name, value in described(found, show_data=console.show_data):
                ui.label(f"{name}: {value}").classes("tally-text text-sm")
            if not console.show_data:
                ui.label("Cells, result and values are not shown: `tally ui --show-data` shows them.").classes(
                    "text-sm opacity-70"
                )

    look.on_click(find)
    asked.on("keydown.enter", find)


def _find(console: Console, batch_id: str, asked: str) -> rows.FoundRow:
    line = asked.replace(",", "")
    if line.isdecimal() and int(line) > 0:
        return rows.by_line(console.reader, console.stage.s3, batch_id, int(line))
    return rows.by_name(console.reader, batch_id, asked)


def described(found: rows.FoundRow, *, show_data: bool) -> list[tuple[str, str]]:
    """Return what is shown of a row, as names and values; nothing of the uploader's without ``show_data``."""
    shown = found.as_json()
    outcome = found.outcome
    lines = [
        ("row", found.name),
        ("line", str(found.line or "not known")),
        ("outcome", str(shown["outcome"] or "none")),
    ]
    if outcome is not None:
        lines += [("code", shown["code"])] if shown["code"] else []
        if outcome.reason:
            lines.append(("reason", outcome.reason if show_data else pattern_of(outcome.reason)))
        lines += [("tries", str(outcome.tries)), ("took", f"{outcome.duration_ms:,} ms")]
        lines += [("counted at", found.counted_at)]
        lines += [("raised in", outcome.traceback)] if outcome.traceback else []
    elif found.waiting:
        lines.append(("waits for try", str(found.waiting.attempt)))
    if show_data:
        lines += [("result", str(shown["result"]))] if shown["result"] is not None else []
        lines += [(f"cell {name}", "" if cell is None else str(cell)) for name, cell in found.cells.items()]
    return lines
