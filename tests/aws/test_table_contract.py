"""One contract for the table, whoever stands behind it: in memory, moto, and the local AWS.

Unit tests trust the one in memory for thousands of histories; here it has to do as the others do.
"""

import re
from typing import Any

import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from chalicelib import services
from chalicelib.errors import FatalError
from chalicelib.steps.redrive import Redriver
from chalicelib.steps.settle import Settler
from chalicelib.store.batch import Batch, BatchStatus, Hold, Source
from chalicelib.store.hold import Holds
from chalicelib.store.items import Chunk, ChunkKey, Counts, Marker, Outcome, key, number, text
from chalicelib.store.leases import Leases
from chalicelib.store.ledger import Recorded
from chalicelib.store.table import Delete, Put, Table, Update
from tests.support import builders
from tests.support.builders import NOW, RETRY, Time
from tests.support.faults import Fault
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemoryEvents, MemoryS3, Pipeline

NEW = "attribute_not_exists(pk)"
KEY = ChunkKey("offices-1", 0)
BATCH = Batch(
    id="offices-1",
    job="offices",
    source=Source(bucket="inbox", key="inbox/offices/day.csv", version_id="v1", etag="e"),
    size=9,
    status=BatchStatus.RUNNING,
    created_at="2026-03-01T00:00:00.000000+00:00",
    expires_at=1,
    chunk_rows=2,
    chunk_bytes=99,
    header=("office_id", "user_count"),
)


def _item(pk: str, sk: str = "x", **attributes: Any) -> dict[str, Any]:
    return {**key(pk, sk), **attributes}


def _add(pk: str, amount: int = 1, condition: str = "") -> Update:
    return Update(
        pk=pk, sk="x", expression="ADD #rows :amount", condition=condition, values={":amount": number(amount)}
    )


def _planned(table: Table, position: int = 0) -> ChunkKey:
    chunk = ChunkKey("offices-1", position)
    table.write_all([Chunk(key=chunk, start=0, end=1, first_line=2, expected_rows=3).to_item()])
    return chunk


def _chunk(table: Table, chunk: ChunkKey = KEY) -> Chunk:
    item = table.get(chunk.pk, "chunk")
    assert item
    return Chunk.from_item(item)


def _batch(table: Table) -> Batch:
    item = table.get("batch#offices-1", "batch")
    assert item
    return Batch.from_item(item)


def _markers(*outcomes: Outcome, start: int = 0) -> list[Marker]:
    return [
        Marker(chunk=KEY, row=row, outcome=outcome, result='"é\uffff"') for row, outcome in enumerate(outcomes, start)
    ]


def test_an_item_is_read_as_it_was_put(table: Table) -> None:
    """Every kind of attribute that Tally has, and any character."""
    item = _item(
        "a", s=text('é\uffff\x00"'), n=number(-7), b={"BOOL": True}, l={"L": [text("x"), text("")]}, e=text("")
    )
    assert table.put(Put(item=item, condition=NEW)) is True
    assert table.get("a", "x") == item
    assert table.get("a", "y") is None
    assert table.get("b", "x") is None


def test_a_second_put_is_refused_and_changes_nothing(table: Table) -> None:
    """What is there stands."""
    assert table.put(Put(item=_item("a", v=text("first")), condition=NEW)) is True
    assert table.put(Put(item=_item("a", v=text("second")), condition=NEW)) is False
    assert table.get("a", "x") == _item("a", v=text("first"))
    assert table.put(Put(item=_item("a", "y"), condition=NEW)) is True


