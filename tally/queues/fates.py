"""The outcome of dead letters: of those in a queue, and of those that the function ``dead_letters`` has handled."""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from chalicelib.errors import FormatError
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, CHUNK_SK, ChunkKey, Outcome, batch_pk
from chalicelib.store.marker import Marker
from chalicelib.store.repository import Repository
from chalicelib.store.table import Table
from tally.batch.row_names import Rows, row_name
from tally.look import several
from tally.queues.dead import DeadQueue, Letter
from tally.queues.depth import name_of
from tally.stages.expected import Expected
from tally.stages.log_events import events

_TAKER = "dead_letters"
_HANDLED, _RETURNED = "dead_letter.handled", "dead_letter.returned"
HISTORY = timedelta(hours=24)
MAX_HISTORY = 50
MAX_NAMED = 50
"""The most failed rows that the command to run them again names; for more it names the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The outcome of a dead letter in a sentence, and the command for the next step; empty if there is none.

    ``failed`` are the rows that the command runs again, where it names them.
    """

    queue: DeadQueue
    letter: Letter
    became: str
    command: str = ""
    failed: Rows = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A log line of ``dead_letters`` on a dead letter: it was ``sent_again``, or its rows ended.

    ``ended`` are the rows that had no outcome before.
    """

    at: datetime
    letter_id: str
    queue: str
    rows: int
    ended: int
    sent_again: bool

    @property
    def became(self) -> str:
        """The outcome in a sentence."""
        if self.sent_again:
            return f"sent again: it killed no worker ({several(self.rows, 'row')})"
        if self.queue.endswith("plan-failures"):
            return "its upload was planned again, or its batch was rejected"
        what = "counted" if self.queue.endswith("finished-dlq") else "failed"
        before = self.rows - self.ended
        return f"{several(self.ended, 'row')} {what}" + (f", {before:,} had an outcome before" if before > 0 else "")


def fates(table: Table, expected: Expected, found: Sequence[tuple[DeadQueue, Letter]]) -> list[Fate]:
    """Return the outcome of dead letters that are in queues, by the present state of the table.

    It reads the chunk, or else the batch, of each: one request for a hundred. For those that ``dead_letters`` has
    handled it also reads the outcome of their rows: a query for each chunk.
    """
    places = dict.fromkeys(place for _, letter in found if (place := _place(letter)))
    repository = Repository(table=table)
    known = _Known(
        items={(item["pk"]["S"], item["sk"]["S"]): item for item in table.get_all(places)},
        markers=cache(lambda key: repository.markers(key, data=False)),
        taken=frozenset(
            mapping.source_arn.rpartition(":")[2] for mapping in expected.mappings if mapping.function == _TAKER
        ),
    )
    return [known.fate(queue, letter) for queue, letter in found]


def taken(logs: Any, stage: str, now: datetime) -> list[Taken]:
    """Return the log lines of ``dead_letters`` of the last ``HISTORY``, newest first, at most ``MAX_HISTORY``.

    Nothing if the function has no log yet.
    """
    found = events(logs, f"tally-{stage}-{_TAKER}", '"dead_letter"', now - HISTORY)
    newest = deque((known for event in found if (known := _taken(event))), maxlen=MAX_HISTORY)
    return sorted(newest, key=lambda each: each.at, reverse=True)


def _taken(event: Mapping[str, Any]) -> Taken | None:
    try:
        line = json.loads(event["message"])
    except ValueError:
        return None  # a traceback, or Lambda's own line
    if not isinstance(line, dict) or line.get("message") not in {_HANDLED, _RETURNED}:
        return None
    return Taken(
        at=datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
        letter_id=str(line.get("message_id", "")),
        queue=str(line.get("queue", "")),
        rows=int(line.get("rows") or 0),
        ended=int(line.get("counted") or 0),
        sent_again=line["message"] == _RETURNED,
    )


def _place(letter: Letter) -> tuple[str, str] | None:
    """Return the key of the item that a dead letter is about; None if it names no batch."""
    known = letter.as_json()
    if known["batch"] is None:
        return None
    if known["chunk"] is None:
        return batch_pk(known["batch"]), BATCH_SK
    return ChunkKey(known["batch"], known["chunk"]).pk, CHUNK_SK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Items and markers about dead letters; ``taken`` are the queues that ``dead_letters`` consumes."""

    items: Mapping[tuple[str, str], Any]
    markers: Callable[[ChunkKey], Sequence[Marker]]
    taken: frozenset[str]

    def fate(self, queue: DeadQueue, letter: Letter) -> Fate:
        """Return the outcome of a dead letter."""
        place = _place(letter)
        item = self.items.get(place) if place else None
        if place and item is None:
            return _useless(queue, letter, "its batch is gone")
        try:
            chunk = Chunk.from_item(item) if item and place and place[1] == CHUNK_SK else None
        except FormatError:
            return Fate(queue=queue, letter=letter, became="another version of Tally made its batch")
        if name_of(queue.url).endswith("-dead-letters") and not queue.source_url:
            return self._of_copy(queue, letter, chunk)
        if chunk and _generation(letter) < chunk.generation:
            became, command = "a redrive has sent its rows again, so it changes nothing any more", ""
        elif name_of(queue.url) in self.taken:
            # A dead letter that `dead_letters` could not handle comes to it again when it is visible again.
            became, command = "waits: the function dead_letters takes it again within six minutes", ""
        elif queue.source_url:
            became, command = "waits until it is sent again", f"tally dead {queue.name} --redrive"
        else:
            became, command = f"waits: {queue.instead}", ""
        return Fate(queue=queue, letter=letter, became=became, command=command)

    def _of_copy(self, queue: DeadQueue, letter: Letter, chunk: Chunk | None) -> Fate:
        """Return the outcome of a dead letter of which ``dead_letters`` kept a copy: that of its rows now.

        A redrive of others of its chunk raises the generation too, so that alone does not say that its rows ran again.
        """
        origin = str(letter.attributes.get("queue", {}).get("StringValue", ""))
        if origin.endswith("plan-failures"):
            return Fate(queue=queue, letter=letter, became="its upload was planned again, or its batch was rejected")
        if origin.endswith("finished-dlq"):
            return Fate(queue=queue, letter=letter, became="its outcomes were counted")
        if chunk is None:
            return Fate(queue=queue, letter=letter, became="its rows have ended")
        rows = _rows_of(letter, chunk)
        left = len((chunk.undone | chunk.rereads) & rows) if chunk.rows is not None else chunk.expected_rows
        if left:
            return _undone(queue, letter, chunk, left)
        by_outcome = self._outcomes(chunk.key, rows)
        ended = ", ".join(f"{len(found):,} {outcome}" for outcome, found in by_outcome.items() if found)
        failed = frozenset((chunk.key.number, row) for row in by_outcome[Outcome.FAILED])
        if not failed:
            return _useless(queue, letter, f"its rows have ended: {ended}" if ended else "its rows have expired")
        command = f"tally redrive {chunk.key.batch_id}"
        if len(failed) <= MAX_NAMED:
            command += f" --rows {','.join(row_name(*row) for row in sorted(failed))}"
        return Fate(queue=queue, letter=letter, became=f"its rows have ended: {ended}", command=command, failed=failed)

    def _outcomes(self, chunk: ChunkKey, rows: RowBits) -> dict[Outcome, RowBits]:
        """Return the rows by their present outcome."""
        found = dict.fromkeys(Outcome, NO_ROWS)
        for marker in self.markers(chunk):
            for outcome, counted in marker.rows.items():
                found[outcome] |= counted & rows
        return found


