"""What waits where, on the page of a batch: the batch's own figures, and beside them the queues of the whole stage."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chalicelib.store.batch import BatchStatus, Cursor
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, bits, number, text
from chalicelib.store.marker import markers
from tally.batch.reader import Reader
from tally.stages.gate import Gate
from tally.stages.stage import Resources, Stage
from tally.ui.batch_feed import BatchFeed
from tally.ui.budget import MAX_REQUESTS_A_SECOND, paced
from tally.ui.flow import Step, on_stage, steps
from tally.ui.queue_feed import FRESH_SECONDS, QueueFeed
from tests.ui import yards
from tests.ui.batches import Item, batch_item, large
from tests.ui.test_ui_budget import Time, watched
from tests.ui.test_ui_budget import steps as passed
from tests.ui.test_ui_trouble import refusing
from tests.ui.yards import CLOUD, LOCAL, Yard
from tests.unit.tally import finished_batch

RUNNING = replace(finished_batch.BATCH, status=BatchStatus.RUNNING, completed_at="")


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yield from yards.yard(tmp_path_factory.mktemp("flow"))


def spread(batch_id: str) -> list[Item]:
    """Return a batch whose five chunks of 100 rows are closed, complete, begun, ready and planned."""

    def chunk(position: int, state: ChunkState, done: int, **attributes: Any) -> Item:
        made = Chunk(key=ChunkKey(batch_id, position), start=0, end=1, first_line=2, expected_rows=100)
        counted = {"succeeded": number(done), "remaining": number(100 - done), "done": bits(RowBits.first(done))}
        read = {} if state is ChunkState.PLANNED else counted | {"rows": number(100), "version": number(2)}
        return made.to_item() | read | {"state": text(state)} | attributes

    batch = replace(RUNNING, id=batch_id)
    return [
        batch_item(batch, chunks=5, rows=500) | {"remaining": number(4)},
        chunk(0, ChunkState.CLOSED, 100),
        chunk(1, ChunkState.COUNTING, 100),
        chunk(2, ChunkState.COUNTING, 40, heavy=bits(RowBits.of([7, 98, 99]))),
        chunk(3, ChunkState.READY, 0),
        chunk(4, ChunkState.PLANNED, 0),
    ]


def by_name(feed: BatchFeed) -> dict[str, Step]:
    view = feed.step()
    assert view
    return {step.name: step for step in steps(view)}


def test_what_waits_at_each_step_is_counted_in_the_rows_of_the_batch(local: Any) -> None:
    local.write(spread("spread"))
    time = Time()
    found = by_name(BatchFeed(reader=watched(local.stage, time), batch_id="spread", clock=time))
    assert found["Read"].waits == "100 rows of 1 chunk to be read"
    assert found["Process"].waits == "158 rows wait here"
    assert found["Process"].parts == ("1 chunk not begun: 100 rows", "1 chunk begun: 58 rows left")
    assert found["Heavy rows"].waits == "2 rows wait here"
    assert (found["Count"].done, found["Count"].waits) == ("240 rows counted", "")
    assert found["Close"].waits == "1 chunk to be closed"
    queues = {name: step.queue for name, step in found.items() if step.queue}
    assert queues == {"Read": "ingest", "Process": "work", "Heavy rows": "heavy", "Count": "finished"}


def test_a_plan_under_way_says_how_many_bytes_are_left(local: Any) -> None:
    planning = replace(RUNNING, id="planning", status=BatchStatus.PLANNING, size=1_000)
    cursor = Cursor(offset=400, line=90, chunks=1, rows=88).to_item()
    chunk = Chunk(key=ChunkKey("planning", 0), start=0, end=400, first_line=2, expected_rows=88)
    local.write([planning.to_item() | cursor, chunk.to_item()])
    time = Time()
    found = by_name(BatchFeed(reader=watched(local.stage, time), batch_id="planning", clock=time))
    assert (found["Plan"].done, found["Plan"].waits) == ("1 chunk so far, 88 rows", "600 bytes not planned yet")


def test_the_queue_of_a_step_is_shown_as_the_stages_beside_what_waits_of_the_batch(browser: Any, yard: Yard) -> None:
    for _ in range(3):
        yard.send(LOCAL, "work", "{}")
    yard.client("sqs").receive_message(QueueUrl=yard.url(LOCAL, "work"), VisibilityTimeout=600)
    yards.write(yard, LOCAL, spread("shown"))
    url = yard.console(LOCAL).url
    browser.open(url)
    browser.open(f"{url.partition('?')[0]}batch/shown")
    browser.says("158 rows wait here", "1 chunk not begun: 100 rows", "Whole stage, work: 2 visible, 1 in flight")
    browser.says("is the queue of the whole stage")


def test_a_batch_is_shown_without_its_queues_where_the_right_to_ask_them_is_missing(browser: Any, yard: Yard) -> None:
    yards.write(yard, CLOUD, spread("denied"))
    with refusing(
        yard,
        lambda sent: sent.get("X-Amz-Target", "").endswith(".GetQueueAttributes"),
        ("AccessDeniedException", "User is not authorized to perform: sqs:getqueueattributes"),
    ) as endpoint:
        url = yard.console(CLOUD, environ=yard.in_cloud(endpoint)).url
        browser.open(url)
        browser.open(f"{url.partition('?')[0]}batch/denied")
        browser.says("158 rows wait here", "What waits in the queues of the stage is not known", "not authorized")
        assert "The page tries again." not in browser.text


def asking(yard: Yard, monkeypatch: pytest.MonkeyPatch, batch: list[Item]) -> tuple[BatchFeed, Time, Counter[str]]:
    """Return a feed of a batch of a stage as if in AWS, and what it asks for."""
    for name, value in yard.in_cloud().items():
        if name.startswith(("AWS_", "NO_PROXY")):
            monkeypatch.setenv(name, value)
    yards.write(yard, CLOUD, batch)
    resources = Resources.read(yard.workspace.aws_outputs(CLOUD))
    assert resources
    time, asked = Time(), Counter[str]()
    stage = paced(Stage(name=CLOUD, resources=resources), Gate(MAX_REQUESTS_A_SECOND, clock=time, sleep=time.sleep))
    stage.session.events.register_last("request-created", time.note)
    stage.session.events.register_last(
        "request-created", lambda operation_name, **_event: asked.update([operation_name])
    )
    reader = Reader(dynamodb=stage.dynamodb, table=resources.table)
    batch_id = batch[0]["pk"]["S"].partition("#")[2]
    return (
        BatchFeed(reader=reader, batch_id=batch_id, queues=QueueFeed(stage=stage, clock=time), clock=time),
        time,
        asked,
    )


def test_queues_are_read_within_the_three_requests_a_second_of_a_large_batch(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, time, asked = asking(yard, monkeypatch, large("busy", chunks=300))
    passed(time, feed.step, 40)
    assert time.busiest_second <= 3
    assert 2 <= asked["GetQueueAttributes"] <= time.now / FRESH_SECONDS + 1, "of the four queues the yard has work"
    view = feed.step()
    assert view
    assert [said for step in steps(view) if (said := on_stage(step, view.queues))] == ["work: 0 visible, 0 in flight"]


def test_a_batch_that_has_ended_with_all_results_asks_no_queue(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = replace(finished_batch.BATCH, id="over")
    item = batch_item(ended, chunks=0, rows=0) | {"published_attempt": number(1)}
    feed, time, asked = asking(yard, monkeypatch, [item])
    passed(time, feed.step, 40)
    assert asked["GetQueueAttributes"] == 0


def test_a_message_that_comes_is_seen_after_ten_seconds(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, time, _ = asking(yard, monkeypatch, spread("fresh"))
    queues = feed.queues
    assert queues
    passed(time, feed.step, 12)
    before = queues.known.depths["work"].visible
    yard.send(CLOUD, "work", "{}")
    passed(time, feed.step, 14)
    assert queues.known.depths["work"].visible == before + 1


def test_rows_over_time_follow_a_batch_to_its_end_however_early_it_was_opened(local: Any) -> None:
    def chunk(position: int, seconds: int) -> list[Item]:
        made = Chunk(key=ChunkKey("followed", position), start=0, end=1, first_line=2, expected_rows=10)
        outcomes = [msgspec.structs.replace(finished_batch.SUCCEEDED, row=row) for row in range(10)]
        at = f"2026-03-01T00:00:{seconds:02d}.000000+00:00"
        found = markers(made.key, 2, outcomes, counted_at=at, expires_at=finished_batch.EXPIRES_AT)
        counted = {"rows": number(10), "succeeded": number(10), "done": bits(RowBits.first(10)), "version": number(3)}
        closed = made.to_item() | counted | {"state": text(ChunkState.CLOSED)}
        return [closed, *(marker.to_item() for marker in found)]

    def planned(position: int) -> Item:
        return Chunk(key=ChunkKey("followed", position), start=0, end=1, first_line=2, expected_rows=10).to_item()

    batch = replace(RUNNING, id="followed")
    half = [item for position in range(30) for item in chunk(position, 10)]
    local.write([batch_item(batch, chunks=60, rows=600), *half, *map(planned, range(30, 60))])
    time = Time()
    feed = BatchFeed(reader=watched(local.stage, time), batch_id="followed", clock=time)
    passed(time, feed.step, 40)
    local.write([item for position in range(30, 60) for item in chunk(position, 50)])
    passed(time, feed.step, 40)
    view = feed.step()
    assert view
    sampled = [each.at.second for chunk in view.sampled for each in chunk.counted]
    assert Counter(sampled) == {10: 12, 50: 12}, "half of the sample is of either half"
