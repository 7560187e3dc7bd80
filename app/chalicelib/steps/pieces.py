"""Pieces: which rows a work message is still about, and the messages that take its place when it is divided."""

import math
from collections.abc import Sequence

import msgspec

from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.transport.messages import WorkMessage


def wanted_rows(message: WorkMessage, chunk: Chunk) -> RowBits:
    """Return the rows of a message that still need processing, by what the chunk says now.

    None of a message that a redrive has overtaken: the redrive sent every row that was not done, with its own
    generation.
    """
    if message.generation < chunk.generation or chunk.closed:
        return RowBits()
    if message.rows is None:
        return chunk.undone - chunk.heavy
    return chunk.undone & RowBits.of(message.rows)


def split(message: WorkMessage, rows: Sequence[int]) -> list[WorkMessage]:
    """Return the messages that replace one whose worker may have died of one of its rows.

    About the square root of the rows' number at first, then a row each: so one poison row among n makes some
    2 x sqrt(n) messages, and the healthy rows run three times at most.
    """
    size = 1 if message.splits else math.isqrt(len(rows) - 1) + 1
    smaller = msgspec.structs.replace(message, splits=message.splits + 1, returns=0)
    return pieces(smaller, rows, size)


def pieces(message: WorkMessage, rows: Sequence[int], size: int) -> list[WorkMessage]:
    """Return messages of so many rows each, otherwise the same."""
    groups = [list(rows[start : start + size]) for start in range(0, len(rows), size)]
    return [
        msgspec.structs.replace(
            message, rows=group, raised={row: message.raised[row] for row in group if row in message.raised}
        )
        for group in groups
    ]
