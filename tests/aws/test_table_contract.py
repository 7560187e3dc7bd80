"""One contract for the table, with each engine behind it: in memory, moto, the local AWS, and roto.

Unit tests trust the one in memory for thousands of histories; here it has to do as the others do. Where an engine
differs from AWS is measured in ``test_engines.py``, and said in docs/local-aws.md.
"""

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.errors import CancelledError, FatalError, translate
from chalicelib.store.bits import RowBits
from chalicelib.store.items import MAX_ITEM_BYTES, ChunkKey, binary, bits, key, number, text
from chalicelib.store.pacing import item_size
from chalicelib.store.table import Delete, Put, Table, Update
from tests.support.tables import ENGINES

NEW = "attribute_not_exists(pk)"
KEY = ChunkKey("offices-1", 0)


def _item(pk: str, sk: str = "x", **attributes: Any) -> dict[str, Any]:
    return {**key(pk, sk), **attributes}


def _add(pk: str, amount: int = 1, condition: str = "") -> Update:
    return Update(
        pk=pk, sk="x", expression="ADD #rows :amount", condition=condition, values={":amount": number(amount)}
    )


def test_an_item_is_read_as_it_was_put(table: Table) -> None:
    """Every kind of attribute that Tally has, and any character."""
    item = _item(
        "a",
        s=text('é\uffff\x00"'),
        n=number(-7),
        b=binary(b"\x00\xff\x80"),
        l={"L": [text("x"), text("")]},
        e=text(""),
        ns={"NS": ["1"]},
    )
    assert table.put(Put(item=item, condition=NEW)) is True
    assert table.get("a", "x") == item
    assert table.get("a", "y") is None
    assert table.get("b", "x") is None


def test_a_second_put_is_refused_and_changes_nothing(table: Table) -> None:
    """An item that is there stays as it is."""
    assert table.put(Put(item=_item("a", v=text("first")), condition=NEW)) is True
    assert table.put(Put(item=_item("a", v=text("second")), condition=NEW)) is False
    assert table.get("a", "x") == _item("a", v=text("first"))
    assert table.put(Put(item=_item("a", "y"), condition=NEW)) is True


def test_a_set_takes_members_once_and_is_returned_as_it_is_then(table: Table) -> None:
    """Marks of runs: one that is written twice is one, and the last that is taken back leaves no set."""

    def change(verb: str, *runs: str) -> Any:
        return table.change(Update(pk="a", sk="x", expression=f"SET n = :n {verb} runs :run", values=_set(*runs)))

    assert change("ADD", "first")["runs"] == {"SS": ["first"]}
    assert change("ADD", "first")["runs"] == {"SS": ["first"]}
    assert set(change("ADD", "second")["runs"]["SS"]) == {"first", "second"}
    assert change("DELETE", "first")["runs"] == {"SS": ["second"]}
    assert change("DELETE", "never there")["runs"] == {"SS": ["second"]}
    assert change("DELETE", "second") == {**key("a", "x"), "n": number(1)}
    assert change("DELETE", "second") == {**key("a", "x"), "n": number(1)}


def _set(*runs: str) -> dict[str, Any]:
    return {":run": {"SS": list(runs)}, ":n": number(1)}


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
    """A set and an addition of one update are applied together."""
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
        table.transact([Put(item=_item("a"), condition=NEW), _add("n", 2), Put(item=_item("b"), condition=NEW)]) == {}
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
    assert table.transact(actions) == {1: {}, 3: {}, 4: {}}
    assert [table.get(name, "x") for name in ("a", "c", "n", "m")] == [None] * 4
    assert table.get("b", "x") == _item("b", v=text("first"))


def test_a_transaction_takes_a_hundred_actions(table: Table) -> None:
    """Closing chunks fills them."""
    puts = [Put(item=_item("a", f"{position:03d}"), condition=NEW) for position in range(99)]
    actions: list[Put | Update] = [*puts, _add("n", 99)]
    assert table.transact(actions) == {}
    assert list(table.transact(actions)) == list(range(99))
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


def _refuses(pk: str = "a", *, asks: bool = True) -> Update:
    """Return an update whose condition does not hold, and that asks for the item if it does not."""
    return replace(_add(pk, 99, condition="#rows = :amount"), returns_item=asks)


WHOLE: dict[str, Any] = {
    "rows": number(1),
    "done": binary(b"\x00\x80\xff"),
    "state": text("ready"),
    "waiting": {"NS": ["7"]},
}


