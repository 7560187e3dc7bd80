"""A job's settings for its files: their form, the cells that are null, and the columns that are allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from chalicelib.errors import FatalError
from chalicelib.files.encodings import UTF_8, named

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", ":": "colon", "^": "caret", "~": "tilde"}
"""Each with the word for it in messages. A space is none: cleaning takes spaces away."""
ATTRIBUTES = ("FORMAT", "DELIMITER", "ENCODING", "NULLS", "EXTRA", "HEADER")

_ENCODINGS = '"utf-8", "utf-16", "utf-16-le", "utf-16-be" or a single-byte encoding such as "latin-1" or "cp1252"'


class Format(StrEnum):
    """The form of a file's records."""

    CSV = "csv"
    """Cells on a line, or on several."""
    JSONL = "jsonl"
    """A JSON object on a line."""


class Extra(StrEnum):
    """The handling of a column that no field matches."""

    REJECT = "reject"
    """Reject the file."""
    IGNORE = "ignore"
    """Leave the column out of every row."""
    KEEP = "keep"
    """Keep it with every row, in ``row.extra``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The form of a file. A batch keeps it, so that the file is cut and read in one way only."""

    format: Format = Format.CSV
    delimiter: str = ","
    encoding: str = UTF_8


PLAIN = Layout()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The form of a job's files, and which of their cells and columns are taken.

    ``nulls`` are cells that mean nothing beside the empty one. ``header`` names the columns of files without a header.
    """

    layout: Layout = PLAIN
    nulls: frozenset[str] = frozenset()
    extra: Extra = Extra.REJECT
    header: tuple[str, ...] = ()

    @classmethod
    def of(cls, job: str, attributes: Mapping[str, Any]) -> Self:
        """Read it off the attributes of a job's module; raises FatalError that names job, attribute and choices."""
        given = {name: attributes[name] for name in ATTRIBUTES if name in attributes}
        format_ = given.get("FORMAT", Format.CSV)
        if not isinstance(format_, str) or format_ not in set(Format):
            raise _bad(job, "FORMAT", format_, _choices(Format))
        for name in ("DELIMITER", "HEADER") if format_ == Format.JSONL else ():
            if name in given:
                raise FatalError(f"jobs/{job}.py: {name} is for CSV, and FORMAT is {format_!r}: remove one of them")
        delimiter = given.get("DELIMITER", ",")
        if not isinstance(delimiter, str) or delimiter not in DELIMITERS:
            raise _bad(job, "DELIMITER", delimiter, f"one of {', '.join(map(repr, DELIMITERS))}")
        encoding = given.get("ENCODING", UTF_8)
        known = named(encoding) if isinstance(encoding, str) else None
        if known is None:
            raise _bad(job, "ENCODING", encoding, _ENCODINGS)
        nulls = given.get("NULLS", ())
        if not _are_texts(nulls):
            raise _bad(job, "NULLS", nulls, 'a set of texts such as {"NA", "-"}')
        extra = given.get("EXTRA", Extra.REJECT)
        if not isinstance(extra, str) or extra not in set(Extra):
            raise _bad(job, "EXTRA", extra, _choices(Extra))
        header = given.get("HEADER", ("",))
        if not (_are_texts(header) and header and isinstance(header, list | tuple)):
            raise _bad(job, "HEADER", header, 'a list of column names such as ["id", "amount"]')
        return cls(
            layout=Layout(format=Format(format_), delimiter=delimiter, encoding=known),
            nulls=frozenset(nulls),
            extra=Extra(extra),
            header=tuple(header) if "HEADER" in given else (),
        )


def _are_texts(value: object) -> bool:
    """Tell a collection of texts from one text, which is a collection of letters."""
    return isinstance(value, set | frozenset | list | tuple) and all(isinstance(item, str) for item in value)


def _choices(choices: type[StrEnum]) -> str:
    return f"one of {', '.join(repr(str(choice)) for choice in choices)}"


def _bad(job: str, attribute: str, value: object, allowed: str) -> FatalError:
    return FatalError(f"jobs/{job}.py: {attribute} must be {allowed}, got {value!r:.80}")
