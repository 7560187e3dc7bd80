"""The jobs that ship, and what a module must define to be one."""

import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from chalicelib import jobs
from chalicelib.errors import FatalError, PermanentError
from chalicelib.files.form import Form
from chalicelib.jobs import offices, transactions
from tests.support.builders import deployed_job, forget_jobs


def _row(**changes: object) -> transactions.Row:
    values = {
        "transaction_id": "T0000000001", "account_id": "A00000001", "booked_at": "2026-01-01T10:00:00Z",
        "value_date": "2026-01-02", "amount": "12.50", "currency": "USD", "direction": "debit",
        "counterparty_name": "Ada", "category": "food", "country": "DE", "channel": "card",
    }  # fmt: skip
    return msgspec.convert(values | changes, transactions.Row, strict=False)


def test_the_shipped_jobs_are_found_by_the_names_of_their_modules() -> None:
    """The S3 prefix is the module's name. There may be jobs of others beside them."""
    assert jobs.names() == sorted({*jobs.names(), "documents", "offices", "transactions"})
    found = jobs.find("offices")
    assert found is not None
    assert found.process is offices.process
    assert jobs.find("nothing") is None
    with pytest.raises(FatalError, match="nothing"):
        jobs.require("nothing")


def test_a_module_that_is_no_job_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The author of a job reads this."""
    (tmp_path / "half.py").write_text("def process(row): ...\n")
    monkeypatch.setattr(jobs, "__path__", [str(tmp_path)])
    monkeypatch.setattr(jobs, "names", lambda: ["half"])
    monkeypatch.delitem(sys.modules, "chalicelib.jobs.half", raising=False)
    with pytest.raises(FatalError, match=r"jobs/half\.py must define Row"):
        jobs.find.__wrapped__("half")
    assert isinstance(sys.modules.pop("chalicelib.jobs.half"), ModuleType)


CHUNKED = """
from chalicelib import rows
CHUNK_ROWS = {}
class Row(rows.Row):
    a: int
def process(row):
    return row.a
"""


@pytest.mark.parametrize("rows", [1, 2_000, None])
def test_a_job_may_say_how_many_rows_a_chunk_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: object) -> None:
    """Or leave it to the stage."""
    with deployed_job(monkeypatch, tmp_path, "chunked", CHUNKED.format(rows)):
        assert jobs.require("chunked").chunk_rows == rows


@pytest.mark.parametrize("rows", ["0", "2_001", "-1", "'9'", "1.5", "True"])
def test_a_size_of_chunks_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: str) -> None:
    """The author of a job reads the message."""
    with (
        deployed_job(monkeypatch, tmp_path, "chunked", CHUNKED.format(rows)),
        pytest.raises(FatalError, match=r"jobs/chunked\.py: CHUNK_ROWS must be a number of rows from 1 to 2,000"),
    ):
        jobs.find("chunked")


SHAPED = """
import functools
from chalicelib import rows
class Row(rows.Row):
    a: int
def two(function):
    @functools.wraps(function)
    def call(row):
        return function(row, 2)
    return call
class Callable:
    def __call__(self, row):
        return row.a
def process(row):
    return row.a
{}
"""


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ("async def process(row): return row.a", "process is async"),
        ("def process(row): yield row.a", "process has a yield"),
        ("async def process(row): yield row.a", "process has a yield"),
        ("def process(): return 1", r"process must take one row, and takes \(\)"),
        ("def process(row, other): return 1", r"process must take one row, and takes \(row, other\)"),
        ("def process(*, row): return 1", r"process must take one row, and takes \(\*, row\)"),
        ("async def heavy(row): return True", "heavy is async"),
        ("def heavy(): return True", "heavy must take one row"),
    ],
)
def test_a_function_that_no_row_can_be_given_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, definition: str, error: str
) -> None:
    """Else every row of every batch would fail, or be heavy."""
    with (
        deployed_job(monkeypatch, tmp_path, "shaped", SHAPED.format(definition)),
        pytest.raises(FatalError, match=rf"jobs/shaped\.py: {error}"),
    ):
        jobs.find("shaped")


@pytest.mark.parametrize(
    "definition",
    [
        "@two\ndef process(row, factor): return row.a * factor",
        "process = functools.partial(lambda factor, row: row.a * factor, 2)",
        "process = Callable()",
        "process = str",
        "def process(row, factor=2): return row.a * factor",
        "def process(*rows, **named): return 2",
    ],
)
def test_whatever_takes_a_row_is_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, definition: str) -> None:
    """Decorated, an object, a class, or one with further parameters that have defaults."""
    with deployed_job(monkeypatch, tmp_path, "shaped", SHAPED.format(definition)):
        assert jobs.require("shaped").name == "shaped"


@pytest.mark.parametrize(
    ("said", "form"), [("False", None), ("True", Form.JSONL), ("'jsonl'", Form.JSONL), ("'csv'", Form.CSV)]
)
def test_a_job_says_what_its_results_are_written_as(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, form: Form | None
) -> None:
    source = CHUNKED.format("1").replace("CHUNK_ROWS = 1", f"EXPORT = {said}")
    with deployed_job(monkeypatch, tmp_path, "written", source):
        assert jobs.require("written").export is form


@pytest.mark.parametrize("said", ["'xml'", "'CSV'", "None", "1", "['csv']"])
def test_a_form_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str) -> None:
    source = CHUNKED.format("1").replace("CHUNK_ROWS = 1", f"EXPORT = {said}")
    with (
        deployed_job(monkeypatch, tmp_path, "written", source),
        pytest.raises(FatalError, match=r'jobs/written\.py: EXPORT must be False or "jsonl" or "csv"'),
    ):
        jobs.find("written")


def test_a_transaction_becomes_signed_euros_with_a_fee_and_a_risk_band() -> None:
    """12.50 USD at 0.92, 0.9% by card."""
    result = transactions.process(_row(risk_score="0.9"))
    assert msgspec.json.encode(result) == b'{"id":"T0000000001","eur":"-11.50","fee":"0.10","high_risk":true}'


@pytest.mark.parametrize("amount", ["0", "-1", "1.001", "NaN", "1e20"])
def test_an_amount_that_is_no_money_is_refused(amount: str) -> None:
    """The direction says the sign."""
    with pytest.raises(msgspec.ValidationError, match="amount must be above 0"):
        _row(amount=amount)


def test_a_currency_without_a_rate_fails_the_row_at_once() -> None:
    """It is a valid row, so it is no rejection; and no later attempt finds a rate."""
    with pytest.raises(PermanentError, match="no exchange rate for XXX"):
        transactions.process(_row(currency="XXX"))


def test_an_office_without_users_has_no_figure() -> None:
    """Nothing is divided by zero."""
    assert offices.process(offices.Row(office_id="o", user_count=0, contract_count=3)).contracts_per_user is None
    assert offices.process(offices.Row(office_id="o", user_count=3, contract_count=4)).contracts_per_user == 1.33


@pytest.mark.parametrize("name", ["find", "names", "require", "sorted", "cache"])
def test_a_job_may_have_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Also that of something that the lookup itself calls; other jobs are found after it as before."""
    with deployed_job(monkeypatch, tmp_path, name, CHUNKED.format(5)):
        assert jobs.find(name) is not None
        forget_jobs("offices")
        assert jobs.require("offices").name == "offices"
        assert name in jobs.names()
