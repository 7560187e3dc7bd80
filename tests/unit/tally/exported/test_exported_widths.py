"""Sentences about results on terminals of several widths: no number, no id and no command is cut or broken."""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chalicelib.results.manifest import Manifest
from chalicelib.store.exports import Export
from tally.batch.failures import Top
from tally.batch.reader import Progress
from tally.batch.watch import show
from tally.errors import OperatorError
from tally.exported.fetch import Fetched, require_export
from tally.exported.show import show_fetched, show_verified
from tally.exported.verify import Verified
from tally.output import Output
from tests.support.exports import ENDED, EXPORT, NOW, WRITTEN, Found
from tests.support.screen import broken, lines_on

AT_WIDTHS = pytest.mark.parametrize("width", [60, 80, 120, 200])
LONG = "transactions-of-a-day-0123456789abcdef0123"


def said(write: Callable[[Output], object], width: int) -> list[str]:
    """Hold what a terminal shows to what a pipe gets, and return its lines."""
    texts = []
    for terminal in (False, True):
        file = io.StringIO()
        console = Console(
            file=file, width=width if terminal else 10_000, force_terminal=terminal, soft_wrap=True, no_color=True
        )
        write(Output(console=console, as_json=False))
        texts.append(file.getvalue())
    lines = lines_on(width, texts[1], height=100)
    assert broken(texts[0], lines, width) == set()
    assert not any("\x1b[3" in text for text in texts), "NO_COLOR leaves no colour"
    return lines


@AT_WIDTHS
@pytest.mark.parametrize("export", [EXPORT, WRITTEN, None])
def test_a_status_fits(width: int, export: Export | None) -> None:
    batch = replace(ENDED, id=LONG)
    found = replace(export, prefix=f"results/transactions/{LONG}/attempt-1/") if export else None
    lines = said(lambda output: show(output, Progress(batch=batch, chunks={}, export=found), Top(), NOW), width)
    assert any(line.startswith("kept") for line in lines)


@AT_WIDTHS
@pytest.mark.parametrize("one_file", [True, False])
def test_what_was_fetched_and_verified_fits(width: int, *, one_file: bool) -> None:
    part = {
        "name": "failed.csv",
        "rows": 12_345,
        "bytes": 9,
        "sha256": "0" * 64,
        "version": "",
        "first_line": 2,
        "last_line": 3,
        "formula_rows": 1_234,
    }
    body = {
        "schema_version": 1,
        "batch_id": LONG,
        "job": "transactions",
        "attempt": 1,
        "status": "completed",
        "created_at": "",
        "completed_at": "",
        "expires_at": "2027-02-24T08:00:00+00:00",
        "source": dict.fromkeys(("bucket", "key", "version", "etag", "format", "encoding", "delimiter"), "x")
        | {"size": 1},
        "format": "jsonl",
        "counts": {"rows": 1_234_567, "succeeded": 1, "failed": 2, "rejected": 3},
        "parts": [],
        "failed": part,
    }
    manifest = msgspec.convert(body, type=Manifest)
    fetched = Fetched(manifest=manifest, place=Path(f"out-{LONG}.csv"), files=25, one_file=one_file)
    said(lambda output: show_fetched(output, fetched), width)
    problems = ["results-000001.jsonl.gz: row 12:345, line 12346 comes twice or out of order"]
    said(lambda output: show_verified(output, Verified(manifest=manifest, problems=problems), None), width)
    said(lambda output: show_verified(output, Verified(manifest=manifest, rows=1_234_567), Path("day.csv")), width)


def test_why_there_are_no_results_is_one_line_with_its_command() -> None:
    """The terminal alone wraps it: what to do may be to copy a command."""
    with pytest.raises(OperatorError) as raised:
        require_export(Found(EXPORT), ENDED, None, timeout=0)  # type: ignore[arg-type]
    assert os.linesep not in str(raised.value)
    assert "`tally results b --timeout 600`" in str(raised.value)
