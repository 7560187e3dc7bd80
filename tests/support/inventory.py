"""Names of one kind, as the code declares them and as a page describes them: complaints where the two differ."""

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
MADE_UP = "made_up"
"""A name that nothing has: mutants of the code declare it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A kind of name: ``source`` loads what declares the names, ``declared`` reads them from that.

    ``described`` reads the names that ``page`` describes. ``grown`` returns the source with one name more, in which
    ``MADE_UP`` is: that name must be complained of.
    """

    kind: str
    source: Callable[[], Any]
    declared: Callable[[Any], set[str]]
    grown: Callable[[Any], Any]
    page: str
    described: Callable[[str], set[str]]

    def text(self) -> str:
        """Return the page."""
        return (REPO / self.page).read_text(encoding="utf-8")

    def complaints(self, source: Any, page: str) -> list[str]:
        """Return a line for each name that only the code, or only the page has."""
        declared, described = self.declared(source), self.described(page)
        if not declared:
            return [f"no {self.kind} was found in the code"]
        return [
            *(f"{self.kind} {name}: {self.page} does not describe it" for name in sorted(declared - described)),
            *(f"{self.kind} {name}: {self.page} describes it, and it is gone" for name in sorted(described - declared)),
        ]


def in_table(kind: str) -> Callable[[str], set[str]]:
    """Return what reads the names in the first column of the table below the comment ``all KIND``."""
    return lambda page: {name for cells in table(page, f"all {kind}") for name in coded(cells[0])}


def table(page: str, comment: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the table below a comment; nothing if there is none."""
    _, _, rest = page.partition(f"<!-- {comment} -->\n")
    rows = itertools.takewhile(lambda line: line.startswith("|"), rest.splitlines())
    for row in itertools.islice(rows, 2, None):
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def coded(text: str) -> list[str]:
    """Return what is written as code in a text."""
    return re.findall(r"`([^`]+)`", text)


def sources(*folders: str, suffix: str = "*.py") -> dict[str, str]:
    """Return the text of each source file below folders, by its path."""
    return {
        path.relative_to(REPO).as_posix(): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((REPO / folder).rglob(suffix))
        if ".chalice" not in path.parts and ".terraform" not in path.parts
    }


def with_more(text: str, path: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Return what adds a text to the end of one source file."""
    return lambda found: {**found, path: f"{found[path]}\n{text}\n"}


def log_events(found: Mapping[str, str]) -> Iterator[tuple[str, set[str]]]:
    """Yield each event that is logged, with the fields that are written out at its place."""
    for text in found.values():
        if "logger" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                event = str(node.args[0].value)
                if re.fullmatch(r"[a-z_]+\.[a-z_]+", event):
                    yield event, set(_fields(node))


def _fields(call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            for key in keyword.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)
        elif keyword.arg and keyword.arg != "extra":
            yield keyword.arg
