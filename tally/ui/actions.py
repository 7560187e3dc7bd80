"""Actions of an operator on a page: each is confirmed, shown with its command, and tells how it went."""

from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from tally.errors import OperatorError
from tally.ui.console import Console
from tally.ui.report import Report, Told

Act = Callable[[Report], Any]


def command_line(text: str) -> None:
    """Show a command of the command line that does the same, to be copied."""
    with ui.row().classes("w-full items-center no-wrap gap-1"):
        ui.label(text).classes("tally-command").mark("command")
        ui.button(icon="content_copy", on_click=lambda: ui.clipboard.write(text)).props(
            'flat dense size=sm aria-label="Copy the command"'
        )


def button(  # noqa: PLR0917  a label, what it does, and how
    console: Console,
    label: str,
    question: str,
    command: str,
    act: Act,
    after: Callable[[], None] = lambda: None,
    *,
    changes: bool = True,
) -> ui.button | None:
    """Show a button that confirms and acts; none for what ``changes`` something in a console that only reads.

    While its question is open another click asks nothing more.
    """
    if changes and console.read_only:
        return None
    asked: ui.dialog | None = None

    def ask() -> None:
        nonlocal asked
        if asked is None or asked.is_deleted:
            asked = confirm(console, label, question, command, act, after)

    return ui.button(label, on_click=ask).props("outline no-caps dense").classes("px-2")


def confirm(  # noqa: PLR0917  as ``button``
    console: Console, label: str, question: str, command: str, act: Act, after: Callable[[], None]
) -> ui.dialog:
    """Ask before an action, run it, show what it says, and call ``after``; return the question.

    It stays open while the action runs: it is where the action tells how it went.
    """
    # In the page itself, not beside its button: a list that is drawn again must not take the question away.
    with (
        ui.context.client.content,
        ui.dialog().props(f'aria-label="{label}"') as dialog,
        ui.card().classes("w-full max-w-2xl"),
    ):
        ui.label(label).classes("text-lg font-bold")
        ui.label(question)
        ui.label("The same on the command line:").classes("text-sm opacity-70")
        command_line(command)
        said = ui.column().classes("w-full gap-1")
        with ui.row().classes("w-full justify-end"):
            close = ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
            go = ui.button("Confirm").props("no-caps unelevated").mark("confirm")

    async def act_now() -> None:
        # A second click that is on its way finds the button disabled.
        go.disable()
        close.disable()
        dialog.props("persistent")
        await perform(console, said, act)
        go.set_visibility(False)
        close.set_text("Close")
        close.enable()
        dialog.props(remove="persistent")
        after()

    go.on_click(act_now)
    dialog.on("hide", dialog.delete)
    dialog.open()
    return dialog


async def perform(console: Console, said: ui.element, act: Act) -> Any:
    """Run an action in a thread and show, in ``said``, how far it is and what it says; None if it failed."""
    from tally.cli import explain  # noqa: PLC0415  the command line imports the command that imports this

    report = Report.begin()
    report.told.stopped = console.stopped
    said.clear()
    with said:
        shown = ui.label("working...").classes("tally-said").mark("said")
    timer = ui.timer(0.5, lambda: shown.set_text(_so_far(report.told)))
    try:
        result = await run.io_bound(act, report)
    except Exception as error:  # noqa: BLE001  as on the command line: nothing may end without a word
        known = explain(error)
        shown.set_text("\n".join([*report.told.lines, f"error: {known}"]))
        shown.classes("text-negative")
        return None
    finally:
        timer.cancel()
    shown.set_text("\n".join(report.told.lines) or "done")
    return result


def _so_far(told: Told) -> str:
    doing = f"{told.doing}: {told.done:,} of {told.total:,}" if told.doing else "working..."
    return "\n".join([*told.lines, doing])


def explained(error: Exception) -> str:
    """Return an error as the operator should read it."""
    from tally.cli import explain  # noqa: PLC0415  as above

    return str(error) if isinstance(error, OperatorError) else str(explain(error))
