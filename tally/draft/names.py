"""Names of fields for a file's columns."""

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from chalicelib.columns import compared

_TAKEN = frozenset({
    "int", "float", "str", "bool", "list", "dict", "object", "dt", "msgspec",  # what the module's own lines name
    "idempotency_key", "extra",  # what Row has already
    "l",  # it reads as 1
    "self",
})  # fmt: skip
_MAX_CHARACTERS = 40
_FIRST_PRINTABLE = 0x20
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")
_SPARE = re.compile(r"[^a-z0-9]+")
_LETTERS = str.maketrans({
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "\u0131": "i",
})  # fmt: skip
"""Latin letters that are no letter of ASCII with a mark, which Unicode could take off."""


def found_by(headers: Sequence[str]) -> list[str | None]:
    """Return the name by which a field finds each header; None for a header that no name finds.

    The name is the header, with other marks for a double quote and a backslash, which msgspec refuses. The second of
    several equal headers has its number. Where another header is spelled like such a name, no name finds them.
    """
    alike = Counter(compared(header) for header in headers)
    seen: Counter[str] = Counter()
    found: list[str | None] = []
    for header in headers:
        key = compared(header)
        seen[key] += 1
        name = header.replace('"', "'").replace("\\", "/")
        if seen[key] > 1:
            name = f"{name}[{seen[key]}]"
        if key == "idempotency_key" and seen[key] == 1:
            name = "idempotency-key"  # Row has a field of the other name, and msgspec takes none twice
        numbered = any(f"{key}[{number}]" in alike for number in range(2, alike[key] + 1))
        found.append(None if numbered or any(ord(mark) < _FIRST_PRINTABLE for mark in name) else name)
    return found


def alias(found: str, attribute: str) -> str | None:
    """Return the name to give to a field beside its attribute; None if the attribute finds the header."""
    return None if compared(found) == attribute else found


def attributes(headers: Sequence[str]) -> list[str]:
    """Return an attribute name for each header, in order: a different identifier for each, none that hides another."""
    taken: set[str] = set()
    found = []
    for position, header in enumerate(headers, start=1):
        name = _identifier(header, position)
        wanted, number = name, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        found.append(name)
    return found


def _identifier(header: str, position: int) -> str:
    if header.isascii() and header.isidentifier() and header == header.lower():
        name = header.strip("_")
    else:
        plain = unicodedata.normalize("NFKD", header.translate(_LETTERS)).encode("ascii", "ignore").decode()
        name = _SPARE.sub("_", _CAMEL.sub("_", plain).lower()).strip("_")
    name = name[:_MAX_CHARACTERS].rstrip("_")
    if not name:
        return "index" if position == 1 and not header else f"column_{position}"
    if name[0].isdigit():
        return f"column_{name}"
    return f"{name}_" if name in _TAKEN or keyword.iskeyword(name) else name
