"""The flow of a batch on its page: a card for each step, and under them where it stands and what to do."""

from nicegui import ui

from tally.ui.actions import command_line
from tally.ui.batch_feed import View
from tally.ui.console import Console
from tally.ui.flow import Step, steps, stuck


class FlowPanel:
    """Shows the steps of a batch; drawn again only when a word of them has changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = ui.element("div").classes("w-full tally-flow").mark("flow").props("role=list")
        self._stuck = ui.column().classes("w-full gap-1").mark("stuck")
        self._shown: list[Step] = []
        self._said = ""

    def show(self, view: View) -> None:
        """Show where a batch is now."""
        found = steps(view)
        standing = stuck(view, found, self._console.at)
        if found != self._shown:
            self._shown = found
            self._steps.clear()
            with self._steps:
                for step in found:
                    _card(step)
        says = standing.says if standing else ""
        if says == self._said:
            return
        self._said = says
        self._stuck.clear()
        if standing:
            with self._stuck:
                ui.label(standing.says).classes("tally-text text-negative").props("role=status")
                command_line(standing.command)


def _card(step: Step) -> None:
    late = step.since is not None
    card = ui.card().classes("q-pa-sm gap-0").props("flat bordered role=listitem")
    if late:
        card.classes("tally-late")
    with card:
        ui.label(step.name).classes("font-bold")
        if step.done:
            ui.label(step.done).classes("text-sm tally-text")
        if step.waits:
            ui.label(step.waits).classes(f"text-sm tally-text {'text-negative' if late else 'text-primary'}")
        ui.label(step.does).classes("text-xs opacity-70")
