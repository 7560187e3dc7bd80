"""The chain step: the results of an attempt become one file of the next job, whatever dies in between."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from chalicelib import jobs
from chalicelib.clock import utc_now
from chalicelib.errors import BusyError, FatalError, MessageError
from chalicelib.files import sink
from chalicelib.services import Services
from chalicelib.steps import chain
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.chains import Chained, Chains, NotChained, Parent
from chalicelib.store.hold import Holds
from chalicelib.transport.messages import ExportMessage, decode, encode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, forget_jobs, table

HEADER = b"office_id,user_count\n"
KEY = "inbox/counted/day.csv"
PARENT = """
from chalicelib import rows
from chalicelib.errors import PermanentError

{says}

class Row(rows.Row):
    office_id: str
    user_count: int

failing = set()

def process(row):
    if row.office_id in failing:
        raise PermanentError("not today")
    return {{"name": row.office_id, "users": row.user_count}}
"""
CHILD = """
from chalicelib import rows

FORMAT = "jsonl"
{says}

class Row(rows.Row):
    name: str
    users: int

def process(row):
    return {{"name": row.name, "users": row.users + 1}}
"""


class Jobs:
    """Deploys jobs over each other, as deployments one after another do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch, self._folder = monkeypatch, folder

    def deploy(self, name: str, source: str, says: str = "") -> None:
        """Deploy a job, or another version of it."""
        (self._folder / f"{name}.py").write_text(source.format(says=says), encoding="utf-8")
        forget_jobs(name)
        sys.path_importer_cache.clear()

    def remove(self, name: str) -> None:
        """Deploy without a job."""
        (self._folder / f"{name}.py").unlink()
        forget_jobs(name)
        sys.path_importer_cache.clear()

    def fail(self, *offices: str) -> None:
        """Let the rows of these offices fail, and no others."""
        module = sys.modules[jobs.require("counted").process.__module__]
        module.failing.clear()
        module.failing.update(offices)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Jobs]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a job may have one time and size
    with (
        deployed_job(monkeypatch, tmp_path, "counted", PARENT.format(says='THEN = "written"')),
        deployed_job(monkeypatch, tmp_path, "written", CHILD.format(says="")),
    ):
        yield Jobs(monkeypatch, tmp_path)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, deployed: Jobs) -> Pipeline:
    assert deployed
    monkeypatch.setattr(chain, "READERS", 1)  # what meets a fault must not depend on luck
    return Pipeline(monkeypatch)


def content(rows: int) -> bytes:
    """Return a file of so many rows."""
    return HEADER + b"".join(b"o%d,%d\n" % (row, row) for row in range(rows))


def chained_files(pipeline: Pipeline) -> dict[tuple[str, str], bytes]:
    """Return every version of every file that a chain has put, by key and version."""
    return {place: body for place, body in pipeline.s3.objects.items() if "/chained/" in place[0]}


def children(pipeline: Pipeline, parent: str) -> list[Batch]:
    """Return the batches that say they are made of the results of another."""
    batches = [pipeline.batch(pk.removeprefix("batch#")) for pk, sk in list(pipeline.dynamodb.items) if sk == "batch"]
    return [batch for batch in batches if batch.parent and batch.parent.batch_id == parent]


def until_chain(pipeline: Pipeline) -> None:
    """Deliver everything but the messages of the export queue."""
    while work := [what for what in pipeline.work() if what != "export"]:
        for what in work:
            assert pipeline.deliver(what, most=1000)


