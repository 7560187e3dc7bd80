"""Failed plans: an upload that plan gave up on is planned again a few times, and then rejected for all to see."""

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib import services
from chalicelib.errors import BusyError, MessageError
from chalicelib.steps.dead_letters import DeadLetterHandler, HandledDeadLetter
from chalicelib.store.batch import BatchStatus
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import Time, at_call, killed

FILE = b"office_id,user_count,contract_count\no1,1,2\n"
PACKED = gzip.compress(FILE)
QUEUE = "tally-test-plan-failures"
WAITS = [5 * 60, 30 * 60, 120 * 60]
"""Seconds before each further try, with five minutes between reconcile's ticks."""
REASON = "plan gave up on it 4 times: see `tally logs plan`, then upload it again"


@pytest.fixture
def time() -> Time:
    """Give a clock that a test moves."""
    return Time()


def _handler(time: Time) -> DeadLetterHandler:
    made = services.Services.of(None).dead_letter_handler
    plans = made.failed_plans
    return replace(made, failed_plans=replace(plans, clock=time, notes=replace(plans.notes, clock=time)))


def _handle(time: Time, body: str, message_id: str) -> HandledDeadLetter:
    return _handler(time).handle(Message(message_id, body), QUEUE)


def _waits(time: Time, body: str, message_id: str) -> bool:
    """Deliver a message; tells whether it was put back because it is too early."""
    try:
        _handle(time, body, message_id)
    except BusyError:
        return True
    return False


def _failure(event: dict[str, Any]) -> str:
    """Return what Lambda sends of an event that plan gave up on."""
    context = {"requestId": "r", "condition": "RetriesExhausted", "approximateInvokeCount": 3}
    return json.dumps({"version": "1.0", "requestContext": context, "requestPayload": event, "responsePayload": {}})


def _fail(pipeline: Pipeline) -> str:
    """Let the plan that was asked for die each time; returns the message of it."""
    return _failure(pipeline.uploads.pop())


def _upload(pipeline: Pipeline, content: bytes = FILE) -> tuple[str, str]:
    """Upload a file whose plan dies before it has written anything; returns its batch's id and the message."""
    batch_id = pipeline.upload("inbox/offices/day.csv", content)
    return batch_id, _fail(pipeline)


def _use_up(pipeline: Pipeline, time: Time, body: str) -> str:
    """Let the plan die at each further try; returns the message of the last one."""
    for number, wait in enumerate(WAITS):
        assert _waits(time, body, f"m{number}")
        time.pass_by(wait)
        assert not _waits(time, body, f"m{number}")
        body = _fail(pipeline)
    return body


def test_an_upload_whose_plan_dies_each_time_ends_rejected(pipeline: Pipeline, time: Time) -> None:
    """It is in the list of batches with what to do, its end is announced, and a copy of each message is kept."""
    batch_id, body = _upload(pipeline)
    last = _use_up(pipeline, time, body)
    assert not pipeline.has_batch(batch_id)
    assert _handle(time, last, "m3") == HandledDeadLetter(rows=0, counted=0)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.reason, batch.published_attempt) == (BatchStatus.REJECTED, REASON, 1)
    assert [(detail["type"], detail["batch_id"]) for detail in pipeline.events.details] == [
        ("Batch Rejected", batch_id)
    ]
    assert len(pipeline.waiting("dead-letters")) == 4


def test_an_upload_whose_plan_dies_once_more_is_planned_in_the_end(pipeline: Pipeline, time: Time) -> None:
    """The cause of the failure had passed."""
    batch_id, body = _upload(pipeline)
    for number, wait in enumerate(WAITS[:2]):
        assert _waits(time, body, f"m{number}")
        time.pass_by(wait)
        _handle(time, body, f"m{number}")
        body = _failure(pipeline.uploads[0])
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


def test_a_message_waits_in_its_queue_until_its_time_has_come(pipeline: Pipeline, time: Time) -> None:
    """It is received every few minutes meanwhile, which counts once; no copy is kept of what is still waiting."""
    _, body = _upload(pipeline)
    for _ in range(5):
        assert _waits(time, body, "m0")
        time.pass_by(59)
    assert not pipeline.uploads
    assert not pipeline.waiting("dead-letters")
    time.pass_by(5)
    assert not _waits(time, body, "m0")
    assert len(pipeline.uploads) == len(pipeline.waiting("dead-letters")) == 1


@pytest.mark.parametrize("content", [FILE, PACKED], ids=["plain", "gzip"])
def test_a_batch_that_stopped_in_the_middle_is_rejected_where_it_stands(
    pipeline: Pipeline, time: Time, content: bytes
) -> None:
    """A plan, or the unpacking of a gzip file, that had begun and dies each time."""
    batch_id = pipeline.upload("inbox/offices/day.csv", content)
    begins = {"get_item", "get_object", "put_item"}
    pipeline.faults = lambda operation: Fault.NONE if operation in begins else Fault.KILLED_BEFORE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda _: Fault.NONE
    assert pipeline.batch(batch_id).status in {BatchStatus.PLANNING, BatchStatus.UNPACKING}
    _handle(time, _use_up(pipeline, time, _fail(pipeline)), "m3")
    pipeline.drain()
    assert (pipeline.batch(batch_id).status, pipeline.batch(batch_id).reason) == (BatchStatus.REJECTED, REASON)