def test_an_update_adds_to_what_is_there_or_to_nothing(table: Table) -> None:
    """A counter begins at 0, may go below it, and its item need not exist."""
    assert table.update(_add("a", -3)) is True
    assert table.update(_add("a", 5)) is True
    assert table.get("a", "x") == _item("a", rows=number(2))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_exists(pk)", True),
        ("attribute_not_exists(pk)", False),
        ("attribute_not_exists(#closed)", True),
        ("attribute_exists(#rows) AND attribute_not_exists(#closed)", True),
        ("attribute_not_exists(#rows) AND attribute_not_exists(#closed)", False),
        ("#rows = :amount", True),
        ("#failed = :amount", False),
        ("#rows = :amount AND attribute_exists(#closed)", False),
    ],
)
def test_an_update_is_applied_if_its_condition_holds(table: Table, condition: str, holds: bool) -> None:
    """Each kind of clause that Tally uses, alone and joined; an attribute that is not there equals nothing."""
    table.update(_add("a"))
    assert table.update(_add("a", condition=condition)) is holds
    assert table.get("a", "x") == _item("a", rows=number(2 if holds else 1))


def test_a_condition_on_an_item_that_is_not_there_makes_none(table: Table) -> None:
    """A counter is never made by counting."""
    assert table.update(_add("a", condition="attribute_exists(pk)")) is False
    assert table.get("a", "x") is None


def test_set_and_add_go_into_one_update(table: Table) -> None:
    """The total and the remainder are never apart."""
    update = Update(
        pk="a",
        sk="x",
        expression="SET #rows = :rows, reason = :why ADD remaining :rows",
        condition="attribute_not_exists(#rows)",
        values={":rows": number(4), ":why": text("so")},
    )
    table.update(
        Update(pk="a", sk="x", expression="ADD remaining :taken", values={":taken": number(-1)}),
    )
    assert table.update(update) is True
    assert table.update(update) is False
    assert table.get("a", "x") == _item("a", rows=number(4), reason=text("so"), remaining=number(3))


def test_a_transaction_applies_all(table: Table) -> None:
    """Puts and updates together."""
    assert (
        table.transact([Put(item=_item("a"), condition=NEW), _add("n", 2), Put(item=_item("b"), condition=NEW)]) == []
    )
    assert table.get("a", "x") == _item("a")
    assert table.get("b", "x") == _item("b")
    assert table.get("n", "x") == _item("n", rows=number(2))


def test_a_transaction_applies_none_and_says_which_conditions_failed(table: Table) -> None:
    """By position, all of them."""
    table.put(Put(item=_item("b", v=text("first")), condition=NEW))
    table.put(Put(item=_item("d"), condition=NEW))
    actions: list[Put | Update] = [
        Put(item=_item("a"), condition=NEW),
        Put(item=_item("b"), condition=NEW),
        Put(item=_item("c"), condition=NEW),
        Put(item=_item("d"), condition=NEW),
        _add("n", condition="attribute_exists(pk)"),
        _add("m"),
    ]
    assert table.transact(actions) == [1, 3, 4]
    assert [table.get(name, "x") for name in ("a", "c", "n", "m")] == [None] * 4
    assert table.get("b", "x") == _item("b", v=text("first"))


def test_a_transaction_takes_a_hundred_actions(table: Table) -> None:
    """The ledger fills them."""
    puts = [Put(item=_item("a", f"{position:03d}"), condition=NEW) for position in range(99)]
    actions: list[Put | Update] = [*puts, _add("n", 99)]
    assert table.transact(actions) == []
    assert table.transact(actions) == list(range(99))
    assert table.get("n", "x") == _item("n", rows=number(99))


def test_items_are_written_as_often_as_one_likes(table: Table) -> None:
    """More than a request takes; the second time changes nothing."""
    items = [_item(f"a{position}", v=number(position)) for position in range(60)]
    table.write_all(items)
    table.write_all(items)
    found = table.get_all((f"a{position}", "x") for position in range(61))
    assert sorted(found, key=lambda item: int(item["v"]["N"])) == items


def test_more_keys_than_a_request_takes_are_all_read(table: Table) -> None:
    """Those that do not exist are left out."""
    table.write_all(_item("a", f"{position:03d}") for position in range(0, 120, 2))
    found = table.get_all(("a", f"{position:03d}") for position in range(120))
    assert sorted(item["sk"]["S"] for item in found) == [f"{position:03d}" for position in range(0, 120, 2)]


