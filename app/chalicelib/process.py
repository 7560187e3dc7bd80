"""Process: the job's own function, row by row; what it does to one row it cannot do to another."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from chalicelib import jobs
from chalicelib.items import ChunkKey, Outcome, Record, row_id, row_sk
from chalicelib.messages import (
    MAX_PART_BYTES,
    FinishedMessage,
    FinishedRow,
    RowOutcome,
    WorkMessage,
    WorkRow,
    encode,
    encoded_size,
    pack,
)
from chalicelib.plan import job_of
from chalicelib.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.table import Table

_MOST_OUTCOMES = 1_000
"""Outcomes in one message: ten transactions of the ledger, seconds of work at the worst."""
_MOST_ERROR_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Runs jobs over rows and hands their outcomes to the ledger's queue."""

    table: "Table"
    sqs: "SQSClient"
    finished_queue_url: str
    retry: "Retry"

    def process(self, message: WorkMessage) -> list[FinishedRow]:
        """Return an outcome for every row of a message; nothing is sent yet.

        Raises only for what is no row's fault: a job that is not deployed, a table that cannot be read.
        """
        job = jobs.require(job_of(message.batch))
        return [FinishedRow(row.chunk, self._run(job, message.batch, row)) for row in message.rows]

    def send(self, batch_id: str, finished: Iterable[FinishedRow]) -> int:
        """Make outcomes durable in the queue to ``finish``; returns in how many messages."""
        packs = pack(finished, size=encoded_size, most=_MOST_OUTCOMES)
        bodies = [encode(FinishedMessage(batch_id, rows)) for rows in packs]
        return send(self.sqs, self.finished_queue_url, bodies, self.retry)

    def _run(self, job: jobs.Job, batch_id: str, work: WorkRow) -> RowOutcome:
        data = work.data if bytes(work.data) else self._fetch(batch_id, work)
        if data is None:
            return _failed(work.row, "its record is no longer in the table")
        try:
            row = msgspec.json.decode(data, type=job.schema.row)
            row.idempotency_key = row_id(ChunkKey(batch_id, work.chunk), work.row)
            result = msgspec.Raw(msgspec.json.encode(job.process(row)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the job raises is this row's outcome
            return _failed(work.row, _described(error))
        outcome = RowOutcome(work.row, Outcome.SUCCEEDED, result)
        if encoded_size(FinishedRow(work.chunk, outcome)) > MAX_PART_BYTES:
            return _failed(work.row, f"the job's result is too large: {len(bytes(result)):,} bytes of JSON")
        return outcome

    def _fetch(self, batch_id: str, work: WorkRow) -> bytes | None:
        """Read a row that was too large for its message: one request, for such a row alone."""
        item = self.table.get(ChunkKey(batch_id, work.chunk).pk, row_sk(work.row))
        return Record.from_item(item).data.encode() if item else None


def _described(error: BaseException) -> str:
    """Say what was raised, in text that can be sent: an exception may hold anything, or not know what it is."""
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  its own __str__ raised
        said = type(error).__name__
    return said.encode(errors="backslashreplace").decode()


def _failed(row: int, reason: str) -> RowOutcome:
    return RowOutcome(row, Outcome.FAILED, error=reason[:_MOST_ERROR_CHARACTERS])
