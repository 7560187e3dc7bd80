"""A part of the results: one JSON object a row, a line each."""

from collections.abc import Iterator, Sequence

import msgspec

from chalicelib.results.chunk import ChunkResults
from chalicelib.store.items import Outcome
from chalicelib.store.marker import ABSENT, ReasonCode, RowOutcome

_encode = msgspec.json.Encoder().encode


class ResultLine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One row of ``results-*.jsonl.gz``.

    ``line`` is where the row begins in the file, null if its bytes can no longer be read. ``chunk`` and ``row`` name it
    to ``tally row``. ``result`` is what the job returned; the others are there for rows that did not succeed, ``tries``
    where it is not 1. ``corrected`` is the file of corrections that the row was read from, if it was, by its name.
    """

    line: int | None
    chunk: int
    row: int
    outcome: Outcome
    result: msgspec.Raw = ABSENT
    code: ReasonCode | None = None
    reason: str = ""
    tries: int = 1
    corrected: str = ""


def result_line(found: ChunkResults, outcome: RowOutcome, line: int | None) -> bytes:
    """Return a row's line, with its end."""
    text = _encode(
        ResultLine(
            line=line,
            chunk=found.chunk.key.number,
            row=outcome.row,
            outcome=outcome.outcome,
            result=outcome.result,
            code=outcome.code,
            reason=outcome.reason,
            tries=outcome.tries,
            corrected=found.corrected_by(outcome.row),
        )
    )
    return text + b"\n"


def numbered(found: ChunkResults, source_lines: Sequence[int]) -> Iterator[tuple[RowOutcome, int | None]]:
    """Return the outcomes of a chunk in order with their lines; ``source_lines`` are those of a chunk never read."""
    for outcome in found.outcomes():
        line = found.line(outcome)
        if line is None and outcome.row < len(source_lines):
            line = source_lines[outcome.row]
        yield outcome, line
