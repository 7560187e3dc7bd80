"""The outcome of dead letters: of those in a queue, and of those that the function ``dead_letters`` has handled."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.errors import FormatError
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, CHUNK_SK, ChunkKey, batch_pk
from chalicelib.store.table import Table
from tally.look import several
from tally.queues.dead import DeadQueue, Letter
from tally.queues.depth import name_of
from tally.stages.expected import Expected
from tally.stages.log_events import events

_TAKER = "dead_letters"
_HANDLED, _RETURNED = "dead_letter.handled", "dead_letter.returned"
HISTORY = timedelta(hours=24)
MAX_HISTORY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The outcome of a dead letter in a sentence, and the command for the next step; empty if there is none."""

    queue: DeadQueue
    letter: Letter
    became: str
    command: str = ""


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

    It reads the chunk, or else the batch, of each: one request for a hundred.
    """
    places = {letter.id: place for _, letter in found if (place := _place(letter))}
    items = {(item["pk"]["S"], item["sk"]["S"]): item for item in table.get_all(dict.fromkeys(places.values()))}
    taken = {mapping.source_arn.rpartition(":")[2] for mapping in expected.mappings if mapping.function == _TAKER}
    return [_fate(queue, letter, places.get(letter.id), items, taken) for queue, letter in found]


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


def _fate(
    queue: DeadQueue,
    letter: Letter,
    place: tuple[str, str] | None,
    items: Mapping[tuple[str, str], Any],
    taken_by_function: set[str],
) -> Fate:
    item = items.get(place) if place else None
    batch = letter.as_json()["batch"]
    if place and item is None:
        return Fate(
            queue=queue,
            letter=letter,
            became="its batch is gone, so it is of no use any more",
            command=f"tally dead {queue.name} --discard {letter.id}",
        )
    try:
        chunk = Chunk.from_item(item) if item and place and place[1] == CHUNK_SK else None
    except FormatError:
        return Fate(queue=queue, letter=letter, became="another version of Tally made its batch")
    if chunk and _generation(letter) < chunk.generation:
        became, command = "a redrive has run its rows again, so it changes nothing any more", ""
    elif name_of(queue.url).endswith("-dead-letters") and not queue.source_url:
        became, command = _of_copy(letter, chunk, batch)
    elif name_of(queue.url) in taken_by_function:
        # A dead letter that `dead_letters` could not handle comes to it again when it is visible again.
        became, command = "waits: the function dead_letters takes it again within six minutes", ""
    elif queue.source_url:
        became, command = "waits until it is sent again", f"tally dead {queue.name} --redrive"
    else:
        became, command = f"waits: {queue.instead}", ""
    return Fate(queue=queue, letter=letter, became=became, command=command)


def _of_copy(letter: Letter, chunk: Chunk | None, batch: str) -> tuple[str, str]:
    """Return the outcome of a dead letter of which ``dead_letters`` kept a copy."""
    origin = str(letter.attributes.get("queue", {}).get("StringValue", ""))
    if origin.endswith("plan-failures"):
        return "its upload was planned again, or its batch was rejected", ""
    if origin.endswith("finished-dlq"):
        return "its outcomes were counted", ""
    if chunk is None:
        return "its rows have ended", ""
    rows = letter.contents.get("rows")
    named = RowBits.of(row for row in rows if isinstance(row, int) and row >= 0) if isinstance(rows, list) else None
    undone = chunk.undone if named is None else chunk.undone & named
    if chunk.rows is None or undone:
        left = len(undone) or chunk.expected_rows
        have = "has" if left == 1 else "have"
        return f"{left:,} of its rows {have} no outcome yet", f"tally audit --repair {batch}"
    return "its rows have ended: those that had no outcome before have failed", f"tally redrive {batch}"


def _generation(letter: Letter) -> int:
    generation = letter.contents.get("generation", 1)
    return generation if isinstance(generation, int) else 1
