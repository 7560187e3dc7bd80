"""The way of a batch from its file to its results: what waits at each step, where it stands, and what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.chunk import ChunkState
from tally.look import duration, several
from tally.ui.heat_map import STANDS_AFTER, stands
from tally.ui.queue_feed import Queues
from tally.ui.view import View

EXPORT_AFTER = timedelta(minutes=5)
"""Results that are not written so long after the end of a batch are late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what was done, what waits there, and the function whose log tells more."""

    name: str
    does: str
    done: str = ""
    waits: str = ""
    parts: tuple[str, ...] = ()
    """What waits there, more exactly."""
    queue: str = ""
    """The queue in which some of it may wait, among what waits of other batches."""
    function: str = ""
    since: datetime | None = None
    """Since when what waits there waits, at least, where that is longer than it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The first step at which a batch stands, what is known of it, and what to do."""

    step: Step
    says: str
    command: str


def steps(view: View) -> list[Step]:
    """Return the steps of a batch, from its file to the saving of its results."""
    if view.batch.status is BatchStatus.REJECTED:
        return [_file(view), Step(name="Plan", does="cuts the file into chunks", done="rejected the file")]
    running = [_file(view), _plan(view), *_chunks(view)]
    waiting = next((step for step in running if step.waits), None)
    if waiting and stands(view):
        running[running.index(waiting)] = replace(waiting, since=view.unmoved_since)
    return [*running, _event(view), *_results(view)]


def stuck(view: View, found: Sequence[Step], at: str) -> Stuck | None:
    """Return at which of its steps a batch stands, None while it moves or has nothing left to do.

    ``at`` names the stage, as a command takes it.
    """
    step = next((step for step in found if step.since), None)
    if step is None or step.since is None:
        return None
    seconds = (view.now - step.since).total_seconds()
    says = f"Stands at {step.name}: {step.waits}, and nothing has moved for {duration(seconds)} or longer. "
    noted = view.history.standstill
    if noted and noted.repairs and not view.batch.status.final:
        tries = "once" if noted.repairs == 1 else f"{noted.repairs:,} times"
        says += f"reconcile has repaired it {tries} without effect. "
    says += (
        f'The log of {step.function} may say why; the page Stage has queues and dead letters. "Audit and repair" '
        "sends again what was lost; reconcile does the same by itself after some minutes."
    )
    return Stuck(step=step, says=says, command=f"tally logs {step.function} --batch {view.batch.id}{at}")


def on_stage(step: Step, queues: Queues) -> str:
    """Return what waits in the queue of a step, of all batches of the stage; empty where none, or not known yet."""
    depth = queues.depths.get(step.queue)
    if depth is None:
        return ""
    delayed = f", {depth.delayed:,} delayed" if depth.delayed else ""
    return f"{step.queue}: {depth.visible:,} visible, {depth.in_flight:,} in flight{delayed}"


def _file(view: View) -> Step:
    batch = view.batch
    step = Step(name="File", does="was uploaded", done=several(batch.size, "byte"))
    if batch.status is not BatchStatus.UNPACKING:
        return step
    read = batch.unpacking.read if batch.unpacking else 0
    return Step(
        name="File",
        does="is unpacked",
        waits=f"{read:,} of {batch.size:,} bytes are read",
        function="plan",
    )


def _plan(view: View) -> Step:
    batch = view.batch
    step = Step(name="Plan", does="cuts the file into chunks")
    if batch.chunks is not None:
        return replace(step, done=f"{several(batch.chunks, 'chunk')}, {several(batch.expected_rows, 'row')}")
    if batch.status is BatchStatus.UNPACKING:
        return step
    chunks, cursor = view.progress.chunks.values(), batch.cursor
    found = max(len(chunks), cursor.chunks if cursor else 0)
    planned = max([chunk.end for chunk in chunks] + ([cursor.offset] if cursor else []), default=0)
    left = max(0, batch.content_size - planned)
    return replace(
        step,
        done=f"{several(found, 'chunk')} so far, {several(view.progress.found, 'row')}" if found else "",
        waits=f"{several(left, 'byte')} not planned yet" if left else "the last chunks are being written",
        function="plan",
    )


def _chunks(view: View) -> Iterator[Step]:
    """Return the steps that chunks take: they are read, their rows run and are counted, and they are closed."""
    chunks = list(view.progress.chunks.values())
    unread = [chunk for chunk in chunks if chunk.to_be_read]
    rows_unread = sum(len(chunk.rereads) if chunk.rows is not None else chunk.expected_rows for chunk in unread)
    read = sum(chunk.rows is not None for chunk in chunks)
    yield Step(
        name="Read",
        does="ingest reads and checks the rows of chunks",
        done=several(read, "chunk") if read else "",
        waits=f"{several(rows_unread, 'row')} of {several(len(unread), 'chunk')} to be read" if unread else "",
        queue="ingest" if unread else "",
        function="ingest",
    )
    rows = _Rows.of(view)
    yield from _processing(view, rows)
    counts = view.counts
    yield Step(
        name="Count",
        does="finish counts the outcomes",
        done=f"{several(counts.total, 'row')} counted" if counts.total else "",
        queue="finished" if rows.light or rows.heavy else "",
    )
    complete = sum(chunk.complete and not chunk.closed for chunk in chunks)
    waits = f"{several(complete, 'chunk')} to be closed" if complete else "the batch waits" if _all_closed(view) else ""
    yield Step(
        name="Close",
        does="settle closes chunks, then the batch",
        done=several(view.progress.closed, "chunk") if view.progress.closed else "",
        waits=waits,
        function="settle",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows that were read and have no outcome yet: light ones, by whether their chunk was begun, and heavy ones.

    A chunk is begun once a row of it was counted.
    """

    unbegun: int
    unbegun_chunks: int
    begun: int
    begun_chunks: int
    heavy: int
    light_retries: int
    heavy_retries: int
    has_heavy: bool
    """Whether the batch has heavy rows, with an outcome or without."""

    @classmethod
    def of(cls, view: View) -> Self:
        """Count them in the chunks that are known."""
        light: dict[bool, list[int]] = {False: [], True: []}
        heavy = 0
        for chunk in view.progress.chunks.values():
            if chunk.rows is None or chunk.closed:
                continue
            heavy += len(chunk.undone & chunk.heavy)
            if rows := len(chunk.undone - chunk.heavy):
                light[chunk.state is ChunkState.COUNTING].append(rows)
        waiting = view.progress.waiting
        retries = sum(len(noted.rows) for noted in waiting.values())
        heavy_retries = sum(len(noted.rows & view.progress.chunks[number].heavy) for number, noted in waiting.items())
        return cls(
            unbegun=sum(light[False]),
            unbegun_chunks=len(light[False]),
            begun=sum(light[True]),
            begun_chunks=len(light[True]),
            heavy=heavy,
            light_retries=retries - heavy_retries,
            heavy_retries=heavy_retries,
            has_heavy=any(chunk.heavy for chunk in view.progress.chunks.values()),
        )

    @property
    def light(self) -> int:
        """Rows that are not heavy."""
        return self.unbegun + self.begun


