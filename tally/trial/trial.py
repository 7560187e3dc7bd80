"""A trial: runs a file of this disk through a job as a stage would, in bounded memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chalicelib.errors import TallyError
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import Counts, Outcome
from chalicelib.transport.messages import WorkMessage, encode
from chalicelib.transport.queues import send
from chalicelib.transport.uploads import INBOX_PREFIX, Upload
from tally.batch.reader import Reader
from tally.batch.reasons import Reason, Reasons
from tally.batch.row_names import row_name
from tally.batch.rows import read_partition
from tally.testing.jobs import in_place
from tally.trial.disk import DiskS3
from tally.trial.export import TrialExport
from tally.trial.planning import NOTHING_CUT, Cut, Planning, Record
from tally.trial.stage import MAX_TOGETHER, SETTINGS, TABLE, MemoryStage
from tally.trial.watch import Watch, no_exit

MAX_RESULTS = 5
"""Results that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A row that succeeded: where it begins in the file, and the job's result."""

    line: int
    result: bytes


@dataclass(slots=True, kw_only=True)
class Seen:
    """The outcomes of the rows so far.

    ``chunks`` have been tried, of ``tried_bytes`` of the file, and take ``stored_bytes``. ``cut`` is what was cut by
    now, and ``content_size`` the file's size, unpacked.
    """

    counts: Counts = field(default_factory=Counts)
    reasons: Reasons = field(default_factory=Reasons)
    results: list[Shown] = field(default_factory=list)
    chunks: int = 0
    tried_bytes: float = 0.0
    cut: Cut = NOTHING_CUT
    content_size: int = 0
    stored_bytes: int = 0
    chunk_messages: int = 0
    """Work messages of which a chunk has its number, however many rows it has: the first, and those of retries."""
    heavy_messages: int = 0
    pieces: int = 0
    """Work messages about rows that were sent back, because they are slow."""
    heavy: int = 0
    every_chunk: bool = False
    """Whether the whole file was cut."""
    reason: str = ""
    """Why the file as a whole is rejected."""
    stopped: str = ""
    """The hold that a stage would put on the batch, as after too many failures."""

    @property
    def whole(self) -> bool:
        """Tell whether every row was tried."""
        return self.every_chunk and self.counts.total == self.cut.rows


