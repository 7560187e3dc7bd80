"""Sets of rows, one bit a row: what a chunk says of its rows in a few bytes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

_BITS = 8
"""Bits of a byte; row 0 is the lowest bit of the first one."""


@dataclass(frozen=True, slots=True)
class RowBits:
    """An immutable set of row numbers of one chunk."""

    mask: int = 0

    @classmethod
    def of(cls, rows: Iterable[int]) -> Self:
        """Return the set of these rows."""
        mask = 0
        for row in rows:
            mask |= 1 << row
        return cls(mask)

    @classmethod
    def first(cls, rows: int) -> Self:
        """Return the set of the rows from 0 to before ``rows``."""
        return cls((1 << rows) - 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Invert ``to_bytes``."""
        return cls(int.from_bytes(data, "little"))

    def to_bytes(self) -> bytes:
        """Return the set in as few bytes as hold its highest row, at least one."""
        return self.mask.to_bytes(max(1, -(-self.mask.bit_length() // _BITS)), "little")

    def __contains__(self, row: int) -> bool:
        return bool(self.mask >> row & 1)

    def __iter__(self) -> Iterator[int]:
        mask = self.mask
        while mask:
            lowest = mask & -mask
            yield lowest.bit_length() - 1
            mask ^= lowest

    def __len__(self) -> int:
        return self.mask.bit_count()

    def __bool__(self) -> bool:
        return self.mask != 0

    def __or__(self, other: "RowBits") -> "RowBits":
        return RowBits(self.mask | other.mask)

    def __and__(self, other: "RowBits") -> "RowBits":
        return RowBits(self.mask & other.mask)

    def __sub__(self, other: "RowBits") -> "RowBits":
        return RowBits(self.mask & ~other.mask)


NO_ROWS = RowBits()
