"""What every page has: the head with its links, the colours, and the words for a state."""

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from tally.look import Meaning, meaning_of
from tally.ui.console import Console

_STYLE = """
.tally-command { font-family: monospace; font-size: 12px; overflow-wrap: anywhere; background: rgba(128,128,128,.12);
  padding: 4px 8px; border-radius: 4px; }
.tally-said { white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace; font-size: 12px; }
.tally-text { overflow-wrap: anywhere; }
.tally-chart { width: 100%; height: 260px; }
.tally-flow { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 6px; }
.tally-step { position: relative; }
.body--dark { --q-negative: #ff8a80; }
.tally-late { border-color: #e08600; border-width: 2px; }
.q-table td { white-space: normal; overflow-wrap: anywhere; }
a:focus-visible, button:focus-visible { outline: 2px solid #3b82f6; outline-offset: 2px; }
"""
_COLOURS = {
    Meaning.AS_HOPED: "green-8",
    Meaning.FAILED: "red-8",
    Meaning.REJECTED: "purple-7",
    Meaning.TO_WAIT_FOR: "blue-8",
    Meaning.TO_LOOK_AT: "orange-10",
    Meaning.ASIDE: "grey-7",
    Meaning.PLAIN: "grey-8",
}


def colour_of(status: str) -> str:
    """Return the colour of a word about a batch or a row, as the command line has it."""
    return _COLOURS[meaning_of(status)]


@contextmanager
def page(console: Console, title: str) -> Iterator[None]:
    """Lay out a page; its contents are the block's."""
    ui.add_css(_STYLE)
    ui.page_title(f"{title} - Tally {console.stage.name}")
    dark = ui.dark_mode(None)
    with ui.header().classes("items-center q-py-xs bg-blue-grey-10 gap-4"):
        ui.label("Tally").classes("text-lg font-bold")
        ui.link("Batches", "/").classes("text-white")
        if not console.read_only:
            ui.link("Submit", "/submit").classes("text-white")
        ui.link("Stage", "/stage").classes("text-white")
        ui.space()
        where = "local" if console.stage.server else "AWS"
        ui.label(f"{console.stage.name} ({where})" + (", read-only" if console.read_only else ""))
        ui.button(icon="contrast", on_click=lambda: dark.set_value(not dark.value)).props(
            'flat dense color=white aria-label="Light or dark"'
        )
    with ui.column().classes("w-full max-w-6xl mx-auto gap-3 q-pa-sm"):
        yield
