"""The requests, units and kept bytes of an export of results as files, from how the export is cut.

The step is ``chalicelib.steps.export``; a test compares this with a meter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from chalicelib.files.form import Form
from chalicelib.files.sink import PART_BYTES
from chalicelib.store.chunk import Chunk
from chalicelib.store.exports import Export, Exports
from chalicelib.store.table import MAX_KEYS
from tally.batch import prices

_BEGUN = 2
"""Requests of ``settle``: the export's item is put, and read."""
_A_MESSAGE = 2
"""The export's item is read before the pieces, and after them."""
_A_PIECE = 4
"""Is it marked? Does the attempt stand, and does it still? Then the transaction that marks it."""
_FINISHED = 3
"""The batch and the pieces for the manifest, and the note that it was announced."""
_MARK_UNITS = 4
"""Units of a transaction that puts a small item and changes another."""
_MULTIPART = 2
"""Requests around the parts of a large object: it is begun, and completed."""
_SENDING = 10
"""Messages per request."""
_EVER_DAYS = prices.MONTH_DAYS
"""The days that results without an expiry are counted for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportUse:
    """The use of exports: ``kept_bytes`` is the size of their files, ``kept_gb_months`` that size times its time."""

    messages: int = 0
    write_units: int = 0
    read_units: float = 0.0
    dynamodb_requests: int = 0
    sqs_requests: int = 0
    s3_gets: int = 0
    s3_puts: int = 0
    kept_bytes: int = 0
    kept_gb_months: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        parts: int,
        chunks: int,
        with_failures: int,
        form: Form,
        read_units_of_chunk: float,
        sizes: Iterable[int],
        days: float,
    ) -> Self:
        """Return the use of one export; ``sizes`` are the bytes of its files, which stay so many days."""
        pieces, sizes = parts + 1, list(sizes)
        messages = pieces if parts > 1 else 1
        # If rows failed, all chunks are listed, and those with failures are read again.
        looked = -(-chunks // MAX_KEYS) if with_failures else 0
        gets = _BEGUN - 1 + _A_MESSAGE * messages + (_A_PIECE - 1) * pieces + 1 + 1
        kept = sum(sizes)
        return cls(
            messages=messages,
            write_units=1 + _MARK_UNITS * pieces + 1,
            read_units=gets + (chunks if with_failures else 0) + read_units_of_chunk * (chunks + with_failures),
            dynamodb_requests=_BEGUN
            + _A_MESSAGE * messages
            + _A_PIECE * pieces
            + (chunks + with_failures + looked + 1)  # each chunk for its part, and where the first row begins
            + _FINISHED,
            sqs_requests=-(-messages // _SENDING) + 2 * messages,
            s3_gets=1 + with_failures + (chunks if form is Form.CSV else 0),
            s3_puts=1 + sum(map(_puts, sizes)) + max(0, pieces - len(sizes)),
            kept_bytes=kept,
            kept_gb_months=kept / prices.GB * days / prices.MONTH_DAYS,
        )

    def __add__(self, other: Self) -> Self:
        """Return the sum of both."""
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


NO_EXPORT = ExportUse()


def of_batch(exports: Exports, batch_id: str, attempts: int, chunks: Iterable[Chunk], read_units: float) -> ExportUse:
    """Return the use of the exports of all attempts of a batch; ``read_units`` are those of a chunk's partition.

    An earlier attempt also had failures in the chunks that a redrive has changed. Files whose items have expired are no
    longer known.
    """
    use = NO_EXPORT
    for attempt in range(1, attempts + 1):
        export = exports.find(batch_id, attempt)
        if export is None:
            continue
        failing = [
            chunk
            for chunk in chunks
            if chunk.counts.failed or chunk.counts.rejected or (attempt < attempts and chunk.redriven)
        ]
        use += ExportUse.of(
            parts=export.parts,
            chunks=export.chunks,
            with_failures=len(failing) if export.counts.succeeded < export.counts.total else 0,
            form=export.form,
            read_units_of_chunk=read_units,
            sizes=[piece.size for piece in exports.pieces(export)],
            days=_days(export),
        )
    return use


def _days(export: Export) -> float:
    if not export.results_expire_at:
        return _EVER_DAYS
    kept = datetime.fromisoformat(export.results_expire_at) - datetime.fromisoformat(export.completed_at)
    return kept.total_seconds() / 86_400


def _puts(size: int) -> int:
    return 1 if size <= PART_BYTES else -(-size // PART_BYTES) + _MULTIPART
