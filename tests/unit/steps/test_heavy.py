"""Heavy rows: leased by one worker at a time, kept by its heartbeat, taken over when that stops."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import BusyError, MessageError
from chalicelib.steps.heavy import HeavyProcessor
from chalicelib.steps.process import Processor
from chalicelib.steps.run import Processed
from chalicelib.store.batch import Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Outcome, number, text
from chalicelib.store.leases import Leases
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import FinishedMessage, WorkMessage, decode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Fault, Killed
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import (
    RETRY,
    Requests,
    Time,
    at_call,
    calls_of,
    count_rows,
    deployed_job,
    faulty,
    killed,
    plant_batch,
    plant_rows,
    starts,
    succeeded,
    table,
)

HEAVY, FINISHED = "http://127.0.0.1/heavy", "http://127.0.0.1/finished"
BATCH = "weighty-1"
KEY = ChunkKey(BATCH, 3)
LEASE = 60.0
PATIENCE = 20.0
"""Seconds after which a thread that is waited for is not coming; nothing waits so long unless it fails."""
JOB = """
from chalicelib import rows
from tally.testing.faults import Killed

class Row(rows.Row):
    what: str

ran = []
ATTEMPTS = 2
meanwhile = lambda: None

def process(row):
    ran.append(row.what)
    meanwhile()
    match row.what:
        case "raise":
            raise ValueError("no good")
        case "killed":
            raise Killed
    return "done"
"""


ROWS = ["fine", "raise", "killed"]
"""Each is heavy."""


class World:
    """A batch with heavy rows, and workers that come for them."""

    def __init__(self) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.sqs = MemorySQS()
        self.time = Time()
        plant_batch(self.dynamodb, BATCH)
        plant_rows(self.dynamodb, KEY, ["what"], [[what] for what in ROWS], heavy=RowBits.first(len(ROWS)))

    def worker(
        self,
        owner: str,
        *,
        dynamodb: Any = None,
        sqs: Any = None,
        seconds: float = LEASE,
        faults: Callable[[str], Fault] = lambda _: Fault.NONE,
    ) -> HeavyProcessor:
        """Return what one worker works with; with a lease as long as this no beat comes before the end."""
        rows = table(faulty(dynamodb or self.dynamodb, faults))
        client: Any = faulty(sqs or self.sqs, faults)
        processor = Processor(
            table=rows,
            sqs=client,
            queue_url=HEAVY,
            finished_queue_url=FINISHED,
            retry=RETRY,
            starts=starts(self.dynamodb),
            random=lambda low, _: low,
        )
        leases = Leases(table=rows, owner=owner, seconds=seconds, clock=self.time)
        return HeavyProcessor(processor=processor, leases=leases, sqs=client, queue_url=HEAVY)

    def leases(self, owner: str = "somebody else") -> Leases:
        """Return the leases as another worker sees them."""
        return Leases(table=table(self.dynamodb), owner=owner, seconds=LEASE, clock=self.time)

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes that were sent."""
        sent = [decode(body, FinishedMessage) for body in self.sqs.bodies[FINISHED]]
        return [outcome.outcome for message in sent for outcome in message.outcomes]


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job that does whatever a row says."""
    with deployed_job(monkeypatch, tmp_path, "weighty", JOB):
        yield


@pytest.fixture
def world() -> World:
    """Give a batch with a heavy row that nobody works on."""
    return World()


DELIVERY = Message("m", "", "this delivery")


def _message(what: str = "fine", attempt: int = 1) -> WorkMessage:
    row = ROWS.index(what)
    return WorkMessage(batch=BATCH, chunk=KEY.number, generation=1, rows=[row], attempt=attempt)


def _job_module() -> Any:
    """Return the job's module, imported as the processor would."""
    from chalicelib import jobs  # noqa: PLC0415

    jobs.require("weighty")
    return sys.modules["chalicelib.jobs.weighty"]


def _ran() -> list[str]:
    return list(_job_module().ran)


def _die() -> None:
    raise Killed


def test_a_row_is_leased_run_and_stays_leased_until_it_is_counted(world: World) -> None:
    """A second delivery, while its outcome waits in the queue, has to wait too."""
    done = world.worker("first").work(_message(), DELIVERY)
    assert done.sizes == {"finished": 1, "retried": 0, "returned": 0}
    assert world.outcomes() == [Outcome.SUCCEEDED]
    assert world.leases().seconds_left(KEY, 0) == 900


