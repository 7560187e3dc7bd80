"""What every page has: the head with its links, the colours, and the words for a state."""

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from tally.look import Meaning, meaning_of
from tally.ui.console import Console
from tally.ui.scripts import PAGE

_STYLE = """
.tally-command { font-family: monospace; font-size: 12px; overflow-wrap: anywhere; background: rgba(128,128,128,.12);
  padding: 4px 8px; border-radius: 4px; }
.tally-said { white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace; font-size: 12px; }
.tally-text { overflow-wrap: anywhere; }
.tally-chart { width: 100%; height: 260px; }
.tally-flow { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 6px; }
.tally-stage { margin-top: auto; padding-top: 4px; border-top: 1px solid rgba(128,128,128,.35); }
.tally-late { border-color: #e08600; border-width: 2px; }
.q-table td { white-space: normal; overflow-wrap: break-word; }
.q-table td.text-right { white-space: nowrap; }
.q-table td a { overflow-wrap: anywhere; }
@layer overrides { /* The library takes the outline from its buttons; what is important wins in the earlier layer. */
  :focus-visible, .q-field--focused .q-field__control { outline: 2px solid #3b82f6 !important; outline-offset: 2px; }
  #content:focus { outline: none !important; }
}
/* Colours of text that can be read on white, and on black. */
body.body--light { --q-primary: #1d6fb8 !important; --q-negative: #b3000f !important; }
body.body--dark { --q-primary: #7cb7ee !important; --q-negative: #ff8a80 !important; }
.body--dark .bg-primary, .body--dark .bg-negative { color: #0b1a28 !important; }
.q-uploader ::file-selector-button { border: 1px solid; border-radius: 4px; padding: 2px 8px; margin-right: 8px; }
.q-uploader__header { background: transparent !important; color: inherit !important; }
.tally-heading { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.tally-skip { position: absolute; left: -9999px; color: white; background: #263238; padding: 4px 8px; }
.tally-skip:focus { left: 8px; z-index: 1; }
"""
_COLOURS = {
    Meaning.AS_HOPED: "green-9",
    Meaning.FAILED: "red-8",
    Meaning.REJECTED: "purple-7",
    Meaning.TO_WAIT_FOR: "blue-8",
    Meaning.TO_LOOK_AT: "deep-orange-10",
    Meaning.ASIDE: "grey-7",
    Meaning.PLAIN: "grey-8",
}


@contextmanager
def card(title: str) -> Iterator[None]:
    """Lay out a part of a page below its title; its contents are the block's."""
    with ui.card().classes("w-full").props("flat bordered"):
        ui.label(title).classes("font-bold")
        yield


def colour_of(status: str) -> str:
    """Return the colour of a word about a batch or a row, as the command line has it."""
    return _COLOURS[meaning_of(status)]


@contextmanager
def page(console: Console, title: str) -> Iterator[None]:
    """Lay out a page; its contents are the block's."""
    ui.add_css(_STYLE)
    ui.add_body_html(PAGE)
    ui.page_title(f"{title} - Tally {console.stage.name}")
    dark = ui.dark_mode(console.dark)

    async def turn() -> None:
        # What the system prefers is known to the browser alone.
        console.dark = not await ui.run_javascript("return document.body.classList.contains('body--dark')")
        dark.set_value(console.dark)

    with ui.header().classes("items-center q-py-xs bg-blue-grey-10 no-wrap gap-2 sm:gap-4"):
        ui.link("Skip to the content", "#content").classes("tally-skip")
        ui.label("Tally").classes("text-lg font-bold")
        ui.link("Batches", "/").classes("text-white")
        if not console.read_only:
            ui.link("Submit", "/submit").classes("text-white")
        ui.link("Stage", "/stage").classes("text-white")
        ui.space()
        where = "local" if console.stage.server else "AWS"
        ui.label(f"{console.stage.name} ({where})" + (", read-only" if console.read_only else "")).classes("ellipsis")
        ui.button(icon="contrast", on_click=turn).props('flat dense color=white aria-label="Light or dark"')
    with ui.column().classes("w-full max-w-6xl mx-auto gap-3 q-pa-sm").props("id=content tabindex=-1"):
        ui.label(title).classes("tally-heading").props("role=heading aria-level=1")
        yield
