"""Upload notes: items about uploads that may have no batch yet."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from chalicelib.clock import Clock, utc_now
from chalicelib.store.items import Item, batch_pk, key, number, number_of, text, text_of, timestamp
from chalicelib.store.table import Put, Update

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chalicelib.store.table import Table

_CURSOR = ("stage", "inbox")
_LOST_SK = "lost"
_FAILURE_PREFIX = "plan#"

IS_FIRST_NOTE = "attribute_not_exists(pk)"
"""The first sweep notes since when uploads are looked for, the first delivery of a message when its plan failed."""

_AGAIN_AFTER = timedelta(days=1)
"""The time for which the sweep leaves an upload alone that it handed over: Lambda keeps its event for six hours, then
the plan-failures queue has it."""
_FAILURE_KEPT = timedelta(days=14)
"""The longest time that a message can stay in the plan-failures queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCursor:
    """The place at which the next sweep of the inbox continues.

    ``since`` is when the first sweep began: what is older was there before this stage, and was not meant for it.
    ``key`` and ``version`` name the last object version that was looked at; they are empty where a round begins.
    """

    since: datetime
    key: str = ""
    version: str = ""

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a cursor."""
        return cls(
            since=datetime.fromisoformat(text_of(item, "since")),
            key=text_of(item, "after_key"),
            version=text_of(item, "after_version"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFailure:
    """A message which says that a plan failed: when it first came, and how many others of its upload came before."""

    noted_at: datetime
    earlier: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadNotes:
    """Reads and writes the notes; each is an item of its own, so writing one twice changes nothing that matters."""

    table: "Table"
    clock: Clock = utc_now

    def cursor(self) -> InboxCursor:
        """Return where the sweep continues; the first call of a stage begins it."""
        item = self.table.get(*_CURSOR)
        if item is None:
            first = {**key(*_CURSOR), "since": text(timestamp(self.clock()))}
            self.table.put(Put(item=first, condition=IS_FIRST_NOTE))
            item = self.table.get(*_CURSOR) or first  # another sweep may have been the first
        return InboxCursor.from_item(item)

    def move(self, cursor: InboxCursor) -> None:
        """Keep where the sweep continues. Of two sweeps at once the last one counts: pages are looked at twice."""
        pk, sk = _CURSOR
        self.table.update(
            Update(
                pk=pk,
                sk=sk,
                expression="SET after_key = :key, after_version = :version",
                values={":key": text(cursor.key), ":version": text(cursor.version)},
            )
        )

    def handed_over(self, batch_ids: "Iterable[str]") -> set[str]:
        """Return those of the uploads, by the ids of their batches, that a sweep handed over in the last day."""
        now = self.clock().timestamp()
        found = self.table.get_all((batch_pk(batch_id), _LOST_SK) for batch_id in batch_ids)
        # TTL deletes an item some time after it has expired.
        return {text_of(item, "pk").removeprefix(batch_pk("")) for item in found if number_of(item, "expires_at") > now}

    def note_hand_over(self, batch_id: str) -> None:
        """Note that a sweep has handed an upload over: ``expires_at`` is when another one may."""
        item = {**key(batch_pk(batch_id), _LOST_SK), "expires_at": number(self._seconds_after(_AGAIN_AFTER))}
        self.table.put(Put(item=item))

    def note_failure(self, batch_id: str, message_id: str) -> PlanFailure:
        """Note that a plan failed, once however often the message comes; returns its place among those of the upload.

        ``noted_at`` is when the message first came. Two messages at once have different places.
        """
        sk = f"{_FAILURE_PREFIX}{message_id}"
        item = {
            **key(batch_pk(batch_id), sk),
            "noted_at": text(timestamp(self.clock())),
            "expires_at": number(self._seconds_after(_FAILURE_KEPT)),
        }
        self.table.put(Put(item=item, condition=IS_FIRST_NOTE))
        items = self.table.query(batch_pk(batch_id), _FAILURE_PREFIX)
        failures = sorted((text_of(item, "noted_at"), text_of(item, "sk")) for item in items)
        place = [name for _, name in failures].index(sk)
        return PlanFailure(noted_at=datetime.fromisoformat(failures[place][0]), earlier=place)

    def _seconds_after(self, span: timedelta) -> int:
        return int((self.clock() + span).timestamp())
