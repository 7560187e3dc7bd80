"""Attempts: the writes by which a batch that has ended runs again, and every other guarded change of its counters."""

from typing import Any

from chalicelib.store.batch import AS_READ, Batch, BatchStatus, Listing
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, batch_pk, number, text
from chalicelib.store.table import Update


def reopen_batch(batch: Batch, *, back: Chunk | None, lifts: bool = False) -> Update:
    """Return the update by which a batch continues: it gives ``back`` what a closed chunk had added.

    One that had ended begins its next attempt. ``lifts`` removes what has stopped it.
    """
    sets, adds, removes, values = next_attempt(batch)
    if lifts:
        removes.append("#hold")
    if back:
        adds = ["remaining :one", "#rows :rows", "succeeded :succeeded", "#failed :failed", "rejected :rejected"]
        taken = -back.counts
        values |= {":one": number(1), ":rows": number(-(back.rows or 0)), **taken.values()}
    clauses = {"SET": sets, "ADD": adds, "REMOVE": removes}
    expression = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)
    return change_batch(batch, expression, values)


def next_attempt(batch: Batch) -> tuple[list[str], list[str], list[str], dict[str, Any]]:
    """Return what an update sets, adds and removes, with its values, so that a batch that has ended runs again."""
    if not batch.status.final:
        return [], [], [], {}
    values = {
        ":running": text(BatchStatus.RUNNING),
        ":attempt": number(batch.attempt + 1),
        ":open": text(Listing.OPEN),
    }
    return ["#status = :running", "attempt = :attempt", "listing = :open"], [], ["completed_at"], values


def change_batch(batch: Batch, expression: str, values: dict[str, Any]) -> Update:
    """Return an update of a batch as it was read."""
    raised = (
        "SET #version = :next, " + expression.removeprefix("SET ")
        if expression.startswith("SET ")
        else (f"SET #version = :next {expression}")
    )
    return Update(
        pk=batch_pk(batch.id),
        sk=BATCH_SK,
        expression=raised,
        condition=AS_READ,
        values={":version": number(batch.version), ":next": number(batch.version + 1), **values},
    )
