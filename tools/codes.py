"""The table of codes in docs/json.md, from the enumerations and the comment beside each value."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from chalicelib.keys import Unsaved
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.chains import NotChained
from chalicelib.store.items import Outcome
from chalicelib.store.marker import ReasonCode
from tally.corrections.problems import Kind
from tally.doctor import finding
from tally.errors import ExitCode
from tally.exported import state
from tally.prove.probe import Verdict
from tools.terraform_readmes import cell

PAGE = Path(__file__).parents[1] / "docs" / "json.md"
CODES: Mapping[str, type[Enum]] = {
    "`outcome` of a row": Outcome,
    "`code` of a row": ReasonCode,
    "`status` of a batch": BatchStatus,
    "`hold` of a batch": Hold,
    "`not_chained` of a batch": NotChained,
    "`state` of results": state.State,
    "`code` of an unsaved row": Unsaved,
    "`kind` of a corrected line": Kind,
    "`state` of a finding of `doctor`": finding.State,
    "`verdict` of a probe of `prove`": Verdict,
    "`exit_status`": ExitCode,
}
"""The codes that programs compare, by the field that has them."""
_INDENT = 4
"""The indentation of a class's body, without that of its functions."""


def with_table(page: str) -> str:
    """Return the page with a current table of codes."""
    return re.sub(
        r"(<!-- all codes -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(CODES)}{found[2]}",
        page,
        flags=re.DOTALL,
    )


def table(codes: Mapping[str, type[Enum]]) -> str:
    """Return the table; raises ValueError for a value that has no comment."""
    lines = ["| field | code | what it means |", "|---|---|---|"]
    for field, values in codes.items():
        lines += [f"| {field} | `{code}` | {cell(meaning)} |" for code, meaning in meanings(values).items()]
    return "\n".join(lines) + "\n"


def meanings(values: type[Enum]) -> dict[str, str]:
    """Return the comment beside each value of an enumeration, by the value; raises ValueError where there is none."""
    source = textwrap.dedent(inspect.getsource(values))
    comments = dict(_comments(source))
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.col_offset == _INDENT:
            name = node.targets[0].id
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            said = " ".join(comments[line] for line in lines if line in comments)
            if not said:
                raise ValueError(f"{values.__name__}.{name} has no comment that says what it means.")
            found[str(values[name].value)] = said
    return found


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
