"""The chain of a batch: the batch whose results it was made of, and the batch that its results became."""

from typing import Any

from chalicelib.chaining import MAX_JOBS
from chalicelib.store.batch import Batch
from chalicelib.store.chains import Chained, NotChained

_BY_HAND = "upload the `result` of each line of `tally results {id}` to it"
_AGAIN = "`tally audit {id} --repair`"
_WHY = {
    NotChained.FAILURES: "{bad:,} of {rows:,} rows did not succeed; redrive them (`tally redrive {id}`), or let "
    "the job say THEN_WITH_FAILURES = True",
    NotChained.STOPPED: "the batch was stopped; redrive it (`tally redrive {id}`)",
    NotChained.NO_RESULTS: "no row succeeded",
    NotChained.NO_JOB: f"the stage had no such job; deploy it, then {_AGAIN}",
    NotChained.UNFIT: f'it read no JSON lines in UTF-8; set FORMAT = "jsonl" there, then {_AGAIN}',
    NotChained.TOO_DEEP: f"a chain has {MAX_JOBS} jobs at most; do the jobs lead back?",
    NotChained.FILE_GONE: f"its file was deleted before that was noted; if `tally list` has no batch of it, {_BY_HAND}",
}


def described(batch: Batch) -> list[tuple[str, str]]:
    """Return the lines of a batch's summary about its parent and its child, a name and a text each."""
    lines = []
    if batch.parent:
        lines.append(("made of", f"the results of {batch.parent.batch_id}, attempt {batch.parent.attempt}"))
    chained = _current(batch)
    if chained and chained.child:
        earlier = "" if chained.attempt == batch.attempt else f", of attempt {chained.attempt}"
        lines.append(("results to", f"{chained.child}{earlier}"))
    elif chained and chained.not_chained:
        bad = batch.rows - batch.counts.succeeded
        why = _WHY[chained.not_chained].format(id=batch.id, bad=bad, rows=batch.rows)
        lines.append(("results to", f"not to {chained.then}: {why}"))
    return lines


def in_short(batch: Batch) -> str:
    """Return both in one cell of a table; empty for a batch that is in no chain."""
    chained = _current(batch)
    parts = [f"of {batch.parent.batch_id}"] if batch.parent else []
    if chained and chained.child:
        parts.append(f"to {chained.child}")
    elif chained and chained.not_chained:
        parts.append(f"not to {chained.then}: {chained.not_chained.replace('_', ' ')}")
    return ", ".join(parts)


def as_json(batch: Batch) -> dict[str, Any]:
    """Return the fields about the chain for ``--json``."""
    chained = _current(batch)
    return {
        "parent": batch.parent.batch_id if batch.parent else "",
        "parent_attempt": batch.parent.attempt if batch.parent else None,
        "then": chained.then if chained else "",
        "child": chained.child if chained else "",
        "not_chained": chained.not_chained or "" if chained else "",
    }


def _current(batch: Batch) -> Chained | None:
    """Return where the results went; None where only an earlier attempt says why they went nowhere."""
    chained = batch.chained
    if chained and (chained.child or (batch.status.final and chained.attempt == batch.attempt)):
        return chained
    return None