def _rows_of(letter: Letter, chunk: Chunk) -> RowBits:
    """Return the rows of its chunk that a dead letter is about: those that it names, or all."""
    every, named = RowBits.first(chunk.rows or 0), letter.contents.get("rows")
    if not isinstance(named, list):
        return every
    rows = {row for row in named if isinstance(row, int)}  # anybody may have written the message
    return RowBits.of(row for row in every if row in rows)


def _useless(queue: DeadQueue, letter: Letter, why: str) -> Fate:
    command = f"tally dead {queue.name} --discard {letter.id}"
    return Fate(queue=queue, letter=letter, became=f"{why}, so it is of no use any more", command=command)


def _undone(queue: DeadQueue, letter: Letter, chunk: Chunk, left: int) -> Fate:
    """Return the outcome of a dead letter whose rows have none: a redrive runs them, or they were lost."""
    have = "has" if left == 1 else "have"
    if _generation(letter) < chunk.generation:
        became = f"a redrive runs its rows again: {left:,} of them {have} no outcome yet"
        return Fate(queue=queue, letter=letter, became=became)
    command = f"tally audit --repair {chunk.key.batch_id}"
    return Fate(queue=queue, letter=letter, became=f"{left:,} of its rows {have} no outcome yet", command=command)


def _generation(letter: Letter) -> int:
    generation = letter.contents.get("generation", 1)
    return generation if isinstance(generation, int) else 1