def test_the_ledger_counts_each_row_once(table: Table, dynamodb: Any) -> None:
    """First outcomes, duplicates among new ones, and only duplicates."""
    _planned(table)
    ledger = builders.ledger(dynamodb)
    assert ledger.record(KEY, _markers(Outcome.SUCCEEDED, Outcome.FAILED)) == Recorded(counted=2, duplicates=0)
    again = _markers(Outcome.FAILED, Outcome.FAILED, Outcome.REJECTED, Outcome.SUCCEEDED)
    assert ledger.record(KEY, again) == Recorded(counted=2, duplicates=2)
    assert ledger.record(KEY, again) == Recorded(counted=0, duplicates=4)
    chunk = _chunk(table)
    assert (chunk.counts, chunk.remaining) == (Counts(succeeded=2, failed=1, rejected=1), -4)
    marker = Marker.from_item(table.get(KEY.pk, "mark#000000") or {})
    assert (marker.outcome, marker.result) == (Outcome.SUCCEEDED, '"é\uffff"')


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_the_ledger_counts_each_row_once_whatever_is_heard_of_it(table: Table, dynamodb: Any, fault: Fault) -> None:
    """The retry is a new request with a new token, and meets its own markers."""
    _planned(table)
    ledger = builders.ledger(builders.faulty(dynamodb, builders.in_turn(fault, fault)))
    ledger.record(KEY, _markers(Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REJECTED))
    assert _chunk(table).counts == Counts(succeeded=1, failed=1, rejected=1)


def test_the_ledger_takes_nothing_for_a_closed_chunk_or_for_none(table: Table, dynamodb: Any) -> None:
    """The counter's condition fails at the last position, and the markers with it."""
    ledger = builders.ledger(dynamodb)
    with pytest.raises(FatalError, match="which no plan has made"):
        ledger.record(KEY, _markers(Outcome.SUCCEEDED))
    assert table.get(KEY.pk, "mark#000000") is None
    _planned(table)
    closing = Update(pk=KEY.pk, sk="chunk", expression="SET #closed = :closed", values={":closed": {"BOOL": True}})
    table.update(closing)
    assert ledger.record(KEY, _markers(Outcome.SUCCEEDED)) == Recorded(counted=0, duplicates=1)
    assert table.get(KEY.pk, "mark#000000") is None
    assert _chunk(table).closed


@pytest.fixture
def settler(dynamodb: Any) -> Settler:
    """Give a settler over the table."""
    events: Any = MemoryEvents()
    return Settler(table=builders.table(dynamodb), events=events, event_bus="bus", retry=RETRY, clock=lambda: NOW)


def _counted(table: Table, dynamodb: Any, position: int) -> Chunk:
    chunk = _planned(table, position)
    markers = [Marker(chunk=chunk, row=row, outcome=outcome) for row, outcome in enumerate(Outcome)]
    builders.ledger(dynamodb).record(chunk, markers)
    table.update(
        Update(
            pk=chunk.pk,
            sk="chunk",
            expression="SET #rows = :rows ADD remaining :rows",
            condition="attribute_not_exists(#rows)",
            values={":rows": number(3)},
        )
    )
    return _chunk(table, chunk)


def test_the_settler_closes_each_chunk_once(table: Table, dynamodb: Any, settler: Settler) -> None:
    """Stale images aside, and then the batch ends once."""
    table.write_all([{**BATCH.to_item(), "chunks": number(3), "remaining": number(3)}])
    chunks = [_counted(table, dynamodb, position) for position in range(3)]
    assert all(chunk.done for chunk in chunks)
    assert settler.close("offices-1", chunks[:1]) == 1
    assert settler.close("offices-1", chunks[:2]) == 1
    assert settler.close("offices-1", chunks[:2]) == 0
    assert settler.complete(_batch(table)) is False
    assert settler.close("offices-1", chunks) == 1
    batch = _batch(table)
    assert (batch.remaining, batch.rows, batch.counts) == (0, 9, Counts(succeeded=3, failed=3, rejected=3))
    assert [settler.complete(batch) for _ in range(2)] == [True, False]
    assert _batch(table).status is BatchStatus.COMPLETED_WITH_FAILURES
    assert settler.publish([_batch(table)]) == 1
    assert _batch(table).published_attempt == 1