def _processing(view: View, rows: _Rows) -> Iterator[Step]:
    """Return where rows run: heavy ones have a queue and a function of their own."""
    ran = view.counts.succeeded + view.counts.failed
    parts = (
        (rows.unbegun_chunks, f"{several(rows.unbegun_chunks, 'chunk')} not begun: {several(rows.unbegun, 'row')}"),
        (rows.begun_chunks, f"{several(rows.begun_chunks, 'chunk')} begun: {several(rows.begun, 'row')} left"),
    )
    yield Step(
        name="Process",
        does="process runs the job",
        done=f"{several(ran, 'row')} succeeded or failed" if ran else "",
        waits=_waiting(view, rows.light, rows.light_retries),
        parts=tuple(text for chunks, text in parts if chunks),
        queue="work" if rows.light else "",
        function="process",
    )
    if rows.has_heavy:
        yield Step(
            name="Heavy rows",
            does="process_heavy runs the job, a row at a time",
            waits=_waiting(view, rows.heavy, rows.heavy_retries),
            queue="heavy" if rows.heavy else "",
            function="process_heavy",
        )


def _waiting(view: View, rows: int, retries: int) -> str:
    if not rows:
        return ""
    found = [f"{several(rows, 'row')} {'waits' if rows == 1 else 'wait'} here"]
    found += [f"{retries:,} for their next try"] if retries else []
    found += ["for the batch is paused"] if view.batch.hold is Hold.PAUSED else []
    return ", ".join(found)


def _all_closed(view: View) -> bool:
    batch = view.batch
    return not batch.status.final and bool(batch.chunks) and view.progress.closed == batch.chunks


def _event(view: View) -> Step:
    batch = view.batch
    does = "settle announces the end"
    if not batch.status.final:
        return Step(name="Event", does=does)
    ended = datetime.fromisoformat(batch.completed_at)
    if batch.published_attempt >= batch.attempt:
        return Step(name="Event", does=does, done=f"announced, ended at {ended:%H:%M:%S} UTC")
    late = ended if view.now - ended >= STANDS_AFTER else None
    return Step(name="Event", does=does, waits="the end is not announced yet", function="settle", since=late)


def _results(view: View) -> Iterator[Step]:
    batch, export = view.batch, view.export
    does = "export writes the files of results"
    announced = batch.status.final and batch.published_attempt >= batch.attempt
    if export is None:
        yield Step(name="Export", does=does, done="no files are written" if announced else "")
    elif export.exported_at:
        yield Step(name="Export", does=does, done=several(len(export.pieces), "file"))
    else:
        ended = datetime.fromisoformat(export.completed_at)
        yield Step(
            name="Export",
            does=does,
            done=f"{export.written:,} of {len(export.pieces):,} files" if export.written else "",
            waits=f"{several(len(export.pieces) - export.written, 'file')} to be written"
            if not export.complete
            else "the manifest is to be written",
            queue="export",
            function="export",
            since=ended if view.now - ended >= EXPORT_AFTER else None,
        )
    save = view.history.saves.get(batch.attempt) if batch.status.final else None
    if save is None:
        return
    begun = datetime.fromisoformat(save.begun_at)
    late = not save.saved_at and view.now - begun >= EXPORT_AFTER
    yield Step(
        name="Save",
        does=f"save puts results by {save.key.name} into the results table",
        done=several(save.done.rows, "row"),
        waits="" if save.saved_at else f"{several(save.rows - save.done.rows, 'row')} to be saved",
        queue="" if save.saved_at else "save",
        function="save",
        since=begun if late else None,
    )
