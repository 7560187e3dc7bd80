"""Tally under fire: batches go in, whatever can go wrong does, and then every row is looked for."""

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.errors import TallyError
from chalicelib.steps.plan import batch_id
from chalicelib.store.items import Counts
from tally.batch import audit
from tally.batch.reader import Reader
from tally.batch.submit import inbox_key, upload
from tally.local import sample
from tests.chaos import recount, results
from tests.chaos.operator import Commands, Operator
from tests.chaos.replay import Replayed, Replays, client

if TYPE_CHECKING:
    from chalicelib.services import Services
    from chalicelib.store.batch import Source
    from tally.local.sample import Expected
    from tally.stages.stage import Stage
    from tests.chaos.faults import Rates

_JOB = "transactions"
_SETTLE_SECONDS = 150.0
"""For late duplicates to have been dealt with; longer than a message of a killed worker stays hidden."""
_POLL_SECONDS = 1.0
_WAITING = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of one batch; every figure was read past the proxy."""

    id: str
    status: str
    rows: int
    markers: int
    bits: int
    """Rows whose bit is set in their chunk."""
    chunk_counters: int
    batch_counters: int
    event_ids: tuple[str, ...]
    """The distinct ids of its completion events."""
    events: int
    attempts: int
    exports: int
    """Attempts whose results were fetched and verified against the file."""
    stuck: bool
    as_expected: bool
    """Whether each outcome has as many rows as the sample's maker knows."""
    differences: tuple[str, ...]
    """What the recount found, and the audit: two that count the same markers with different code; and the results."""

    @property
    def lost(self) -> int:
        """Rows without a marker, and rows of markers that have no bit or were not counted."""
        counted = min(self.bits, self.chunk_counters, self.batch_counters)
        return max(0, self.rows - self.markers) + max(0, self.markers - counted)

    @property
    def overcounted(self) -> int:
        """By how much the bits or a counter are above the markers, or the markers above the rows."""
        above = max(self.bits, self.chunk_counters, self.batch_counters) - self.markers
        return max(0, above) + max(0, self.markers - self.rows)

    @property
    def exact(self) -> bool:
        """Tell whether this batch is what it must be."""
        completed_once = len(self.event_ids) == self.attempts
        return not (self.lost or self.overcounted or self.stuck or self.differences) and completed_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of all batches."""

    batches: tuple[Judged, ...]
    replayed: Replayed
    commands: Commands
    invocations: int
    dead_letters: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    id: str
    file: Path
    source: "Source"
    size: int
    expected: "Expected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Runs batches through a stage; ``patience`` is how many seconds may pass without any progress."""

    stage: "Stage"
    folder: Path
    seed: int
    rates: "Rates"
    rows: int
    batches: int
    patience: float
    services: "Services"
    """The operator's, whose requests meet faults too."""
    commands: bool
    """Whether an operator redrives and repairs meanwhile."""
    say: Callable[[str], None]

    def __call__(self) -> Outcome:
        """Submit, disturb, wait, judge."""
        began, started = time.monotonic(), datetime.now(UTC)
        stream_arn = self._environment()["TALLY_STREAM_ARN"]
        replays = Replays(self.stage, stream_arn, self.seed, self.rates.duplicates)
        replays.start()
        operator = None
        try:
            sent = self._submit()
            operator = Operator(self.services, [each.id for each in sent])
            if self.commands:
                operator.start()
            rng = random.Random(f"{self.seed}/uploads")
            for each in sent:
                if rng.random() < max(self.rates.duplicates, 0.5 * bool(self.rates.duplicates)):
                    replays.upload(each.source, each.size)
            self._until_ended(sent)
            operator.stop()
            if self.commands:
                self._again(operator, sent)
        finally:
            if operator:
                operator.stop()
            replays.stop()
        if self.rates.duplicates:
            replays.upload(sent[0].source, sent[0].size)  # of a batch that has ended
        self._until_quiet()
        seconds = time.monotonic() - began
        events = self._events()
        return Outcome(
            batches=tuple(self._judge(each, events.get(each.id, [])) for each in sent),
            replayed=replays.done,
            commands=operator.done,
            invocations=self._invocations(started),
            dead_letters=sum(self._waiting(url) for url in self._queues(dead=True)),
            seconds=seconds,
        )

    def _submit(self) -> list[_Sent]:
        sent = []
        for number in range(self.batches):
            rows = self.rows // self.batches + (number < self.rows % self.batches)
            file = self.folder / f"chaos-{number}.csv"
            expected = sample.write_file(file, rows, seed=self.seed + number)
            key = inbox_key(_JOB, f"chaos-{number}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.csv")
            source = upload(self.stage.s3, file, self.stage.resources.inbox_bucket, key, lambda _sent: None)
            size = file.stat().st_size
            sent.append(_Sent(id=batch_id(_JOB, source), file=file, source=source, size=size, expected=expected))
        return sent

    def _until_ended(self, sent: list[_Sent]) -> None:
        before, moved, told = None, time.monotonic(), 0.0
        while True:
            progress = [self._reader.progress(each.id) for each in sent]
            now = time.monotonic()
            if progress != before:
                before, moved = progress, now
            ended = [
                each is not None and each.batch.status.final and each.batch.published_attempt == each.batch.attempt
                for each in progress
            ]
            if all(ended) or now - moved > self.patience:
                return
            if now - told > 15:
                counted = sum(each.counts.total for each in progress if each)
                self.say(f"   {counted:,} of {self.rows:,} rows counted, {sum(ended)} of {len(sent)} batches ended")
                told = now
            time.sleep(_POLL_SECONDS)

    def _again(self, operator: Operator, sent: list[_Sent]) -> None:
        """Redrive batches that have ended: each begins another attempt, which late messages of the first may meet."""
        for each in sent:
            with suppress(TallyError):  # a fault that lasted: this batch has no further attempt
                operator.redrive(each.id)
        self._until_ended(sent)

    def _until_quiet(self) -> None:
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline and any(self._waiting(url) for url in self._queues(dead=False)):
            time.sleep(_POLL_SECONDS)
        time.sleep(2 * _POLL_SECONDS)  # the stream has no length to look at

    def _judge(self, sent: _Sent, events: list[str]) -> Judged:
        found = self._reader.batch(sent.id)
        if found is None:
            return Judged(
                id=sent.id, status="missing", rows=sent.expected.rows, markers=0, bits=0, chunk_counters=0,
                batch_counters=0, event_ids=tuple(sorted(set(events))), events=len(events), attempts=1, exports=0,
                stuck=True, as_expected=False, differences=("no batch item",),
            )  # fmt: skip
        audited = audit.audit(self._reader, found, lambda: None)
        own = recount.recount(self.stage.dynamodb, self.stage.resources.table, sent.id, found.chunks or 0)
        expected = sent.expected
        differences = [f"{each.where}: {each.what}" for each in audited.differences]
        if own.outcomes != {name: getattr(found.counts, name) for name in recount.OUTCOMES}:
            differences.append(f"batch: counts {found.counts}, its markers say {own.outcomes}")
        exports, problems = results.prove(self.stage, self.folder / "results", sent.file, found)
        return Judged(
            id=sent.id,
            status=found.status.value,
            rows=expected.rows,
            markers=own.markers,
            bits=own.bits,
            chunk_counters=own.chunk_counters,
            batch_counters=found.counts.total,
            event_ids=tuple(sorted(set(events))),
            events=len(events),
            attempts=found.attempt,
            exports=exports,
            stuck=not found.status.final,
            as_expected=found.counts
            == Counts(succeeded=expected.succeeded, failed=expected.failed, rejected=expected.rejected),
            differences=(*own.differences, *differences, *problems),
        )

    def _events(self) -> dict[str, list[str]]:
        """Take every completion event that is waiting; returns their ids by batch."""
        sqs, url = client(self.stage, "sqs"), self.stage.resources.completions_queue_url
        found: dict[str, list[str]] = {}
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
            for message in messages:
                detail = json.loads(message["Body"])["detail"]
                found.setdefault(detail["batch_id"], []).append(detail["event_id"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _queues(self, *, dead: bool) -> list[str]:
        """Return the queues that hold what nobody could deal with, or those that are worked off."""
        urls: list[str] = client(self.stage, "sqs").list_queues(QueueNamePrefix=f"tally-{self.stage.name}")["QueueUrls"]
        names = {url: url.rpartition("/")[2] for url in urls}
        is_dead = {
            url: any(word in name for word in ("dlq", "dead-letters", "failures")) for url, name in names.items()
        }
        return [url for url in urls if is_dead[url] == dead and url != self.stage.resources.completions_queue_url]

    def _waiting(self, url: str) -> int:
        answer = client(self.stage, "sqs").get_queue_attributes(QueueUrl=url, AttributeNames=_WAITING)
        return sum(map(int, answer["Attributes"].values()))

    def _invocations(self, since: datetime) -> int:
        """Count the functions' starts in their logs; the local AWS counts only some of them in its metrics."""
        pages = self.stage.logs.get_paginator("filter_log_events")
        return sum(
            event["message"].startswith("START RequestId")
            for group in self.stage.logs.describe_log_groups(
                logGroupNamePrefix=f"/aws/lambda/tally-{self.stage.name}-"
            )["logGroups"]
            for page in pages.paginate(
                logGroupName=group["logGroupName"], startTime=int(since.timestamp() * 1000), filterPattern="START"
            )
            for event in page["events"]
        )

    def _environment(self) -> dict[str, Any]:
        answer = self.stage.functions.get_function_configuration(FunctionName=f"tally-{self.stage.name}-plan")
        return dict(answer["Environment"]["Variables"])

    @property
    def _reader(self) -> Reader:
        return Reader(dynamodb=self.stage.dynamodb, table=self.stage.resources.table)
