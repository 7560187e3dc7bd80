"""The tutorial, on a fresh copy of the repository: its commands as they are written there, with its edits."""

import csv
import gzip
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clone import Clone, clone
from tests.support.pages import Block, blocks

pytestmark = pytest.mark.e2e

EXIT_STATUS = re.compile(r"# exit status (\d)")
EDIT = re.compile(r"the test puts this into the job (\w+)")


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Clone]:
    made = clone(tmp_path / "clone")
    yield made
    made.tally("down")


def edit(job: Path, block: Block) -> None:
    """Put the block in the place of ``process``, which is the last function of a job that was drafted."""
    before, found, _ = job.read_text("utf-8").partition("def process(")
    assert found
    job.write_text(before + block.text, "utf-8")


def run(copy: Clone, line: str) -> str:
    """Run a line of the page, which says its exit status where that is not 0; returns what it printed."""
    tool, *arguments = shlex.split(line, comments=True)
    done = copy.tally(*arguments) if tool == "tally" else copy.run(tool, *arguments)
    stated = EXIT_STATUS.search(line)
    assert done.returncode == (int(stated[1]) if stated else 0), f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_commands_of_the_tutorial_lead_from_a_file_to_its_results(copy: Clone) -> None:
    """Everything that the page promises on the way is in what the commands print."""
    shown: dict[str, str] = {}
    for block in blocks(copy.repo / "docs" / "tutorial.md"):
        if edited := EDIT.fullmatch(block.note):
            edit(copy.repo / "app" / "chalicelib" / "jobs" / f"{edited[1]}.py", block)
        elif block.language == "sh" and not block.not_run:
            shown |= {line.partition("   #")[0]: run(copy, line) for line in block.text.splitlines()}
    assert "107" in shown["tally submit examples/weather.csv --up --watch"]
    assert "ValueError: no rain measured by *" in shown["tally failures @"]
    assert "120" in shown["tally redrive @ --reason 'ValueError: no rain measured by *' --watch"]
    (part,) = (copy.repo / "results").glob("results-*.jsonl.gz")
    assert gzip.decompress(part.read_bytes()).count(b'"wet"') == 120
    assert "40 succeeded" in shown["tally try invoices 'examples/Invoices May 2026.csv'"]
    with (copy.repo / "invoices-results.csv").open(encoding="utf-8", newline="") as results:
        invoices = list(csv.DictReader(results))
    assert len(invoices) == 40
    assert {row["tally_outcome"] for row in invoices} == {"succeeded"}