def test_the_settler_leaves_a_chunk_open_whose_counts_have_changed(
    table: Table, dynamodb: Any, settler: Settler
) -> None:
    """The batch does not get the old ones."""
    table.write_all([BATCH.to_item()])
    stale, fresh = (_counted(table, dynamodb, position) for position in range(2))
    redriven = Update(
        pk=stale.key.pk,
        sk="chunk",
        expression="ADD #failed :less, succeeded :more",
        values={":less": number(-1), ":more": number(1)},
    )
    table.update(redriven)
    assert settler.close("offices-1", [stale, fresh]) == 1
    assert not _chunk(table, stale.key).closed
    assert (_batch(table).remaining, _batch(table).rows) == (-1, 3)


def test_a_plan_is_made_once(table: Table, dynamodb: Any) -> None:
    """The same object planned twice, the second time over what the first has left."""
    s3 = MemoryS3()
    content = b"office_id,user_count,contract_count\n" + b"o1,1,2\n" * 5
    upload = builders.uploaded(s3, content)
    planner = builders.planner(dynamodb, s3)
    first = planner.plan(upload)
    item = table.get(f"batch#{first.id}", "batch")
    again = planner.plan(upload)
    assert table.get(f"batch#{first.id}", "batch") == item
    assert (first.chunks, again.chunks, again.remaining) == (3, 3, 3)
    assert Batch.from_item(item or {}).header == ("office_id", "user_count", "contract_count")


def _delete(pk: str, condition: str, **values: Any) -> Delete:
    named = {f":{name}": text(value) for name, value in values.items()}
    return Delete(pk=pk, sk="x", condition=condition, values=named)


def test_an_item_is_deleted_if_the_condition_holds(table: Table) -> None:
    """And only once; what is not there has no attribute that equals anything."""
    table.put(Put(item=_item("a", owner=text("me")), condition=NEW))
    assert table.delete(_delete("a", "#owner = :owner", owner="you")) is False
    assert table.get("a", "x") == _item("a", owner=text("me"))
    assert table.delete(_delete("a", "#owner = :owner", owner="me")) is True
    assert table.get("a", "x") is None
    assert table.delete(_delete("a", "#owner = :owner", owner="me")) is False


def test_a_deletion_is_one_action_of_a_transaction(table: Table) -> None:
    """Together with updates, all or none; those whose condition failed are named."""
    for pk, outcome in (("a", "failed"), ("b", "succeeded"), ("c", "failed")):
        table.put(Put(item=_item(pk, outcome=text(outcome)), condition=NEW))
    failed = {"outcome": "failed"}
    deletes = {pk: _delete(pk, "outcome = :outcome", **failed) for pk in ("a", "b", "c", "d")}
    assert table.transact([deletes["a"], deletes["b"], deletes["d"], _add("n")]) == [1, 2]
    assert table.get("a", "x") == _item("a", outcome=text("failed"))
    assert table.get("n", "x") is None
    assert table.transact([deletes["a"], deletes["c"], _add("n", -2)]) == []
    assert [table.get(pk, "x") for pk in ("a", "c")] == [None, None]
    assert table.get("n", "x") == _item("n", rows=number(-2))


def test_a_query_returns_what_begins_with_the_prefix_in_order(table: Table) -> None:
    """Of one partition, and nothing that merely resembles it."""
    names = ["mark#000002", "mark#000010", "mark#000000", "mark", "markers", "row#000000", "mark$", "chunk"]
    table.write_all(_item("a", name, v=text(name)) for name in names)
    table.write_all([_item("b", "mark#000001"), _item("a#", "mark#000003")])
    found = list(table.query("a", "mark#"))
    assert [item["sk"]["S"] for item in found] == ["mark#000000", "mark#000002", "mark#000010"]
    assert found[0] == _item("a", "mark#000000", v=text("mark#000000"))
    assert list(table.query("a", "nothing#")) == []
    assert list(table.query("nobody", "mark#")) == []


