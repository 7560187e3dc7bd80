"""Saves as the explorer runs them: savers with a lease and a clock, the results table as items of the table.

Time passes when a schedule says so, a minute at once. Then leases end, and after two minutes the savers' functions do.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import msgspec

from chalicelib import jobs, services
from chalicelib.errors import ThrottledError
from chalicelib.keys import Key, KeySource
from chalicelib.results.keyed import KeyedRow
from chalicelib.steps import save
from chalicelib.steps.begin_save import SaveStarter
from chalicelib.store.batch import Batch
from chalicelib.store.exports import FAILED_PIECE, Exports
from chalicelib.store.items import BATCH_SK
from chalicelib.store.leases import SaverLease
from chalicelib.store.pacing import Pacer
from chalicelib.store.repository import Repository
from chalicelib.store.results_table import KeyedResult, ResultsTable
from chalicelib.store.table import Table, Update
from chalicelib.transport.messages import ExportMessage, SaveMessage, decode, encode
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.model import exporting, saved
from tests.model.exporting import EXPORT_QUEUE, FIRST_END
from tests.model.protocol import BATCH, COUNTED, QUEUES, Tally
from tests.model.replay import Operation, Tape, TapedDynamoDB, TapedSQS
from tests.model.saved import RESULT_SK
from tests.model.system import Message, Start
from tests.model.table import Item, Place
from tests.support.builders import NOW, RETRY
from tests.support.builders import table as table_of

SAVE_QUEUE = services.settings().queues["save"].url
MINUTES = ("minute 1", "minute 2")
"""What a schedule may have: so many minutes have passed by then."""
_CLOCK: Place = ("world", "clock")
_STEP = timedelta(seconds=61)
"""A lease is of 60 seconds."""
_FUNCTION = timedelta(seconds=100)
"""The time that a saver's function has: a minute may pass in it, two may not."""


