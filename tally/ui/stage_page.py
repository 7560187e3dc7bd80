"""The page of a stage: its queues, its dead letters, and what doctor says."""

from typing import Any

from nicegui import run, ui

from chalicelib.clock import utc_now
from tally import doctor
from tally.doctor.functions import packages
from tally.errors import OperatorError
from tally.output import Output
from tally.queues import dead, overview
from tally.queues.depth import oldest_seconds
from tally.stages.expected import Expected
from tally.stages.stage import Stage
from tally.ui.actions import command_line, perform
from tally.ui.console import Console
from tally.ui.frame import Trouble, page

_EVERY_SECONDS = 15.0
_LETTERS = 20
_COLUMNS = ("queue", "visible", "in flight", "delayed", "oldest", "dead letters")


def register(console: Console) -> None:
    """Have the console show the page."""
    ui.page("/stage", title="Stage")(lambda: _StagePage(console))


class _StagePage:
    def __init__(self, console: Console) -> None:
        self._console = console
        with page(console, "Stage"):
            self._trouble = Trouble()
            with ui.card().classes("w-full").props("flat bordered"):
                ui.label("Queues").classes("font-bold")
                columns = [{"name": name, "label": name, "field": name, "align": "left"} for name in _COLUMNS]
                self._queues = ui.table(columns=columns, rows=[], row_key="queue").classes("w-full")
                self._queues.props("dense flat hide-pagination :rows-per-page-options=[0] :grid=Quasar.Screen.lt.sm")
                ui.label(f"Read every {_EVERY_SECONDS:.0f} s.").classes("text-sm opacity-70")
                command_line(f"tally queues --stage {console.stage.name}")
            self._card("Dead letters", "Show dead letters", "tally dead --show", self._letters)
            self._card("Doctor", "Examine the stage", "tally doctor", self._examine)
        ui.timer(_EVERY_SECONDS, self._tick)

    def _card(self, title: str, label: str, command: str, act: Any) -> None:
        with ui.card().classes("w-full").props("flat bordered"):
            ui.label(title).classes("font-bold")
            look = ui.button(label).props("outline no-caps dense").classes("px-2")
            command_line(f"{command} --stage {self._console.stage.name}")
            said = ui.column().classes("w-full")

            async def run_it() -> None:
                look.disable()
                try:
                    await perform(self._console, said, act)
                finally:
                    look.enable()

            look.on_click(run_it)

    async def _tick(self) -> None:
        await self._trouble.guarded(self._read)

    async def _read(self) -> None:
        states = await run.io_bound(_states, self._console.watched)
        self._queues.rows = [
            dict(zip(_COLUMNS, map(str, overview.cells(state)), strict=True)) for state in states or ()
        ]

    def _letters(self, output: Output) -> None:
        stage = self._console.stage
        sqs = stage.client("sqs")
        found = 0
        for queue in [*dead.dead_queues(_expected(stage)), dead.copies(sqs, stage.name)]:
            for letter in dead.read(sqs, queue, _LETTERS):
                found += 1
                known = letter.as_json()
                output.say(
                    f"{queue.name}: {letter.id}, sent {known['sent_at']}, received {letter.receives}x, "
                    f"batch {known['batch']}, chunk {known['chunk']}"
                )
                if self._console.show_data:
                    output.say(f"    {letter.why}")
                    output.say(f"    {letter.body}")
                output.say(f"    docs/runbook.md, section {queue.section}")
        if not found:
            output.say("There are no dead letters.")
        elif not self._console.show_data:
            output.say("Bodies are not shown: `tally ui --show-data` shows them.")

    def _examine(self, output: Output) -> None:
        console, stage = self._console, self._console.stage
        app = console.workspace.stage(stage.name).app if stage.server else console.workspace.repo / "app"
        with output.progress("examining", len(doctor.GROUPS) + 1) as advance:
            findings = doctor.examine(stage, packages=lambda: packages(app), progress=advance)
        for finding in findings:
            output.say(f"{finding.state.value:<8} {finding}")


def _expected(stage: Stage) -> Expected:
    expected = Expected.read(stage.resources.expected)
    if expected is None:
        raise OperatorError(
            f"It is not known here which queues stage {stage.name} has",
            hint="run this from the checkout that deployed it, or deploy it again.",
        )
    return expected


def _states(stage: Stage) -> list[overview.QueueState]:
    sqs = stage.client("sqs")
    cloudwatch = None if stage.server else stage.client("cloudwatch")

    def age(queue: str) -> float | None:
        return oldest_seconds(cloudwatch, queue, utc_now()) if cloudwatch else None

    return overview.overview(sqs, _expected(stage), [dead.copies(sqs, stage.name)], age)