def test_a_transaction_that_is_refused_brings_the_items_that_were_asked_for(table: Table) -> None:
    """As they are at that moment, whole, with binary attributes as bytes. There is none where there is no item."""
    table.write_all([_item("a", **WHOLE), _item("b", **WHOLE)])
    refused = table.transact([_add("n"), _refuses("a"), _refuses("b", asks=False), _refuses("c")])
    assert refused == {1: _item("a", **WHOLE), 2: {}, 3: {}}
    assert table.get("n", "x") is None


def test_an_item_that_was_asked_for_is_not_brought_where_its_own_condition_held(table: Table) -> None:
    """The ledger tells by it who was refused: the marker or the chunk."""
    table.write_all([_item("a", **WHOLE), _item("m")])
    sound = replace(_add("a", condition="attribute_exists(#rows)"), returns_item=True)
    assert table.transact([Put(item=_item("m"), condition=NEW), sound]) == {0: {}}


@pytest.mark.parametrize("dynamodb", [engine for engine in ENGINES if engine != "roto"], indirect=True)
def test_a_single_write_that_is_refused_brings_the_item_that_was_asked_for(table: Table, dynamodb: Any) -> None:
    """Like a transaction. One that does not exist, or was not asked for, does not come. Roto brings none."""
    table.write_all([_item("a", **WHOLE)])
    for update, brought in [(_refuses("a"), _item("a", **WHOLE)), (_refuses("a", asks=False), {}), (_refuses("b"), {})]:
        with pytest.raises(ClientError) as refused:
            dynamodb.update_item(**table._update(update))
        cancelled = translate(refused.value)
        assert isinstance(cancelled, CancelledError)
        assert cancelled.failed == {0: brought}
        assert table.update(update) is False


def test_a_number_joins_a_set_once(table: Table) -> None:
    """Rows that wait are noted in a set of numbers, which is made by adding to it."""
    for rows in (["7"], ["7", "10"], ["2"]):
        table.update(Update(pk="a", sk="x", expression="ADD waiting_rows :rows", values={":rows": {"NS": rows}}))
    item = table.get("a", "x")
    assert item
    assert sorted(item["waiting_rows"]["NS"], key=int) == ["2", "7", "10"]


def test_the_bits_of_a_chunk_are_read_as_they_were_set(table: Table) -> None:
    """Any bytes: one that looks like text is not taken for it, nor for base64."""
    for rows in (RowBits.of([0]), RowBits.first(2_000), RowBits.of(range(0, 48, 7)), RowBits.from_bytes(b"QUJD")):
        table.update(Update(pk=KEY.pk, sk="x", expression="SET done = :done", values={":done": bits(rows)}))
        item = table.get(KEY.pk, "x")
        assert item
        assert item["done"] == binary(rows.to_bytes())


def test_a_projection_may_name_attributes_that_are_reserved_words(table: Table) -> None:
    """As an audit does, which leaves out what is large."""
    marker = _item("a", "mark#000001", succeeded=binary(b"\x01"), failed=binary(b"\x02"), data=binary(b"x" * 999))
    table.write_all([marker, _item("a", "mark#000002", failed=binary(b"\x04"))])
    assert list(table.query("a", "mark#", projection="pk, sk, succeeded, #failed, rejected")) == [
        _item("a", "mark#000001", succeeded=binary(b"\x01"), failed=binary(b"\x02")),
        _item("a", "mark#000002", failed=binary(b"\x04")),
    ]


def test_an_item_over_400_kilobytes_is_refused(table: Table) -> None:
    """Such a write fails here, and not first on AWS."""
    item = _item("a", data=binary(b""))
    too_large = Put(item={**item, "data": binary(bytes(400 * 1024 - item_size(item) + 1))}, condition=NEW)
    with pytest.raises(FatalError, match="ValidationException"):
        table.transact([too_large, _add("n")])
    with pytest.raises(FatalError, match="ValidationException"):
        table.put(too_large)
    assert [table.get(pk, "x") for pk in "an"] == [None, None]


def test_an_item_of_the_largest_size_is_taken(table: Table) -> None:
    """A page of rows or outcomes may have so many bytes, and its names and other attributes some more."""
    item = _item("a", data=binary(bytes(range(256)) * (MAX_ITEM_BYTES // 256)), done=binary(bytes(250)))
    assert table.transact([Put(item=item, condition=NEW), _add("n")]) == {}
    assert table.get("a", "x") == item


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
    assert table.transact([deletes["a"], deletes["b"], deletes["d"], _add("n")]) == {1: {}, 2: {}}
    assert table.get("a", "x") == _item("a", outcome=text("failed"))
    assert table.get("n", "x") is None
    assert table.transact([deletes["a"], deletes["c"], _add("n", -2)]) == {}
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
