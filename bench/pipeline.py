"""The pipeline under a clock: on a deployed local stage, from the upload to the batch's end, and to its results."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil

from bench.samples import Sample
from chalicelib.retry import Retry
from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Batch
from chalicelib.store.exports import Export, Exports
from chalicelib.store.table import Table
from tally.batch.audit import audit
from tally.batch.reader import Reader
from tally.batch.submit import inbox_key, upload
from tally.errors import OperatorError
from tally.local.sample import Expected
from tally.local.stack import LocalStack
from tally.output import Output
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace

_STALL_SECONDS = 180.0
_POLL_SECONDS = 0.2
_EVENT_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One file through the pipeline: ``seconds`` until its end, and ``export_seconds`` more until its manifest.

    ``megabytes`` is the largest resident size of each function's processes.
    """

    batch: Batch
    export: Export
    rows: int
    seconds: float
    export_seconds: float
    megabytes: dict[str, int]


@contextmanager
def running(workspace: Workspace, output: Output, *, name: str, keep: bool, **variables: Any) -> Iterator[Stage]:
    """Bring a stage up for the block, with Terraform variables of the caller's."""
    stack = LocalStack(workspace=workspace, name=name, output=output, environ=os.environ, variables=variables)
    try:
        yield stack.up(None)
    finally:
        if not keep:
            stack.down()


def process(stage: Stage, sample: Sample) -> Run:
    """Upload a sample and wait for its end and its results; raises if its outcomes are not the sample's."""
    began = datetime.now(UTC)
    megabytes: dict[str, int] = {}
    batch = _await(stage, _upload(stage, sample), megabytes)
    export = _await_results(stage, batch, megabytes)
    # By the clock of this machine, which is the functions' too: the polling is not in it.
    ended = datetime.fromisoformat(batch.completed_at)
    seconds = (ended - began).total_seconds()
    export_seconds = (datetime.fromisoformat(export.exported_at) - ended).total_seconds()
    counts = batch.counts
    found = Expected(rows=batch.rows, succeeded=counts.succeeded, failed=counts.failed, rejected=counts.rejected)
    if found != sample.expected:
        raise OperatorError(f"{batch.id} ended with {found}: the sample must give {sample.expected}.")
    return Run(
        batch=batch,
        export=export,
        rows=sample.rows,
        seconds=seconds,
        export_seconds=export_seconds,
        megabytes=megabytes,
    )


def until_event(stage: Stage, sample: Sample) -> float:
    """Return the seconds from the start of an upload until a subscriber has the event of its batch."""
    sqs, url = stage.client("sqs"), stage.resources.completions_queue_url
    began = time.monotonic()
    batch = _upload(stage, sample)
    while time.monotonic() - began < _STALL_SECONDS:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        seconds = time.monotonic() - began
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        if any(json.loads(message["Body"])["detail"]["batch_id"] == batch for message in found):
            return seconds
        time.sleep(_EVENT_POLL_SECONDS)
    raise OperatorError(f"No event of {batch} came: {stage.where_to_look}.")


def audit_seconds(stage: Stage, batch: Batch) -> float:
    """Return how long the audit of an ended batch takes; raises if it is not exact."""
    reader = Reader(dynamodb=stage.dynamodb, table=stage.resources.table)
    began = time.monotonic()
    audited = audit(reader, reader.require(batch.id), lambda: None)
    seconds = time.monotonic() - began
    if not audited.exact:
        raise OperatorError(f"The audit of {batch.id} differs: `tally audit {batch.id} --stage {stage.name}`.")
    return seconds


def _upload(stage: Stage, sample: Sample) -> str:
    key = inbox_key("transactions", f"bench-{sample.rows}-{time.time_ns()}.csv")
    source = upload(stage.s3, sample.file, stage.resources.inbox_bucket, key, lambda _: None)
    return batch_id("transactions", source)


def _await(stage: Stage, batch: str, megabytes: dict[str, int]) -> Batch:
    reader = Reader(dynamodb=stage.dynamodb, table=stage.resources.table)
    moved, before = time.monotonic(), None
    while time.monotonic() - moved < _STALL_SECONDS:
        found = reader.batch(batch)
        if found and found.status.final:
            return found
        if found != before:
            moved, before = time.monotonic(), found
        _weigh(stage, megabytes)
        time.sleep(_POLL_SECONDS)
    raise OperatorError(f"{batch} has not moved for {_STALL_SECONDS:.0f} s: {stage.where_to_look}.")


def _await_results(stage: Stage, batch: Batch, megabytes: dict[str, int]) -> Export:
    exports = Exports(table=Table(dynamodb=stage.dynamodb, name=stage.resources.table, retry=Retry()))
    moved, before = time.monotonic(), None
    while time.monotonic() - moved < _STALL_SECONDS:
        found = exports.find(batch.id, batch.attempt)
        if found and found.exported_at:
            return found
        if found != before:
            moved, before = time.monotonic(), found
        _weigh(stage, megabytes)
        time.sleep(_POLL_SECONDS)
    raise OperatorError(f"No result of {batch.id} came for {_STALL_SECONDS:.0f} s: {stage.where_to_look}.")


def _weigh(stage: Stage, megabytes: dict[str, int]) -> None:
    """Raise each function's mark to the size of its processes, which are the local AWS's children."""
    assert stage.server is not None
    prefix = f"tally-{stage.name}-"
    try:
        for child in psutil.Process(stage.server.pid).children(recursive=True):
            with child.oneshot():
                function = child.environ().get("AWS_LAMBDA_FUNCTION_NAME", "").removeprefix(prefix)
                size = child.memory_info().rss // 2**20
            if function:
                megabytes[function] = max(size, megabytes.get(function, 0))
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        pass  # it ended meanwhile
