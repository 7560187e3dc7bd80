"""The page of all batches: live, filtered, a page at a time."""

from datetime import datetime
from typing import Any

from nicegui import run, ui

from chalicelib.clock import utc_now
from chalicelib.store.batch import Batch, BatchStatus, Hold
from tally.batch import chains, rough_cost
from tally.batch.picture import short_status
from tally.batch.reader import Progress
from tally.batch.watch import elapsed_seconds
from tally.look import duration
from tally.ui.console import Console
from tally.ui.frame import colour_of, page
from tally.ui.list_feed import ListFeed, Wanted
from tally.ui.trouble import Trouble

_PAGE = 25
_COLUMNS = (
    ("batch", "batch", "left"),
    ("job", "job", "left"),
    ("status", "status", "left"),
    ("done", "done", "left"),
    ("rows", "rows", "right"),
    ("succeeded", "succeeded", "right"),
    ("failed", "failed", "right"),
    ("rejected", "rejected", "right"),
    ("rate", "speed", "left"),
    ("age", "age", "right"),
    ("cost", "cost", "right"),
)
_CHAIN = """<div v-if="props.row.parent" class="text-caption">of
<a :href="'/batch/' + encodeURIComponent(props.row.parent)" class="text-primary">{{ props.row.parent }}</a></div>
<div v-if="props.row.child" class="text-caption">to
<a :href="'/batch/' + encodeURIComponent(props.row.child)" class="text-primary">{{ props.row.child }}</a></div>
<div v-else-if="props.row.not_chained" class="text-caption">not to {{ props.row.not_chained }}</div>"""
"""Whose results a batch is made of, and where its own went, as `tally list` has it."""
_STATUSES = [*(status.value for status in BatchStatus), Hold.PAUSED.value, Hold.CANCELLED.value]


def register(console: Console) -> None:
    """Have the console show the page."""
    ui.page("/", title="Tally")(lambda: _Batches(console))


def row_of(batch: Batch, feed: ListFeed, exact_cost: float | None = None) -> dict[str, Any]:
    """Return what the table shows of a batch; rows are those of closed chunks while it is under way."""
    progress = Progress(batch=batch, chunks={})
    counts, total = batch.counts, batch.expected_rows
    closed = (batch.chunks or 0) - batch.remaining if batch.chunks else 0
    share = 1.0 if batch.status.final else closed / batch.chunks if batch.chunks else 0.0
    status, speed = short_status(batch), ""
    meter = feed.meter(batch.id)
    chain = chains.as_json(batch)
    cost = rough_cost.dollars(batch) if exact_cost is None else exact_cost
    if not batch.status.final and len(meter.samples) > 1:
        speed = f"{meter.rate:,.0f} rows/s, ETA {duration(meter.eta_seconds(total - counts.total))}"
    return {
        "batch": batch.id,
        "job": batch.job,
        "status": status,
        "colour": colour_of(status),
        "done": share,
        "rows": f"{total:,}",
        "succeeded": f"{counts.succeeded:,}",
        "failed": f"{counts.failed:,}",
        "rejected": f"{counts.rejected:,}",
        "rate": speed or (f"took {duration(elapsed_seconds(progress, utc_now()))}" if batch.completed_at else ""),
        "age": duration((utc_now() - datetime.fromisoformat(batch.created_at)).total_seconds()),
        "cost": rough_cost.in_words(cost, about=exact_cost is None),
        "parent": chain["parent"],
        "child": chain["child"],
        "not_chained": f"{chain['then']}: {chain['not_chained'].replace('_', ' ')}" if chain["not_chained"] else "",
    }


