"""An attempt has one child, no matter what comes twice, comes late, or dies."""

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from chalicelib.clock import utc_now
from chalicelib.errors import BusyError, FatalError, MessageError
from chalicelib.files import sink
from chalicelib.services import Services
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chains import Chained, Chains, NotChained
from chalicelib.transport.messages import ExportMessage, decode, encode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.chaining import (
    CHILD,
    KEY,
    PARENT,
    Jobs,
    chained_files,
    children,
    content,
    redrive,
    until_chain,
    without_next_job,
)


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER])
@pytest.mark.parametrize("position", range(15))
def test_a_chain_that_is_decided_once_more_and_dies_anywhere_makes_one_child(
    pipeline: Pipeline, deployed: Jobs, fault: Fault, position: int
) -> None:
    """The message of the repair comes three times, and so does that from before the deployment."""
    batch_id = without_next_job(pipeline, deployed, NotChained.NO_JOB)
    deployed.deploy("written", CHILD)
    for _ in range(2):
        Services.of(None).reconciler.repair(batch_id, thorough=True)
    calls = iter(range(1000))
    pipeline.faults = lambda _: fault if next(calls) == position else Fault.NONE
    for _ in range(3):
        pipeline.deliver("export", again=True)
    pipeline.drain()
    assert len(chained_files(pipeline)) == 1
    (child,) = children(pipeline, batch_id)
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)


@pytest.mark.parametrize("sleeps_at", range(3))
def test_a_worker_that_slept_while_the_job_was_missing_takes_no_child_back(
    pipeline: Pipeline, deployed: Jobs, sleeps_at: int
) -> None:
    """It decides that there is no job, and sleeps before any of its writes until the results have a batch."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.remove("written")
    writes = iter(range(1000))

    def sleep(operation: str) -> Fault:
        if operation in {"put_item", "update_item"} and next(writes) == sleeps_at:
            pipeline.faults = lambda _: Fault.NONE
            deployed.deploy("written", CHILD)
            assert pipeline.deliver("export", again=True)
        return Fault.NONE

    pipeline.faults = sleep
    assert pipeline.deliver("export", again=True)
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)
    standing = Chains(table=table(pipeline.dynamodb)).find(batch_id, 1)
    assert standing is not None
    assert (standing.child, standing.not_chained) == (child.id, None)


def test_a_message_that_comes_twice_makes_one_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    assert pipeline.deliver("export", again=True)
    pipeline.drain()
    assert len(chained_files(pipeline)) == 1
    assert len(children(pipeline, batch_id)) == 1


def test_an_old_message_after_a_redrive_makes_no_child(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    old = pipeline.waiting("export").copy()
    redrive(pipeline, batch_id)
    pipeline.drain()
    pipeline.waiting("export")[:] = old
    pipeline.drain()
    assert [child.parent.attempt for child in children(pipeline, batch_id) if child.parent] == [2]
    assert len(chained_files(pipeline)) == 1
    assert pipeline.batch(batch_id).chained == Chained(
        then="written", attempt=2, child=children(pipeline, batch_id)[0].id
    )


def test_a_redrive_in_the_middle_of_the_upload_leaves_no_file(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    deployed.fail("o7")
    batch_id = pipeline.upload(KEY, content(9))
    until_chain(pipeline)
    queries = 0

    def redrive_at_second_query(operation: str) -> Fault:
        nonlocal queries
        queries += operation == "query"
        if operation == "query" and queries == 2:
            redrive(pipeline, batch_id)
        return Fault.NONE

    pipeline.faults = redrive_at_second_query
    assert pipeline.deliver("export")
    assert pipeline.batch(batch_id).attempt == 2
    assert not chained_files(pipeline)
    assert not pipeline.s3.uploads


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER])
@pytest.mark.parametrize("position", range(15))
def test_a_chain_that_dies_anywhere_makes_one_child(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, fault: Fault, position: int
) -> None:
    """Each call of the step meets each fault, and the message comes again after it."""
    monkeypatch.setattr(sink, "PART_BYTES", 90)
    batch_id = pipeline.upload(KEY, content(7))
    until_chain(pipeline)
    calls = iter(range(1000))
    pipeline.faults = lambda _: fault if next(calls) == position else Fault.NONE
    for _ in range(3):
        pipeline.deliver("export", again=True)
    pipeline.drain()
    ((_, body),) = chained_files(pipeline).items()
    assert [json.loads(line)["users"] for line in body.splitlines()] == list(range(7))
    (child,) = children(pipeline, batch_id)
    assert child.status is BatchStatus.COMPLETED
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)


def test_every_call_of_a_chain_has_met_each_fault(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above goes as far as the step has calls."""
    monkeypatch.setattr(sink, "PART_BYTES", 90)
    pipeline.upload(KEY, content(7))
    until_chain(pipeline)
    made: list[str] = []

    def watch(operation: str) -> Fault:
        made.append(operation)
        return Fault.NONE

    pipeline.faults = watch
    assert pipeline.deliver("export")
    assert len(made) == 15, made
    assert made.count("upload_part") == 2
    assert made[-1] == "update_item"