def test_a_row_is_leased_while_it_runs(world: World) -> None:
    """By the worker that runs it."""
    taken: list[bool] = []
    _job_module().meanwhile = lambda: taken.append(world.leases().take(KEY, 0))
    world.worker("first").work(_message(), DELIVERY)
    assert taken == [False]


def test_a_second_delivery_while_the_first_worker_lives_is_put_back_for_as_long_as_the_lease(world: World) -> None:
    """It is not run, and comes again when there may be something to do."""
    requests = Requests(world.sqs)
    world.leases("first").take(KEY, 0)
    world.time.pass_by(18)
    with pytest.raises(BusyError, match="row 0 is being worked on"):
        world.worker("second", sqs=requests).work(_message(), DELIVERY)
    assert requests.made == [
        (
            "change_message_visibility",
            {"QueueUrl": HEAVY, "ReceiptHandle": "this delivery", "VisibilityTimeout": int(LEASE - 18) + 1},
        )
    ]
    assert _ran() == []
    assert world.leases("first").take(KEY, 0), "the lease is the first worker's as before"


def test_a_row_that_was_counted_is_not_run_again(world: World) -> None:
    """A late duplicate is done at once, whether or not its lease is still there."""
    count_rows(world.dynamodb, KEY, succeeded(0))
    assert world.worker("second").work(_message(), DELIVERY) == Processed()
    world.leases("first").take(KEY, 0)
    assert world.worker("second").work(_message(), DELIVERY) == Processed()
    assert _ran() == []
    assert not world.sqs.bodies


def test_a_row_that_a_redrive_has_overtaken_is_not_run(world: World) -> None:
    """The redrive has sent it with its own generation; the old message takes no lease from it."""
    world.dynamodb.items[KEY.pk, "chunk"]["generation"] = number(2)
    assert world.worker("second").work(_message(), DELIVERY) == Processed()
    assert (_ran(), dict(world.sqs.bodies)) == ([], {})
    assert world.leases().seconds_left(KEY, 0) == 0


def test_the_row_of_a_worker_that_died_is_taken_over_after_its_lease(world: World) -> None:
    """Not before: it cannot be told from one that is busy."""
    _job_module().meanwhile = _die
    assert killed(lambda: world.worker("first").work(_message(), DELIVERY))
    _job_module().meanwhile = lambda: None
    with pytest.raises(BusyError):
        world.worker("second").work(_message(), DELIVERY)
    world.time.pass_by(LEASE + 0.001)
    world.worker("second").work(_message(), DELIVERY)
    assert _ran() == ["fine", "fine"]
    assert world.outcomes() == [Outcome.SUCCEEDED]


def test_the_message_of_a_worker_that_dies_comes_again_within_a_lease(world: World) -> None:
    """The queue's own visibility is for the longest row; the lease's is set before the row is begun."""
    requests = Requests(world.sqs)
    assert killed(lambda: world.worker("first", sqs=requests).work(_message("killed"), DELIVERY))
    (request,) = requests.of("change_message_visibility")
    assert request == {"QueueUrl": HEAVY, "ReceiptHandle": "this delivery", "VisibilityTimeout": int(LEASE)}


def test_a_row_that_is_tried_again_gives_its_lease_back(world: World) -> None:
    """Its next try, which may come at once, must not meet its own first."""
    assert world.worker("first").work(_message("raise"), DELIVERY).retried == 1
    assert world.leases().seconds_left(KEY, 1) == 0
    (body,) = world.sqs.bodies[HEAVY]
    again = decode(body, WorkMessage)
    assert (again.rows, again.attempt) == ([1], 2)
    world.worker("second").work(again, DELIVERY)
    assert world.outcomes() == [Outcome.FAILED]
    assert _ran() == ["raise", "raise"]


def test_a_row_that_failed_gives_its_lease_back(world: World) -> None:
    """Its redrive must not wait for it; a second delivery before it is counted fails like the first."""
    world.worker("first").work(_message("raise", attempt=2), DELIVERY)
    assert world.outcomes() == [Outcome.FAILED]
    assert world.leases().seconds_left(KEY, 1) == 0


def test_a_row_of_a_paused_batch_gives_its_lease_back(world: World) -> None:
    """It waits in the queue, not with a worker."""
    plant_batch(world.dynamodb, BATCH, hold=text(Hold.PAUSED))
    assert world.worker("first").work(_message(), DELIVERY).returned == 1
    assert [decode(body, WorkMessage) for body in world.sqs.bodies[HEAVY]] == [_message()]
    assert world.leases().seconds_left(KEY, 0) == 0


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_a_row_of_a_batch_that_was_stopped_fails_without_being_run(world: World, hold: Hold) -> None:
    """With the reason, as light rows do."""
    plant_batch(world.dynamodb, BATCH, hold=text(hold))
    world.worker("first").work(_message(), DELIVERY)
    assert (world.outcomes(), _ran()) == ([Outcome.FAILED], [])


