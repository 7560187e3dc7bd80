"""Run a job in memory: a file's content in, and the outcome of every row out, also under faults."""

import copy
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import msgspec

from chalicelib import services
from chalicelib.jobs import Job
from chalicelib.store.items import Counts, Outcome, row_id
from tally.batch.reader import Reader
from tally.batch.rows import read_partition
from tally.testing.environment import handlers
from tally.testing.faults import Fault
from tally.testing.harm import Faults
from tally.testing.jobs import in_place, job_of, quiet
from tally.testing.pipeline import QUEUES, Pipeline

MAX_ROUNDS = 2_000
"""Rounds of deliveries after which a batch is taken to never end."""


@dataclass(slots=True)
class Clock:
    """A clock that stands still unless the job, or the test, moves it: slow rows without waiting.

    The workers read it: rows that take long are sent back in pieces, and it gives the durations.
    """

    now: float = 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of a row: ``outcome`` is ``succeeded``, ``failed`` or ``rejected``, ``line`` where it begins.

    ``result`` is the job's result after a round trip through JSON; None for a row that did not succeed. ``tries`` is
    the number of the try that counted, ``calls`` the number of runs of ``process`` for it. ``code`` and ``reason`` say
    why it did not succeed.
    """

    line: int | None
    outcome: str
    result: Any
    code: str
    reason: str
    tries: int
    calls: int
    duration_ms: int
    traceback: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A file that was processed to its end. ``reason`` says why it was rejected as a whole, else it is empty.

    ``rows`` are in the file's order. ``messages`` counts deliveries by queue.
    """

    status: str
    reason: str
    rows: list[Row] = field(default_factory=list)
    messages: Counter[str] = field(default_factory=Counter)

    @property
    def succeeded(self) -> int:
        """The number of rows that succeeded."""
        return self._count(Outcome.SUCCEEDED)

    @property
    def failed(self) -> int:
        """The number of rows that failed."""
        return self._count(Outcome.FAILED)

    @property
    def rejected(self) -> int:
        """The number of rows that were rejected."""
        return self._count(Outcome.REJECTED)

    @property
    def results(self) -> list[Any]:
        """The results of the rows that succeeded, in their order."""
        return [row.result for row in self.rows if row.outcome == Outcome.SUCCEEDED]

    @property
    def reasons(self) -> list[str]:
        """The reasons of the rows that did not succeed, in their order."""
        return [row.reason for row in self.rows if row.outcome != Outcome.SUCCEEDED]

    @property
    def calls(self) -> int:
        """The number of calls of ``process``."""
        return sum(row.calls for row in self.rows)

    def at_line(self, line: int) -> Row:
        """Return the row that begins at a line; raises LookupError if none does."""
        for row in self.rows:
            if row.line == line:
                return row
        raise LookupError(f"no row begins at line {line}: rows begin at {[row.line for row in self.rows]}")

    def _count(self, outcome: Outcome) -> int:
        return sum(row.outcome == outcome for row in self.rows)


def run(
    job: str | ModuleType | Job,
    content: str | bytes | Path,
    *,
    faults: Faults | Iterable[Faults] = (),
    chunk_rows: int = 4,
    clock: Callable[[], float] | None = None,
) -> Batch:
    """Process a file with a job, by its name or its module, to its end, in memory; returns the outcome of each row.

    ``content`` is text, bytes or the path of a file. The handlers are the real ones over AWS in memory, which refuses
    what AWS would refuse. A retry's delay passes at once. ``chunk_rows`` is small, so that a few rows make several
    chunks; a job's own ``CHUNK_ROWS`` has priority. Raises AssertionError if the batch never ends.
    """
    wanted = job_of(job)
    harm = [copy.deepcopy(each) for each in ([faults] if isinstance(faults, Faults) else faults)]
    calls: Counter[str] = Counter()

    def process(row: Any) -> object:
        calls[row.idempotency_key] += 1
        try:
            return wanted.process(row)
        finally:
            for each in harm:
                each.in_process(row.idempotency_key)

    data = content.read_bytes() if isinstance(content, Path) else content
    handlers()  # before the settings are read, because it sets those of a test
    settings = msgspec.structs.replace(services.settings(), chunk_rows=chunk_rows)
    with quiet(), _patches() as patches, in_place(replace(wanted, process=process)):
        patches.setattr(services, "settings", lambda: settings)
        if clock:
            _let_workers_read(patches, clock)
        pipeline = Pipeline(patches)
        name = content.name if isinstance(content, Path) else "file.csv"
        batch = pipeline.upload(f"inbox/{wanted.name}/{name}", data.encode() if isinstance(data, str) else data)
        _drive(pipeline, harm)
        return _outcome(pipeline, batch, calls)


def _drive(pipeline: Pipeline, harm: list[Faults]) -> None:
    """Deliver until nothing is left; outcomes last, so that a repeated delivery runs its rows twice."""
    step = ""

    def next_fault(operation: str) -> Fault:
        return next((found for each in harm if (found := each.of_call(step, operation)) is not Fault.NONE), Fault.NONE)

    pipeline.faults = next_fault
    for _ in range(MAX_ROUNDS):
        work = pipeline.work()
        if not work:
            return
        if {"work", "heavy"}.intersection(work):
            work = [each for each in work if each != "finished"]
        pipeline.expire_leases()
        for step in work:
            if any([each.comes_again(step) for each in harm]):  # noqa: C419  each is to hear of it
                pipeline.deliver(step, again=True)
            pipeline.deliver(step)
    raise AssertionError(f"the batch does not come to its end: {work} still wait; last: {pipeline.last_error!r}")


def _outcome(pipeline: Pipeline, batch_id: str, calls: Counter[str]) -> Batch:
    if not pipeline.has_batch(batch_id):
        raise AssertionError(f"no batch was made; last: {pipeline.last_error!r}")
    batch = pipeline.batch(batch_id)
    reader = Reader(dynamodb=pipeline.dynamodb, table=services.settings().table)  # type: ignore[arg-type]
    rows = []
    for chunk in pipeline.chunks(batch_id):
        partition = read_partition(reader, chunk.key)
        for found in partition.listed(None) if partition else []:
            key = row_id(chunk.key, found["row"])
            shown = {name: found[name] for name in Row.__slots__ if name in found}
            rows.append(Row(**shown, calls=calls[key], idempotency_key=key))
    if batch.counts != (counted := Counts(**Counter(row.outcome for row in rows))) or not batch.status.final:
        raise AssertionError(f"the batch is {batch.status}, counts {batch.counts}, and its rows say {counted}")
    messages = Counter({queue: pipeline.received[queue].total() for queue in QUEUES})
    return Batch(status=batch.status.value, reason=batch.reason, rows=rows, messages=messages)


def _let_workers_read(patches: "_Patches", clock: Callable[[], float]) -> None:
    made = services.Services._processor  # noqa: SLF001  the seam where a worker is put together
    patches.setattr(services.Services, "_processor", lambda self, queue: replace(made(self, queue), clock=clock))


class _Patches:
    """The part of pytest's monkeypatch that a pipeline uses, for callers without pytest."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def setattr(self, target: Any, name: str, value: Any) -> None:
        self._stack.enter_context(mock.patch.object(target, name, value))

    def setenv(self, name: str, value: str) -> None:
        self._stack.enter_context(mock.patch.dict(os.environ, {name: value}))


@contextmanager
def _patches() -> Iterator[_Patches]:
    with ExitStack() as stack:
        yield _Patches(stack)