def test_a_query_returns_all_pages(table: Table) -> None:
    """Two megabytes, of which an answer holds one."""
    table.write_all(_item("a", f"row#{position:06d}", v=text("x" * 100_000)) for position in range(20))
    found = list(table.query("a", "row#"))
    assert [item["sk"]["S"] for item in found] == [f"row#{position:06d}" for position in range(20)]
    assert {len(item["v"]["S"]) for item in found} == {100_000}


def test_a_query_may_ask_for_some_attributes(table: Table) -> None:
    """Those that an item has."""
    table.write_all([_item("a", "row#0", line=number(2), data=text("x")), _item("a", "row#1", data=text("y"))])
    assert list(table.query("a", "row#", projection="sk, line")) == [
        {"sk": text("row#0"), "line": number(2)},
        {"sk": text("row#1")},
    ]


def _batches(table: Table, count: int) -> list[tuple[str, str]]:
    """Put listed items, the oldest first, and others that are not listed; returns the keys, the newest first."""
    keys = [(f"batch#{position * 7 % count}", "batch") for position in range(count)]
    items = [
        _item(pk, sk, listing=text("batch"), created_at=text(f"2026-03-01T00:00:{position:06d}"))
        for position, (pk, sk) in enumerate(keys)
    ]
    table.write_all(items)
    table.write_all([_item(pk, "watch", created_at=text("2026")) for pk, _ in keys])
    table.write_all([_item("other", "batch", listing=text("other"), created_at=text("2099"))])
    return keys[::-1]


def test_the_newest_are_listed_first(table: Table) -> None:
    """As many as asked for, or as there are; an item without a listing is in no list."""
    keys = _batches(table, 25)
    assert table.newest("batch", limit=1_000) == keys
    assert table.newest("batch", limit=10) == keys[:10]
    assert table.newest("batch", limit=1) == keys[:1]
    assert table.newest("nothing", limit=10) == []


def _lease(owner: str, until: int) -> Put:
    return Put(
        item=_item("a", owner=text(owner), until=number(until)),
        condition="attribute_not_exists(pk) OR #until < :now OR #owner = :owner",
        values={":now": number(1_000), ":owner": text(owner)},
    )


@pytest.mark.parametrize(
    ("owner", "until", "taken"),
    [("me", 2_000, True), ("you", 2_000, False), ("you", 1_000, False), ("you", 999, True), ("you", 99, True)],
)
def test_a_put_may_compare_what_is_there(table: Table, owner: str, until: int, taken: bool) -> None:
    """Numbers as numbers, strictly less; any one of the alternatives will do."""
    assert table.put(_lease(owner, until)) is True
    assert table.put(_lease("me", 5_000)) is taken
    assert table.get("a", "x") == _item(
        "a", owner=text("me" if taken else owner), until=number(5_000 if taken else until)
    )


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("(outcome = :yes OR outcome = :no) AND attribute_not_exists(#hold)", True),
        ("(outcome = :no OR outcome = :no) AND attribute_not_exists(#hold)", False),
        ("outcome = :yes OR outcome = :no AND attribute_exists(#hold)", True),
        ("(outcome = :yes OR outcome = :no) AND attribute_exists(#hold)", False),
        ("#hold = :yes OR outcome = :no", False),
        ("#rows < :two", True),
        ("#rows < :one", False),
        ("#hold < :two", False),
    ],
)
def test_alternatives_and_brackets_bind_as_dynamodb_says(table: Table, condition: str, holds: bool) -> None:
    """AND before OR; a comparison with an attribute that is not there does not hold."""
    table.put(Put(item=_item("a", outcome=text("yes"), rows=number(1)), condition=NEW))
    known = {":yes": text("yes"), ":no": text("no"), ":one": number(1), ":two": number(2)}
    values = {name: value for name, value in known.items() if name in condition}
    update = Update(pk="a", sk="x", expression="REMOVE nothing", condition=condition, values=values)
    assert table.update(update) is holds


