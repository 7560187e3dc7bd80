"""The page of one batch: how far it is, what it looks like, what went wrong, and what can be done."""

from collections.abc import Callable
from typing import Any

from nicegui import events, run, ui

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts
from tally.batch import audit as auditing
from tally.batch import cost as costing
from tally.batch.picture import short_status
from tally.look import duration, several, share
from tally.output import Output
from tally.ui import charts, downloads, heat_map
from tally.ui.actions import perform
from tally.ui.attempts_panel import AttemptsPanel
from tally.ui.batch_actions import BatchActions
from tally.ui.chunk_panel import ChunkPanel
from tally.ui.console import Console
from tally.ui.corrections_panel import CorrectionsPanel
from tally.ui.flow_panel import FlowPanel
from tally.ui.frame import card, colour_of, page
from tally.ui.groups_panel import GroupsPanel
from tally.ui.results_panel import ResultsPanel
from tally.ui.row_panel import row_panel
from tally.ui.trouble import Trouble
from tally.ui.view import View

_NO_ROWS = "The file was rejected as a whole: none of its rows was processed. Correct it, and submit it again."


def register(console: Console) -> None:
    """Have the console show the page."""
    ui.page("/batch/{batch_id}")(lambda batch_id: _BatchPage(console, batch_id))
    downloads.register(console)


