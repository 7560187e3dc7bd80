"""The settings of a job for its files."""

from pathlib import Path

import pytest

from chalicelib import jobs
from chalicelib.errors import FatalError
from chalicelib.files.dialect import Dialect, Extra, Format, Layout
from tests.support.builders import deployed_job

JOB = """
from chalicelib import rows
{}
class Row(rows.Row):
    a: int
    b: int | None = None
def process(row):
    return row.a
"""


@pytest.mark.parametrize(
    ("said", "dialect"),
    [
        ("", Dialect()),
        ('DELIMITER = ";"', Dialect(layout=Layout(delimiter=";"))),
        ('ENCODING = "UTF8"', Dialect()),
        ('ENCODING = "utf-8-sig"', Dialect()),
        ('ENCODING = "UTF-16"', Dialect(layout=Layout(encoding="utf-16"))),
        ('ENCODING = "utf_16_le"', Dialect(layout=Layout(encoding="utf-16-le"))),
        ('ENCODING = "UTF-16BE"', Dialect(layout=Layout(encoding="utf-16-be"))),
        ('ENCODING = "latin-1"', Dialect(layout=Layout(encoding="iso8859-1"))),
        ('ENCODING = "windows-1252"', Dialect(layout=Layout(encoding="cp1252"))),
        ('NULLS = {"NA", "-"}', Dialect(nulls=frozenset({"NA", "-"}))),
        ('FORMAT = "jsonl"', Dialect(layout=Layout(format=Format.JSONL))),
        ('EXTRA = "keep"', Dialect(extra=Extra.KEEP)),
        ('EXTRA = "ignore"', Dialect(extra=Extra.IGNORE)),
        ('HEADER = ["A", "b"]', Dialect(header=("A", "b"))),
    ],
)
def test_a_job_says_how_its_files_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, dialect: Dialect
) -> None:
    """Each attribute may be left out."""
    with deployed_job(monkeypatch, tmp_path, "said", JOB.format(said)):
        assert jobs.require("said").schema.dialect == dialect


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('DELIMITER = "ab"', r"DELIMITER must be one of ',', ';', '\t', '|', ':', '^', '~', got 'ab'"),
        ("DELIMITER = 7", "DELIMITER must be one of"),
        ("DELIMITER = [';']", "DELIMITER must be one of"),
        ('ENCODING = "utf-32"', 'ENCODING must be "utf-8", "utf-16", "utf-16-le", "utf-16-be" or a single-byte'),
        ('ENCODING = "shift_jis"', "ENCODING must be"),
        ('ENCODING = "mac_arabic"', "ENCODING must be"),
        ('ENCODING = "cp037"', "ENCODING must be"),
        ('ENCODING = "rot13"', "ENCODING must be"),
        ('ENCODING = "no such"', "ENCODING must be"),
        ('ENCODING = "a\\0b"', "ENCODING must be"),
        ('ENCODING = ""', "ENCODING must be"),
        ("ENCODING = 8", "ENCODING must be"),
        ('NULLS = "NA"', 'NULLS must be a set of texts such as {"NA", "-"}, got \'NA\''),
        ("NULLS = {1}", "NULLS must be a set of texts"),
        ('EXTRA = "drop"', "EXTRA must be one of 'reject', 'ignore', 'keep', got 'drop'"),
        ("EXTRA = None", "EXTRA must be one of"),
        ('FORMAT = "json"', "FORMAT must be one of 'csv', 'jsonl', got 'json'"),
        ("FORMAT = ['csv']", "FORMAT must be one of"),
        ('FORMAT = "jsonl"; DELIMITER = ","', "DELIMITER is for CSV, and FORMAT is 'jsonl': remove one of them"),
        ('FORMAT = "jsonl"; HEADER = ["a"]', "HEADER is for CSV"),
        ("HEADER = []", "HEADER must be a list of column names"),
        ('HEADER = "a"', "HEADER must be a list of column names"),
        ('HEADER = ["b"]', "HEADER does not fit Row: line 1: the header lacks a"),
    ],
)
def test_a_bad_value_is_refused_when_the_job_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, reason: str
) -> None:
    """The message names job, attribute and what it may be."""
    with deployed_job(monkeypatch, tmp_path, "said", JOB.format(said)), pytest.raises(FatalError) as raised:
        jobs.find("said")
    assert str(raised.value).startswith(f"jobs/said.py: {reason}")
