"""A heartbeat extends lease and visibility for as long as a heavy row runs."""

import threading
from collections.abc import Callable
from typing import Any

from chalicelib.store.items import Outcome
from tally.testing.faults import Fault
from tests.support.builders import faulty, killed
from tests.support.weighing import DELIVERY, KEY, LEASE, PATIENCE, World, heavy_message, job_module


class Beats:
    """Watches calls of other threads: the heartbeat's."""

    def __init__(self, client: Any, enough: int = 2) -> None:
        self._client = client
        self._enough = enough
        self._main = threading.current_thread()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.came = threading.Event()

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def watched(**request: Any) -> Any:
            if threading.current_thread() is self._main:
                return call(**request)
            try:
                return call(**request)
            finally:
                self.requests.append((operation, request))
                if len(self.requests) >= self._enough:
                    self.came.set()

        return watched


def _wait_for(event: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        assert event.wait(PATIENCE), "it never came"

    return wait


SMALL = 0.03


def test_a_heartbeat_extends_lease_and_visibility_while_the_row_runs(world: World) -> None:
    """Both, again and again, for as long as the job takes."""
    leases, visibility = Beats(world.dynamodb), Beats(world.sqs, enough=3)
    job_module().meanwhile = _wait_for(visibility.came)
    world.worker("first", dynamodb=leases, sqs=visibility, seconds=SMALL).work(heavy_message(), DELIVERY)
    assert {operation for operation, _ in leases.requests} == {"put_item"}
    assert {operation for operation, _ in visibility.requests} == {"change_message_visibility"}
    assert {request["ReceiptHandle"] for _, request in visibility.requests} == {"this delivery"}
    assert len(leases.requests) >= 3
    assert world.outcomes() == [Outcome.SUCCEEDED]


def test_no_beat_comes_after_the_row_is_done(world: World) -> None:
    """The message may be deleted by then, and the lease somebody else's."""
    before = threading.active_count()
    visibility = Beats(world.sqs)
    job_module().meanwhile = _wait_for(visibility.came)
    world.worker("first", sqs=visibility, seconds=SMALL).work(heavy_message(), DELIVERY)
    assert threading.active_count() == before
    assert killed(lambda: world.worker("second", seconds=SMALL).work(heavy_message("killed"), DELIVERY))
    assert threading.active_count() == before, "nor after the worker's end"


def test_a_beat_that_fails_is_not_the_last(world: World) -> None:
    """A fault of the table or the queue hurts neither the row nor the next beat."""
    visibility = Beats(faulty(world.sqs, _every_second_fails()), enough=6)
    job_module().meanwhile = _wait_for(visibility.came)
    world.worker("first", sqs=visibility, seconds=SMALL).work(heavy_message(), DELIVERY)
    assert world.outcomes() == [Outcome.SUCCEEDED]


def _every_second_fails() -> Callable[[str], Fault]:
    calls: list[str] = []

    def fault(operation: str) -> Fault:
        calls.append(operation)
        fails = operation == "change_message_visibility" and len(calls) % 2 == 0
        return Fault.ERROR_BEFORE if fails else Fault.NONE

    return fault


def test_a_beat_on_its_way_does_not_shorten_the_lease_of_a_finished_row(world: World) -> None:
    """The row stays leased until it is counted, whatever the heartbeat was about to say when it ended."""
    beating, finished = threading.Event(), threading.Event()
    main = threading.current_thread()

    class Slow:
        """Holds up the heartbeat's own lease until the row is finished and leased for longer."""

        def __getattr__(self, operation: str) -> Any:
            return getattr(world.dynamodb, operation)

        def put_item(self, **request: Any) -> Any:
            if threading.current_thread() is main:
                answer = world.dynamodb.put_item(**request)
                if world.leases().seconds_left(KEY, 0) > LEASE:
                    finished.set()
                return answer
            beating.set()
            finished.wait(0.2)  # a worker that first waits for its heartbeat is right too
            return world.dynamodb.put_item(**request)

    job_module().meanwhile = _wait_for(beating)
    world.worker("first", dynamodb=Slow(), seconds=SMALL).work(heavy_message(), DELIVERY)
    assert world.leases().seconds_left(KEY, 0) == 900