class Trial:
    """Takes a file through a job; ``most`` is the largest number of rows, all by default.

    ``seen`` grows while it runs, and stays right when it is interrupted. ``on_rows`` is called with the number of rows
    that come to their first outcome or try.
    """

    def __init__(
        self,
        watch: Watch,
        file: Path,
        scratch: Path,
        *,
        most: int | None = None,
        on_rows: Callable[[int], None] = lambda _: None,
        name: str = "",
    ) -> None:
        self.watch = watch
        self.most = most
        self.on_rows = on_rows
        self.seen = Seen()
        self.s3 = DiskS3(file, scratch)
        self.stage = MemoryStage(self.s3, lambda: watch.stopped)
        self.export = TrialExport(watch.of, SETTINGS, self.stage.unmetered, DiskS3(file, scratch))
        self.reader = Reader(dynamodb=self.stage.unmetered, table=TABLE)
        source = Source(
            bucket="inbox", key=f"{INBOX_PREFIX}{watch.of.name}/{name or file.name}", version_id="", etag="1"
        )
        self.upload = Upload(source=source, size=file.stat().st_size)
        self.batch: Batch | None = None
        self._ahead = 0
        self._cut: tuple[int, int] | None = None
        """The last chunk to try, and how many of its rows, if not all."""
        self._first_try = False
        self._collected: set[int] = set()
        watch.on_call = self._called

    @contextmanager
    def planning(self) -> Iterator[Planning]:
        """Cut the file while the block runs."""
        with (
            in_place(self.watch.job),
            no_exit(),
            Planning(self.stage.dynamodb, self.stage.lock, self.stage.services_with, self.upload) as planning,
        ):
            try:
                yield planning
            finally:
                planning.stop()
                self._end(planning)

    def over(self, planning: Planning, records: list[Record]) -> None:
        """Try all rows, beginning with the ``records`` of the first chunks."""
        while records:
            self.begin(records)
            self.finish(planning)
            is_over = self._has_enough or self.watch.stopped
            records = [] if is_over else planning.planned(MAX_TOGETHER)

    def begin(self, records: list[Record]) -> None:
        """Ask for chunks to be read, no more than are wanted."""
        wanted = []
        for record in records:
            chunk = Chunk.from_item(record["dynamodb"]["NewImage"])
            if self._has_enough:
                break
            left = None if self.most is None else self.most - self._ahead
            if left is not None and chunk.expected_rows > left:
                self._cut = (chunk.key.number, left)
            self._ahead += chunk.expected_rows
            wanted.append(record)
        self.stage.stream(wanted)

    def finish(self, planning: Planning) -> None:
        """Deliver until the requested chunks are done, and take the outcomes of their rows."""
        while True:
            for _ in self.stage.deliver(self._about_to_work):
                self.stage.stream(planning.others(), self._dispatch)
            if self.watch.stopped:
                self.salvage(planning)
                return
            others = planning.others()
            if not others:
                break
            self.stage.stream(others, self._dispatch)
        self.collect()

    def salvage(self, planning: Planning) -> None:
        """Take the outcomes so far after an interruption at any line of this code."""
        with suppress(TallyError):
            self.stage.count()
            self.stage.stream(planning.others(), self._dispatch)
        self.collect()

    def collect(self) -> None:
        """Take the outcomes of the chunks that were read, and delete those chunks."""
        for chunk in self.stage.chunks():
            self._take(chunk)
            self.export.take(self.reader.require(chunk.key.batch_id), chunk)
            self.stage.forget(chunk.key)

    @property
    def _has_enough(self) -> bool:
        return self.most is not None and self._ahead >= self.most

    def _called(self) -> None:
        if self._first_try:
            self.on_rows(1)

    def _about_to_work(self, message: WorkMessage) -> None:
        self._first_try = message.attempt == 1
        is_cut = self._cut is not None and message.chunk == self._cut[0]
        if self.stage.delivers_heavy:
            self.seen.heavy_messages += 1
        elif message.rows is not None and message.attempt == 1 and not is_cut:
            self.seen.pieces += 1
        else:
            self.seen.chunk_messages += 1

    def _dispatch(self, chunks: list[Chunk]) -> None:
        """Send the rows of chunks that were read; of the last chunk only the wanted rows."""
        self.on_rows(sum(chunk.counts.total for chunk in chunks))
        number, left = self._cut or (-1, 0)
        whole = [chunk for chunk in chunks if chunk.key.number != number]
        self.stage.services.dispatcher.send(whole)
        for chunk in chunks:
            if chunk.key.number != number:
                continue
            wanted = [row for row in chunk.undone if row < left]
            light = [row for row in wanted if row not in chunk.heavy]
            for queue, groups in (
                ("work", [light] if light else []),
                ("heavy", [[row] for row in wanted if row in chunk.heavy]),
            ):
                messages = [
                    WorkMessage(batch=chunk.key.batch_id, chunk=number, generation=chunk.generation, rows=rows)
                    for rows in groups
                ]
                send(self.stage.services.client("sqs"), queue, map(encode, messages), self.stage.services.retry)

    def _take(self, chunk: Chunk) -> None:
        """Take the outcomes of a chunk, without those of unwanted rows."""
        seen = self.seen
        number, left = self._cut or (-1, 0)
        tried = left if chunk.key.number == number else chunk.expected_rows
        found = [each for _, each in self.reader.outcomes(chunk.key) if each.row < tried]
        for each in found:
            seen.counts += Counts(**{each.outcome.value: 1})
            if each.outcome is not Outcome.SUCCEEDED:
                row = row_name(chunk.key.number, each.row)
                code = each.code.value if each.code else ""
                seen.reasons.add(Reason(outcome=each.outcome, text=each.reason, code=code, row=row, line=each.line))
        if len(seen.results) < MAX_RESULTS:
            self._take_results(chunk)
        seen.heavy += len(chunk.heavy)
        seen.stored_bytes += self.stage.stored_bytes(chunk.key)
        seen.chunks += 1
        seen.tried_bytes += (chunk.end - chunk.start) * len(found) / chunk.expected_rows

    def _take_results(self, chunk: Chunk) -> None:
        partition = read_partition(self.reader, chunk.key)
        if partition is None:
            return
        lines = {row: line for line, row in partition.begins.items()}
        succeeded = (
            (row, each) for row, (_, each) in sorted(partition.outcomes.items()) if each.outcome is Outcome.SUCCEEDED
        )
        for row, each in succeeded:
            if len(self.seen.results) == MAX_RESULTS:
                return
            self.seen.results.append(Shown(line=lines[row], result=bytes(each.result)))

    def _end(self, planning: Planning) -> None:
        """Keep how far the file was cut, and the stage's state of the batch."""
        while not self.watch.stopped and (others := planning.others()):
            self.stage.stream(others, self._dispatch)  # the end of planning, and of the batch
        self.batch = self.reader.batch(planning.batch_id)
        seen = self.seen
        if self.batch is None:
            return
        seen.content_size = self.batch.content_size
        if self.batch.status is BatchStatus.REJECTED:
            seen.reason = self.batch.reason
        seen.every_chunk = self.batch.chunks is not None
        seen.stopped = str(self.batch.hold or "")
        seen.cut = planning.cut
