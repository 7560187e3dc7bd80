"""Saves: how far the results of an attempt are put into the results table, and which rows are not in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from chalicelib.errors import NotFoundError
from chalicelib.keys import Key, KeySource, Unsaved
from chalicelib.store.exports import IS_BEGUN, export_sk
from chalicelib.store.items import Item, batch_pk, key, number, number_of, text, text_of
from chalicelib.store.table import Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

SAVE_PREFIX = "save#"
UNSAVED_PREFIX = "unsaved#"
MAX_KEPT_UNSAVED = 1_000
"""Rows that are not in the results table, of which it is kept which they are; all of them are counted."""
_ALL_ROWS = -1

IS_NEW = "attribute_not_exists(pk)"
"""The save was not begun before."""
IS_WHERE_IT_WAS = "chunks_left = :chunks_before AND rows_left = :rows_before"
"""No other run has come further since the save was read: so rows are counted only together with the move."""


def save_sk(attempt: int) -> str:
    """Return the sort key of the save of an attempt."""
    return f"{SAVE_PREFIX}{attempt:06d}"


def unsaved_sk(attempt: int, chunk: int | None = None, row: int = 0) -> str:
    """Return the sort key of a row that is not in the results table, or what those of an attempt begin with."""
    return f"{UNSAVED_PREFIX}{attempt:06d}#" + ("" if chunk is None else f"{chunk:06d}#{row:06d}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The progress of a save: it goes from the last chunk to the first, and in each from the last row to the first.

    ``rows_left`` are those of the last of the ``chunks_left``, None for all of them.
    """

    chunks_left: int
    rows_left: int | None = None

    def values(self, suffix: str) -> dict[str, Any]:
        """Return the values of an expression that compares or sets it."""
        rows_left = _ALL_ROWS if self.rows_left is None else self.rows_left
        return {f":chunks_{suffix}": number(self.chunks_left), f":rows_{suffix}": number(rows_left)}

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read it off the item of a save."""
        rows_left = number_of(item, "rows_left")
        return cls(chunks_left=number_of(item, "chunks_left"), rows_left=None if rows_left == _ALL_ROWS else rows_left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """Rows that a save has dealt with: ``superseded`` have their key in a newer row. ``units`` are the write units."""

    saved: int = 0
    superseded: int = 0
    unsaved: dict[Unsaved, int] = field(default_factory=dict)
    units: int = 0

    @property
    def rows(self) -> int:
        """The number of these rows."""
        return self.saved + self.superseded + self.unsaved_rows

    @property
    def unsaved_rows(self) -> int:
        """The number of rows that could not be saved."""
        return sum(self.unsaved.values())

    def __add__(self, other: "Handled") -> "Handled":
        codes = [code for code in Unsaved if code in self.unsaved or code in other.unsaved]
        return Handled(
            saved=self.saved + other.saved,
            superseded=self.superseded + other.superseded,
            unsaved={code: self.unsaved.get(code, 0) + other.unsaved.get(code, 0) for code in codes},
            units=self.units + other.units,
        )

    @property
    def counters(self) -> dict[str, int]:
        """The attributes of a save that count."""
        return {
            "saved": self.saved,
            "superseded": self.superseded,
            "units": self.units,
            **{f"unsaved_{code}": rows for code, rows in self.unsaved.items()},
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the counters of a save."""
        return cls(
            saved=number_of(item, "saved"),
            superseded=number_of(item, "superseded"),
            unsaved={code: number_of(item, f"unsaved_{code}") for code in Unsaved if f"unsaved_{code}" in item},
            units=number_of(item, "units"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """The save of one attempt: ``rows`` succeeded and are to be saved, by ``key``. ``saved_at`` is set at its end.

    ``completed_at`` is when the attempt ended, from which the items' retention counts.
    """

    batch_id: str
    attempt: int
    key: Key
    rows: int
    completed_at: str
    begun_at: str
    place: Place
    done: Handled = field(default_factory=Handled)
    saved_at: str = ""

    def to_item(self) -> dict[str, Any]:
        """Return the item of a save that begins."""
        return {
            **key(batch_pk(self.batch_id), save_sk(self.attempt)),
            "attempt": number(self.attempt),
            "key_name": text(self.key.name),
            "key_source": text(self.key.source),
            "rows": number(self.rows),
            "completed_at": text(self.completed_at),
            "begun_at": text(self.begun_at),
            "chunks_left": number(self.place.chunks_left),
            "rows_left": number(_ALL_ROWS),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the item of a save."""
        return cls(
            batch_id=text_of(item, "pk").removeprefix("batch#"),
            attempt=number_of(item, "attempt"),
            key=Key(name=text_of(item, "key_name"), source=KeySource(text_of(item, "key_source"))),
            rows=number_of(item, "rows"),
            completed_at=text_of(item, "completed_at"),
            begun_at=text_of(item, "begun_at"),
            place=Place.from_item(item),
            done=Handled.from_item(item),
            saved_at=text_of(item, "saved_at"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsavedRow:
    """A row that succeeded and is not in the results table: ``line`` is where it begins in the file."""

    chunk: int
    row: int
    line: int
    code: Unsaved
    reason: str

    def to_item(self, save: Save, *, expires_at: int) -> dict[str, Any]:
        """Return the item of the row; ``expires_at`` is in seconds since 1970."""
        return {
            **key(batch_pk(save.batch_id), unsaved_sk(save.attempt, self.chunk, self.row)),
            "line": number(self.line),
            "code": text(self.code),
            "reason": text(self.reason),
            "expires_at": number(expires_at),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the item."""
        _, _, chunk, row = text_of(item, "sk").split("#")
        return cls(
            chunk=int(chunk),
            row=int(row),
            line=number_of(item, "line"),
            code=Unsaved(text_of(item, "code")),
            reason=text_of(item, "reason"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saves:
    """Keeps how far saves are, in the partitions of their batches."""

    table: "Table"

    def begin(self, save: Save) -> None:
        """Put a save if it was not begun before; safe to repeat."""
        self.table.put(Put(item=save.to_item(), condition=IS_NEW))

    def find(self, batch_id: str, attempt: int) -> Save | None:
        """Return the save of an attempt, None if it was not begun."""
        item = self.table.get(batch_pk(batch_id), save_sk(attempt))
        return Save.from_item(item) if item else None

    def require(self, batch_id: str, attempt: int) -> Save:
        """Return the save of an attempt; raises NotFoundError."""
        save = self.find(batch_id, attempt)
        if save is None:
            raise NotFoundError(f"nothing asked to save attempt {attempt} of {batch_id}: was the batch deleted?")
        return save

    def move(self, save: Save, place: Place, done: Handled, *, saved_at: str = "") -> Save:
        """Note that a save has come to a place and dealt with so many rows more; returns the save as it is then.

        Nothing changes if somebody else has moved it meanwhile, or an earlier try of this call was not heard.
        """
        counters = {name: amount for name, amount in done.counters.items() if amount}
        sets = ["chunks_left = :chunks_after", "rows_left = :rows_after"] + ["saved_at = :saved_at"] * bool(saved_at)
        adds = [f"{name} :{name}" for name in counters]
        moved = self.table.update(
            Update(
                pk=batch_pk(save.batch_id),
                sk=save_sk(save.attempt),
                expression="SET " + ", ".join(sets) + (" ADD " + ", ".join(adds) if adds else ""),
                condition=IS_WHERE_IT_WAS,
                values={
                    **save.place.values("before"),
                    **place.values("after"),
                    **{f":{name}": number(amount) for name, amount in counters.items()},
                    **({":saved_at": text(saved_at)} if saved_at else {}),
                },
            )
        )
        if not moved:
            return self.require(save.batch_id, save.attempt)
        return replace(save, place=place, done=save.done + done, saved_at=saved_at)

    def keep_unsaved(self, save: Save, rows: Iterable[UnsavedRow], *, expires_at: int) -> None:
        """Keep which rows are not in the results table; each has an item of its own, so repeating changes nothing."""
        for row in rows:
            self.table.put(Put(item=row.to_item(save, expires_at=expires_at)))

    def unsaved(self, save: Save) -> Iterator[UnsavedRow]:
        """Return the rows that are kept as not saved, in the file's order."""
        for item in self.table.query(batch_pk(save.batch_id), unsaved_sk(save.attempt)):
            yield UnsavedRow.from_item(item)

    def finish(self, save: Save) -> None:
        """Note on the export of the attempt that its results are saved; safe to repeat."""
        self.table.update(
            Update(
                pk=batch_pk(save.batch_id),
                sk=export_sk(save.attempt),
                expression="SET saved_at = :now",
                condition=IS_BEGUN,
                values={":now": text(save.saved_at)},
            )
        )
