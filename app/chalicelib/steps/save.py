"""Save: the results of a batch that was exported become items of the results table, one a key, paced to its capacity.

It goes from the last row of the file to the first, so that the row which wins is written first and a reader never sees
an older row of the file take its place. One saver works at a time; what one leaves, its next message continues.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import RetryableError, ThrottledError, described
from chalicelib.keys import UnsavedError
from chalicelib.logs import logger
from chalicelib.results.keyed import KeyedRow, keyed_rows
from chalicelib.store.batch import Batch
from chalicelib.store.items import ChunkKey, timestamp
from chalicelib.store.repository import Repository
from chalicelib.store.saves import MAX_KEPT_UNSAVED, Handled, Place, Save, Saves, UnsavedRow
from chalicelib.transport.messages import SaveMessage, encode
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.leases import SaverLease
    from chalicelib.store.pacing import Pacer
    from chalicelib.store.results_table import ResultsTable
    from chalicelib.store.table import Table

WRITERS = 8
"""Puts at once where the capacity is large: a put takes milliseconds, of which the function would wait for most."""
MAX_STALLS = 20
"""Runs in a row that get no further before an operator hears of it: some ten minutes of a table that refuses all."""
_UNITS_PER_WRITER = 100
"""Write units a second that puts one after another ask for, about."""
_GROUP_SECONDS = 5.0
_MAX_GROUP = 1_000
"""A group of rows is worth so many seconds of the pace, and so many units or rows at most: after each it may stop."""
_NOTE_SECONDS = 10.0
"""The time between two notes of a save's progress; after a crash the puts of this time are repeated."""
_LEASE_SECONDS = 60.0
_SPARE_SECONDS = 5.0
"""The time that must be left after a group is written, for the note and the message."""
_BUSY_SECONDS = 10
_REFUSED_SECONDS = 30
"""The delay of a message that waits for another saver's lease, or after DynamoDB refused a row too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The work of one message: the rows it dealt with, whether all is saved by now, whether another saver works."""

    done: Handled = field(default_factory=Handled)
    finished: bool = False
    waiting: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """The fields of its log event."""
        done = self.done
        rows = {"saved": done.saved, "superseded": done.superseded, "unsaved": done.unsaved_rows}
        return rows | {"finished": self.finished, "waiting": self.waiting}


