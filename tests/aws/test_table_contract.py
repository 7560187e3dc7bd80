"""One contract for the table, whoever stands behind it: in memory, moto, and the local AWS.

Unit tests trust the one in memory for thousands of histories; here it has to do as the others do.
"""

import re
from typing import Any

import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from chalicelib.errors import FixItError
from chalicelib.items import Batch, BatchStatus, Chunk, ChunkKey, Counts, Marker, Outcome, Source, key, number, text
from chalicelib.ledger import Recorded
from chalicelib.settle import Settler
from chalicelib.table import Put, Table, Update
from tests.support import builders
from tests.support.builders import NOW, RETRY
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
    with pytest.raises(FixItError, match="which no plan has made"):
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
    assert len(expressions) >= 8
