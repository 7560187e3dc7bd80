"""What travels through the queues, and how much of it fits into one message."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from chalicelib.errors import MessageError
from chalicelib.store.items import Outcome

MAX_MESSAGE_BYTES = 262_144
"""The queues' max_message_size; AWS provider 5 accepts no more, although SQS itself takes 1 MiB."""
ENVELOPE_BYTES = 512
"""Room for what stands around the parts of a message: ids, names, brackets."""
MAX_PART_BYTES = MAX_MESSAGE_BYTES - ENVELOPE_BYTES

# SQS takes the characters of XML 1.0 only. Holds are escaped by JSON itself; of the rest these two are excluded.
_REFUSED_BY_SQS = str.maketrans({"\ufffe": "\\ufffe", "\uffff": "\\uffff"})


ABSENT = msgspec.Raw(b"")
"""No JSON at all; a field that has it does not travel."""


class ChunkMessage(msgspec.Struct, frozen=True):
    """Asks ``ingest`` for one chunk."""

    batch: str
    chunk: int


class WorkRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row to process: its cleaned JSON, or, if that is too large for a message, nothing but its key.

    ``attempt`` is how many times the job will have been tried on it, this one included.
    """

    chunk: int
    row: int
    data: msgspec.Raw = ABSENT
    attempt: int = 1


class WorkMessage(msgspec.Struct, frozen=True):
    """Asks ``process`` for rows of one batch."""

    batch: str
    rows: list[WorkRow]


class RowOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a row: ``result`` is the JSON that the job returned, ``error`` the reason of a failure.

    ``ms`` is how many milliseconds the job took over it.
    """

    row: int
    outcome: Outcome
    result: msgspec.Raw = ABSENT
    error: str = ""
    ms: int = 0


class FinishedRow(msgspec.Struct, frozen=True):
    """A row outcome together with its chunk."""

    chunk: int
    outcome: RowOutcome


class FinishedMessage(msgspec.Struct, frozen=True):
    """Asks ``finish`` to count outcomes of one batch."""

    batch: str
    rows: list[FinishedRow]


M = TypeVar("M")
P = TypeVar("P")


def encode(message: msgspec.Struct) -> str:
    """Return the body of a message, in characters that SQS takes."""
    return _for_sqs(msgspec.json.encode(message).decode())


def decode(body: str, kind: type[M]) -> M:
    """Read a body that ``encode`` wrote; raises MessageError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise MessageError(f"not a {kind.__name__}: {error}") from error


def encoded_size(part: msgspec.Struct) -> int:
    """Return how many bytes a part takes inside a message, its comma included."""
    encoded = msgspec.json.encode(part)
    size = len(encoded) + 1
    if b"\xef\xbf\xbe" in encoded or b"\xef\xbf\xbf" in encoded:  # what _for_sqs makes longer
        size = len(_for_sqs(encoded.decode()).encode()) + 1
    return size


def pack(parts: Iterable[P], *, size: Callable[[P], int], most: int) -> Iterator[list[P]]:
    """Fill messages in order, each of at most ``most`` parts and as many bytes as a message takes.

    A part alone may exceed the bytes: keep it from here, or SQS refuses its message.
    """
    packed: list[P] = []
    room = MAX_PART_BYTES
    for part in parts:
        length = size(part)
        if packed and (length > room or len(packed) >= most):
            yield packed
            packed, room = [], MAX_PART_BYTES
        packed.append(part)
        room -= length
    if packed:
        yield packed


def _for_sqs(body: str) -> str:
    return body if body.isascii() else body.translate(_REFUSED_BY_SQS)
