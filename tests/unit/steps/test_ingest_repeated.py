"""Ingest sets a chunk's totals once: again, at the same time, with faults, after a death."""

import msgspec
import pytest

from chalicelib.errors import RetryableError, UnknownOutcomeError
from chalicelib.steps.ingest import Ingested
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import Outcome
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import RowOutcome
from tally.testing.faults import Fault
from tests.support.builders import at_call, before_call, calls_of, killed, ledger
from tests.support.ingesting import MANY, VALID, World, ingest_calls

SLEEPS = [
    pytest.param(content, call, id=f"{name}, before {call}")
    for name, content in (("valid", VALID), ("some rejected", MANY))
    for call in ingest_calls(content)[1:]
]
"""After an ingest has read the chunk, and before any other of its calls."""


@pytest.mark.parametrize("content", [VALID, MANY], ids=["valid", "some rejected"])
def test_a_second_ingest_reads_once_and_writes_nothing(content: bytes) -> None:
    """The message of a chunk comes at least once."""
    world = World(content)
    world.ingest()
    length, items = len(world.dynamodb.stream), dict(world.dynamodb.items)
    again: list[Ingested] = []
    assert calls_of(lambda faults: again.append(world.ingest(faults=faults))) == ["batch_get_item"]
    assert again == [Ingested()]
    assert (len(world.dynamodb.stream), world.dynamodb.items) == (length, items)


@pytest.mark.parametrize(("content", "sleeps_before"), SLEEPS)
def test_of_two_ingests_at_the_same_time_one_sets_the_totals(content: bytes, sleeps_before: str) -> None:
    """Both have read the chunk before either has set it; a row was counted in between."""
    world = World(content)
    outcome = RowOutcome(row=1, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(b"{}"))

    def overtake() -> None:
        world.ingest()
        ledger(world.dynamodb).record(world.key, [Finished(1, outcome)], Seen.of(world.chunk()))

    assert world.ingest(faults=before_call(sleeps_before, overtake)) == Ingested()
    chunk = world.chunk()
    assert (chunk.state, chunk.version) == (ChunkState.COUNTING, 2)
    assert (chunk.counts.succeeded, chunk.remaining) == (1, (chunk.rows or 0) - len(chunk.done))
    assert world.outcomes()[1] == outcome


@pytest.mark.parametrize(("content", "sleeps_before"), SLEEPS)
def test_an_ingest_that_slept_since_before_a_redrive_reset_the_chunk_sets_nothing(
    content: bytes, sleeps_before: str
) -> None:
    """The chunk has no totals again, as when it was read; its version says that it is not what it was."""
    world = World(content)

    def give_up_and_redrive() -> None:
        world.give_up()
        assert world.redrive() == world.chunk().expected_rows

    assert world.ingest(faults=before_call(sleeps_before, give_up_and_redrive)) == Ingested()
    assert (world.chunk().state, world.chunk().version, world.chunk().generation) == (ChunkState.PLANNED, 2, 2)
    assert world.outcomes() == {}
    assert world.ingest().rows == world.chunk().expected_rows
    assert world.chunk().version == 3


@pytest.mark.parametrize("content", [VALID, MANY], ids=["valid", "some rejected"])
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_anywhere_leaves_no_totals_without_their_rows(
    content: bytes, fault: Fault, position: int
) -> None:
    """The totals are written last, and a second delivery comes to what an undisturbed one does."""
    undisturbed, world = World(content), World(content)
    undisturbed.ingest()
    assert killed(lambda: world.ingest(faults=at_call(position, fault)))
    if world.chunk().rows is not None:
        assert world.stored() == undisturbed.stored()
        assert world.outcomes() == undisturbed.outcomes()
    world.ingest()
    assert world.dynamodb.items == undisturbed.dynamodb.items


@pytest.mark.parametrize("content", [VALID, MANY], ids=["valid", "some rejected"])
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_a_fault_at_any_call_changes_nothing_of_the_result(content: bytes, fault: Fault, position: int) -> None:
    """Least of all the totals, which a retry must not set twice."""
    undisturbed, world = World(content), World(content)
    undisturbed.ingest()
    world.ingest(faults=at_call(position, fault))
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_table_that_does_not_answer_raises() -> None:
    """The queue delivers again; no row is lost or rejected for it."""
    world = World()
    with pytest.raises(UnknownOutcomeError):
        world.ingest(faults=lambda operation: Fault.ERROR_BEFORE if operation == "batch_write_item" else Fault.NONE)
    assert world.chunk().rows is None
    assert world.outcomes() == {}


def test_a_first_delivery_pays_for_no_mark() -> None:
    """A chunk is never split: whether workers die of it is asked of its dead letter alone, after many deliveries."""
    world = World()
    world.ingest()
    assert not any(sk.startswith("started#") for _, sk in world.dynamodb.items)


def test_each_worker_that_dies_of_a_chunk_that_came_again_leaves_a_mark() -> None:
    """Two of them are proof enough to give the chunk up."""
    world = World()
    for deaths in (1, 2):
        assert killed(
            lambda: world.ingest(
                faults=lambda call: Fault.KILLED_BEFORE if call == "get_object" else Fault.NONE, receive_count=2
            )
        )
        assert world.deaths() == deaths


def test_a_worker_that_cannot_reach_s3_or_the_table_did_not_die_of_the_chunk() -> None:
    """It asks for another delivery: however often, no row fails for it."""
    world = World()
    for call in ("get_object", "batch_write_item"):
        with pytest.raises(RetryableError):
            world.ingest(
                faults=lambda operation, call=call: Fault.ERROR_BEFORE if operation == call else Fault.NONE,  # type: ignore[misc]
                receive_count=2,
            )
        assert world.deaths() == 0
    assert world.ingest(receive_count=2).rows == world.chunk().expected_rows
