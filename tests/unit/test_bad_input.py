"""Each row of the tables in docs/bad-input.md is compared with a run of its sample."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Outcome
from chalicelib.store.marker import RowOutcome
from tally.testing.pipeline import Pipeline
from tests.support.bad_input import NAME, SAMPLES, Sample
from tests.support.builders import deployed_job

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
SECTIONS = {
    "## The whole file is `rejected`": "file",
    "## One row is `rejected`": Outcome.REJECTED,
    "## One row is `failed`": Outcome.FAILED,
    "## The input is taken": Outcome.SUCCEEDED,
}
COLUMNS = 4
"""Of a table: sample, input, outcome, what to do."""


@dataclass(frozen=True, slots=True)
class Documented:
    """A row of a table; ``said`` is a reason, or the result of a row that is taken, with … for any text."""

    name: str
    outcome: str
    said: str

    def fits(self, text: str) -> bool:
        """Tell whether a reason, or a result, is what the page says."""
        return bool(re.fullmatch(".*".join(map(re.escape, self.said.split("…"))), text, re.DOTALL))


def _documented() -> list[Documented]:
    found = []
    outcome = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            outcome = SECTIONS.get(line, "")
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if outcome and cells and cells[0].startswith("`"):
            assert len(cells) == COLUMNS, f"{cells[0]} has {len(cells)} columns"
            assert all(cells), f"{cells[0]} has an empty cell"
            said = re.fullmatch(r"`+ ?(.+?) ?`+", cells[2])
            assert said, f"the outcome of {cells[0]} is no code"
            found.append(Documented(cells[0].strip("`"), outcome, said[1]))
    return found


DOCUMENTED = _documented()


@pytest.fixture
def outcomes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "_Run":
    """Run a sample from its upload until nothing is left to do."""
    sample: Sample = request.param
    with deployed_job(monkeypatch, tmp_path, NAME, sample.job):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload(sample.key, sample.content)
        sample.before(pipeline)
        pipeline.drain_uploads()
        sample.meanwhile(pipeline)
        pipeline.drain()  # every delivery is answered at once: nothing comes again
    standing = pipeline.batch(batch)
    return _Run(standing.status, standing.reason, [outcome for _, outcome in pipeline.outcomes(batch)])


@dataclass(frozen=True, slots=True)
class _Run:
    status: BatchStatus
    reason: str
    rows: list[RowOutcome]


@pytest.mark.parametrize(
    ("documented", "outcomes"),
    [(row, SAMPLES[row.name]) for row in DOCUMENTED if row.name in SAMPLES],
    ids=[row.name for row in DOCUMENTED if row.name in SAMPLES],
    indirect=["outcomes"],
)
def test_bad_input_becomes_what_the_page_says(documented: Documented, outcomes: _Run) -> None:
    """From upload to outcome, in the words of the page; the good rows beside a bad one succeed."""
    if documented.outcome == "file":
        assert (outcomes.status, outcomes.rows) == (BatchStatus.REJECTED, [])
        assert documented.fits(outcomes.reason), outcomes.reason
        return
    kinds = {row.outcome for row in outcomes.rows}
    if documented.outcome == Outcome.SUCCEEDED:
        assert outcomes.status is BatchStatus.COMPLETED
        assert kinds <= {Outcome.SUCCEEDED}
        said = bytes(outcomes.rows[0].result).decode() if outcomes.rows else "no rows"
        assert documented.fits(said), said
        return
    assert outcomes.status is BatchStatus.COMPLETED_WITH_FAILURES
    (bad,) = (row for row in outcomes.rows if row.outcome is not Outcome.SUCCEEDED)
    assert (bad.outcome, bad.code is not None) == (documented.outcome, True)
    assert documented.fits(bad.reason), bad.reason
    assert len(outcomes.rows) in {1, 3}


def test_each_row_of_the_page_has_a_sample_and_each_sample_a_row() -> None:
    """A page names every case that the tests run, and no others."""
    names = [row.name for row in DOCUMENTED]
    assert sorted(names) == sorted(SAMPLES)
