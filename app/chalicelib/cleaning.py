"""Cleaning of a cell: what people and exports leave in it that no schema should have to know about."""

import re
import unicodedata

_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f\x80-\x84\x86-\x9f"  # C0 and C1 controls that are not white space
    r"\u200b\u2060\ufeff"  # zero-width space, word joiner, byte order mark
    r"\ufffe\uffff]"  # noncharacters, which SQS refuses
)
_DIRTY = re.compile(r"\s\s|[^\S ]|^\s|\s$")


def clean(cell: str) -> str:
    """Return a cell in Unicode NFC, without control characters, trimmed, each inner run of white space one space."""
    if not cell.isascii():
        cell = unicodedata.normalize("NFC", cell)
    elif cell.isprintable() and "  " not in cell and cell[:1] != " " and cell[-1:] != " ":
        return cell  # by far the most cells: nothing to do
    cell = _CONTROLS.sub("", cell)
    return " ".join(cell.split()) if _DIRTY.search(cell) else cell


def clean_cells(joined: str, separator: str) -> list[str]:
    """Return the cells of a joined text, each as ``clean`` returns it.

    ``separator``, a comma or the like, stands nowhere in a cell. Nothing composes with it in Unicode, and it is no
    white space, so that what cleans a cell cleans them all at once.
    """
    if not joined.isascii():
        joined = unicodedata.normalize("NFC", joined)
    if not joined.isprintable():
        joined = " ".join(_CONTROLS.sub("", joined).split())
    elif "  " in joined:
        joined = " ".join(joined.split())
    if " " in joined:
        joined = joined.strip(" ").replace(f" {separator}", separator).replace(f"{separator} ", separator)
    return joined.split(separator)
