"""The reasons of a batch's failed and rejected rows in groups, each with the command that runs it again."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from chalicelib.store.items import Counts, Outcome
from tally.batch.reasons import Group, Grouping, Reason, Reasons, normal
from tally.batch.row_names import row_name
from tally.look import several

if TYPE_CHECKING:
    from chalicelib.store.batch import Batch
    from chalicelib.store.chunk import Chunk
    from tally.batch.reader import Progress, Reader
    from tally.output import Output

UNSUCCESSFUL = (Outcome.FAILED, Outcome.REJECTED)
MAX_TOP = 5
"""Reasons that a summary shows of each outcome."""
MAX_SAMPLED_CHUNKS = 100
"""A summary reads the reasons of so many chunks; `tally failures` reads all."""


def has_reasons(counts: Counts) -> bool:
    """Tell whether any row failed or was rejected."""
    return bool(counts.failed or counts.rejected)


def reasons_of(reader: "Reader", chunk: "Chunk") -> list[Reason]:
    """Return the reasons of a chunk's failed and rejected rows, in their order."""
    return [
        Reason(
            outcome=each.outcome,
            text=each.reason,
            code=each.code.value if each.code else "",
            row=row_name(chunk.key.number, each.row),
            line=each.line,
        )
        for _, each in reader.outcomes(chunk.key)
        if each.outcome in UNSUCCESSFUL
    ]


def read(reader: "Reader", chunks: Iterable["Chunk"], on_chunk: Callable[[], object] = lambda: None) -> Grouping:
    """Return the reasons of chunks in groups; ``on_chunk`` is called after each."""
    reasons = Reasons()
    for chunk in chunks:
        for reason in reasons_of(reader, chunk):
            reasons.add(reason)
        on_chunk()
    return reasons.grouped()


def run(output: "Output", reader: "Reader", batch: "Batch") -> Grouping:
    """Return the reasons of every failed and rejected row of a batch in groups, with a progress bar."""
    chunks = [chunk for _, chunk in sorted(reader.chunks(batch).items()) if has_reasons(chunk.counts)]
    with output.progress("reading reasons, chunks", len(chunks)) as advance:
        return read(reader, chunks, lambda: advance(1))


def redrive_command(batch: "Batch", group: Group, stage: str) -> str:
    """Return the command that runs exactly the rows of a group again."""
    rejected = " --rejected" if group.outcome is Outcome.REJECTED else ""
    return f"tally redrive {batch.id}{rejected} --reason {shlex.quote(group.pattern)} --stage {shlex.quote(stage)}"


def show(output: "Output", batch: "Batch", grouping: Grouping, stage: str) -> None:
    """Write the groups for people, one paragraph each, which fits every width."""
    if not grouping.groups:
        none = "No row has failed or was rejected" + ("." if batch.status.final else " yet.")
        output.say("The reasons have expired with the rows." if has_reasons(batch.counts) else none)
        return
    for number, group in enumerate(grouping.groups, start=1):
        share = group.rows / grouping.rows
        output.say(f"{number}. {group.rows:,} {group.outcome} ({share:.1%}): {group.pattern}")
        line = f"line {group.example.line:,}, " if group.example.line else ""
        output.say(f"   for example {line}row {group.example.row}: {normal(group.example.text)}")
        output.command(f"   {redrive_command(batch, group, stage)}")
    counts = {
        outcome: sum(each.rows for each in grouping.groups if each.outcome is outcome) for outcome in UNSUCCESSFUL
    }
    total = ", ".join(f"{rows:,} {outcome}" for outcome, rows in counts.items())
    output.say(f"{total}, for {several(len(grouping.groups), 'reason')}.")
    if counts[Outcome.REJECTED]:
        output.say(
            "Rejected rows did not fit the job's Row: correct Row, deploy it, and redrive them, "
            "or correct the file and upload it again."
        )


