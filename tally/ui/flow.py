"""The way of a batch from its file to its results: what waits at each step, where it stands, and what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.store.batch import BatchStatus, Hold
from tally.look import duration, several
from tally.ui.batch_feed import View
from tally.ui.heat_map import STANDS_AFTER, stands

EXPORT_AFTER = timedelta(minutes=5)
"""Results that are not written so long after the end of a batch are late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what was done, what waits there, and the function whose log tells more."""

    name: str
    does: str
    done: str = ""
    waits: str = ""
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
    does = "cuts the file into chunks"
    if batch.chunks is not None:
        return Step(
            name="Plan", does=does, done=f"{several(batch.chunks, 'chunk')}, {several(batch.expected_rows, 'row')}"
        )
    if batch.status is BatchStatus.UNPACKING:
        return Step(name="Plan", does=does)
    found = max(len(view.progress.chunks), batch.cursor.chunks if batch.cursor else 0)
    return Step(name="Plan", does=does, waits=f"{several(found, 'chunk')} so far", function="plan")


def _chunks(view: View) -> Iterator[Step]:
    """Return the steps that chunks take: they are read, their rows run and are counted, and they are closed."""
    chunks = list(view.progress.chunks.values())
    unread = [chunk for chunk in chunks if chunk.to_be_read]
    rows_unread = sum(len(chunk.rereads) if chunk.rows is not None else chunk.expected_rows for chunk in unread)
    open_chunks = [chunk for chunk in chunks if chunk.rows is not None and not chunk.closed]
    undone = sum(len(chunk.undone) for chunk in open_chunks)
    heavy = sum(len(chunk.undone & chunk.heavy) for chunk in open_chunks)
    complete = sum(chunk.complete for chunk in open_chunks)
    read = sum(chunk.rows is not None for chunk in chunks)
    counts = view.counts
    yield Step(
        name="Read",
        does="ingest reads and checks the rows of chunks",
        done=several(read, "chunk") if chunks else "",
        waits=f"{several(rows_unread, 'row')} of {several(len(unread), 'chunk')} to be read" if unread else "",
        function="ingest",
    )
    yield Step(
        name="Process",
        does="process runs the job, finish counts the outcomes",
        done=f"{several(counts.total, 'row')} counted" if counts.total else "",
        waits=", ".join(_undone(view, undone, heavy)),
        function="process_heavy" if heavy and heavy == undone else "process",
    )
    waits = f"{several(complete, 'chunk')} to be closed" if complete else "the batch waits" if _all_closed(view) else ""
    yield Step(
        name="Close",
        does="settle closes chunks, then the batch",
        done=several(view.progress.closed, "chunk") if view.progress.closed else "",
        waits=waits,
        function="settle",
    )


def _undone(view: View, undone: int, heavy: int) -> Iterator[str]:
    if not undone:
        return
    yield f"{several(undone, 'row')} {'waits' if undone == 1 else 'wait'} here"
    if heavy:
        yield f"{heavy:,} of them heavy"
    if view.progress.rows_waiting:
        yield f"{view.progress.rows_waiting:,} for their next try"
    if view.batch.hold is Hold.PAUSED:
        yield "for the batch is paused"


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
        function="save",
        since=begun if late else None,
    )
