"""The live view of a batch, for every width and height."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from chalicelib.store.batch import Batch, BatchStatus
from tally.batch.failures import Top
from tally.batch.reader import Progress
from tally.look import ECHO, MAX_BAR, Meaning, bar, duration, flow, meaning_of, share, shorten

_SHARE = 7
"""Cells of the percentage beside the bar."""


def short_status(batch: Batch) -> str:
    """Return a batch's status, with its hold if it has one."""
    return f"{batch.status}, {batch.hold}" if batch.hold else batch.status.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The live view: a short bar, rows by outcome, the rate, and the most frequent reasons."""

    progress: Progress
    top: Top
    rate: float
    eta_seconds: float | None
    elapsed_seconds: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines: numbers are never cut, and a low terminal leaves out reasons first."""
        width = options.max_width - ECHO
        lines = [self._head(width), self._bar(width, ascii_only=options.ascii_only)]
        lines += [*flow(self._counters(), width), *flow(self._speed(), width)]
        room = console.size.height - len(lines) - 1  # the last line is the cursor's
        yield from (*lines, *list(self._reasons(width))[: max(0, room)])

    def _head(self, width: int) -> Text:
        status = short_status(self.progress.batch)
        line = Text(status, meaning_of(status).value)
        id_ = self.progress.batch.id
        if len(id_) + 2 + len(status) <= width:  # never a part of it
            return Text(id_, "bold").append("  ").append_text(line)
        return line

    def _bar(self, width: int, *, ascii_only: bool) -> Text:
        done, total = self._done
        cells = max(1, min(MAX_BAR, width - _SHARE))
        return bar(done, total, cells, ascii_only=ascii_only).append(f"  {share(done, total)}")

    @property
    def _done(self) -> tuple[int, int]:
        batch = self.progress.batch
        if batch.status is BatchStatus.UNPACKING:
            return (batch.unpacking.read if batch.unpacking else 0), batch.size
        return self.progress.counts.total, self.progress.found

    def _counters(self) -> Iterator[Text]:
        progress, (done, total) = self.progress, self._done
        if progress.batch.status is BatchStatus.UNPACKING:
            yield Text(f"{done:,} of {total:,} bytes read")
            return
        so_far = "" if progress.batch.chunks is not None else " so far"
        yield Text(f"{done:,} of {total:,} rows{so_far}")
        counts = progress.counts
        for count, word, meaning in (
            (counts.succeeded, "succeeded", Meaning.AS_HOPED),
            (counts.failed, "failed", Meaning.FAILED),
            (counts.rejected, "rejected", Meaning.REJECTED),
            (progress.rows_waiting, "waiting for a retry", Meaning.TO_WAIT_FOR),
        ):
            yield Text(f"{count:,} {word}", meaning.value if count else Meaning.ASIDE.value)

    def _speed(self) -> Iterator[Text]:
        progress = self.progress
        if progress.batch.status is not BatchStatus.UNPACKING:
            yield Text(f"{self.rate:,.0f} rows/s")
            yield Text(f"ETA {duration(self.eta_seconds)}")
            planned = progress.batch.chunks
            chunks = f"{planned:,}" if planned is not None else f"{len(progress.chunks):,} so far"
            yield Text(f"chunks {progress.closed:,} of {chunks}", Meaning.ASIDE.value)
        yield Text(f"elapsed {duration(self.elapsed_seconds)}", Meaning.ASIDE.value)

    def _reasons(self, width: int) -> Iterator[Text]:
        if self.progress.rows_waiting:
            said = f"{self.progress.rows_waiting:,} waiting: {self.progress.waiting_reason}"
            yield Text(shorten(said, width), Meaning.TO_WAIT_FOR.value)
        for group in self.top.groups:
            line = shorten(f"{group.rows:,} {group.outcome}: {group.pattern}", width)
            yield Text(line, meaning_of(group.outcome.value).value)
        if self.top.note:
            yield Text(shorten(self.top.note, width), Meaning.ASIDE.value)
