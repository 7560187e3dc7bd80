"""One word for one thing: no old word is in a page, a help text, a message, a docstring or Terraform."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tally.cli import tally

REPO = Path(__file__).parents[2]
OLD = {
    r"anew": "again",
    r"whoever": "a noun: every sender, readers and writers",
    r"what bec[ao]mes? of": "the outcome of",
    r"mend(s|ed|ing)?": "repair",
    r"(is|are) said": "is stated, is described, or the fact itself",
    r"goes on": "continues",
    r"in the same breath": "in the same transaction",
    r"nobody's promise": "a short sentence",
    r"acknowledgements?": "partial batch response",
    r"(?-i:[Hh]andovers?)": "continuation",
    r"bur(y|ied)": "dead letter, dead-letter handler",
    r"packs": "message",
    r"not to wait for it": "to do it now, run",
    r"(the|its|these|such|that) letters?": "dead letter",
    r"(?<!dead\s)(?<!dead-)letters? (that (killed|a redrive)|from before|(waits?|comes?) (again|in))": "dead letter",
    r"what (must|will) come of": "the outcomes to expect",
}
"""Words that must not be used, and what to write instead: docs/glossary.md has the words."""
FORBIDDEN = re.compile(rf"\b({'|'.join(OLD)})\b", re.IGNORECASE)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)
_HCL_CODE = re.compile(r"\$\{[^}]*\}")


def texts() -> Iterator[tuple[str, str]]:
    """Yield everything that a user or a contributor reads, and where it is."""
    pages = [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("infra/**/*.md")]
    for page in pages:
        yield str(page.relative_to(REPO)), _CODE.sub("", page.read_text(encoding="utf-8"))
    for path in [*REPO.glob("infra/**/*.tf"), *REPO.glob("infra/**/*.hcl")]:
        if ".terraform" not in path.parts:
            yield str(path.relative_to(REPO)), _HCL_CODE.sub("", path.read_text(encoding="utf-8"))
    for folder in ("app", "tally", "tools"):
        for path in sorted((REPO / folder).rglob("*.py")):
            strings = _strings(ast.parse(path.read_text(encoding="utf-8")))
            yield str(path.relative_to(REPO)), "\n".join(re.sub(r"`[^`\n]*`", "", text) for text in strings)


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(("place", "text"), [pytest.param(*found, id=found[0]) for found in texts()])
def test_no_word_of_the_old_vocabulary_is_used(place: str, text: str) -> None:
    """The words to use instead are beside them, above."""
    found = [" ".join(text[max(0, hit.start() - 30) : hit.end() + 30].split()) for hit in FORBIDDEN.finditer(text)]
    assert found == [], place


def descriptions() -> Iterator[tuple[str, str]]:
    """Yield what Terraform says to users, and where."""
    for path in sorted(REPO.glob("infra/**/*.tf")):
        if ".terraform" not in path.parts:
            found = re.findall(r'^ *(?:description|error_message) *= "(.*)"$', path.read_text("utf-8"), re.MULTILINE)
            yield str(path.relative_to(REPO)), "\n".join(found)
    yield "docs/schemas", "\n".join(path.read_text("utf-8") for path in sorted(REPO.glob("docs/schemas/**/*.json")))
    yield "help", "\n".join(_help())
    yield "Makefile", "\n".join(re.findall(r"## (.*)$", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE))
    yield "pictures", "\n".join(path.read_text("utf-8") for path in sorted(REPO.glob("docs/pictures/*.svg")))
    yield (
        "pyproject.toml",
        (REPO / "pyproject.toml").read_text("utf-8").partition("description = ")[2].partition("\n")[0],
    )


def _help() -> Iterator[str]:
    for command in tally.commands.values():
        context = click.Context(command, info_name=command.name)
        yield command.get_help(context)


OTHER_RECORDS = re.compile(r"(?<!CSV )(?<!stream )(?<!Stream )(?<!Chalice's )\brecords?\b(?! boundar)", re.IGNORECASE)
"""One word for one thing: a CSV record, a stream record, Chalice's record. What is processed is a row."""


@pytest.mark.parametrize(("place", "text"), [pytest.param(*found, id=found[0]) for found in descriptions()])
def test_what_users_are_told_has_words_of_the_glossary_in_its_sense(place: str, text: str) -> None:
    """In help texts, descriptions of Terraform and of fields, and messages of Terraform."""
    assert [match[0] for match in FORBIDDEN.finditer(text)] == [], place
    found = [text[max(0, hit.start() - 40) : hit.end() + 30] for hit in OTHER_RECORDS.finditer(text)]
    assert found == [], "say CSV record, stream record, or row"


@pytest.mark.parametrize("text", ["a file of records", "its record", "Records wait"])
def test_a_record_of_no_kind_is_found(text: str) -> None:
    assert OTHER_RECORDS.search(text)


@pytest.mark.parametrize("text", ["a CSV record", "stream records", "Chalice's record", "a record boundary"])
def test_a_record_of_a_kind_is_let_through(text: str) -> None:
    assert not OTHER_RECORDS.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "A letter from before a redrive",
        "what must come of it",
        "made anew",
        "its letters",
        "What became of a row",
        "it is said",
        "Whoever reads",
    ],
)
def test_an_old_word_is_found(text: str) -> None:
    assert FORBIDDEN.search(text)
