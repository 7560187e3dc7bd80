"""Ingest gives up a chunk that it cannot read: each of its rows has one outcome. It refuses what was not planned."""

import pytest

from chalicelib.errors import BusyError, FatalError, NotFoundError
from chalicelib.files.source import SETTLING
from chalicelib.steps.ingest import Ingested
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.items import Counts, Outcome, number
from chalicelib.store.marker import ReasonCode
from tally.testing.pipeline import Pipeline
from tests.support.builders import before_call, calls_of, markers_of
from tests.support.ingesting import World, many


def test_an_object_that_s3_does_not_show_yet_is_read_when_it_does() -> None:
    """For twenty minutes after the upload a 404 proves nothing: the message comes again, and no row fails."""
    world = World()
    world.settling = SETTLING
    hidden = dict(world.s3.objects)
    world.s3.objects.clear()
    with pytest.raises(BusyError, match="may not show it before 12:20:00"):
        world.ingest()
    assert world.chunk().rows is None
    world.s3.objects |= hidden
    assert world.ingest().rows == 5


def test_rows_of_an_object_that_is_gone_fail_with_that_reason() -> None:
    """They were announced, so each of them is accounted for."""
    world = World()
    world.s3.objects.clear()
    assert world.ingest() == Ingested(rows=5, failed=5)
    outcomes = world.outcomes()
    assert {(each.outcome, each.code, each.tries) for each in outcomes.values()} == {
        (Outcome.FAILED, ReasonCode.SOURCE_GONE, 0)
    }
    assert outcomes[3].reason == "row 4 from line 2: the object was deleted before its rows were read"
    assert (world.chunk().complete, world.chunk().pages) == (True, 0)


def test_a_batch_whose_object_goes_after_the_plan_completes_with_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for rows that nobody can read any more."""
    pipeline = Pipeline(monkeypatch)
    batch = pipeline.upload("inbox/offices/day.csv", many(9))
    assert pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    pipeline.drain()
    ended = pipeline.batch(batch)
    assert (ended.status, ended.rows) == (BatchStatus.COMPLETED_WITH_FAILURES, 9)
    assert ended.counts == Counts(failed=9)


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_rows_of_a_batch_that_was_stopped_fail_unread(hold: Hold) -> None:
    """Not a byte of the object is asked for."""
    world = World()
    world.hold(hold)
    calls = calls_of(lambda faults: world.ingest(faults=faults))
    assert calls == ["batch_get_item", "transact_write_items"]
    assert {each.code for each in world.outcomes().values()} == {ReasonCode(hold)}
    assert world.chunk().counts == Counts(failed=5)


def test_rows_of_a_paused_batch_are_read() -> None:
    """They wait in the work queue, where resuming finds them."""
    world = World()
    world.hold(Hold.PAUSED)
    assert world.ingest() == Ingested(rows=5, rejected=2)


def test_a_chunk_that_was_read_is_not_given_up() -> None:
    """Its dead letter is a second delivery: every row is durable, and on its way."""
    world = World()
    world.ingest()
    before = world.chunk()
    assert world.give_up() == Ingested()
    assert world.chunk() == before


def test_a_marker_of_a_chunk_that_was_set_back_by_hand_is_never_overwritten() -> None:
    """It proves what became of its rows, although the chunk says that they were never read."""
    world = World()
    planned = dict(world.dynamodb.items[world.key.pk, "chunk"])
    world.ingest()
    world.dynamodb.items[world.key.pk, "chunk"] = planned
    before = dict(world.dynamodb.items)
    assert world.give_up() == Ingested()
    assert world.dynamodb.items == before


def test_a_chunk_that_is_read_while_it_is_given_up_has_one_outcome_a_row() -> None:
    """The call that sets the totals first decides the outcomes of the rows."""
    world = World()
    assert world.give_up(before_call("transact_write_items", world.ingest)) == Ingested()
    assert world.chunk().counts == Counts(rejected=2)
    assert sorted(world.outcomes()) == [1, 3]


def test_reasons_of_a_large_chunk_that_is_given_up_take_several_markers_of_one_version() -> None:
    """All are put in one transaction; no row is in two of them."""
    world = World(many(4_000, valid=True), chunk_rows=4_000)
    assert world.give_up() == Ingested(rows=4_000, failed=4_000)
    assert len(markers_of(world.dynamodb, world.key)) > 1
    assert {marker.version for marker in markers_of(world.dynamodb, world.key)} == {1}
    assert sorted(world.outcomes()) == list(range(4_000))


def test_a_chunk_that_reads_otherwise_than_it_was_planned_raises_and_writes_nothing() -> None:
    """A total that is not the planner's would complete the batch with rows missing, or never."""
    world = World()
    world.dynamodb.items[world.key.pk, "chunk"]["expected_rows"] = number(6)
    length = len(world.dynamodb.stream)
    with pytest.raises(FatalError, match="planned with 6 rows, read with 5"):
        world.ingest()
    assert len(world.dynamodb.stream) == length


@pytest.mark.parametrize("sk", ["batch", "chunk"])
def test_a_chunk_that_is_not_in_the_table_raises(sk: str) -> None:
    """Somebody deleted a batch while its messages were under way: the dead letters alarm."""
    world = World()
    world.dynamodb.items = {key: item for key, item in world.dynamodb.items.items() if key[1] != sk}
    with pytest.raises(NotFoundError, match="is not in the table"):
        world.ingest()