class _OvertakenError(Exception):
    """A redrive has begun the batch's next attempt, which has all of this one's rows and is saved in its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saver:
    """Saves the results of attempts. ``retention`` is how long an item stays after its attempt's end, None for ever."""

    table: "Table"
    results: "ResultsTable"
    pacer: "Pacer"
    lease: "SaverLease"
    sqs: "SQSClient"
    queue_url: str
    retry: "Retry"
    retention: timedelta | None = None
    clock: Clock = utc_now

    def save(self, message: SaveMessage) -> Saved:
        """Put the results of an attempt into the results table, as far as the time goes, and ask for the rest.

        Safe to repeat: only a newer row replaces an item, and a row is counted once. Nothing if a redrive has
        overtaken the message. Raises IncompleteError if the ledger does not prove each row, and what DynamoDB refused
        with when run after run gets no further.
        """
        save = self.saves.require(message.batch, message.attempt)
        if save.saved_at:
            self.saves.finish(save)  # the run that saved the last row may have died before
            return Saved(finished=True)
        if not self.lease.take(_LEASE_SECONDS):
            self._send(message, _BUSY_SECONDS)
            return Saved(waiting=True)
        run = _Run(saver=self, save=save, leased_until=self.clock() + timedelta(seconds=_LEASE_SECONDS))
        try:
            refused = run.until_it_has_to_stop()
        except _OvertakenError:
            logger.info("save.overtaken", batch_id=message.batch, attempt=message.attempt)
            self.lease.release()
            return Saved(done=run.total)
        except Exception:
            self.lease.release()
            raise
        # From here on dying leaves the message, which comes again, and the lease for as long as it was taken.
        self.lease.release()
        if run.save.saved_at:
            self.saves.finish(run.save)
            return Saved(done=run.total, finished=True)
        self._ask_for_the_rest(message, refused, moved=run.save.place != save.place)
        return Saved(done=run.total)

    @property
    def saves(self) -> Saves:
        """The store of the progress of saves."""
        return Saves(table=self.table)

    def expires_at(self, save: Save) -> int | None:
        """Return when the items of an attempt expire, in seconds since 1970; None for never."""
        if self.retention is None:
            return None
        return int((datetime.fromisoformat(save.completed_at) + self.retention).timestamp())

    def _ask_for_the_rest(self, message: SaveMessage, refused: RetryableError | None, *, moved: bool) -> None:
        """Send the message again. Dying before its own is deleted doubles it: the lease keeps the two apart."""
        stalls = 0 if moved else message.stalls + 1
        if stalls > MAX_STALLS:
            raise refused or ThrottledError("no run has time for a single row: provision more write units")
        self._send(msgspec.structs.replace(message, stalls=stalls), _REFUSED_SECONDS if refused else 0)

    def _send(self, message: SaveMessage, delay_seconds: int) -> None:
        send(self.sqs, self.queue_url, [encode(message)], self.retry, delay_seconds=delay_seconds)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run over what is left of a save, as long as there is time and the lease is ours."""

    saver: Saver
    save: Save
    leased_until: datetime
    total: Handled = field(default_factory=Handled)
    """The progress that this run has noted."""
    _place: Place = field(init=False)
    _handled: Handled = field(default_factory=Handled)
    _unsaved: list[UnsavedRow] = field(default_factory=list)
    """The rows that were dealt with since the last note, up to this place."""
    _noted_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._place, self._noted_at = self.save.place, self.saver.clock()

    def until_it_has_to_stop(self) -> RetryableError | None:
        """Save rows until none is left or the time is over; returns what DynamoDB refused with, if that was why."""
        batch = self._standing()
        while self._place.chunks_left:
            number = self._place.chunks_left - 1
            for group in self._groups(self._rows(batch, number)):
                if not self._may_go_on(group):
                    self._note(batch)
                    return None
                try:
                    self._write(group)
                except RetryableError as error:  # after all tries of it
                    logger.warning("save.refused", batch_id=batch.id, error=described(error))
                    self._note(batch)
                    return error
                self._place = Place(chunks_left=number + 1, rows_left=group[-1].row)
                if self._is_time_to_note and not self._note(batch):
                    break
            else:
                self._place = Place(chunks_left=number)
        self._note(batch)
        return None

    def _standing(self) -> Batch:
        """Return the batch if it still is as the attempt ended; raises _OvertakenError."""
        batch = Repository(table=self.saver.table).require_batch(self.save.batch_id)
        if batch.attempt != self.save.attempt:
            raise _OvertakenError
        return batch

    def _rows(self, batch: Batch, number: int) -> Iterator[KeyedRow]:
        items = list(self.saver.table.query(ChunkKey(batch.id, number).pk, ""))
        # A redrive begins the next attempt with the first marker that it changes: what was read is of this one.
        self._standing()
        return keyed_rows(batch, self.save, items, expires_at=self.saver.expires_at(self.save))

    def _groups(self, found: Iterable[KeyedRow]) -> Iterator[list[KeyedRow]]:
        most = max(1, min(_MAX_GROUP, self._rate * _GROUP_SECONDS))
        group: list[KeyedRow] = []
        units = 0
        for row in found:
            if group and (units + row.units > most or len(group) == _MAX_GROUP):
                yield group
                group, units = [], 0
            group.append(row)
            units += row.units
        if group:
            yield group

    @property
    def _rate(self) -> float:
        """The write units a second that are the saver's; infinite where they are paid by request."""
        return self.saver.pacer.units_per_second()

    @property
    def _is_time_to_note(self) -> bool:
        return self.saver.clock() - self._noted_at >= timedelta(seconds=_NOTE_SECONDS)

    def _may_go_on(self, group: Sequence[KeyedRow]) -> bool:
        """Tell whether there is time to write a group; the lease lasts until then, or is extended."""
        saver = self.saver
        needed = sum(row.units for row in group) / self._rate + _SPARE_SECONDS
        if saver.retry.remaining_seconds() < needed:
            return False
        if saver.clock() + timedelta(seconds=needed) < self.leased_until:
            return True
        if not saver.lease.take(needed + _LEASE_SECONDS):
            return False  # another saver has it, for this one slept for too long
        self.leased_until = saver.clock() + timedelta(seconds=needed + _LEASE_SECONDS)
        return True

    def _write(self, group: Sequence[KeyedRow]) -> None:
        """Put the items of a group; raises RetryableError, and counts none of them, if one was refused too often."""
        writers = math.ceil(min(WRITERS, self._rate / _UNITS_PER_WRITER))
        if writers > 1:
            with ThreadPoolExecutor(writers) as pool:
                found = list(pool.map(self._put, group))
        else:
            found = [self._put(row) for row in group]
        self._handled = sum((handled for handled, _ in found), self._handled)
        self._unsaved += [unsaved for _, unsaved in found if unsaved]

    def _put(self, row: KeyedRow) -> tuple[Handled, UnsavedRow | None]:
        refused = row.refused
        if row.item:
            self.saver.pacer.wait(row.units, self.saver.retry.remaining_seconds())
            try:
                saved = self.saver.results.put(row.item)
            except UnsavedError as error:
                refused = error
            else:
                return Handled(saved=saved, superseded=not saved, units=row.units), None
        if refused:
            return Handled(unsaved={refused.code: 1}, units=row.units), row.unsaved(refused)
        return Handled(superseded=1), None

    def _note(self, batch: Batch) -> bool:
        """Note how far the save is; tells whether it exists and no other run has come further.

        Dying before it has rows written once more, which changes no item and no count.
        """
        saves, place, handled = self.saver.saves, self._place, self._handled
        room = max(0, MAX_KEPT_UNSAVED - self.save.done.unsaved_rows)
        saves.keep_unsaved(self.save, self._unsaved[:room], expires_at=batch.expires_at)
        self._handled, self._unsaved, self._noted_at = Handled(), [], self.saver.clock()
        ended = not place.chunks_left
        if place == self.save.place and not ended:
            return True
        self.save = saves.move(self.save, place, handled, saved_at=timestamp(self.saver.clock()) if ended else "")
        self._place = self.save.place
        if self.save.place != place:
            return False
        self.total += handled
        return True