def without_next_job(pipeline: Pipeline, deployed: Jobs, missing: NotChained) -> str:
    """Return a batch of three rows that ended while its next job was missing, or read CSV."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    if missing is NotChained.NO_JOB:
        deployed.remove("written")
    else:
        deployed.deploy("written", CHILD.replace('"jsonl"', '"csv"'))
    pipeline.drain()
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=missing)
    return batch_id


def redrive(pipeline: Pipeline, batch_id: str) -> None:
    """Begin the next attempt."""
    assert Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None).rows


def test_the_results_of_a_batch_are_processed_by_the_next_job_in_order(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(11))
    pipeline.drain()
    ((key, _), body), *others = chained_files(pipeline).items()
    assert not others
    assert key == f"inbox/written/chained/{batch_id}-attempt-1.jsonl"
    assert [json.loads(line) for line in body.splitlines()] == [{"name": f"o{n}", "users": n} for n in range(11)]
    (child,) = children(pipeline, batch_id)
    assert (child.job, child.status, child.rows) == ("written", BatchStatus.COMPLETED, 11)
    assert [json.loads(bytes(outcome.result))["users"] for _, outcome in pipeline.outcomes(child.id)] == list(
        range(1, 12)
    )


def test_parent_and_child_name_each_other(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert child.parent == Parent(batch_id=batch_id, attempt=1, depth=1)
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)
    assert pipeline.batch(batch_id).parent is None
    assert child.chained is None


def test_a_large_result_is_stored_part_by_part(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PART_BYTES", 50)
    pipeline.upload(KEY, content(20))
    pipeline.drain()
    (body,) = chained_files(pipeline).values()
    assert [json.loads(line)["users"] for line in body.splitlines()] == list(range(20))


def test_a_result_that_is_no_object_is_a_rejected_row_of_the_child(pipeline: Pipeline, deployed: Jobs) -> None:
    """Nothing is dropped: line n of the file is the nth row that succeeded."""
    source = PARENT.replace('return {{"name"', 'return None if row.user_count == 1 else {{"name"')
    deployed.deploy("counted", source, 'THEN = "written"')
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert [outcome.outcome for _, outcome in pipeline.outcomes(child.id)] == ["succeeded", "rejected", "succeeded"]
    assert pipeline.outcomes(child.id)[1][1].reason.startswith("line 2")


def test_a_batch_with_failures_has_no_child(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    assert not chained_files(pipeline)
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=NotChained.FAILURES)


def test_a_batch_with_a_rejected_row_has_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3) + b"o9,many\n")
    pipeline.drain()
    found = pipeline.batch(batch_id).chained
    assert found is not None
    assert found.not_chained is NotChained.FAILURES


def test_after_a_redrive_of_the_failures_the_child_has_every_row(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    deployed.fail()
    redrive(pipeline, batch_id)
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert (child.rows, child.parent) == (3, Parent(batch_id=batch_id, attempt=2, depth=1))
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=2, child=child.id)


def test_a_job_that_says_so_hands_on_the_rows_that_succeeded(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert [json.loads(bytes(outcome.result))["name"] for _, outcome in pipeline.outcomes(child.id)] == ["o0", "o2"]


def test_each_attempt_has_one_child_where_failures_are_handed_on(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    deployed.fail()
    redrive(pipeline, batch_id)
    pipeline.drain()
    found = {child.parent.attempt: child.rows for child in children(pipeline, batch_id) if child.parent}
    assert found == {1: 2, 2: 3}


def test_a_cancelled_batch_has_no_child_even_where_failures_are_handed_on(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    batch_id = pipeline.upload(KEY, content(9))
    pipeline.drain_uploads()
    for what in ("dispatch", "ingest"):
        pipeline.deliver(what, most=1)
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.chained
    assert batch.chained.not_chained is NotChained.STOPPED
    assert not chained_files(pipeline)


def test_a_stop_that_came_too_late_to_fail_a_row_keeps_nothing_from_the_next_job(pipeline: Pipeline) -> None:
    """Its event is "Batch Completed", too."""
    batch_id = pipeline.upload(KEY, content(9))
    while not pipeline.has_batch(batch_id) or pipeline.batch(batch_id).remaining > 1:
        pipeline.deliver(pipeline.work()[0], most=1)
    while any(chunk.undone for chunk in pipeline.chunks(batch_id)):
        pipeline.deliver(pipeline.work()[0], most=1)
    assert Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.hold) == (BatchStatus.COMPLETED, Hold.CANCELLED)
    assert batch.chained
    assert batch.chained.child


def test_a_file_without_rows_has_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert batch.status is BatchStatus.COMPLETED
    assert batch.chained
    assert batch.chained.not_chained is NotChained.NO_RESULTS


def test_a_rejected_file_asks_for_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, b"what,is,this\n1,2,3\n")
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED
    assert pipeline.batch(batch_id).chained is None


def test_a_job_that_was_removed_since_is_a_named_reason(pipeline: Pipeline, deployed: Jobs) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.remove("written")
    pipeline.drain()
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=NotChained.NO_JOB)


def test_a_job_that_reads_csv_by_now_is_a_named_reason(pipeline: Pipeline, deployed: Jobs) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.deploy("written", CHILD.replace('"jsonl"', '"csv"'))
    pipeline.drain()
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=NotChained.UNFIT)


@pytest.mark.parametrize("missing", [NotChained.NO_JOB, NotChained.UNFIT])
def test_a_repair_gives_the_results_to_a_job_that_was_deployed_since(
    pipeline: Pipeline, deployed: Jobs, missing: NotChained
) -> None:
    """And changes nothing before that, or once they have become a batch."""
    batch_id = without_next_job(pipeline, deployed, missing)
    for _ in range(2):
        assert Services.of(None).reconciler.repair(batch_id, thorough=True).chain_asked
        pipeline.drain()
        assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=missing)
    deployed.deploy("written", CHILD)
    assert Services.of(None).reconciler.repair(batch_id, thorough=True).chain_asked
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert child.counts.succeeded == 3
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)
    assert not Services.of(None).reconciler.repair(batch_id, thorough=True).any


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


def test_jobs_that_lead_back_stop_by_themselves(
    pipeline: Pipeline, deployed: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment that nobody checked must not run for ever."""
    monkeypatch.setattr(chain, "MAX_JOBS", 4)
    deployed.deploy("counted", CHILD, 'THEN = "written"')
    deployed.deploy("written", CHILD, 'THEN = "counted"')
    pipeline.upload("inbox/counted/day.jsonl", b'{"name": "a", "users": 0}\n')
    pipeline.drain()
    batches = [pipeline.batch(pk.removeprefix("batch#")) for pk, sk in pipeline.dynamodb.items if sk == "batch"]
    assert sorted(batch.parent.depth if batch.parent else 0 for batch in batches) == [0, 1, 2, 3]
    (last,) = [batch for batch in batches if batch.parent and batch.parent.depth == 3]
    assert last.chained
    assert last.chained.not_chained is NotChained.TOO_DEEP


def test_a_job_that_does_not_load_is_waited_for(pipeline: Pipeline, deployed: Jobs) -> None:
    """Its message comes again until the job is deployed right, and its results are not forgotten."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.deploy("counted", "raise RuntimeError('half deployed')\n")
    assert not pipeline.deliver("export") or pipeline.waiting("export")
    deployed.deploy("counted", PARENT, 'THEN = "written"')
    pipeline.drain()
    assert len(children(pipeline, batch_id)) == 1


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
