"""A check for batches that stand still."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from chalicelib.retry import Retry
from chalicelib.steps.standstill import WATCH_SK
from chalicelib.store.batch import Batch, Hold, Listing, is_known
from chalicelib.store.items import batch_pk
from chalicelib.store.table import Table
from tally.doctor.finding import Finding, failed, ok, warning
from tally.doctor.patient import Patient
from tally.look import duration

MAX_BATCHES = 100
"""A bound on what is read: the oldest are those that stand still, and each of them has an alarm."""


def standing(patient: Patient) -> Iterator[Finding]:
    """Return the open batches that do not move, by the notes of ``reconcile``."""
    table = Table(dynamodb=patient.clients["dynamodb"], name=patient.expected.table_name, retry=Retry())
    keys = table.newest(Listing.OPEN)
    batches = [Batch.from_item(item) for item in table.get_all(keys[-MAX_BATCHES:]) if is_known(item)]
    noted = {item["pk"]["S"]: item for item in table.get_all((batch_pk(batch.id), WATCH_SK) for batch in batches)}
    still = 0
    # reconcile looks every few minutes: after twice that it must have seen the batch.
    patience = timedelta(minutes=2 * patient.expected.reconcile_minutes)
    for batch in sorted(batches, key=lambda batch: batch.created_at):
        note = noted.get(batch_pk(batch.id))
        if batch.hold is Hold.PAUSED:
            yield ok("batch", batch.id, f"paused; `tally resume {batch.id} --stage {patient.stage}` resumes it")
        elif note is not None and int(note["repairs"]["N"]):
            still += 1
            since = datetime.fromtimestamp(int(note["since"]["N"]), UTC)
            yield failed(
                "batch.standing",
                batch.id,
                f"has not moved for {duration((patient.now() - since).total_seconds())}, "
                f"{note['repairs']['N']} repairs moved nothing",
                "docs/runbook.md, section batch-without-progress",
            )
        elif note is None and patient.now() - datetime.fromisoformat(batch.created_at) > patience:
            still += 1
            yield warning(
                "batch.unseen",
                batch.id,
                f"open since {batch.created_at}, and reconcile has never looked at it",
                f"tally logs reconcile --stage {patient.stage}",
            )
    if not still:
        shown = f"the oldest {MAX_BATCHES} of {len(keys):,}" if len(keys) > MAX_BATCHES else f"{len(keys):,}"
        yield ok("batch.standing", patient.expected.table_name, f"{shown} open, none stands still")
