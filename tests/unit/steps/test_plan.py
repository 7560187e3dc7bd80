"""An uploaded object becomes one batch and its chunks, no matter how often a plan runs and where it stops."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, batch_pk, number, text
from chalicelib.store.table import Update
from tally.testing.faults import Fault
from tests.support.builders import NOW, RETENTION, Requests, at_call, chunk_of, killed, planner, plant, table
from tests.support.planning import FILE, HEADER, SOURCE, World, plan_calls


def test_a_file_becomes_a_running_batch_and_chunks_that_cover_its_rows() -> None:
    """Nothing of a row is parsed: ranges, lines and counts are all that there is."""
    world = World()
    returned = world.plan()
    batch = world.batch()
    assert batch == replace(returned, remaining=4, version=1)
    assert (batch.status, batch.job, batch.source) == (BatchStatus.RUNNING, "offices", SOURCE)
    assert (batch.chunks, batch.remaining, batch.expected_rows, batch.rows) == (4, 4, 7, 0)
    assert batch.header == ("office_id", "user_count", "contract_count")
    assert batch.size == len(FILE)
    assert batch.expires_at == (NOW + RETENTION).timestamp()
    chunks = world.chunks()
    assert [chunk.key for chunk in chunks] == [ChunkKey(batch.id, position) for position in range(4)]
    assert b"".join(FILE[chunk.start : chunk.end] for chunk in chunks) == FILE[len(HEADER) :]
    assert [chunk.first_line for chunk in chunks] == [2, 4, 6, 8]
    assert [chunk.expected_rows for chunk in chunks] == [2, 2, 2, 1]
    assert all(chunk.rows is None and chunk.counts == Counts() for chunk in chunks)
    assert {(chunk.state, chunk.version, chunk.generation) for chunk in chunks} == {(ChunkState.PLANNED, 0, 1)}


def test_the_same_event_twice_changes_nothing() -> None:
    """S3 delivers at least once."""
    world = World()
    first = world.plan()
    length = len(world.dynamodb.stream)
    again = world.plan()
    assert len(world.dynamodb.stream) == length
    assert (again.id, again.chunks, again.expected_rows) == (first.id, first.chunks, first.expected_rows)


def test_the_same_event_after_the_end_does_not_begin_the_batch_again() -> None:
    """A batch that has ended stays as it ended."""
    world = World()
    batch = world.plan()
    world.dynamodb.items[batch_pk(batch.id), "batch"]["status"] = {"S": "completed"}
    length = len(world.dynamodb.stream)
    assert world.plan().status is BatchStatus.COMPLETED
    assert len(world.dynamodb.stream) == length


@pytest.mark.parametrize("position", range(len(plan_calls(FILE))))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_plan_that_died_anywhere_and_is_made_again_is_the_plan(fault: Fault, position: int) -> None:
    """Same ids, same chunks, same totals as of a plan that was not disturbed."""
    undisturbed, world = World(), World()
    undisturbed.plan()
    assert killed(lambda: world.plan(at_call(position, fault)))
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items


@pytest.mark.parametrize("position", range(len(plan_calls(FILE))))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_a_plan_with_a_fault_at_any_call_is_the_plan(fault: Fault, position: int) -> None:
    """Also where a write was applied and its answer lost."""
    undisturbed, world = World(), World()
    undisturbed.plan()
    world.plan(at_call(position, fault))
    assert world.dynamodb.items == undisturbed.dynamodb.items


@given(data=st.data(), rows=st.integers(0, 12))
def test_plans_that_die_again_and_again_end_as_one(data: st.DataObject, rows: int) -> None:
    """Any number of deliveries, each cut short somewhere, and one that gets through."""
    content = HEADER + b"".join(b"o%d,1,2\n" % row for row in range(rows))
    undisturbed, world = World(content), World(content)
    undisturbed.plan()
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 8))
        fault = data.draw(st.sampled_from([Fault.KILLED_BEFORE, Fault.KILLED_AFTER]))
        killed(partial(world.plan, at_call(position, fault)))
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_second_plan_cuts_as_the_first_did_whatever_was_deployed_in_between() -> None:
    """Chunks of two sizes would overlap, and rows would be counted twice."""
    undisturbed, world = World(), World()
    undisturbed.plan(chunk_rows=2)
    assert killed(lambda: world.plan(at_call(plan_calls(FILE).index("transact_write_items"), Fault.KILLED_AFTER)))
    world.plan(chunk_rows=3)
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_second_plan_leaves_the_counters_of_a_chunk_alone() -> None:
    """Its rows may have been worked on before the first plan was done."""
    world = World()
    assert killed(lambda: world.plan(at_call(plan_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)))
    key = world.chunks()[1].key
    counted = {"state": text(ChunkState.COUNTING), "version": number(2), "rows": number(2), "remaining": number(1)}
    world.dynamodb.items[key.pk, "chunk"].update(counted | {"succeeded": number(1)})
    before = chunk_of(world.dynamodb, key)
    world.plan()
    assert chunk_of(world.dynamodb, key) == before
    assert world.batch().chunks == 4


def test_chunks_that_closed_before_the_plan_was_done_are_not_waited_for() -> None:
    """``remaining`` was below zero until the total came."""
    world = World()
    assert killed(lambda: world.plan(at_call(plan_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)))
    closing = Update(
        pk=batch_pk(world.batch().id), sk="batch", expression="ADD remaining :closed", values={":closed": number(-3)}
    )
    table(world.dynamodb).update(closing)
    world.plan()
    assert (world.batch().chunks, world.batch().remaining) == (4, 1)


def test_more_chunks_than_a_transaction_takes_are_numbered_through() -> None:
    """A hundred at a time, none missing at the seams."""
    world = World(HEADER + b"o1,1,2\n" * 250)
    requests = Requests(world.dynamodb)
    batch = planner(requests, world.s3, chunk_rows=1).plan(world.upload)
    assert [len(request["TransactItems"]) for request in requests.of("transact_write_items")] == [100, 100, 50]
    assert (world.batch().chunks, world.batch().remaining, world.batch().expected_rows) == (250, 250, 250)
    chunks = world.chunks()
    assert [chunk.key for chunk in chunks] == [ChunkKey(batch.id, position) for position in range(250)]
    assert [chunk.first_line for chunk in chunks] == list(range(2, 252))


def test_a_chunk_that_is_there_does_not_keep_out_the_others_of_its_transaction() -> None:
    """Conditions that fail cancel the whole transaction: the rest goes again without them."""
    world = World()
    batch = batch_id("offices", SOURCE)
    plant(world.dynamodb, Chunk(key=ChunkKey(batch, 2), start=1, end=2, first_line=3, expected_rows=4))
    world.plan()
    assert [chunk.expected_rows for chunk in world.chunks()] == [2, 2, 4, 1]
