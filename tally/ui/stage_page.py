"""The page of a stage: its queues, its functions, its dead letters, and what doctor says."""

from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from tally.look import duration, milliseconds
from tally.queues import overview
from tally.stages.function_metrics import FunctionUse, Window
from tally.ui.actions import command_line
from tally.ui.console import Console
from tally.ui.dead_letters_panel import dead_letters_panel
from tally.ui.doctor_panel import doctor_panel
from tally.ui.frame import card, page
from tally.ui.stage_feed import QUEUE_SECONDS, Measured, StageFeed
from tally.ui.trouble import Trouble

_QUEUES = ("queue", "visible", "in flight", "delayed", "oldest", "dead letters")
_FUNCTIONS = ("function", "invocations", "errors", "throttles", "mean", "longest")
_TABLE = "dense flat hide-pagination hide-no-data :rows-per-page-options=[0] :grid=Quasar.Screen.lt.sm"
_DEAD = """<q-td :props="props"><q-badge v-if="!['0', '-'].includes(props.value)" color="red-8">{{ props.value }}
</q-badge><span v-else>{{ props.value }}</span></q-td>"""
_NARROW = """<div class="q-pa-xs col-12"><q-card flat bordered class="q-pa-xs"><b>{{ props.cols[0].value }}</b>
<div class="row q-gutter-x-md text-caption"><span v-for="each in props.cols.slice(1)" :key="each.name"
:class="each.name === 'dead letters' && !['0', '-'].includes(each.value) ? 'text-negative' : ''"
>{{ each.label }} {{ each.value }}</span></div></q-card></div>"""
"""A row of a table on a phone: its name, and below it the others side by side."""


def register(console: Console) -> None:
    """Have the console show the page."""
    ui.page("/stage", title="Stage")(lambda: _StagePage(console))


class _StagePage:
    def __init__(self, console: Console) -> None:
        self._console, self._feed = console, console.stage_feed
        with page(console, "Stage"):
            self._trouble = Trouble(console)
            with card("Queues and stream"):
                self._queues = _table(_QUEUES)
                self._queues.add_slot("body-cell-dead letters", _DEAD)
                self._stream = ui.label().classes("text-sm tally-text").mark("stream")
                ui.label(f"Read every {QUEUE_SECONDS:.0f} s.").classes("text-sm opacity-70")
                command_line(f"tally queues --stage {console.stage.name}")
            with card("Functions"):
                windows = {window: f"the last {window.title}" for window in Window}
                self._window = ui.select(windows, value=Window.HOUR, label="Of", on_change=self._measure)
                self._window.props("dense").classes("min-w-40")
                self._functions = _table(_FUNCTIONS)
                self._measured = ui.label("Not read yet.").classes("text-sm opacity-70 tally-text").mark("measured")
                command_line(f"tally logs FUNCTION --stage {console.stage.name}")
            with card("Dead letters"):
                dead_letters_panel(console)
            with card("Doctor"):
                doctor_panel(console)
        ui.timer(QUEUE_SECONDS, self._tick)

    async def _tick(self) -> None:
        await self._trouble.guarded(self._read)

    async def _measure(self) -> None:
        self._functions.rows = []
        self._measured.set_text("Reading...")
        await self._trouble.guarded(self._read_functions)

    async def _read(self) -> None:
        await run.io_bound(self._feed.step)
        self._queues.rows = [
            dict(zip(_QUEUES, map(str, overview.cells(state)), strict=True)) for state in self._feed.queues
        ]
        self._stream.set_text(stream_text(self._feed))
        await self._read_functions()

    async def _read_functions(self) -> None:
        measured = await run.io_bound(self._feed.measure, self._window.value)
        if measured and measured.window is self._window.value:  # else another one was chosen while this was read
            self._functions.rows = [dict(zip(_FUNCTIONS, cells(use), strict=True)) for use in measured.functions]
            self._measured.set_text(measured_text(measured, local=self._console.stage.server is not None))


def cells(use: FunctionUse) -> tuple[str, ...]:
    """Return what the table shows of a function; what was not measured is a dash, never a zero."""
    more = " or more" if use.more else ""
    return (
        use.function,
        _or_dash(use.invocations, lambda count: f"{count:,}{more}"),
        _or_dash(use.errors, "{:,}".format),
        _or_dash(use.throttles, "{:,}".format),
        _or_dash(use.mean_ms, milliseconds),
        _or_dash(use.longest_ms, milliseconds),
    )


def _or_dash(value: float | None, shown: Callable[[float], str]) -> str:
    return "-" if value is None else shown(value)


def measured_text(measured: Measured, *, local: bool) -> str:
    """Return where the figures of functions come from, and since when they are."""
    if measured.unknown:
        return f'Not known: {measured.unknown}. docs/deploy.md, "Rights of operators", lists the rights.'
    since = f"{measured.since:%Y-%m-%d %H:%M} UTC"
    if not any(use.invocations is not None or use.throttles is not None for use in measured.functions):
        return f"This stage has no figures since {since}: no function has run."
    source = "as their logs report; a local stage does not count errors and throttles" if local else "by CloudWatch"
    return f"Since {since}, {source}. A dash is what was not measured."


def stream_text(feed: StageFeed) -> str:
    """Return how far the readers of the stream are behind."""
    if feed.ages_unknown:
        return f"How long messages wait and how far the stream's readers are behind is not known: {feed.ages_unknown}."
    behind = [
        f"{reader} is {duration(seconds)} behind" if seconds is not None else f"{reader} had nothing to read"
        for reader, seconds in feed.readers.items()
    ]
    return f"Stream, the worst of 15 minutes: {', '.join(behind)}." if behind else ""


def _table(names: tuple[str, ...]) -> ui.table:
    first, *others = names
    columns: list[dict[str, Any]] = [{"name": first, "label": first, "field": first, "align": "left"}]
    columns += [{"name": name, "label": name, "field": name, "align": "right"} for name in others]
    table = ui.table(columns=columns, rows=[], row_key=first).classes("w-full").props(_TABLE)
    table.add_slot("item", _NARROW)
    return table
