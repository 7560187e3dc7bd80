"""A rough cost of a batch, from its own item alone and without a request.

It uses the file's size, the counters, and averages from the samples: how well rows compress, how long outcomes are, how
long functions run. A job that waits or computes for long costs more: ``cost`` has that from the logs. Redriven rows
count once.
"""

from datetime import datetime

from chalicelib.store.batch import Batch
from tally.batch import prices
from tally.batch.cost import Cost

_STORED_SHARE = 0.32
"""Bytes of compressed rows per byte of the file."""
_OUTCOME_BYTES = 15
"""Bytes of a row's outcome and result in its marker."""
_CHUNK_UNITS = 7
"""Write units of a chunk beside its rows and outcomes: it is planned, read, begun and counted."""
_BATCH_UNITS = 10
"""Write units of the batch's own item."""
_CHUNK_READS = 8
_CHUNK_SQS = 8
"""Requests to SQS of a chunk: to be read, to be processed, to be counted."""
_CHUNK_INVOCATIONS = 5
_GB_SECONDS_A_ROW = 0.00066
"""GB-seconds of all functions for a row of the sample in AWS, with its job's time."""
_LOG_BYTES = _CHUNK_INVOCATIONS * (prices.INVOCATION_LOG_BYTES + 220)
_EXPORT_PUTS = 5
_DAY_SECONDS = 86_400
_KIB = 1024
_DOLLAR, _LEAST = 1.0, 0.0001


def dollars(batch: Batch) -> float:
    """Return the rough cost of a batch so far, with the storage of its rows for as long as they are kept."""
    return sum(rough(batch).dollars.values())


def rough(batch: Batch) -> Cost:
    """Return the rough use of a batch; counts that do not affect dollars are 0."""
    rows, chunks = batch.counts.total, _counted_chunks(batch)
    share = rows / batch.expected_rows if batch.expected_rows else 0.0
    stored = _STORED_SHARE * batch.content_size * min(1.0, share)
    outcomes = _OUTCOME_BYTES * rows
    kept_days = batch.expires_at / _DAY_SECONDS - datetime.fromisoformat(batch.created_at).timestamp() / _DAY_SECONDS
    return Cost(
        rows=rows or 1,
        chunks=chunks,
        sampled=0,
        # Outcomes are put in transactions, which take two units for each KB.
        write_units=stored / _KIB + 2 * outcomes / _KIB + _CHUNK_UNITS * chunks + _BATCH_UNITS,
        read_units=_CHUNK_READS * chunks + (stored + outcomes) / _KIB / 4,
        dynamodb_requests=0,  # they cost by their units
        sqs_requests=_CHUNK_SQS * chunks,
        s3_requests=chunks + _EXPORT_PUTS,
        job_seconds=0.0,
        functions={"": (_CHUNK_INVOCATIONS * chunks, _GB_SECONDS_A_ROW * rows)},
        stored_gb_months=(stored + outcomes) / prices.GB * max(0.0, kept_days) / prices.MONTH_DAYS,
        log_bytes=_LOG_BYTES * chunks,
    )


def in_words(amount: float, *, about: bool) -> str:
    """Return dollars for people."""
    if amount < _LEAST:
        return f"under ${_LEAST}"
    return ("about " if about else "") + (f"${amount:,.2f}" if amount >= _DOLLAR else f"${amount:.4f}")


def _counted_chunks(batch: Batch) -> int:
    """Return the number of chunks whose rows are in the batch's counters."""
    if batch.chunks is None:
        return 0
    return batch.chunks if batch.status.final else max(0, batch.chunks - batch.remaining)
