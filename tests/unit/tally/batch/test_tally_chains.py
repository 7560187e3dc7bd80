"""Parent and child: what `tally list` and `tally status` show of a chain."""

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from chalicelib.metrics import Metrics
from chalicelib.store.batch import Batch
from chalicelib.store.chains import Chained, NotChained, Parent
from chalicelib.store.items import Counts
from tally.batch import chains
from tally.cli import run
from tally.output import Output
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.screen import lines_on
from tests.unit.tally.finished_batch import BATCH

if TYPE_CHECKING:
    from tally.stages.stage import Stage

JOB = """
from chalicelib import rows

FORMAT = "jsonl"

class Row(rows.Row):
    a: int

def process(row):
    if row.a == 3:
        raise ValueError("three")
    return {"a": row.a + 1}

"""


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: "Stage") -> Iterator[Pipeline]:
    """Return a stage with jobs that hand their results on: first, second, third."""
    monkeypatch.setattr(Metrics, "flush", lambda _self, _stage: None)
    with ExitStack() as stack:
        for name, says in (("first", 'THEN = "second"\n'), ("second", 'THEN = "third"\n'), ("third", "")):
            stack.enter_context(deployed_job(monkeypatch, tmp_path, name, JOB + says))
        pipeline = Pipeline(monkeypatch)
        vars(stage)["dynamodb"] = pipeline.dynamodb
        yield pipeline


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    run(list(arguments))
    return capsys.readouterr().out


def test_the_list_names_the_parent_and_the_child_of_each_batch(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pipeline.upload("inbox/first/a.jsonl", b'{"a": 0}\n')
    pipeline.drain()
    listed = {row["job"]: row for row in json.loads(shown(capsys, "list", "--json"))}
    second, third = listed["second"]["id"], listed["third"]["id"]
    names = ("parent", "parent_attempt", "then", "child", "not_chained")
    assert [listed["first"][name] for name in names] == ["", None, "second", second, ""]
    assert [listed["second"][name] for name in names] == [first, 1, "third", third, ""]
    assert [listed["third"][name] for name in names] == [second, 1, "", "", ""]
    table = shown(capsys, "list")
    assert f"of {first}, to {third}" in table
    assert f"to {second}" in table


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_parent_and_child_are_whole_at_every_width(
    width: int, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pipeline.upload("inbox/first/a.jsonl", b'{"a": 0}\n')
    pipeline.drain()
    batch = pipeline.batch(first)
    assert batch.chained
    file = io.StringIO()
    console = Console(file=file, width=width, height=50, force_terminal=True, soft_wrap=True, color_system=None)
    output = Output(console=console, as_json=False)
    monkeypatch.setattr(Output, "make", classmethod(lambda _cls, **_options: output))
    run(["list"])
    words = " ".join(lines_on(width, file.getvalue())).split()
    assert words.count(f"{first},") == 1  # "of FIRST, to THIRD", where its own id has no comma
    assert words.count(batch.chained.child) == 3  # its own, and those of its parent and its child


def test_the_list_of_batches_without_a_chain_has_no_column_for_it(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.upload("inbox/third/a.jsonl", b'{"a": 0}\n')
    pipeline.drain()
    assert "results" not in shown(capsys, "list").splitlines()[0]


def test_the_status_says_whose_results_it_is_made_of_and_why_it_has_no_child(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pipeline.upload("inbox/first/a.jsonl", b'{"a": 2}\n{"a": 0}\n')
    pipeline.drain()
    second = json.loads(shown(capsys, "status", first, "--json", "--no-cost"))["child"]
    said = " ".join(shown(capsys, "status", second, "--no-cost").split())
    assert f"made of the results of {first}, attempt 1" in said
    assert (
        f"results to not to third: 1 of 2 rows did not succeed; redrive them (`tally redrive {second}`), or let "
        "the job say THEN_WITH_FAILURES = True"
    ) in said
    status = json.loads(shown(capsys, "status", second, "--json", "--no-cost"))
    assert (status["parent"], status["then"], status["child"], status["not_chained"]) == (
        first, "third", "", "failures",
    )  # fmt: skip


def ended(chained: Chained, attempt: int = 1) -> Batch:
    return replace(BATCH, rows=4, counts=Counts(succeeded=1, failed=3), attempt=attempt, chained=chained)


@pytest.mark.parametrize("reason", list(NotChained))
def test_every_reason_has_a_sentence_that_names_the_job(reason: NotChained) -> None:
    ((name, said),) = chains.described(ended(Chained(then="other", attempt=1, not_chained=reason)))
    assert name == "results to"
    assert said.startswith("not to other: ")
    assert "{" not in said


def test_why_an_earlier_attempt_has_no_child_is_not_said_of_this_one() -> None:
    earlier = ended(Chained(then="other", attempt=1, not_chained=NotChained.FAILURES), attempt=2)
    assert chains.described(earlier) == []
    assert chains.in_short(earlier) == ""


def test_the_child_of_an_earlier_attempt_is_named_until_there_is_a_later_one() -> None:
    earlier = ended(Chained(then="other", attempt=1, child="other-1"), attempt=2)
    assert chains.described(earlier) == [("results to", "other-1, of attempt 1")]


def test_a_batch_in_a_chain_names_both_of_its_neighbours() -> None:
    batch = replace(
        ended(Chained(then="other", attempt=1, child="other-1")),
        parent=Parent(batch_id="before-1", attempt=2, depth=1),
    )
    assert chains.in_short(batch) == "of before-1, to other-1"
    assert [name for name, _ in chains.described(batch)] == ["made of", "results to"]
