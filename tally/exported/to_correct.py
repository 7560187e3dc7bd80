"""The rows to correct of JSON lines: those of failed.jsonl, each with its line and reason added."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from chalicelib.errors import sendable
from chalicelib.files.dialect import Format
from chalicelib.files.encodings import UTF_8, is_wide
from chalicelib.files.form import LINE_COLUMN, REASON_COLUMN
from chalicelib.files.json_lines import read_objects
from chalicelib.results.lines import ResultLine
from chalicelib.results.manifest import Manifest
from chalicelib.store.items import Outcome
from tally.exported.parts import rows_of

TO_CORRECT = "to-correct.jsonl"
TEXT_MEMBER = "tally_text"
"""The member for a line that is not an object, as text."""
_MAX_SHOWN_CHARACTERS = 10_000
_MARK = "\ufeff"
_encode = msgspec.json.Encoder().encode


def write_to_correct(folder: Path, manifest: Manifest) -> None:
    """Write the rows to correct beside fetched results, if they are JSON lines and any row did not succeed.

    The file is UTF-8, with a byte order mark if nothing else would show that.
    """
    source = manifest.source
    if source.format != Format.JSONL or not manifest.failed.rows:
        return
    wide = is_wide(source.encoding)
    errors = "surrogatepass" if wide else "surrogateescape"
    failed = folder / manifest.failed.name
    with (
        failed.open(encoding=source.encoding, errors=errors, newline="\n") as texts,
        (folder / TO_CORRECT).open("wb") as file,
    ):
        if not wide and source.encoding != UTF_8:
            file.write(_MARK.encode())
        for row, text in zip(_failed(folder, manifest), texts, strict=True):
            file.write(_line(row, text.removeprefix(_MARK).rstrip("\n")))


def _failed(folder: Path, manifest: Manifest) -> Iterator[ResultLine]:
    """Yield the rows that did not succeed, in the order of failed.jsonl."""
    for part in manifest.parts:
        every = rows_of(folder / part.name, manifest.columns)
        yield from (row for row in every if row.outcome is not Outcome.SUCCEEDED)


def _line(row: ResultLine, text: str) -> bytes:
    found = list(read_objects(text.encode(errors="surrogatepass"), 1, UTF_8))
    members: dict[str, object] = {LINE_COLUMN: row.line, REASON_COLUMN: row.reason}
    if found and not found[0].reason:
        members |= {name: value for name, value in found[0].values.items() if name not in members}
    elif text:
        members[TEXT_MEMBER] = sendable(text[:_MAX_SHOWN_CHARACTERS])
    return _encode(members) + b"\n"
