"""Settle puts an event for each attempt that ends, at least once and with the same id."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chalicelib.errors import FatalError, ThrottledError
from chalicelib.steps.settle import Settled, Settler
from chalicelib.store.items import number, text
from chalicelib.transport.streams import Change
from tally.testing.memory_aws import MemoryEvents
from tally.testing.memory_dynamodb import client_error
from tests.support.builders import Requests, bus_of, changed_since, table
from tests.support.settling import BATCH, World, ended_image


def test_the_event_says_what_became_of_the_batch() -> None:
    """A subscriber need not read the table."""
    world = World()
    assert world.settle([ended_image(world)]) == Settled(events=1)
    assert world.events.details == [
        {
            "schema_version": 1,
            "type": "Batch Completed",
            "event_id": "offices-1#1",
            "batch_id": BATCH,
            "job": "offices",
            "bucket": "inbox",
            "key": "inbox/offices/day.csv",
            "version": "v1",
            "status": "completed_with_failures",
            "attempt": 1,
            "rows": 6,
            "succeeded": 3,
            "failed": 3,
            "rejected": 0,
            "reason": "",
            "created_at": "2026-03-01T00:00:00.000000+00:00",
            "completed_at": "2026-03-01T12:00:00.000000+00:00",
        }
    ]
    assert world.batch().published_attempt == 1


def test_the_event_goes_to_the_bus_of_the_stage_as_tallys() -> None:
    """Rules match on the source and the kind."""
    world = World()
    ended = ended_image(world)
    requests = Requests(world.events)
    events: Any = requests
    Settler(table=table(world.dynamodb), bus=bus_of(events)).settle([ended])
    (entry,) = requests.of("put_events")[0]["Entries"]
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == ("tally", "Batch Completed", "bus")


def test_an_event_that_is_put_again_has_the_same_id() -> None:
    """By which a subscriber tells that it is the same."""
    world = World()
    ended = ended_image(world)
    world.settle([ended])
    world.settle([ended])
    assert [detail["event_id"] for detail in world.events.details] == ["offices-1#1"] * 2


def test_the_next_attempt_has_an_event_of_its_own() -> None:
    """A redrive reopened the batch, and it ended again."""
    world = World()
    ended = ended_image(world)
    again = replace(ended, new={**ended.new, "attempt": number(2)})
    world.settle([ended, again])
    assert [detail["event_id"] for detail in world.events.details] == ["offices-1#1", "offices-1#2"]


def test_an_old_event_does_not_pass_for_that_of_the_next_attempt() -> None:
    """``published_attempt`` is by what one looks for events that did not go out."""
    world = World()
    ended = ended_image(world)
    world.change_batch(attempt=number(2))
    world.settle([ended])
    assert world.batch().published_attempt == 0


def test_a_change_that_is_none_of_the_status_puts_no_event() -> None:
    """Noting that the event went out would put it again, for ever."""
    world = World()
    world.drain()
    assert len(world.events.details) == 1
    last = world.batch_image()
    assert (last.old["status"], last.new["status"]) == (text("completed_with_failures"),) * 2
    assert world.settle([last]) == Settled()


def test_a_batch_that_is_rejected_from_the_start_puts_batch_rejected() -> None:
    """It has no old image, and a reason."""
    world = World(0)
    rejected = {**world.batch_image().new, "status": text("rejected"), "reason": text("empty"), "chunks": number(0)}
    assert world.settle([Change(old={}, new=rejected)]) == Settled(events=1)
    (detail,) = world.events.details
    assert (detail["type"], detail["status"], detail["reason"]) == ("Batch Rejected", "rejected", "empty")


@pytest.mark.parametrize("hold", ["cancelled", "threshold"])
def test_a_batch_that_was_stopped_puts_batch_stopped_with_what_stopped_it(hold: str) -> None:
    world = World()
    ended = ended_image(world)
    world.settle([replace(ended, new={**ended.new, "hold": text(hold)})])
    (detail,) = world.events.details
    assert (detail["type"], detail["stopped_by"], detail["event_id"]) == ("Batch Stopped", hold, "offices-1#1")


@pytest.mark.parametrize("change", [{"hold": text("paused")}, {"hold": text("cancelled"), "failed": number(0)}])
def test_a_batch_that_no_stop_kept_from_its_end_puts_batch_completed(change: dict[str, Any]) -> None:
    """Paused after its last row, or cancelled too late to fail any."""
    world = World()
    ended = ended_image(world)
    world.settle([replace(ended, new={**ended.new, **change})])
    assert [detail["type"] for detail in world.events.details] == ["Batch Completed"]


class Refusing(MemoryEvents):
    """Does not take the entries of these batches at first, although it answers 200."""

    def __init__(self, *times: set[str]) -> None:
        super().__init__()
        self.times = list(times)
        self.requests: list[list[str]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        refused = self.times.pop(0) if self.times else set()
        names = [str(msgspec.json.decode(entry["Detail"])["batch_id"]) for entry in Entries]
        self.requests.append(names)
        taken = [entry for entry, name in zip(Entries, names, strict=True) if name not in refused]
        if taken:
            super().put_events(Entries=taken)
        answers = [{"ErrorCode": "ThrottlingException"} if name in refused else {"EventId": "1"} for name in names]
        return {"FailedEntryCount": len(refused), "Entries": answers}


def _three_ended(events: MemoryEvents) -> tuple[World, list[Change]]:
    world = World(0, batch="a-1")
    world.add("b-1", 0)
    world.add("c-1", 0)
    world.settle(changed_since(world.dynamodb))
    world.events = events
    return world, [change for change in changed_since(world.dynamodb) if change.new["status"] == text("completed")]


def test_only_the_events_that_a_200_refused_are_put_again() -> None:
    """EventBridge says so for each of them."""
    events = Refusing({"b-1", "c-1"}, {"c-1"})
    world, ended = _three_ended(events)
    assert world.settle(ended) == Settled(events=3)
    assert events.requests == [["a-1", "b-1", "c-1"], ["b-1", "c-1"], ["c-1"]]
    assert sorted(detail["batch_id"] for detail in events.details) == ["a-1", "b-1", "c-1"]


def test_an_event_that_is_never_taken_raises_and_is_not_noted_as_published() -> None:
    """The stream delivers again, and reconcile sees which one is missing."""
    world, ended = _three_ended(Refusing(*[{"b-1"}] * 99))
    with pytest.raises(ThrottledError, match="1 events were not taken"):
        world.settle(ended)
    assert "published_attempt" not in world.dynamodb.items["batch#b-1", "batch"]


def test_a_bus_that_refuses_the_call_raises() -> None:
    """A wrong name or a missing right is not taken for an event that went out."""

    class Forbidden(MemoryEvents):
        def put_events(self, **_: Any) -> dict[str, Any]:
            raise client_error("AccessDeniedException")

    world, ended = _three_ended(Forbidden())
    with pytest.raises(FatalError):
        world.settle(ended)


def test_ten_events_go_into_a_request() -> None:
    """The limit of PutEvents."""
    world = World(0, batch="a-00")
    for position in range(1, 12):
        world.add(f"a-{position:02d}", 0)
    world.settle(changed_since(world.dynamodb))
    ended = [change for change in changed_since(world.dynamodb) if change.new["status"] == text("completed")]
    events = Refusing()
    world.events = events
    assert world.settle(ended) == Settled(events=12)
    assert [len(request) for request in events.requests] == [10, 2]
