"""Repair a batch on demand: the same as ``reconcile`` does for a stuck batch, at once and from here."""

from typing import TYPE_CHECKING, Any

from chalicelib.store.batch import Hold
from tally.batch.reader import Reader
from tally.output import Output

if TYPE_CHECKING:
    from chalicelib.steps.reconcile import Reconciler, Repairs


def run(output: Output, reader: Reader, reconciler: "Reconciler", batch_id: str) -> "Repairs":
    """Send again the messages that a batch lacks, correct its counters from its markers, and report both."""
    batch = reader.require(batch_id)
    with output.progress("repairing chunks", batch.chunks) as advance:
        repairs = reconciler.repair(batch_id, lambda: advance(1), thorough=True)
    for line in described(repairs):
        output.say(line)
    if reader.require(batch_id).hold is Hold.PAUSED:
        output.warn(f"the batch is paused: it does not move until `tally resume {batch_id}`.")
    return repairs


def may_be_waited_for(reader: Reader, batch_id: str) -> bool:
    """Tell whether a batch will end without an operator."""
    batch = reader.require(batch_id)
    return batch.status.final or batch.hold is not Hold.PAUSED


def described(repairs: "Repairs") -> list[str]:
    """Return the repairs, one line each."""
    done = [
        (repairs.planned_again, "planned again: its planning had not ended"),
        (repairs.chunks_sent, f"{repairs.chunks_sent:,} chunks sent to be read again"),
        (repairs.rows_sent, f"{repairs.rows_sent:,} rows without an outcome sent to be processed again"),
        (repairs.counters_repaired, f"counters set to what the markers prove: {', '.join(repairs.counters_repaired)}"),
        (repairs.chunks_closed, f"{repairs.chunks_closed:,} chunks closed that were done"),
        (repairs.completed, "ended: every chunk of it was closed"),
        (repairs.events_published, f"completion published: {repairs.events_published}"),
        (repairs.pieces_sent, f"{repairs.pieces_sent:,} files of the results asked for again"),
        (repairs.chain_asked, "asked again that the next job gets the results"),
    ]
    return [f"repaired: {what}" for happened, what in done if happened] or ["nothing to repair"]


def as_json(repairs: "Repairs") -> dict[str, Any]:
    """Return what ``--json`` shows."""
    return {
        "planned_again": repairs.planned_again,
        "chunks_sent": repairs.chunks_sent,
        "rows_sent": repairs.rows_sent,
        "counters_repaired": repairs.counters_repaired,
        "chunks_closed": repairs.chunks_closed,
        "completed": repairs.completed,
        "events_published": repairs.events_published,
        "pieces_sent": repairs.pieces_sent,
        "chain_asked": repairs.chain_asked,
    }
