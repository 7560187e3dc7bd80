"""Chains of jobs: what a deployment refuses, and what it cannot know."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chalicelib import chaining, jobs
from chalicelib.chaining import Then
from chalicelib.errors import FatalError
from tests.support.builders import deployed_job

JOB = """
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict
import msgspec
from chalicelib import rows

class Row(rows.Row):
    a: int
    note: str | None = None

{types}

def process(row){returns}:
    return None

{says}
"""
JSONL = 'FORMAT = "jsonl"\n'


class Deployment:
    """Deploys jobs that read JSON lines, unless they say otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, stack: ExitStack) -> None:
        self._monkeypatch, self._folder, self._stack = monkeypatch, folder, stack

    def job(self, name: str, says: str = "", *, types: str = "", returns: str = "", form: str = JSONL) -> None:
        """Deploy a job."""
        source = JOB.format(types=types, returns=f" -> {returns}" if returns else "", says=form + says)
        self._stack.enter_context(deployed_job(self._monkeypatch, self._folder, name, source))

    def check(self, name: str) -> None:
        """Check the chain that begins with a job, as a deployment does."""
        chaining.require_sound(jobs.require(name), jobs.find)


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(monkeypatch, tmp_path, stack)


def test_a_job_says_which_job_takes_its_results(deployment: Deployment) -> None:
    deployment.job("first", 'THEN = "second"')
    deployment.job("second")
    deployment.job("third", 'THEN = "second"\nTHEN_WITH_FAILURES = True')
    assert jobs.require("first").then == Then(job="second")
    assert jobs.require("second").then is None
    assert jobs.require("third").then == Then(job="second", with_failures=True)
    for name in ("first", "second", "third"):
        deployment.check(name)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("THEN = 1", 'THEN must be the name of a job, such as "other"'),
        ('THEN = ""', 'THEN must be the name of a job, such as "other"'),
        ('THEN = "first"', "THEN is the job itself, which would never end: name another"),
        ("THEN_WITH_FAILURES = True", "THEN_WITH_FAILURES is for THEN: add it, or remove this"),
        ('THEN = "second"\nTHEN_WITH_FAILURES = 1', "THEN_WITH_FAILURES must be True or False"),
    ],
)
def test_a_job_with_a_wrong_then_does_not_load(deployment: Deployment, says: str, error: str) -> None:
    deployment.job("first", says)
    with pytest.raises(FatalError) as raised:
        jobs.require("first")
    assert str(raised.value) == f"jobs/first.py: {error}"


def refusal(deployment: Deployment, name: str) -> str:
    """Return what a deployment says against a job."""
    with pytest.raises(FatalError) as raised:
        deployment.check(name)
    return str(raised.value)


def test_a_job_that_is_not_there_is_refused(deployment: Deployment) -> None:
    deployment.job("first", 'THEN = "nothing"')
    assert refusal(deployment, "first") == "jobs/first.py: THEN is 'nothing', and there is no such job"


def test_jobs_that_lead_back_are_refused_at_each_of_them(deployment: Deployment) -> None:
    deployment.job("first", 'THEN = "second"')
    deployment.job("second", 'THEN = "third"')
    deployment.job("third", 'THEN = "first"')
    assert refusal(deployment, "first").endswith(
        "THEN leads back to the job, and would never end: first -> second -> third -> first"
    )
    assert refusal(deployment, "second").endswith("second -> third -> first -> second")
    assert refusal(deployment, "third").endswith("third -> first -> second -> third")


def test_a_job_that_leads_into_a_loop_is_not_blamed_for_it(deployment: Deployment) -> None:
    """Those in the loop are refused, so that nothing is deployed."""
    deployment.job("before", 'THEN = "first"')
    deployment.job("first", 'THEN = "second"')
    deployment.job("second", 'THEN = "first"')
    deployment.check("before")


