"""Documents: assemble each from its subdocuments, of which most have a few and some have thousands."""

import hashlib
from typing import Annotated

import msgspec

from chalicelib import rows
from chalicelib.errors import PermanentError

ATTEMPTS = 5
"""Parts come from elsewhere in real life, and elsewhere is not always there."""
MAX_LIGHT_PARTS = 250

_BETWEEN_PARTS = "|"
_AFTER_NAME = ":"

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Row(rows.Row):
    """One document; ``parts`` is ``name: text`` for each of its subdocuments, a vertical bar between them."""

    document_id: Text
    title: Text
    parts: Text

    def __post_init__(self) -> None:
        """Refuse a part that has no name."""
        for position, part in enumerate(self.parts.split(_BETWEEN_PARTS), start=1):
            name, colon, _ = part.partition(_AFTER_NAME)
            if not (colon and name.strip()):
                raise ValueError(f"parts must be name: text, and part {position} is not")


class Result(msgspec.Struct, frozen=True):
    """The result for a document: its size, and the digest that tells two of them apart."""

    id: str
    parts: int
    words: int
    sha256: str


def heavy(row: Row) -> bool:
    """Say whether a document has more parts than it may share a message with others for."""
    return row.parts.count(_BETWEEN_PARTS) >= MAX_LIGHT_PARTS


def process(row: Row) -> Result:
    """Assemble a document; raises PermanentError for one whose parts contradict each other."""
    assembled = _assemble(row)
    document = "\n\n".join([f"# {row.title}", *(f"## {name}\n{text}" for name, text in assembled.items())])
    return Result(
        id=row.document_id,
        parts=len(assembled),
        words=sum(len(text.split()) for text in assembled.values()),
        sha256=hashlib.sha256(document.encode()).hexdigest(),
    )


def _assemble(row: Row) -> dict[str, str]:
    """Return the texts of a document by name, in its own order."""
    found: dict[str, str] = {}
    for part in row.parts.split(_BETWEEN_PARTS):
        name, _, text = part.partition(_AFTER_NAME)
        if name.strip() in found:
            # Nothing says which of them is meant, today or at any later try.
            raise PermanentError(f"document {row.document_id} has two parts called '{name.strip()[:40]}'")
        found[name.strip()] = text.strip()
    return found