@dataclass(frozen=True, slots=True)
class Saving(Tally):
    """Tally with the save function, where a job's key is its office; the export function only asks for saves.

    A group has one row, so that a saver may stop after each. While an outage lasts the results table refuses rows.
    """

    queues: Mapping[str, str] = field(
        default_factory=lambda: {
            QUEUES["ingest"]: "ingest",
            QUEUES["work"]: "process",
            QUEUES["finished"]: "finish",
            EXPORT_QUEUE: "export",
            SAVE_QUEUE: "save",
        }
    )

    def deliver(self, handler: str, messages: Sequence[Message], tape: Tape) -> None:
        """Run the handler of a queue."""
        tape.forgets = self.forgets
        for body, receives in messages:
            match handler:
                case "save":
                    _save(body, receives, tape)
                case "export":
                    _ask_for_save(body, tape)
                case _:
                    Tally.deliver(self, handler, [(body, receives)], tape)

    def consume(self, consumer: str, records: Sequence[Any], tape: Tape) -> None:
        """Run a handler of the stream; settle asks for results."""
        exporting.consume(self, consumer, records, tape)

    def command(self, name: str, tape: Tape) -> None:
        """Run what an operator starts, or let a minute pass."""
        if name not in MINUTES:
            Tally.command(self, name, tape)
            return
        update = Update(
            pk=_CLOCK[0],
            sk=_CLOCK[1],
            expression="SET minutes = :minutes",
            condition="minutes < :minutes",
            values={":minutes": {"N": name[-1]}},
        )
        table_of(TapedDynamoDB(tape)).update(update)

    def view(self, handler: str, position: int, item: Item) -> Item:
        """Return a batch item without what does not matter to savers."""
        if handler == "save" and item["sk"]["S"] == BATCH_SK and self.forgets:
            return {**{name: value for name, value in item.items() if name not in COUNTED}, "status": {"S": "running"}}
        return Tally.view(self, handler, position, item)

    def violation(self, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> str:
        """Say which invariant a table breaks."""
        return "; ".join(
            filter(None, [Tally.violation(self, before, after), *saved.wrong(self.content, before, after, _now(after))])
        )

    def unrest(self, table: Mapping[Place, Item], events: Collection[str]) -> str:
        """Say what is not settled when nothing is on its way."""
        return Tally.unrest(self, table, {*events, FIRST_END}) or "; ".join(saved.unsaved(self.content, table))


@dataclass(frozen=True, slots=True)
class _Results(TapedDynamoDB):
    """A client whose results table is in the table; what DynamoDB does to an item is the same in both."""

    def put_item(self, **request: Any) -> dict[str, Any]:
        item = request["Item"]
        where = _key((item["key"]["S"], RESULT_SK))
        return TapedDynamoDB.put_item(self, **{**request, "Item": {**where, **item}})


@dataclass(frozen=True, slots=True, kw_only=True)
class _MayRefuse(ResultsTable):
    tape: Tape

    def put(self, item: Mapping[str, Any]) -> bool:
        if self.tape.ask(Operation.ASK, "the results table"):
            raise ThrottledError("it was refused as often as it was tried")
        return ResultsTable.put(self, item)


@dataclass(frozen=True, slots=True)
class _Signed(TapedSQS):
    """A client that sends with each message who sent it, for the next saver's name; stalls are counted to one only."""

    owner: str

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        for entry in Entries:
            message = decode(entry["MessageBody"], SaveMessage)
            body = encode(msgspec.structs.replace(message, stalls=min(message.stalls, 1)))
            self.tape.ask(Operation.SEND, (QueueUrl, f"{self.owner} {body}"))
        return {"Failed": []}


def _save(signed: str, receives: int, tape: Tape) -> None:
    """Run a saver under a name of its own: that of who sent its message, and how often that has come."""
    signature, _, body = signed.rpartition(" ")
    owner = signature if receives == 1 else f"{signature}.{receives}"

    def clock() -> datetime:
        return _now({_CLOCK: tape.ask(Operation.GET, _CLOCK)})

    ends_at = clock() + _FUNCTION
    retry = replace(RETRY, remaining_seconds=lambda: max(0.0, (ends_at - clock()).total_seconds()))
    dynamodb: Any = TapedDynamoDB(tape)
    results: Any = _Results(tape)
    sqs: Any = _Signed(tape, owner)
    table = Table(dynamodb=dynamodb, name="tally-test", retry=retry)
    saver = save.Saver(
        table=table,
        results=_MayRefuse(table=replace(table, dynamodb=results), tape=tape),
        pacer=Pacer(units_per_second=lambda: float("inf"), clock=lambda: 0.0, sleep=lambda _: None),
        lease=SaverLease(table=table, owner=owner, clock=clock),
        sqs=sqs,
        queue_url=SAVE_QUEUE,
        retry=retry,
        clock=clock,
    )
    taped = partial(_Run, tape=tape, ends_at=ends_at)
    with patch.object(save, "_MAX_GROUP", 1), patch.object(save, "WRITERS", 1), patch.object(save, "_Run", taped):
        saver.save(decode(body, SaveMessage))


run = save._Run


@dataclass(slots=True, kw_only=True)
class _Run(run):
    """A run that forgets before each write what no longer matters: when it has read the clock, and how often."""

    tape: Tape
    ends_at: datetime
    read: list[KeyedRow] = field(default_factory=list)

    def _rows(self, batch: Batch, number: int) -> Iterator[KeyedRow]:
        self.read = list(run._rows(self, batch, number))
        return iter(self.read)

    def _write(self, group: Sequence[KeyedRow]) -> None:
        self._forget(group)
        run._write(self, group)

    def _note(self, batch: Batch) -> bool:
        self._forget(batch.attempt)
        return run._note(self, batch)

    def _forget(self, at: object) -> None:
        times = self.ends_at, self.leased_until, self._noted_at
        self.tape.forget(at, self.save, self._place, self._handled, self._unsaved, self.read, times)


def _ask_for_save(signed: str, tape: Tape) -> None:
    """Do the last that the export function does; the files are written in explorations of their own."""
    signature, _, body = signed.rpartition(" ")
    message = decode(body, ExportMessage)
    if FAILED_PIECE in message.pieces:  # one message of an export is enough
        sqs: Any = _Signed(tape, signature or f"of {message.attempt}")
        _begin(table_of(TapedDynamoDB(tape)), sqs, message)


def _begin(table: Table, sqs: Any, message: ExportMessage) -> None:
    export = Exports(table=table).require(message.batch, message.attempt)
    batch = Repository(table=table).require_batch(message.batch)
    starter = SaveStarter(table=table, sqs=sqs, queue_url=SAVE_QUEUE, retry=RETRY, has_table=True, clock=lambda: NOW)
    job = replace(jobs.require("offices"), key=Key(name="office_id", source=KeySource.ROW))
    with patch.object(jobs, "find", lambda _: job):
        starter.begin(batch, export)


def _now(table: Mapping[Place, Item]) -> datetime:
    return NOW + int(table[_CLOCK]["minutes"]["N"]) * _STEP


def to_save(*signatures: str) -> list[tuple[str, str]]:
    """Return the messages of as many savers of the first attempt."""
    return [(SAVE_QUEUE, f"{each} {encode(SaveMessage(batch=BATCH, attempt=1))}") for each in signatures]


def to_ask(*signatures: str) -> list[tuple[str, str]]:
    """Return messages that ask for the save of the first attempt."""
    message = encode(ExportMessage(batch=BATCH, attempt=1, pieces=[FAILED_PIECE]))
    return [(EXPORT_QUEUE, f"{each} {message}") for each in signatures]


def to_be_saved(*chunks: str, others: Mapping[str, tuple[str, str]] | None = None) -> Start:
    """Return where a batch has ended whose first row has failed, and its save is begun.

    ``others`` are keys that have an item of another batch: when that was created, and its id.
    """
    dynamodb = MemoryDynamoDB()
    dynamodb.items = {place: dict(item) for place, item in exporting.ended(*chunks).items.items()}
    _begin(table_of(dynamodb), MemorySQS(), ExportMessage(batch=BATCH, attempt=1))
    items: dict[Place, Item] = {**dynamodb.items, _CLOCK: {"minutes": {"N": "0"}, **_key(_CLOCK)}}
    for office, (created_at, batch) in (others or {}).items():
        found = KeyedResult(
            key=office, job="offices", batch_id=batch, batch_created_at=created_at, attempt=9, line=9, result=None
        )
        place = office, RESULT_SK
        items[place] = {**found.to_item(), **_key(place)}
    return Start(items=items, messages=to_save("a", "b"))


def _key(place: Place) -> Item:
    return {"pk": {"S": place[0]}, "sk": {"S": place[1]}}