def test_an_update_removes_attributes(table: Table) -> None:
    """Alone, without a value; one that is not there is no error."""
    table.put(Put(item=_item("a", hold=text("paused"), v=text("v")), condition=NEW))
    remove = Update(pk="a", sk="x", expression="REMOVE #hold", condition="attribute_exists(#hold)", values={})
    assert [table.update(remove) for _ in range(2)] == [True, False]
    assert table.get("a", "x") == _item("a", v=text("v"))
    assert table.update(Update(pk="a", sk="x", expression="REMOVE #hold", values={})) is True


def test_set_add_and_remove_go_into_one_update(table: Table) -> None:
    """A batch is reopened in one write: its status, its counters, and what it had as an ended one."""
    table.put(Put(item=_item("a", closed={"BOOL": True}, rows=number(4), at=text("now")), condition=NEW))
    reopened = Update(
        pk="a",
        sk="x",
        expression="SET #status = :status, attempt = :two ADD #rows :less, remaining :two REMOVE #closed, #at",
        condition="attribute_exists(#closed)",
        values={":status": text("running"), ":two": number(2), ":less": number(-1)},
    )
    assert [table.update(reopened) for _ in range(2)] == [True, False]
    assert table.get("a", "x") == _item(
        "a", status=text("running"), attempt=number(2), rows=number(3), remaining=number(2)
    )


def test_a_lease_is_one_workers_at_a_time(table: Table) -> None:
    """Taken, held, extended, expired, released: on whatever stands behind the table."""
    time = Time()
    first, second = (Leases(table=table, owner=owner, seconds=60, clock=time) for owner in ("first", "second"))
    assert [first.take(KEY, 0), second.take(KEY, 0), first.take(KEY, 0)] == [True, False, True]
    second.release(KEY, 0)
    assert second.seconds_left(KEY, 0) == 60
    time.pass_by(61)
    assert [second.take(KEY, 0), first.take(KEY, 0)] == [True, False]
    second.release(KEY, 0)
    assert first.take(KEY, 0) is True


def test_a_redrive_takes_back_what_was_counted(table: Table, dynamodb: Any, settler: Settler) -> None:
    """Of a closed chunk in an ended batch, once; then both are as before those rows had failed."""
    table.write_all([{**BATCH.to_item(), "chunks": number(2), "remaining": number(2)}])
    chunks = [_counted(table, dynamodb, position) for position in range(2)]
    settler.close("offices-1", chunks)
    assert settler.complete(_batch(table))
    redriver = Redriver(table=table)
    assert [redriver.redrive("offices-1", rows=[(0, 1)], on_chunk=lambda: None) for _ in range(2)] == [1, 0]
    batch, chunk = _batch(table), _chunk(table)
    assert (batch.status, batch.attempt, batch.remaining, batch.rows) == (BatchStatus.RUNNING, 2, 1, 3)
    assert batch.counts == Counts(succeeded=1, failed=1, rejected=1)
    assert (chunk.closed, chunk.remaining, chunk.counts) == (False, 1, Counts(succeeded=1, rejected=1))
    assert [item["sk"]["S"] for item in table.query(KEY.pk, "mark#")] == ["mark#000000", "mark#000002"]
    assert builders.ledger(dynamodb).record(KEY, _markers(Outcome.SUCCEEDED, start=1)).counted == 1
    assert settler.close("offices-1", [_chunk(table)]) == 1
    assert _batch(table).counts == Counts(succeeded=3, failed=1, rejected=2)