def test_an_abort_that_was_not_heard_fails_no_message(pipeline: Pipeline) -> None:
    """Of two workers that decide at once one gives its upload up; S3 does, and its answer is lost."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    aborted: list[str] = []

    def overtaken(operation: str) -> Fault:
        if operation == "put_item" and not aborted:
            aborted.append("soon")
            assert pipeline.deliver("export", again=True)
        if operation == "abort_multipart_upload" and len(aborted) == 1:
            aborted.append("unheard")
            return Fault.ERROR_AFTER
        return Fault.NONE

    pipeline.faults = overtaken
    assert pipeline.deliver("export", again=True)
    assert aborted == ["soon", "unheard"]
    pipeline.drain()
    assert len(children(pipeline, batch_id)) == 1


def test_a_chain_that_was_decided_goes_to_its_job_whatever_is_deployed_then(pipeline: Pipeline, deployed: Jobs) -> None:
    """The job of a second delivery may say another ``THEN``: two jobs must not get the results of one attempt."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "upload_part" else Fault.NONE
    assert not pipeline.deliver("export")
    deployed.deploy("counted", PARENT, 'THEN = "offices"')
    pipeline.drain()
    assert [child.job for child in children(pipeline, batch_id)] == ["written"]


def test_a_completed_upload_that_nobody_heard_of_is_not_made_again_when_its_file_is_gone(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_AFTER if operation == "complete_multipart_upload" else Fault.NONE
    assert not pipeline.deliver("export")
    pipeline.faults = lambda _: Fault.NONE
    (place,) = chained_files(pipeline)
    pipeline.s3.deletions.add(place)
    message = ExportMessage(batch=batch_id, attempt=1, chain=True)
    chainer = replace(Services.of(None).chainer, settling=timedelta(minutes=20))
    with pytest.raises(BusyError, match="not there"):  # S3 may not show it yet
        chainer.chain(message)
    late = replace(chainer, clock=lambda: utc_now() + timedelta(hours=1))
    found = late.chain(message)
    assert found is not None
    assert found.not_chained is NotChained.FILE_GONE
    assert len(chained_files(pipeline)) == 1


def test_rows_that_are_not_proven_make_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    place = next(key for key in pipeline.dynamodb.items if key[1].startswith("mark#"))
    del pipeline.dynamodb.items[place]
    with pytest.raises(FatalError, match="are in no marker"):
        Services.of(None).chainer.chain(ExportMessage(batch=batch_id, attempt=1, chain=True))
    assert not chained_files(pipeline)


def test_a_file_that_only_has_the_name_of_a_chained_one_has_no_parent(pipeline: Pipeline) -> None:
    """Anybody who may upload may choose a key."""
    parent = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    forged = pipeline.upload(f"inbox/written/chained/{parent}-attempt-7.jsonl", b'{"name": "a", "users": 1}\n')
    other_job = pipeline.upload(f"inbox/counted/chained/{parent}-attempt-1.jsonl", content(1))
    pipeline.drain()
    assert pipeline.batch(forged).parent is None
    assert pipeline.batch(other_job).parent is None


def test_settle_that_dies_before_the_message_asks_again(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(1))

    def ended() -> bool:
        return pipeline.has_batch(batch_id) and pipeline.batch(batch_id).status.final

    pipeline.faults = lambda operation: (
        Fault.KILLED_BEFORE if operation == "send_message_batch" and ended() else Fault.NONE
    )
    for _ in range(20):
        for what in pipeline.work():
            pipeline.deliver(what, most=1000)
    assert not pipeline.waiting("export")
    pipeline.drain()
    assert len(children(pipeline, batch_id)) == 1


def test_a_late_note_of_an_earlier_attempt_takes_nothing_back(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(1))
    pipeline.drain()
    chains = Chains(table=table(pipeline.dynamodb))
    standing = chains.find(batch_id, 1)
    assert standing is not None
    second = chains.decide(replace(standing, attempt=2))
    chains.note_end(replace(second, child="written-second"))
    chains.note_end(standing)
    chained = pipeline.batch(batch_id).chained
    assert chained is not None
    assert (chained.attempt, chained.child) == (2, "written-second")


def test_a_deployment_that_knows_no_chains_refuses_their_messages() -> None:
    """It would write no piece and take the message for done, in the minutes while functions are deployed."""

    class OlderMessage(msgspec.Struct):
        batch: str
        attempt: int
        pieces: list[int]

    asked = encode(ExportMessage(batch="b", attempt=1, chain=True))
    with pytest.raises(MessageError, match="pieces"):
        decode(asked, OlderMessage)
    assert decode(asked, ExportMessage).chain
    assert decode(encode(ExportMessage(batch="b", attempt=1, pieces=[0])), OlderMessage).pieces == [0]
