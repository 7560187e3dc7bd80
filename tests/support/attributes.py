"""The attributes of the items of the table: those that docs/architecture.md describes, and those that it does not."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from chalicelib.store.items import BATCH_SK, CHUNK_SK, MARKER_PREFIX
from tests.support.inventory import REPO, coded, in_table

EVERYWHERE = frozenset({"pk", "sk", "expires_at"})
_TABLES = {
    "attributes of a batch": BATCH_SK,
    "attributes of a chunk": CHUNK_SK,
    "attributes of a marker": MARKER_PREFIX,
}
_UNSAVED = re.compile(r"unsaved_[a-z_]+")
"""A counter for each code."""


@cache
def described() -> Mapping[str, frozenset[str]]:
    """Return the attributes of each kind of item by its sort key, and those of all other kinds by an empty one."""
    return of_page((REPO / "docs" / "architecture.md").read_text(encoding="utf-8"))


def of_page(page: str) -> dict[str, frozenset[str]]:
    """Return what a page describes."""
    items = page.partition("## The items")[2].partition("## The states of a chunk")[0]
    found = {sk: frozenset(in_table(kind)(page)) | EVERYWHERE for kind, sk in _TABLES.items()}
    return found | {"": frozenset(coded(items)) | EVERYWHERE}


def undescribed(sk: str, names: Iterable[str], page: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Yield the attributes of an item that the page does not describe."""
    kind = next(
        (prefix for prefix in _TABLES.values() if sk == prefix or (sk.startswith(prefix) and "#" in prefix)), ""
    )
    known = page[kind]
    return (f"{sk}: {name}" for name in sorted(names) if name not in known and not _UNSAVED.fullmatch(name))