@pytest.mark.parametrize("rows", [None, [], [0, 1]])
def test_a_message_that_does_not_name_one_row_is_none_of_ours(world: World, rows: list[int] | None) -> None:
    """One lease, one visibility, one outcome: dispatch sends one row."""
    message = WorkMessage(batch=BATCH, chunk=KEY.number, generation=1, rows=rows)
    with pytest.raises(MessageError, match="a heavy message names one row"):
        world.worker("first").work(message, DELIVERY)
    assert _ran() == []


def test_a_row_that_is_not_in_the_table_any_more_fails_with_that_reason(world: World) -> None:
    """As a light one does."""
    del world.dynamodb.items[KEY.pk, "rows#000"]
    world.worker("first").work(_message(), DELIVERY)
    (body,) = world.sqs.bodies[FINISHED]
    assert [outcome.code for outcome in decode(body, FinishedMessage).outcomes] == [ReasonCode.ROW_GONE]


def test_a_row_costs_a_read_two_leases_a_visibility_and_a_send(world: World) -> None:
    """Whether it was counted is read with the row itself, before it is leased."""
    calls = calls_of(lambda faults: world.worker("first", faults=faults).work(_message(), DELIVERY))
    assert calls == CALLS


CALLS = ["batch_get_item", "put_item", "change_message_visibility", "send_message_batch", "put_item"]
"""Read, lease, set the visibility, send the outcome, lease again."""


@pytest.mark.parametrize("position", range(len(CALLS)))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_at_any_call_leaves_a_row_that_is_done_in_the_end(
    world: World, fault: Fault, position: int
) -> None:
    """The message was not acknowledged: after at most the longest lease the next worker does it."""
    assert killed(lambda: world.worker("first", faults=at_call(position, fault)).work(_message(), DELIVERY))
    world.time.pass_by(901)
    world.worker("second").work(_message(), DELIVERY)
    assert set(world.outcomes()) == {Outcome.SUCCEEDED}


@pytest.mark.parametrize("position", range(len(CALLS)))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_fault_at_any_call_is_tried_again(world: World, fault: Fault, position: int) -> None:
    """The row is run once."""
    world.worker("first", faults=at_call(position, fault)).work(_message(), DELIVERY)
    assert set(world.outcomes()) == {Outcome.SUCCEEDED}
    assert _ran() == ["fine"]


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
    _job_module().meanwhile = _wait_for(visibility.came)
    world.worker("first", dynamodb=leases, sqs=visibility, seconds=SMALL).work(_message(), DELIVERY)
    assert {operation for operation, _ in leases.requests} == {"put_item"}
    assert {operation for operation, _ in visibility.requests} == {"change_message_visibility"}
    assert {request["ReceiptHandle"] for _, request in visibility.requests} == {"this delivery"}
    assert len(leases.requests) >= 3
    assert world.outcomes() == [Outcome.SUCCEEDED]


def test_no_beat_comes_after_the_row_is_done(world: World) -> None:
    """The message may be deleted by then, and the lease somebody else's."""
    before = threading.active_count()
    visibility = Beats(world.sqs)
    _job_module().meanwhile = _wait_for(visibility.came)
    world.worker("first", sqs=visibility, seconds=SMALL).work(_message(), DELIVERY)
    assert threading.active_count() == before
    assert killed(lambda: world.worker("second", seconds=SMALL).work(_message("killed"), DELIVERY))
    assert threading.active_count() == before, "nor after the worker's end"


def test_a_beat_that_fails_is_not_the_last(world: World) -> None:
    """A fault of the table or the queue hurts neither the row nor the next beat."""
    visibility = Beats(faulty(world.sqs, _every_second_fails()), enough=6)
    _job_module().meanwhile = _wait_for(visibility.came)
    world.worker("first", sqs=visibility, seconds=SMALL).work(_message(), DELIVERY)
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

    _job_module().meanwhile = _wait_for(beating)
    world.worker("first", dynamodb=Slow(), seconds=SMALL).work(_message(), DELIVERY)
    assert world.leases().seconds_left(KEY, 0) == 900