@pytest.mark.parametrize("deliver_all", [False, True])
def test_a_failure_of_an_upload_that_was_planned_since_changes_nothing(
    pipeline: Pipeline, time: Time, *, deliver_all: bool
) -> None:
    """Its batch runs, or has ended: a second event of it had failed, or reconcile was faster."""
    batch_id = pipeline.upload("inbox/offices/day.csv", FILE)
    body = _failure(pipeline.uploads[0])
    pipeline.drain_uploads()
    if deliver_all:
        pipeline.drain()
    before = dict(pipeline.dynamodb.items)
    assert _handle(time, body, "m0") == HandledDeadLetter(rows=0, counted=0)
    assert pipeline.dynamodb.items == before
    assert not pipeline.uploads
    assert pipeline.waiting("dead-letters") == [body]
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


def test_a_message_that_comes_again_is_one_failure(pipeline: Pipeline, time: Time) -> None:
    """SQS delivers twice, and so does a worker that dies before its answer: the upload is not given up sooner."""
    batch_id, body = _upload(pipeline)
    for number, wait in enumerate(WAITS):
        for _ in range(4):
            assert _waits(time, body, f"m{number}")
        time.pass_by(wait)
        for _ in range(4):
            assert not _waits(time, body, f"m{number}")
        pipeline.uploads.clear()
    assert not pipeline.has_batch(batch_id)


def test_two_messages_of_one_upload_are_two_failures(pipeline: Pipeline, time: Time) -> None:
    """S3 delivers an event twice now and then. The second one waits longer, and the upload is planned twice at most."""
    batch_id, body = _upload(pipeline)
    assert _waits(time, body, "m0")
    assert _waits(time, body, "m1")
    time.pass_by(WAITS[0])
    assert [_waits(time, body, name) for name in ("m0", "m1")] == [False, True]
    assert len(pipeline.uploads) == 1
    pipeline.drain_uploads()
    time.pass_by(WAITS[1])
    assert not _waits(time, body, "m1")
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
@pytest.mark.parametrize("failures", [1, 4])
def test_dying_anywhere_loses_neither_upload_nor_message(
    pipeline: Pipeline, time: Time, failures: int, fault: Fault
) -> None:
    """The message comes again, until the upload is handed over, or rejected, and a copy is kept."""
    batch_id, body = _upload(pipeline)
    if failures == 1:
        assert _waits(time, body, "last")
        time.pass_by(WAITS[0])
    else:
        body = _use_up(pipeline, time, body)
    pipeline.waiting("dead-letters").clear()
    deaths = 0
    for position in range(8):
        pipeline.faults = at_call(position, fault)
        deaths += killed(lambda: _handle(time, body, "last"))
    assert deaths >= 3
    pipeline.faults = lambda _: Fault.NONE
    assert set(pipeline.waiting("dead-letters")) == {body}
    pipeline.drain()
    assert pipeline.batch(batch_id).status is (BatchStatus.COMPLETED if failures == 1 else BatchStatus.REJECTED)


def test_an_upload_that_was_given_up_stays_rejected(pipeline: Pipeline, time: Time) -> None:
    """A plan that was on its way finds the batch, and begins nothing."""
    batch_id, body = _upload(pipeline)
    _handle(time, _use_up(pipeline, time, body), "m3")
    pipeline.uploads.append(json.loads(body)["requestPayload"])
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED
    assert not pipeline.chunks(batch_id)


def test_a_plan_that_comes_to_its_end_first_is_not_undone(pipeline: Pipeline, time: Time) -> None:
    """Between reading the batch and rejecting it."""
    batch_id, body = _upload(pipeline)
    last = _use_up(pipeline, time, body)
    handler = _handler(time)
    plans = handler.failed_plans

    def plan_now(operation: str) -> Fault:
        if operation == "query":
            pipeline.faults = lambda _: Fault.NONE
            pipeline.uploads.append(json.loads(last)["requestPayload"])
            pipeline.drain_uploads()
        return Fault.NONE

    pipeline.faults = plan_now
    plans.handle(Message("m3", last))
    assert pipeline.batch(batch_id).status is BatchStatus.RUNNING
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        "{}",
        '{"requestPayload": 1}',
        '{"requestPayload": {}}',
        '{"requestPayload": {"Records": 1}}',
        '{"requestPayload": {"Records": [{"s3": {}}]}}',
        '{"requestPayload": {"Records": [1]}}',
        '{"requestPayload": {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k", "size": "x"}}}]}}',
    ],
)
def test_what_is_no_failed_event_stays_in_its_queue(pipeline: Pipeline, time: Time, body: str) -> None:
    """Its alarm calls somebody; a copy in ``dead-letters`` would look dealt with."""
    with pytest.raises(MessageError):
        _handle(time, body, "m0")
    assert not pipeline.waiting("dead-letters")
    assert not pipeline.dynamodb.items


def test_the_sweep_and_the_queue_get_one_upload_planned_once(pipeline: Pipeline, time: Time) -> None:
    """Both look after it: its event failed, and it has no batch."""
    batch_id, body = _upload(pipeline)
    sweeper = services.Services.of(None).lost_uploads
    sweeper = replace(sweeper, clock=time, notes=replace(sweeper.notes, clock=time))
    sweeper.sweep()
    pipeline.s3.modified["inbox/offices/day.csv", "v1"] = time()
    assert _waits(time, body, "m0")
    time.pass_by(timedelta(minutes=10).total_seconds())
    assert sweeper.sweep().handed_over == 1
    assert not _waits(time, body, "m0")
    assert len(pipeline.uploads) == 2
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows, len(pipeline.events.details)) == (BatchStatus.COMPLETED, 1, 1)
