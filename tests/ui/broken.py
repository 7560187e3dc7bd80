"""``python -m tests.ui.broken FILE``: `tally` with a console that is broken, as the file says at each call.

One process stands for all of them: the file has the name of one, or nothing.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import ui

from tally import cli
from tally.ui import actions, charts, guard, row_panel

Made = Callable[..., Any]


def _as_html(_label: Made) -> Made:
    return lambda text="": ui.html(str(text), sanitize=False)


def _slot_as_html(add_slot: Made) -> Made:
    def broken(table: Any, name: str, template: str | None = None) -> Any:
        text = (template or "").replace(
            'class="text-primary">{{ props.row.batch }}', 'v-html="props.row.batch" class="text-primary">'
        )
        return add_slot(table, name, text)

    return broken


async def _nothing(*_args: Any) -> None: ...


MUTANTS: dict[str, tuple[Any, str, Callable[[Made], Made]]] = {
    "a chart without data": (charts, "durations", lambda made: lambda view: made(view) | {"series": []}),
    "a button without a handler": (actions, "confirm", lambda _made: lambda *_args: None),
    "a confirmation that does nothing": (actions, "perform", lambda _made: _nothing),
    "a reason that is markup": (ui, "label", _as_html),
    "a list whose names are markup": (ui.table, "add_slot", _slot_as_html),
    "a tooltip that is markup": (charts, "base", lambda made: lambda: made() | {"tooltip": {"renderMode": "html"}}),
    "cells that are always shown": (
        row_panel,
        "described",
        lambda made: lambda found, **_shown: made(found, show_data=True),
    ),
    "no check of the Host": (guard.Guard, "_foreign", lambda _made: lambda *_args: ""),
}


def _install(name: str, file: Path) -> None:
    owner, attribute, change = MUTANTS[name]
    made = getattr(owner, attribute)
    broken = change(made)

    def either(*args: Any, **options: Any) -> Any:
        chosen = broken if file.read_text(encoding="utf-8") == name else made
        return chosen(*args, **options)

    setattr(owner, attribute, either)


if __name__ == "__main__":
    for each in MUTANTS:
        _install(each, Path(sys.argv[1]))
    sys.exit(cli.run(sys.argv[2:]))
