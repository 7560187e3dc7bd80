"""How much a viewer costs: three requests a second, of a batch of a million rows as of a small one."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chalicelib.store.items import number
from tally.batch.reader import Reader
from tally.stages.gate import Gate
from tally.stages.stage import Stage
from tally.ui import heat_map
from tally.ui.batch_feed import BatchFeed
from tally.ui.budget import MAX_REQUESTS_A_SECOND, paced
from tally.ui.list_feed import ListFeed, Wanted
from tests.ui.batches import batch_item, large, many
from tests.unit.tally import finished_batch


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    requests: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def note(self, **_event: Any) -> None:
        self.requests.append(self.now)

    @property
    def busiest_second(self) -> int:
        """The most requests within less than a second."""
        return max(bisect_left(self.requests, at + 1.0) - place for place, at in enumerate(self.requests))


def watched(stage: Stage, time: Time) -> Reader:
    """Return a reader whose requests are paced, and counted as botocore makes them."""
    found = paced(stage, Gate(MAX_REQUESTS_A_SECOND, clock=time, sleep=time.sleep))
    found.session.events.register_last("request-created", time.note)
    return Reader(dynamodb=found.dynamodb, table=found.resources.table)


def steps(time: Time, step: Callable[[], object], seconds: int) -> None:
    for _ in range(seconds):
        step()
        time.now += 1.0


def test_a_million_rows_are_a_picture_after_two_requests_and_three_a_second_fill_it(local: Any) -> None:
    local.write(large("million"))
    time = Time()
    feed = BatchFeed(reader=watched(local.stage, time), batch_id="million", clock=time)
    view = feed.step()
    assert view
    assert time.now < 2, "the page would show nothing for longer"
    assert len(time.requests) <= 3
    seen = sorted(view.progress.chunks)
    assert (len(seen), seen[0]) == (100, 0)
    assert seen[-1] >= 1980, "the first hundred chunks are spread over the file"
    assert len(heat_map.heat_map(view)["series"][0]["data"]) == 1000

    steps(time, feed.step, 60)
    view = feed.step()
    assert view
    assert view.stale_chunks == 0
    assert view.counts.total == 1_980 * 500
    assert view.counts.failed == 20
    assert time.busiest_second <= 3


def test_a_stuck_batch_costs_no_more_the_longer_it_is_looked_at(local: Any) -> None:
    local.write(large("stuck", chunks=300))
    time = Time()
    feed = BatchFeed(reader=watched(local.stage, time), batch_id="stuck", clock=time)
    steps(time, feed.step, 30)
    before = len(time.requests)
    steps(time, feed.step, 30)
    assert len(time.requests) - before <= 3 * 30
    assert time.busiest_second <= 3


def test_a_batch_that_has_ended_costs_two_requests_in_five_seconds_whatever_its_history(local: Any) -> None:
    ended = replace(finished_batch.BATCH, id="often", attempt=60, published_attempt=60)
    local.write([batch_item(ended, chunks=0, rows=0) | {"published_attempt": number(60)}])
    time = Time()
    feed = BatchFeed(reader=watched(local.stage, time), batch_id="often", clock=time)
    steps(time, feed.step, 10)
    before = len(time.requests)
    steps(time, feed.step, 50)
    assert len(time.requests) - before <= 2 * 10
    assert time.busiest_second <= 3


def test_two_viewers_of_a_batch_cost_as_much_as_one(local: Any) -> None:
    local.write(large("shared", chunks=300))
    time = Time()
    feed = BatchFeed(reader=watched(local.stage, time), batch_id="shared", clock=time)
    feed.step()
    before = len(time.requests)
    feed.step()
    assert len(time.requests) == before


def test_thousands_of_batches_are_listed_a_hundred_a_request(local: Any) -> None:
    local.write(many(5000))
    time = Time()
    feed = ListFeed(reader=watched(local.stage, time), clock=time)
    feed.step()
    assert time.now < 2
    assert len(feed.shown(Wanted(), 0, 25)[0]) == 25
    for _ in range(130):
        steps(time, feed.step, 2)
        if feed.total >= 5000 and not feed.unknown:
            break
    assert feed.unknown == 0
    assert feed.total >= 5000
    assert feed.shown(Wanted(job="offices", text="OFFICES-"), 0, 25)[1] == 500
    assert time.busiest_second <= 3


def hold_back(most: int) -> None:
    """Send ten times as many requests as a second may have, and check that they take ten seconds."""
    time = Time()
    gate = Gate(most, clock=time, sleep=time.sleep)
    for _ in range(10 * most):
        gate.wait()
        time.note()
    assert time.busiest_second == most
    assert time.now == pytest.approx(9)


@pytest.mark.parametrize("most", [1, 3])
def test_the_gate_holds_back_what_is_too_many(most: int) -> None:
    hold_back(most)