class _Batches:
    def __init__(self, console: Console) -> None:
        self._console, self._feed = console, console.list_feed
        self._page = 0
        with page(console, "Batches"):
            self._trouble = Trouble(console)
            with ui.row().classes("w-full items-center"):
                self._text = ui.input("Find", on_change=self._filtered).props("dense clearable").classes("grow")
                self._job = ui.select({"": "every job"}, value="", label="Job", on_change=self._filtered).props("dense")
                self._status = ui.select(
                    {"": "every state"} | {status: status for status in _STATUSES},
                    value="",
                    label="State",
                    on_change=self._filtered,
                ).props("dense")
            self._first = ui.column().classes("w-full")
            self._first.set_visibility(False)
            with self._first:
                ui.label("No batch yet.").classes("text-lg").mark("empty")
                if console.read_only:
                    ui.label("Submit a file from the command line: tally submit FILE --job JOB")
                else:
                    ui.link("Submit a file", "/submit")
                    ui.label("or, on the command line: tally submit FILE --job JOB").classes("tally-command")
            columns = [{"name": name, "label": label, "field": name, "align": align} for name, label, align in _COLUMNS]
            self._table = ui.table(columns=columns, rows=[], row_key="batch").classes("w-full")
            self._table.props(
                "dense flat bordered hide-pagination :rows-per-page-options=[0] :grid=Quasar.Screen.lt.sm"
            )
            self._table.add_slot(
                "body-cell-batch",
                """<q-td :props="props"><a :href="'/batch/' + encodeURIComponent(props.row.batch)"
                class="text-primary">{{ props.row.batch }}</a>"""
                + _CHAIN
                + "</q-td>",
            )
            self._table.add_slot(
                "body-cell-status",
                '<q-td :props="props"><q-badge :color="props.row.colour">{{ props.row.status }}</q-badge></q-td>',
            )
            self._table.add_slot(
                "body-cell-done",
                """<q-td :props="props"><q-linear-progress :value="props.row.done" style="width: 90px"
                :color="props.row.colour" :aria-label="Math.floor(100 * props.row.done) + ' %'" /></q-td>""",
            )
            self._table.add_slot(
                "item",
                """<div class="q-pa-xs col-12"><q-card flat bordered class="q-pa-sm">
                <a :href="'/batch/' + encodeURIComponent(props.row.batch)" class="text-primary"
                style="overflow-wrap: anywhere">{{ props.row.batch }}</a>"""
                + _CHAIN
                + """<div>
                <q-badge :color="props.row.colour">{{ props.row.status }}</q-badge> {{ props.row.rate }}</div>
                <q-linear-progress :value="props.row.done" :color="props.row.colour" />
                <div>{{ props.row.rows }} rows: {{ props.row.succeeded }} succeeded, {{ props.row.failed }} failed,
                {{ props.row.rejected }} rejected; {{ props.row.cost }}</div></q-card></div>""",
            )
            with ui.row().classes("items-center"):
                self._back = ui.button("Newer", on_click=lambda: self._turn(-1)).props("flat no-caps dense")
                self._where = ui.label().mark("where")
                self._on = ui.button("Older", on_click=lambda: self._turn(1)).props("flat no-caps dense")
            ui.label(
                "Rows of a batch under way are those of its closed chunks. A cost is an estimate from the size and the "
                "rows until the batch's own page has computed it."
            ).classes("text-sm opacity-70")
        ui.timer(2.0, self._tick)

    def _turn(self, pages: int) -> None:
        self._page = max(0, self._page + pages)
        self._show()

    def _filtered(self) -> None:
        self._page = 0
        self._show()

    async def _tick(self) -> None:
        await self._trouble.guarded(self._read)

    async def _read(self) -> None:
        await run.io_bound(self._feed.step)
        self._show()

    def _show(self) -> None:
        feed = self._feed
        wanted = Wanted(job=self._job.value or "", status=self._status.value or "", text=self._text.value or "")
        batches, count = feed.shown(wanted, self._page, _PAGE)
        costs = self._console.costs
        rows = [row_of(batch, feed, costs.get((batch.id, batch.attempt))) for batch in batches]
        if rows != self._table.rows:
            self._table.rows = rows
        jobs = {"": "every job"} | {job: job for job in feed.jobs()}
        if jobs != self._job.options:
            self._job.set_options(jobs, value=self._job.value)
        first = self._page * _PAGE
        where = f"{first + 1:,} to {first + len(rows):,} of {count:,}" if rows else "none"
        where += f"; {feed.unknown:,} more are being read" if feed.unknown else ""
        where += f"; {feed.of_other_versions:,} of another version of Tally" if feed.of_other_versions else ""
        self._where.set_text(where)
        self._back.set_enabled(self._page > 0)
        self._on.set_enabled(first + len(rows) < count)
        self._first.set_visibility(feed.listed and not feed.total)
        self._table.set_visibility(bool(feed.total))