def test_a_batch_is_held_and_let_go(table: Table) -> None:
    """By conditions on its status and on what holds it already."""
    table.write_all([BATCH.to_item()])
    controls = Holds(table=table)
    assert controls.resume("offices-1") is False
    assert controls.hold("offices-1", Hold.PAUSED) is True
    assert controls.resume("offices-1") is True
    assert controls.hold("offices-1", Hold.CANCELLED) is True
    assert controls.hold("offices-1", Hold.PAUSED) is False
    assert _batch(table).hold is Hold.CANCELLED
    assert [controls.allow_again("offices-1") for _ in range(2)] == [True, False]
    assert controls.hold("offices-2", Hold.PAUSED) is False
    assert table.get("batch#offices-2", "batch") is None


class Strict(MemoryDynamoDB):
    """Keeps every action that has an expression."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[dict[str, Any]] = []

    def _holds(self, action: dict[str, Any]) -> bool:
        self.actions.append(action)
        return super()._holds(action)


def test_every_expression_of_a_whole_run_is_one_that_dynamodb_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reserved word stands for itself, and no name or value is given that is not used: AWS refuses both."""
    monkeypatch.setattr("tests.support.pipeline.MemoryDynamoDB", Strict)
    pipeline = Pipeline(monkeypatch)
    gone = pipeline.upload("inbox/offices/gone.csv", b"office_id,user_count,contract_count\no1,1,2\n")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    ended = pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\no1,1,2\no2,x,2\n")
    pipeline.drain()
    assert pipeline.batch(gone).status is BatchStatus.REJECTED
    assert pipeline.batch(ended).status is BatchStatus.COMPLETED_WITH_FAILURES
    _operate(pipeline, ended)
    assert isinstance(pipeline.dynamodb, Strict)
    reserved = set(ReservedKeywords.get_reserved_keywords())
    assert "ROWS" in reserved
    expressions = set()
    for action in pipeline.dynamodb.actions:
        expression = f"{action.get('UpdateExpression', '')} {action.get('ConditionExpression', '')}"
        expressions.add(expression)
        assert set(re.findall(r":\w+", expression)) == set(action.get("ExpressionAttributeValues", {}))
        assert set(re.findall(r"#\w+", expression)) == set(action.get("ExpressionAttributeNames", {}))
        words = re.findall(r"(?<![:#\w])[a-z_]\w*(?!\w*\()", expression)
        assert [word for word in words if word.upper() in reserved] == []
    assert len(expressions) >= 16


def _operate(pipeline: Pipeline, batch_id: str) -> None:
    """Let everything happen to a batch that an operator or a loss can do to it."""
    made = services.Services.of(None)
    table = builders.table(pipeline.dynamodb)
    controls = Holds(table=table)
    leases = made.heavy_processor.leases
    leases.take(ChunkKey(batch_id, 0), 0)
    leases.release(ChunkKey(batch_id, 0), 0)
    other = pipeline.upload("inbox/offices/other.csv", b"office_id,user_count,contract_count\no1,1,2\no2,1,2\n")
    assert pipeline.deliver("upload")
    controls.hold(other, Hold.PAUSED)
    controls.resume(other)
    controls.hold(other, Hold.CANCELLED)
    pipeline.drain()
    assert pipeline.batch(other).counts == Counts(failed=2)
    controls.allow_again(other)
    redriver = Redriver(table=table)
    redriver.redrive(other, rows=[(0, 0)], on_chunk=lambda: None)
    redriver.redrive(other, on_chunk=lambda: None)
    pipeline.dynamodb.items[ChunkKey(other, 0).pk, "chunk"]["failed"] = number(7)
    pipeline.dynamodb.items[f"batch#{other}", "batch"]["failed"] = number(7)
    pipeline.positions["dispatch"] = len(pipeline.dynamodb.stream)
    made.reconciler.sweep(made.reconciler.open_batches())
    assert len(made.reconciler.repair(other).counters_mended) == 2
    pipeline.drain()
    assert pipeline.batch(other).status is BatchStatus.COMPLETED
