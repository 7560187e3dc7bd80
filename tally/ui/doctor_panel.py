"""What doctor says about a stage, the worst first, each with what to do."""

from nicegui import ui

from tally import doctor
from tally.doctor import Finding, State
from tally.doctor.functions import packages
from tally.output import Output
from tally.ui.actions import command_line, perform
from tally.ui.console import Console

ORDER = (State.FAILED, State.WARNING, State.UNKNOWN, State.OK, State.SKIPPED)
_TITLES = {
    State.FAILED: "Failed: rows are lost, late or refused because of it",
    State.WARNING: "To look at",
    State.UNKNOWN: "Could not be checked",
    State.OK: "As it should be",
    State.SKIPPED: "Nothing to check",
}
_COLOURS = {
    State.FAILED: "red-8",
    State.WARNING: "deep-orange-10",
    State.UNKNOWN: "deep-orange-10",
    State.OK: "green-9",
}


def doctor_panel(console: Console) -> None:
    """Show a button that examines the stage, and under it what was found."""
    look = ui.button("Examine the stage").props("outline no-caps dense").classes("px-2")
    command_line(f"tally doctor --stage {console.stage.name}")
    said = ui.column().classes("w-full gap-1")
    found = ui.column().classes("w-full gap-2")

    async def examine() -> None:
        look.disable()
        found.clear()
        try:
            findings = await perform(console, said, lambda output: _examine(console, output))
        finally:
            look.enable()
        with found:
            for state, group in grouped(findings or []):
                _show(state, group)

    look.on_click(examine)


def grouped(findings: list[Finding]) -> list[tuple[State, list[Finding]]]:
    """Return findings by their state, the worst first; a state that none has is left out."""
    groups = [(state, [finding for finding in findings if finding.state is state]) for state in ORDER]
    return [(state, group) for state, group in groups if group]


def _examine(console: Console, output: Output) -> list[Finding]:
    stage = console.stage
    app = console.workspace.stage(stage.name).app if stage.server else console.workspace.repo / "app"
    with output.progress("groups of checks", len(doctor.GROUPS) + 1) as advance:
        findings = doctor.examine(stage, packages=lambda: packages(app), progress=advance)
    counts = ", ".join(f"{len(group)} {state}" for state, group in grouped(findings))
    output.say(f"{len(findings)} checks: {counts}")
    return findings


def _show(state: State, findings: list[Finding]) -> None:
    """Show a group: open where something is to be done, folded where all is well."""
    folded = state in {State.OK, State.SKIPPED}
    title = f"{_TITLES[state]} ({len(findings)})"
    with ui.expansion(title, value=not folded).classes("w-full").props("dense").mark(f"doctor-{state}"):
        for finding in findings:
            with ui.row().classes("w-full items-start no-wrap gap-2"):
                ui.badge(state.value, color=_COLOURS.get(state, "grey-7")).classes("mt-1")
                with ui.column().classes("gap-0 grow tally-text"):
                    ui.label(f"{finding.check}: {finding.subject}").classes("font-medium tally-text")
                    ui.label(finding.saw).classes("tally-text")
                    if finding.action:
                        ui.label(f"What to do: {finding.action}").classes("tally-text")