class _BatchPage:
    def __init__(self, console: Console, batch_id: str) -> None:
        self._console, self._id = console, batch_id
        self._feed = console.feed(batch_id)
        self._shown: tuple[Any, ...] = ()
        with page(console, batch_id):
            self._trouble = Trouble(console)
            with ui.row().classes("w-full items-center"):
                ui.label(batch_id).classes("text-xl font-bold tally-text")
                self._status = ui.badge("reading...").mark("status")
            self._file = ui.label().classes("tally-text text-sm opacity-70")
            self._reason = ui.label().classes("tally-text text-negative")
            self._bar = ui.linear_progress(0, show_value=False).props("aria-label=done")
            self._figures = ui.label().classes("tally-text").mark("figures")
            self._speed = ui.label().classes("tally-text text-sm")
            self._waiting = ui.label().classes("tally-text text-sm text-primary")
            self._actions = BatchActions(console, batch_id, self._feed.refresh)
            self._flow = FlowPanel(console)
            with ui.column().classes("w-full gap-3") as self._of_rows:
                self._pictures()
                self._cards()
        ui.timer(1.0, self._tick)

    def _pictures(self) -> None:
        console, batch_id = self._console, self._id
        with ui.grid().classes("w-full grid-cols-1 md:grid-cols-2 gap-3"):
            self._over_time = self._chart("Rows over time", "over-time")
            self._heat = self._chart("Chunks", "heat")
            self._durations = self._chart("How long rows took", "durations")
            with card("Find a row, or the rows of a chunk"):
                row_panel(console, batch_id)
                self._chunk = ChunkPanel(console, batch_id)
        self._heat[0].on_point_click(self._square_clicked)

    def _cards(self) -> None:
        console, batch_id = self._console, self._id
        with card("Why rows did not succeed"):
            self._groups = GroupsPanel(console, batch_id, self._feed.refresh)
            self._said_by("Read every reason", self._groups.read_all)
            CorrectionsPanel(console, batch_id, self._feed.refresh)
        with card("Attempts"):
            self._attempts = AttemptsPanel()
        with card("Results"):
            self._results = ResultsPanel(console, batch_id)
            self._said_by("Verify", self._results.verify)
        with card("Cost"):
            self._said_by("Estimate", self._cost)
        with card("Audit"):
            ui.label("Counts the batch again from the markers of its rows alone.").classes("text-sm opacity-70")
            self._said_by("Audit", lambda report: auditing.run(report, console.reader, batch_id))

    def _chart(self, title: str, name: str) -> tuple[ui.echart, ui.label]:
        with card(title):
            chart = ui.echart(charts.base() | {"xAxis": {}, "yAxis": {}, "series": []})
            chart.classes(f"tally-chart chart-{name}").mark(name)
            if name == "heat":
                self._legend = ui.row().classes("gap-2")
            return chart, ui.label().classes("text-sm opacity-70 tally-text")

    async def _square_clicked(self, event: events.EChartPointClickEventArguments) -> None:
        await self._chunk.clicked(event.data_index)

    def _said_by(self, label: str, act: Callable[[Output], Any]) -> ui.button:
        """Show a button that only looks, and under it what it says."""
        looks = ui.button(label).props("outline no-caps dense").classes("px-2")
        said = ui.column().classes("w-full")

        async def look() -> None:
            looks.disable()
            try:
                await perform(self._console, said, act)
            finally:
                looks.enable()

        looks.on_click(look)
        return looks

    def _cost(self, output: Output) -> None:
        batch = self._console.reader.require(self._id)
        costing.show(output, self._console.cost(batch))

    async def _tick(self) -> None:
        await self._trouble.guarded(self._read)

    async def _read(self) -> None:
        view = await run.io_bound(self._feed.step)
        if view is None:
            self._status.set_text("no such batch (yet)")
            return
        self._show(view)

    def _show(self, view: View) -> None:
        batch, counts = view.batch, view.counts
        status = short_status(batch)
        self._status.set_text(status)
        self._status.props(f"color={colour_of(status)}")
        self._file.set_text(f"s3://{batch.source.bucket}/{batch.source.key}, job {batch.job}, attempt {batch.attempt}")
        self._reason.set_text(batch.reason)
        found, rejected = view.progress.found, batch.status is BatchStatus.REJECTED
        self._bar.set_value(counts.total / found if found else float(batch.status.final))
        self._figures.set_text(_NO_ROWS if rejected else _figures(counts, found))
        self._of_rows.set_visibility(not rejected)
        self._speed.set_text(_speed(view))
        self._waiting.set_text(_waiting(view, show_data=self._console.show_data))
        self._actions.enable(batch, counts)
        # What has not changed is not sent again: charts are most of what travels.
        versions = sum(chunk.version for chunk in view.progress.chunks.values())
        now = (
            batch,
            versions,
            len(view.progress.chunks),
            sum(each.version for each in view.sampled),
            len(view.sampled),
            heat_map.standing_chunks(view),
        )
        if now != self._shown:
            self._shown = now
            self._draw(view)
        for panel in (self._flow, self._groups, self._attempts, self._results):
            panel.show(view)
        self._chunk.know(view)

    def _draw(self, view: View) -> None:
        total = view.batch.chunks or len(view.progress.chunks)
        sample = f"From {len(view.sampled):,} of {total:,} chunks." if len(view.sampled) < total else ""
        found = charts.durations_of(view)
        took = "No row was measured yet."
        if found:
            median, slow = charts.percentiles(found)
            took = f"p50 {median:,.0f} ms, p99 {slow:,.0f} ms. {sample}"
        each = heat_map.chunks_of_cell(total)
        squares = f"A square is {each:,} chunks. " if each > 1 else "A square is a chunk. "
        unread = f"{several(view.stale_chunks, 'chunk')} still to be read." if view.stale_chunks else ""
        for (chart, label), options, text in (
            (self._over_time, charts.rows_over_time(view), sample),
            (self._heat, heat_map.heat_map(view), squares + unread),
            (self._durations, charts.durations(view), took),
        ):
            chart.options.clear()
            chart.options.update(options)
            label.set_text(text)
        self._legend.clear()
        with self._legend:
            for text, colour, chunks in heat_map.kinds(view):
                with ui.row().classes("items-center gap-1 no-wrap"):
                    ui.element("span").style(f"background: {colour}; width: 12px; height: 12px")
                    ui.label(f"{text}: {chunks:,}").classes("text-sm")


def _figures(counts: Counts, found: int) -> str:
    return (
        f"{counts.total:,} of {found:,} rows ({share(counts.total, found).strip()}): {counts.succeeded:,} "
        f"succeeded, {counts.failed:,} failed, {counts.rejected:,} rejected"
    )


def _speed(view: View) -> str:
    batch = view.batch
    if batch.status is BatchStatus.REJECTED:
        return ""
    parts = [f"chunks {view.progress.closed:,} of {batch.chunks:,}" if batch.chunks is not None else "being planned"]
    if not batch.status.final:
        parts += [f"{view.rate:,.0f} rows/s", f"ETA {duration(view.eta_seconds)}"]
    parts.append(f"elapsed {duration(view.elapsed_seconds)}")
    return ", ".join(parts)


def _waiting(view: View, *, show_data: bool) -> str:
    rows = view.progress.rows_waiting
    if not rows:
        return ""
    why = f", for example: {view.progress.waiting_reason}" if show_data else ""
    return f"{rows:,} rows raised and wait for their next try{why}"
