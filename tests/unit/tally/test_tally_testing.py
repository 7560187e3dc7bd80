"""``tally.testing``: a job's own tests, under redelivery, death and lost answers, in a few lines."""

import gzip
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from tally import testing

DOCS = Path(__file__).parents[3] / "docs" / "jobs.md"
READINGS = "station,celsius\n" + "".join(f"s{number},{number}\n" for number in range(11)) + "s11,warm\n"
SOURCE = """
from collections import Counter

from chalicelib import rows
from chalicelib.errors import PermanentError

ATTEMPTS = 3
sent = Counter()

class Row(rows.Row):
    station: str
    celsius: float

def process(row):
    sent[row.idempotency_key] += 1
    if row.station == "s3" and sent[row.idempotency_key] < 3:
        raise ConnectionError(f"{row.station} does not answer")
    if row.station == "s4":
        raise PermanentError("s4 was taken down")
    if row.station == "s5":
        raise ConnectionError("s5 does not answer")
    return {"station": row.station, "kelvin": row.celsius + 273}
"""


@pytest.fixture
def weather() -> ModuleType:
    """Return a job: of its rows one needs three tries, one fails for good, one always, and one is no row."""
    module = ModuleType("weather")
    exec(SOURCE, vars(module))  # noqa: S102  a module as a job's file makes it
    return module


@pytest.mark.parametrize(
    "faults", [(), *testing.EVERY_FAULT, testing.EVERY_FAULT], ids=lambda each: type(each).__name__
)
def test_outcomes_are_the_same_whatever_goes_wrong(
    faults: testing.Faults | Iterable[testing.Faults], weather: ModuleType
) -> None:
    """The worker dies, messages come twice, answers are lost: each row is counted once, as if nothing had."""
    batch = testing.run(weather, READINGS, faults=faults)
    assert (batch.succeeded, batch.failed, batch.rejected) == (9, 2, 1)
    assert [row.line for row in batch.rows] == list(range(2, 14))
    assert batch.results == [{"station": f"s{n}", "kelvin": n + 273.0} for n in (0, 1, 2, 3, 6, 7, 8, 9, 10)]
    assert batch.at_line(6).code == "permanent"
    assert batch.at_line(13).reason == "line 13, column 2 'celsius': expected float, got 'warm'"


def test_what_comes_twice_runs_twice_and_is_counted_once(weather: ModuleType) -> None:
    batch = testing.run(weather, "station,celsius\ns1,1\ns2,2\n", faults=testing.Redelivered())
    assert batch.succeeded == len(batch.rows) == 2
    assert all(row.calls >= 2 for row in batch.rows)


def test_a_worker_that_dies_in_process_has_had_its_side_effects_under_the_same_key(weather: ModuleType) -> None:
    batch = testing.run(weather, "station,celsius\ns1,1\n", faults=testing.DiesInProcess(times=2))
    assert batch.succeeded == 1
    assert weather.sent == {batch.rows[0].idempotency_key: 3}


def test_a_row_that_raises_is_tried_as_often_as_the_job_says(weather: ModuleType) -> None:
    batch = testing.run(weather, READINGS)
    tries = {row.line: (row.outcome, row.tries, row.calls) for row in batch.rows}
    assert tries[2] == ("succeeded", 1, 1)
    assert tries[5] == ("succeeded", 3, 3)
    assert tries[6] == ("failed", 1, 1)
    assert tries[7] == ("failed", 3, 3)
    assert tries[13] == ("rejected", 0, 0)
    assert batch.at_line(7).reason == "ConnectionError: s5 does not answer"
    assert "in process" in batch.at_line(7).traceback


def test_faults_are_as_new_in_each_run(weather: ModuleType) -> None:
    """A parametrized test shares them, so a run must not use them up."""
    faults = testing.DiesInProcess()
    calls = [testing.run(weather, "station,celsius\ns1,1\n", faults=faults).calls for _ in range(2)]
    assert calls == [2, 2]


def test_slow_rows_are_sent_back_in_pieces_by_a_clock_that_nobody_waits_for(weather: ModuleType) -> None:
    clock = testing.Clock()
    quick = weather.process

    def slow(row: object) -> object:
        clock.advance(4)
        return quick(row)

    vars(weather)["process"] = slow
    rows = "station,celsius\n" + "".join(f"s1,{n}\n" for n in range(8))
    batch = testing.run(weather, rows, clock=clock, chunk_rows=8)
    assert batch.succeeded == 8
    assert batch.messages["work"] > 1
    assert {row.duration_ms for row in batch.rows} == {4000}


def test_a_rejected_file_says_why(weather: ModuleType) -> None:
    batch = testing.run(weather, "station,fahrenheit\ns1,1\n")
    assert (batch.status, batch.rows) == ("rejected", [])
    assert "lacks celsius and has unknown 'fahrenheit'" in batch.reason


def test_a_file_may_be_text_bytes_or_a_path_and_packed(weather: ModuleType, tmp_path: Path) -> None:
    packed = tmp_path / "readings.csv.gz"
    packed.write_bytes(gzip.compress(READINGS.encode()))
    wanted = testing.run(weather, READINGS)
    for content in (READINGS.encode(), packed):
        weather.sent.clear()
        batch = testing.run(weather, content)
        assert Counter(row.outcome for row in batch.rows) == Counter(row.outcome for row in wanted.rows)


def test_a_job_of_this_checkout_goes_by_its_name() -> None:
    batch = testing.run("offices", "office_id,user_count,contract_count\nA,2,5\n")
    assert batch.results == [{"office_id": "A", "contracts_per_user": 2.5}]
    with pytest.raises(LookupError, match=r"no job 'bureaus' in app/chalicelib/jobs: .*offices"):
        testing.run("bureaus", "a\n1\n")


def test_a_fault_that_never_ends_is_told(weather: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable(testing.Faults):
        def of_call(self, step: str, operation: str) -> testing.Fault:
            return testing.Fault.KILLED_BEFORE if operation == "transact_write_items" else testing.Fault.NONE

    monkeypatch.setattr("tally.testing.running.MAX_ROUNDS", 50)
    with pytest.raises(AssertionError, match=r"does not come to its end: .*upload.* still wait; last: Killed\(\)"):
        testing.run(weather, "station,celsius\ns1,1\n", faults=Unreachable())


def test_a_run_leaves_nothing_behind(weather: ModuleType) -> None:
    before = dict(os.environ)
    testing.run(weather, "station,celsius\ns1,1\n")
    assert dict(os.environ) == before
    with pytest.raises(LookupError):
        testing.run("weather", "a\n1\n")


def test_the_tests_in_the_guide_pass() -> None:
    """Each block of docs/jobs.md that has tests is run, and has some."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    ran = 0
    for block in blocks:
        names: dict[str, object] = {}
        exec(block, names)  # noqa: S102  the guide's own words
        for name, test in names.items():
            if not name.startswith("test_") or not callable(test):
                continue
            marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            for value in marks[0].args[1] if marks else [None]:
                test(**({marks[0].args[0]: value} if marks else {}))
                ran += 1
    assert ran >= 3
