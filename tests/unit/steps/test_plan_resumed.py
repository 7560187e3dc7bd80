"""Plans of files that are larger than one invocation: where one stops another continues."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import services
from chalicelib.files import source as source_module
from chalicelib.steps import plan as plan_module
from chalicelib.store.batch import Batch, BatchStatus, Cursor
from chalicelib.store.items import ChunkKey
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import Requests, at_call, calls_of, chunk_of, faulty, killed, planner, uploaded

if TYPE_CHECKING:
    from chalicelib.transport.uploads import Upload

HEADER = b"office_id,user_count,contract_count\n"
ROWS = 13
FILE = HEADER + b"".join(b"o%d,1,2\n" % row for row in range(ROWS))
OUT_OF_TIME, PLENTY = 1.0, 600.0


@pytest.fixture(autouse=True)
def two_chunks_a_group() -> Iterator[None]:
    """Make groups, and the blocks that are read, small, so that a small file has many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "MAX_ACTIONS", 2)
        patch.setattr(plan_module, "_CHUNKS_BETWEEN_CURSORS", 4)
        patch.setattr(source_module, "BLOCK_BYTES", 16)
        yield


class World:
    """A table and a bucket, and what was handed over."""

    def __init__(self) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.s3_requests = Requests(self.s3)
        self.upload = uploaded(self.s3, FILE)
        self.handed_over: list[Upload] = []

    def plan(self, seconds: float = PLENTY, faults: Callable[[str], Fault] = lambda _: Fault.NONE) -> Batch:
        """Plan in chunks of one row, with so much time left all the while."""
        return planner(
            faulty(self.dynamodb, faults),
            self.s3_requests,
            chunk_rows=1,
            hand_over=self.handed_over.append,
            remaining_seconds=lambda: seconds,
        ).plan(self.upload)

    def item(self) -> dict[str, Any]:
        """Return the item of the only batch."""
        (item,) = [item for (_, sk), item in self.dynamodb.items.items() if sk == "batch"]
        return item


def _undisturbed() -> World:
    world = World()
    world.plan()
    assert world.item()["chunks"] == {"N": str(ROWS)}
    return world


def test_a_plan_without_time_keeps_how_far_it_came_and_hands_over() -> None:
    """Every chunk before the cursor is durable; the batch is not announced as planned."""
    world = World()
    returned = world.plan(OUT_OF_TIME)
    assert world.handed_over == [world.upload]
    batch = Batch.from_item(world.item())
    assert batch == returned
    assert (batch.status, batch.chunks) == (BatchStatus.PLANNING, None)
    assert batch.cursor == Cursor(offset=FILE.index(b"o2,"), line=4, chunks=2, rows=2)
    assert sum(sk == "chunk" for _, sk in world.dynamodb.items) == 2


def test_a_plan_goes_on_where_another_stopped_and_reads_nothing_twice() -> None:
    """Not even the header, which the batch keeps: a job that was deployed meanwhile may take another one."""
    world, undisturbed = World(), _undisturbed()
    while world.plan(OUT_OF_TIME).status is BatchStatus.PLANNING:
        offset = int(world.item()["cursor_offset"]["N"])
        world.s3_requests.made.clear()
    first = [request["Range"].removeprefix("bytes=").split("-")[0] for request in world.s3_requests.of("get_object")]
    assert first[:1] == [str(offset)]
    assert len(world.handed_over) == ROWS // 2
    assert world.dynamodb.items == undisturbed.dynamodb.items


def _calls() -> list[str]:
    return calls_of(lambda faults: World().plan(OUT_OF_TIME, faults))


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
@pytest.mark.parametrize("position", range(len(_calls())))
def test_a_plan_that_dies_before_it_has_handed_over_is_delivered_again(fault: Fault, position: int) -> None:
    """Lambda retries the event it was invoked with; the cursor may have been kept or not."""
    world, undisturbed = World(), _undisturbed()
    assert killed(lambda: world.plan(OUT_OF_TIME, at_call(position, fault)))
    assert not world.handed_over
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items


@given(data=st.data())
def test_plans_that_die_run_out_of_time_and_overlap_end_as_one(data: st.DataObject) -> None:
    """Any number of invocations, each cut short somehow, and one that gets through."""
    world, undisturbed = World(), _undisturbed()
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, 8))
        fault = data.draw(st.sampled_from([Fault.NONE, Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER]))
        seconds = data.draw(st.sampled_from([OUT_OF_TIME, PLENTY]))
        killed(lambda: world.plan(seconds, at_call(position, fault)))  # noqa: B023  called at once
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_plan_that_is_behind_takes_no_cursor_back() -> None:
    """Two deliveries may plan at once, and the slower one runs out of time."""
    world = World()
    faster: list[Batch] = []

    def overtake(operation: str) -> Fault:
        if operation == "update_item" and not faster:
            faster.append(world.plan(OUT_OF_TIME))
            faster.append(world.plan(OUT_OF_TIME))
        return Fault.NONE

    world.plan(OUT_OF_TIME, overtake)
    assert int(world.item()["cursor_chunks"]["N"]) == 4


def test_a_plan_that_was_killed_goes_on_from_its_last_cursor() -> None:
    """It keeps one now and then, not only at its end."""
    world = World()
    writes = [at for at, call in enumerate(calls_of(lambda faults: World().plan(PLENTY, faults))) if "transact" in call]
    assert killed(lambda: world.plan(PLENTY, at_call(writes[5], Fault.KILLED_BEFORE)))
    assert int(world.item()["cursor_chunks"]["N"]) == 8
    key = Batch.from_item(world.item()).id
    assert chunk_of(world.dynamodb, ChunkKey(key, 9)).expected_rows == 1
    world.plan()
    assert world.dynamodb.items == _undisturbed().dynamodb.items


def test_a_file_larger_than_an_invocation_is_processed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are worked on while the rest is planned; the batch ends when all of it is."""
    pipeline = Pipeline(monkeypatch)
    served = services.Services.of(None)
    late = replace(served, retry=replace(served.retry, remaining_seconds=lambda: OUT_OF_TIME))
    monkeypatch.setattr(services.Services, "of", lambda _: late)
    batch = pipeline.upload("inbox/offices/day.csv", FILE)
    assert pipeline.deliver("upload")
    assert pipeline.batch(batch).cursor is not None
    pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED
    assert pipeline.batch(batch).rows == ROWS
