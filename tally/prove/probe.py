"""A probe, its results, and the stage that it works on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chalicelib.retry import Retry
from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Batch, Source
from chalicelib.store.items import Counts
from chalicelib.store.table import Table
from tally.batch.audit import audit
from tally.batch.reader import Reader
from tally.batch.submit import inbox_key
from tally.stages.stage import Stage


class Verdict(StrEnum):
    """The result of a probe in one word."""

    PASSED = "passed"  # as expected
    FAILED = "failed"  # not as expected
    ONLY_ON_AWS = "only on AWS"  # the local AWS cannot answer it
    REFUSED = "refused"  # a quota of the account does not allow it
    NOT_RUN = "not run"  # the run ended before


class DisprovedError(Exception):
    """The probe saw something other than expected."""


class OnlyOnAwsError(Exception):
    """Only AWS can answer this, and the stage is local; the message says why."""


class RefusedError(Exception):
    """The account does not allow what the probe needs; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One claim about a stage. ``run`` returns what it saw, or raises one of the errors above.

    ``begin`` starts work of several minutes before the other probes run, and returns a batch that ``run`` finds in
    ``World.begun``.
    """

    name: str
    expected: str
    run: "Callable[[World], str]"
    begin: "Callable[[World], str] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a probe."""

    name: str
    expected: str
    seen: str
    verdict: Verdict
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the result for ``--json``."""
        return {
            "probe": self.name,
            "expected": self.expected,
            "seen": self.seen,
            "verdict": self.verdict.value,
            "seconds": round(self.seconds, 1),
        }


@dataclass(slots=True, kw_only=True)
class World:
    """The stage that is proved; ``rows`` is what the large probes upload, ``patience`` the seconds a batch may take."""

    stage: Stage
    rows: int
    patience: float
    show: Callable[[str], None] = lambda _line: None
    """Shows the progress of a probe."""
    begun: dict[str, str] = field(default_factory=dict)
    """Batches that were uploaded before their probe runs, by probe."""
    ended: set[str] = field(default_factory=set)
    """The event ids of the ended attempts."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def reader(self) -> Reader:
        """The reader of the stage's batches."""
        return Reader(dynamodb=self.stage.dynamodb, table=self.stage.resources.table)

    @property
    def table(self) -> Table:
        """The stage's table, for writes like those of operators' commands."""
        return Table(dynamodb=self.stage.dynamodb, name=self.stage.resources.table, retry=Retry())

    def upload(self, job: str, name: str, content: bytes) -> str:
        """Upload an object and return the id that its batch will have."""
        bucket, key = self.stage.resources.inbox_bucket, inbox_key(job, name)
        answer = self.stage.s3.put_object(Bucket=bucket, Key=key, Body=content)
        source = Source(bucket=bucket, key=key, version_id=answer.get("VersionId", ""), etag=answer["ETag"].strip('"'))
        return batch_id(job, source)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float | None = None) -> Any:
        """Wait for a condition and return its value; raises DisprovedError after ``seconds``."""
        deadline = self.clock() + (self.patience if seconds is None else seconds)
        while not (found := condition()):
            if self.clock() > deadline:
                raise DisprovedError(f"waited {self.patience if seconds is None else seconds:.0f} s for {what}")
            self.sleep(0.5)
        return found

    def end(self, batch: str, *, attempt: int = 1) -> Batch:
        """Wait until an attempt of a batch has ended and was announced; returns the batch."""

        def over() -> Batch | None:
            found = self.reader.batch(batch)
            done = found and found.status.final and found.attempt >= attempt and found.published_attempt >= attempt
            if found and not done and (progress := self.reader.progress(batch)):
                self.show(f"{progress.counts.total:,} of {progress.found:,} rows counted")
            return found if done else None

        ended: Batch = self.wait(over, f"the end of {batch}")
        self.ended.add(f"{batch}#{ended.attempt}")
        return ended

    def counts(self, batch: str, expected: Counts, *, attempt: int = 1) -> str:
        """Wait for the end, compare the counts, and recount every row; returns the counts in words."""
        ended = self.end(batch, attempt=attempt)
        seen = f"{ended.rows:,} rows: {_said(ended.counts)}"
        if ended.counts != expected:
            raise DisprovedError(f"{seen}; expected {_said(expected)}{'; ' + ended.reason if ended.reason else ''}")
        found = audit(self.reader, ended, on_chunk=lambda: None)
        if not found.exact:
            raise DisprovedError(f"{seen}; the recount differs in {len(found.differences)} places")
        return f"{seen}; recount exact"

    def require_aws(self, why: str) -> None:
        """Raise OnlyOnAwsError if the stage is local."""
        if self.stage.server:
            raise OnlyOnAwsError(why)


def _said(counts: Counts) -> str:
    return f"{counts.succeeded:,} succeeded, {counts.failed:,} failed, {counts.rejected:,} rejected"


def csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """Return a file of rows whose cells need no quotes."""
    return "".join(",".join(map(str, row)) + "\n" for row in [header, *rows]).encode()