@pytest.mark.parametrize(("length", "sound"), [(10, True), (11, False)])
def test_a_chain_has_ten_jobs_at_most(deployment: Deployment, length: int, *, sound: bool) -> None:
    for number in range(1, length + 1):
        deployment.job(f"job{number}", f'THEN = "job{number + 1}"' if number < length else "")
    if sound:
        deployment.check("job1")
    else:
        assert "THEN begins a chain of more than 10 jobs: job1 -> job2 -> " in refusal(deployment, "job1")
    deployment.check("job2")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("", 'reads CSV, while results are JSON lines: set FORMAT = "jsonl" there'),
        (JSONL + 'ENCODING = "utf-16"\n', "reads utf-16, while results are UTF-8: remove ENCODING there"),
    ],
)
def test_a_next_job_that_reads_another_form_is_refused(deployment: Deployment, form: str, error: str) -> None:
    deployment.job("first", 'THEN = "second"')
    deployment.job("second", form=form)
    assert refusal(deployment, "first") == f"jobs/first.py: THEN is 'second', and jobs/second.py {error}"


def test_a_next_job_that_does_not_load_is_reported_as_itself(deployment: Deployment) -> None:
    deployment.job("first", 'THEN = "second"')
    deployment.job("second", "raise RuntimeError")
    deployment.check("first")


@pytest.mark.parametrize(
    ("types", "returns", "error"),
    [
        ("class R(msgspec.Struct):\n    b: int", "R", "lacks a"),
        ("class R(msgspec.Struct):\n    a: int\n    b: int", "R", "has unknown 'b': add a field there, or set EXTRA"),
        ("class R(msgspec.Struct, tag='r'):\n    a: int", "R", "has unknown 'type'"),
        ("class R(msgspec.Struct, rename='upper'):\n    other: int", "R", "lacks a"),
        ("@dataclass\nclass R:\n    b: int", "R", "lacks a"),
        ("class R(TypedDict):\n    b: int", "R", "lacks a"),
        ("class R(NamedTuple):\n    a: int", "R", "is no JSON object with named fields"),
        ("class R(msgspec.Struct, array_like=True):\n    a: int", "R", "is no JSON object with named fields"),
        ("", "int", "is no JSON object with named fields"),
        ("", "None", "is no JSON object with named fields"),
        ("", "list[dict[str, int]]", "is no JSON object with named fields"),
    ],
)
def test_a_declared_result_that_never_fits_is_refused(
    deployment: Deployment, types: str, returns: str, error: str
) -> None:
    deployment.job("first", 'THEN = "second"', types=types, returns=returns)
    deployment.job("second")
    said = refusal(deployment, "first")
    assert said.startswith("jobs/first.py: THEN is 'second', and what process returns ")
    assert error in said


@pytest.mark.parametrize(
    ("types", "returns"),
    [
        ("class R(msgspec.Struct):\n    a: int", "R"),
        ("class R(msgspec.Struct):\n    A: int\n    Note: str", "R"),
        ("class R(msgspec.Struct, omit_defaults=True):\n    a: int\n    b: int = 0", "R"),
        ("class R(TypedDict):\n    a: int\n    b: NotRequired[int]", "R"),
        ("@dataclass\nclass R:\n    a: int", "R | None"),
        ("", "dict[str, int]"),
        ("", "Any"),
        ("", "object"),
        ("", "'Unknown'"),
        ("", ""),
    ],
)
def test_a_result_that_may_fit_is_taken(deployment: Deployment, types: str, returns: str) -> None:
    """Column names are compared as in headers; what is not certain is left to the rows."""
    deployment.job("first", 'THEN = "second"', types=types, returns=returns)
    deployment.job("second")
    deployment.check("first")


def test_a_next_job_that_ignores_columns_takes_more_fields(deployment: Deployment) -> None:
    types = "class R(msgspec.Struct):\n    a: int\n    b: int"
    deployment.job("first", 'THEN = "second"', types=types, returns="R")
    deployment.job("second", 'EXTRA = "ignore"')
    deployment.check("first")
