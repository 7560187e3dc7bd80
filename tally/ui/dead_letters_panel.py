"""The dead letters of a stage: why each is there, its outcome, and the button that sends those of a queue again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from urllib.parse import quote

from nicegui import ui

from chalicelib.clock import utc_now
from tally.batch import redrive
from tally.batch.reasons import pattern_of
from tally.look import several
from tally.output import Output
from tally.queues import dead
from tally.queues.dead import DeadQueue, Letter
from tally.queues.depth import depth_of
from tally.queues.fates import HISTORY, Fate, Taken, fates, taken
from tally.stages.expected import Expected
from tally.ui.actions import button, command_line, perform
from tally.ui.console import Console
from tally.ui.groups_panel import redriven

MAX_SHOWN = 20
"""Dead letters of a queue that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was read: how many wait in each queue, the outcome of those that were read, and what was done before."""

    waiting: dict[str, int]
    fates: list[Fate]
    taken: list[Taken]


def dead_letters_panel(console: Console) -> None:
    """Show a button that reads the dead letters, and under it their outcomes."""
    look = ui.button("Show dead letters").props("outline no-caps dense").classes("px-2")
    command_line(f"tally dead --show --stage {console.stage.name}")
    said = ui.column().classes("w-full gap-1")
    found = ui.column().classes("w-full gap-3")
    slot = ui.context.slot

    async def read() -> None:
        look.disable()
        found.clear()
        try:
            seen: _Seen | None = await perform(console, said, lambda output: _read(console, output))
        finally:
            look.enable()
        if seen:
            with found:
                _show(console, seen, again)

    def again() -> None:
        with slot:  # not where it is called from: a question that is closed takes its timers with it
            ui.timer(0, read, once=True)

    look.on_click(read)


def _read(console: Console, output: Output) -> _Seen:
    stage = console.stage
    sqs, wanted = stage.client("sqs"), Expected.require(stage.resources.expected, stage.name)
    queues = [*dead.dead_queues(wanted), dead.copies(sqs, stage.name)]
    waiting: dict[str, int] = {}
    letters: list[tuple[DeadQueue, Letter]] = []
    with output.progress("reading queues", len(queues)) as advance:
        for queue in queues:
            depth = depth_of(sqs, queue.url)
            waiting[queue.name] = depth.total if depth else 0
            if waiting[queue.name]:
                letters += [(queue, letter) for letter in dead.read(sqs, queue, MAX_SHOWN)]
            advance(1)
    seen = _Seen(
        waiting=waiting,
        fates=fates(console.reader.repository.table, wanted, letters),
        taken=taken(stage.logs, stage.name, utc_now()),
    )
    total = sum(waiting.values())
    output.say(f"{total:,} in the queues of dead letters." if total else "There are no dead letters.")
    if total and not console.show_data:
        output.say("Bodies and the values in reasons are not shown: `tally ui --show-data` shows them.")
    return seen


def _show(console: Console, seen: _Seen, again: Callable[[], None]) -> None:
    read = {fate.queue.name for fate in seen.fates}
    for name, count in seen.waiting.items():
        if count and name not in read:
            ui.label(f"{name}: {count:,} in flight; mostly the function dead_letters has them").classes("tally-text")
    for name, group in groupby(seen.fates, key=lambda fate: fate.queue.name):
        of_queue = list(group)
        queue = of_queue[0].queue
        with ui.column().classes("w-full gap-1").mark(f"queue-{name}"):
            shown = "" if seen.waiting[name] <= len(of_queue) else f", {len(of_queue)} are shown"
            ui.label(f"{name}: {seen.waiting[name]:,}{shown}").classes("font-medium")
            for fate in of_queue:
                _letter(console, fate, again)
            if queue.source_url:
                _redrive_button(console, queue)
            else:
                ui.label(f"It has no redrive: {queue.instead}.").classes("text-sm tally-text")
            ui.label(f"docs/runbook.md, section {queue.section}").classes("text-sm opacity-70")
    if seen.taken:
        hours = HISTORY.total_seconds() / 3600
        with ui.expansion(f"What dead_letters did in the last {hours:.0f} hours ({len(seen.taken)})").classes("w-full"):
            for each in seen.taken:
                ui.label(f"{_time(each.at)}, {each.queue}: {each.became}").classes("tally-text")


def _letter(console: Console, fate: Fate, again: Callable[[], None]) -> None:
    letter, known = fate.letter, fate.letter.as_json()
    with ui.card().classes("w-full gap-0 q-pa-sm").props("flat bordered"):
        with ui.row().classes("items-center gap-2"):
            sent = _time(letter.sent_at) if letter.sent_at else "at an unknown time"
            ui.label(f"sent {sent}, received {letter.receives:,}x")
            if known["batch"]:
                ui.link(known["batch"], f"/batch/{quote(known['batch'], safe='')}").classes("tally-text")
            if known["chunk"] is not None:
                ui.label(f"chunk {known['chunk']:,}")
        if why := _why(letter, show_data=console.show_data):
            ui.label(f"reason: {why}").classes("tally-text")
        ui.label(f"outcome: {fate.became}").classes("tally-text font-medium")
        if fate.failed:
            _rows_button(console, fate, known["batch"], again)
        if fate.command:
            command_line(f"{fate.command} --stage {console.stage.name}")
        ui.label(f"id {letter.id}").classes("text-sm opacity-70 tally-text")
        if console.show_data:
            ui.label(letter.body).classes("tally-said")


def _rows_button(console: Console, fate: Fate, batch_id: str, again: Callable[[], None]) -> None:
    """Show a button that runs the failed rows of a dead letter again, and then reads its outcome."""
    rows = several(len(fate.failed), "row")
    button(
        console,
        f"Run {rows} again",
        "The failed rows of this dead letter run again. Fix what killed their worker first: docs/runbook.md says how.",
        f"{fate.command} --stage {console.stage.name}",
        lambda output: redriven(console, output, batch_id, redrive.Which(rows=fate.failed)),
        again,
    )


def _why(letter: Letter, *, show_data: bool) -> str:
    """Return why a letter is dead, without the values that the reason quotes unless they may be shown."""
    origin = letter.attributes.get("queue", {}).get("StringValue")
    raised = letter.contents.get("raised")
    last = next(iter(raised.values()), "") if isinstance(raised, dict) else ""
    why = str(last) or ("" if origin else letter.why)
    parts = [f"given up by {origin}" if origin else "", why if show_data else pattern_of(why)]
    return ": ".join(part for part in parts if part)


def _redrive_button(console: Console, queue: DeadQueue) -> None:
    def sent() -> None:
        # They stay on the page, so that what was sent can still be read beside the answer.
        note.set_text("Sent again. Show the dead letters once more to see which are left.")

    button(
        console,
        f"Send {queue.name} again",
        f"The dead letters of {queue.name} go back to the queue that they came from. No row counts twice.",
        f"tally dead {queue.name} --redrive --stage {console.stage.name}",
        lambda output: _redrive(console, queue, output),
        sent,
    )
    note = ui.label().classes("text-sm tally-text")


def _redrive(console: Console, queue: DeadQueue, output: Output) -> None:
    sqs = console.stage.client("sqs")
    depth = depth_of(sqs, queue.url)
    waiting = depth.total if depth else 0
    with output.progress(f"sending the dead letters of {queue.name}", waiting) as advance:
        # No more than waited at first: one that fails at once comes back, and must not be sent for ever.
        sent = dead.send_again(sqs, queue, waiting, advance)
    left = waiting - sent
    output.say(f"{sent:,} sent again" + (f", {left:,} are with `dead_letters` now" if left else ""))


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
