"""Why rows of a batch did not succeed: groups with their share and sample rows, each run again by a button."""

from collections.abc import Callable, Sequence

from nicegui import ui

from chalicelib.store.items import Outcome
from tally.batch import failures, redrive
from tally.batch.reasons import Group, normal
from tally.output import Output
from tally.stages.services import table
from tally.ui.actions import button
from tally.ui.console import Console
from tally.ui.frame import colour_of
from tally.ui.view import View


class GroupsPanel:
    """Shows the groups of a batch; those of every chunk once they were read on demand."""

    def __init__(self, console: Console, batch_id: str, after: Callable[[], None]) -> None:
        self._console, self._id, self._after = console, batch_id, after
        self._groups = ui.column().classes("w-full gap-2").mark("groups")
        self._shown: tuple[object, ...] = ()
        self._top = failures.Top()
        self._all: tuple[failures.Top, Sequence[Group]] | None = None

    def read_all(self, output: Output) -> None:
        """Read the reasons of every chunk, for an action."""
        batch = self._console.reader.require(self._id)
        grouping = failures.run(output, self._console.reader, batch)
        counts = {
            outcome: sum(group.rows for group in grouping.groups if group.outcome is outcome)
            for outcome in failures.UNSUCCESSFUL
        }
        output.say(", ".join(f"{rows:,} {outcome}" for outcome, rows in counts.items()))
        self._all = (self._top, grouping.groups)

    def show(self, view: View) -> None:
        """Show what is known; all that was read on demand stays until something moves."""
        self._top = view.top
        if self._all and self._all[0] != view.top:
            self._all = None
        groups = self._all[1] if self._all else view.top.groups
        note = "" if self._all else view.top.note.replace("`tally failures ID` reads", "the button below reads")
        none = "No row has failed or was rejected, as far as is known."
        if view.counts.failed or view.counts.rejected:
            none = "The reasons are not read yet."
        now = (tuple(groups), note, none, view.batch.attempt)
        if now == self._shown:
            return
        self._shown = now
        total = sum(group.rows for group in groups)
        self._groups.clear()
        with self._groups:
            if not groups:
                ui.label(none).classes("text-sm")
            for group in groups:
                self._group(view, group, total)
            if note:
                ui.label(note).classes("text-sm opacity-70")

    def _group(self, view: View, group: Group, total: int) -> None:
        rejected = group.outcome is Outcome.REJECTED
        with ui.row().classes("w-full items-center gap-2 sm:flex-nowrap"):
            badge = ui.badge(f"{group.rows:,} {group.outcome}, {group.rows / total:.0%}")
            badge.props(f"color={colour_of(group.outcome.value)}")
            with ui.column().classes("grow gap-0 min-w-0"):
                ui.label(group.pattern).classes("tally-text")
                ui.label(self._sample(group)).classes("tally-text text-sm opacity-70")
            which = redrive.Which(outcome=group.outcome, reason=group.pattern)
            button(
                self._console,
                "Read again" if rejected else "Redrive",
                f"Exactly the rows of this group {'are read' if rejected else 'run'} again: {group.pattern}",
                failures.redrive_command(view.batch, group, self._console.stage.name),
                lambda report: redriven(self._console, report, self._id, which),
                self._after,
            )

    def _sample(self, group: Group) -> str:
        """Return which rows are of a group, for example; what they said only in a console that shows data."""
        shows = self._console.show_data
        rows = [
            (f"line {each.line:,}" if each.line else f"row {each.row}") + (f": {normal(each.text)}" if shows else "")
            for each in group.samples
        ]
        return "for example " + ("; " if shows else ", ").join(rows)


def redriven(console: Console, output: Output, batch_id: str, which: redrive.Which) -> None:
    """Run rows of a batch again, for an action."""
    stage = console.stage
    redrive.run(output, console.reader, batch_id, which, table=table(stage), s3=stage.s3)
