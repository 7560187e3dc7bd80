"""The flow of a batch on its page: a card for each step, and under them where it stands and what to do."""

from collections.abc import Sequence

from nicegui import ui

from tally.look import several
from tally.ui.actions import command_line
from tally.ui.console import Console
from tally.ui.flow import Step, on_stage, steps, stuck
from tally.ui.view import View

_WHOSE = "What is done and what waits is this batch's. "
_STAGE = "Under a line is the queue of the whole stage: its messages are of all batches, and one may be a whole chunk."


class FlowPanel:
    """Shows the steps of a batch; drawn again only when a word of them has changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = ui.element("div").classes("w-full tally-flow").mark("flow").props("role=list")
        self._note = ui.label().classes("text-sm opacity-70 tally-text")
        self._stuck = ui.column().classes("w-full gap-1").mark("stuck")
        self._shown: list[tuple[Step, str]] = []
        self._said = ""

    def show(self, view: View) -> None:
        """Show where a batch is now."""
        found = steps(view)
        cards = [(step, on_stage(step, view.queues)) for step in found]
        if cards != self._shown:
            self._shown = cards
            self._steps.clear()
            with self._steps:
                for step, queue in cards:
                    _card(step, queue)
        self._note.set_text(_note(view, cards))
        standing = stuck(view, found, self._console.at)
        says = standing.says if standing else ""
        if says == self._said:
            return
        self._said = says
        self._stuck.clear()
        if standing:
            with self._stuck:
                ui.label(standing.says).classes("tally-text text-negative").props("role=status")
                command_line(standing.command)


def _note(view: View, cards: Sequence[tuple[Step, str]]) -> str:
    """Return whose figures the cards have, and what they leave out; empty where no queue is shown, nor looked for."""
    stale, parts = view.stale_chunks, []
    if stale and not view.batch.status.final:
        parts.append(f"{several(stale, 'chunk')} {'is' if stale == 1 else 'are'} not read yet: more may wait.")
    if any(queue for _, queue in cards):
        parts.append(_WHOSE + _STAGE)
    elif view.queues.unknown and any(step.queue for step, _ in cards):
        parts.append(f"What waits in the queues of the stage is not known: {view.queues.unknown}.")
    return " ".join(parts)


def _card(step: Step, queue: str) -> None:
    late = step.since is not None
    card = ui.card().classes("q-pa-sm gap-0").props("flat bordered role=listitem")
    if late:
        card.classes("tally-late")
    colour = "text-negative" if late else "text-primary"
    with card:
        ui.label(step.name).classes("font-bold")
        ui.label(step.does).classes("text-xs opacity-70")
        if step.done:
            ui.label(step.done).classes("text-sm tally-text")
        if step.waits:
            ui.label(step.waits).classes(f"text-sm tally-text {colour}")
        for part in step.parts:
            ui.label(part).classes(f"text-xs tally-text {colour}")
        if queue:
            ui.label(f"Whole stage, {queue}").classes("text-xs tally-text tally-stage")
