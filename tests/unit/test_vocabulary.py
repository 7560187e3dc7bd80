"""One word for one thing: no old word is in a page, a help text, a message, a docstring or Terraform."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("text", ["made anew", "its letters", "What became of a row", "it is said", "Whoever reads"])
def test_an_old_word_is_found(text: str) -> None:
    assert FORBIDDEN.search(text)
