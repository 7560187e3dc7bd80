"""The messages of the queues: they carry keys, and to ``finish`` outcomes."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from chalicelib.bounds import grouped
from chalicelib.errors import MessageError
from chalicelib.store.marker import RowOutcome

MAX_MESSAGE_BYTES = 262_144
"""The queues' max_message_size; AWS provider 5 accepts no more, although SQS itself takes 1 MiB."""
ENVELOPE_BYTES = 2_048
"""Room for what stands around the parts of a message: ids, names, brackets, a chunk's bits."""
MAX_PART_BYTES = MAX_MESSAGE_BYTES - ENVELOPE_BYTES
MAX_RAISED_CHARACTERS = 300
"""The characters that a message carries of the reason why a row is tried again."""

# SQS takes the characters of XML 1.0 only. Controls are escaped by JSON itself; of the rest these two are excluded.
_REFUSED_BY_SQS = str.maketrans({"\ufffe": "\\ufffe", "\uffff": "\\uffff"})


class ChunkMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Asks ``ingest`` for one chunk.

    ``generation`` is the chunk's when the message was made, ``returns`` how often it was dead-lettered and sent again.
    """

    batch: str
    chunk: int
    generation: int = 1
    returns: int = 0


class WorkMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Asks ``process`` for rows of one chunk: ``rows``, or all that are not done and not heavy.

    ``generation`` is the chunk's when the message was made: one that a redrive has overtaken is dropped.
    ``attempt`` is how many times the job will have been tried on these rows, this one included; ``raised`` is why the
    try before failed. ``splits`` is how often the message was split because its worker may have died of a row,
    ``returns`` how often it was dead-lettered and sent again, because no worker had died of it.
    """

    batch: str
    chunk: int
    generation: int
    rows: list[int] | None = None
    attempt: int = 1
    raised: dict[int, str] = {}
    splits: int = 0
    returns: int = 0


class FinishedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Asks ``finish`` to count outcomes of rows of one chunk.

    ``generation`` is that of the message that caused them. ``version`` and ``done`` (the bits) are what the worker
    read of the chunk, so that it mostly need not be read again.
    """

    batch: str
    chunk: int
    generation: int
    version: int
    done: bytes
    outcomes: list[RowOutcome]


class ExportMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Asks ``export`` for pieces of a batch's results, as that attempt ended.

    ``chain`` asks that the next job gets them, in a message without pieces, which a deployment that knows no chains
    refuses: so it comes again.
    """

    batch: str
    attempt: int
    pieces: list[int] = []
    chain: bool = False


class SaveMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Asks ``save`` to put the results of a batch, as that attempt ended, into the results table.

    ``stalls`` is how many runs in a row have got no further.
    """

    batch: str
    attempt: int
    stalls: int = 0


M = TypeVar("M")


def encode(message: msgspec.Struct) -> str:
    """Return the body of a message, in characters that SQS takes."""
    return _for_sqs(msgspec.json.encode(message).decode())


def decode(body: str, kind: type[M]) -> M:
    """Read a body that ``encode`` wrote; raises MessageError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise MessageError(f"not a {kind.__name__}: {error}") from error


def outcome_size(outcome: RowOutcome) -> int:
    """Return how many bytes an outcome takes inside a message, its comma included."""
    encoded = msgspec.json.encode(outcome)
    size = len(encoded) + 1
    if b"\xef\xbf\xbe" in encoded or b"\xef\xbf\xbf" in encoded:  # what _for_sqs makes longer
        size = len(_for_sqs(encoded.decode()).encode()) + 1
    return size


def outcome_groups(outcomes: Iterable[RowOutcome]) -> Iterator[list[RowOutcome]]:
    """Return outcomes in groups that fit into a message each."""
    return grouped(outcomes, size=outcome_size, max_bytes=MAX_PART_BYTES)


def _for_sqs(body: str) -> str:
    return body if body.isascii() else body.translate(_REFUSED_BY_SQS)