def as_json(batch: "Batch", grouping: Grouping, stage: str) -> dict[str, Any]:
    """Return the groups for ``--json``; ``share`` is of all failed and rejected rows."""
    return {
        "id": batch.id,
        "rows": grouping.rows,
        "groups": [
            {
                "group": number,
                **group_as_json(group),
                "share": group.rows / grouping.rows,
                "codes": list(group.codes),
                "example": {"id": group.example.row, "line": group.example.line or None, "reason": group.example.text},
                "redrive": redrive_command(batch, group, stage),
            }
            for number, group in enumerate(grouping.groups, start=1)
        ],
    }


def group_as_json(group: Group) -> dict[str, Any]:
    """Return one group as a summary has it."""
    return {"outcome": group.outcome.value, "reason": group.pattern, "rows": group.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The most frequent reasons: ``groups`` are from ``read`` chunks of the ``chunks`` that have any."""

    groups: tuple[Group, ...] = ()
    read: int = 0
    chunks: int = 0

    @property
    def lines(self) -> list[str]:
        """The lines to show: one per reason, and one more if not every chunk was read."""
        shown = [f"{group.rows:,} {group.outcome}: {group.pattern}" for group in self.groups]
        return [*shown, self.note] if self.note else shown

    @property
    def note(self) -> str:
        """A line that says that not every chunk was read; empty if every chunk was read."""
        if not self.groups or self.read >= self.chunks:
            return ""
        return f"(of {self.read:,} of {self.chunks:,} chunks with such rows: `tally failures ID` reads all)"

    def as_json(self) -> list[dict[str, Any]]:
        """Return what ``--json`` shows."""
        return [group_as_json(group) for group in self.groups]


@dataclass(slots=True)
class Sampler:
    """Reads the most frequent reasons of one batch repeatedly; an unchanged chunk is not read again."""

    reader: "Reader"
    _seen: dict[int, tuple[int, list[Reason]]] = field(default_factory=dict)
    """Version and reasons of a chunk by its number, the one that was read last at the end."""

    def top(self, progress: "Progress", max_reads: int = MAX_SAMPLED_CHUNKS) -> Top:
        """Return the most frequent reasons of either outcome, from the first chunks that have any.

        If more than ``max_reads`` chunks have changed, the others keep the reasons last read.
        """
        if not has_reasons(progress.counts):
            return Top()
        chunks = progress.chunks or self.reader.chunks(progress.batch)  # one that has ended comes without them
        every = [chunk for _, chunk in sorted(chunks.items()) if has_reasons(chunk.counts)]
        sample = every[:MAX_SAMPLED_CHUNKS]
        order = {number: at for at, number in enumerate(self._seen)}
        moved = [chunk for chunk in sample if self._seen.get(chunk.key.number, (-1, []))[0] != chunk.version]
        for chunk in sorted(moved, key=lambda chunk: order.get(chunk.key.number, -1))[:max_reads]:
            self._seen.pop(chunk.key.number, None)
            self._seen[chunk.key.number] = (chunk.version, reasons_of(self.reader, chunk))
        reasons = Reasons()
        seen = [self._seen[chunk.key.number][1] for chunk in sample if chunk.key.number in self._seen]
        for found in seen:
            for reason in found:
                reasons.add(reason)
        groups = reasons.grouped().groups
        top = [each for outcome in UNSUCCESSFUL for each in islice(_of(groups, outcome), MAX_TOP)]
        return Top(groups=tuple(top), read=len(seen), chunks=len(every))

    def up_to_date(self, chunks: Iterable["Chunk"]) -> bool:
        """Tell whether the reasons of the chunks that a summary reads are as they are now."""
        every = [chunk for chunk in sorted(chunks, key=lambda chunk: chunk.key) if has_reasons(chunk.counts)]
        sample = every[:MAX_SAMPLED_CHUNKS]
        return all(self._seen.get(chunk.key.number, (-1, []))[0] == chunk.version for chunk in sample)


def _of(groups: Iterable[Group], outcome: Outcome) -> Iterable[Group]:
    return (group for group in groups if group.outcome is outcome)
