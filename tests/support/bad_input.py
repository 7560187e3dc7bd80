"""A sample of every kind of bad input that docs/bad-input.md has a row for, by the name that the row gives it.

To add a row, add its sample here and the row there: a test refuses either without the other, and runs all of them.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from tally.testing.pipeline import Pipeline

NAME = "hostile"
"""The job that takes the samples."""
_JOB = """
import asyncio, sys
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
import msgspec
from chalicelib import rows
from chalicelib.errors import PermanentError

class PanicException(BaseException):
    pass

class Row(rows.Row, kw_only=True):
    id: str
    note: str | None = None
    amount: Decimal | None = None
    number: int | None = None
    share: float | None = None
    day: date | None = None
    at: datetime | None = None
    kind: Literal["good", "odd"] = "good"

    def __post_init__(self):
        if self.id == "rule":
            raise ValueError("note must not be this")
        if self.id == "broken rule":
            self.id = 1 / 0
        if self.id == "object":
            self.note = object()

def heavy(row):
    return row.id == "heavy" and {}["shelf"]

def nested(levels):
    return [] if levels == 1 else [nested(levels - 1)]

def never_ends():
    found = []
    found.append(found)
    return found

def process(row):
    match row.id:
        case "permanent":
            raise PermanentError("no exchange rate for XXX")
        case "raises":
            raise KeyError("rate")
        case "exits":
            sys.exit(1)
        case "panics":
            raise PanicException("index out of bounds")
        case "cancels":
            raise asyncio.CancelledError
        case "recursion":
            return process(row)
        case "large":
            return "x" * 1_000_000
        case "no json":
            return object()
        case "surrogate":
            return "\\ud800"
        case "digits":
            return 10**5_000
        case "nested":
            return nested(101)
        case "cycle":
            return never_ends()
        case "raw":
            return msgspec.Raw(b"{no JSON")
        case "nan":
            return float("nan")
    return None if len(row.note or "") > 100 else row.note or row.number or row.at or row.amount or row.id
"""
_IGNORING = 'EXTRA = "ignore"' + _JOB
_JSON = 'FORMAT = "jsonl"' + _JOB
_UTF_16 = 'ENCODING = "utf-16"' + _JOB


def _with(column: str, cell: bytes | str, *, row: str = "a") -> bytes:
    """Return a file with a good row, one with a cell, and another good one."""
    value = cell if isinstance(cell, bytes) else cell.encode()
    return f"id,{column}\nbefore,\n{row},".encode() + value + b"\nafter,\n"


def _row(name: str) -> bytes:
    return _with("note", "", row=name)


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "id\n1\n")
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("day.csv"))
    return file.getvalue()


def _delete(pipeline: Pipeline) -> None:
    pipeline.s3.objects.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A file, and what happens to it: ``before`` it is planned, and ``meanwhile``, before its rows are read."""

    content: bytes
    key: str = f"inbox/{NAME}/day.csv"
    job: str = _JOB
    before: Callable[[Pipeline], None] = lambda _: None
    meanwhile: Callable[[Pipeline], None] = lambda _: None


_FILE = b"id,note\na,fine\n"
_BINARY = {
    "xlsx": _zip("[Content_Types].xml", "xl/workbook.xml"),
    "zip": _zip("day.csv"),
    "tar": _tar(),
    "tar.gz": gzip.compress(_tar()),
    "parquet": b"PAR1\x15\x04\x15\x00",
    "pdf": b"%PDF-1.7\n",
    "executable": b"\x7fELF\x02\x01\x01\0",
    "html": b"<!DOCTYPE html>\n<html><title>Log in</title></html>",
    "bzip2": bz2.compress(_FILE),
    "xz": lzma.compress(_FILE),
    "zstd": b"\x28\xb5\x2f\xfd\x04\x00",
    "gzip-twice": gzip.compress(gzip.compress(_FILE)),
    "nul-file": b"\0" * 10_000,
}
_REJECTED_FILES = {
    "empty": b"",
    "blank-lines": b"\n\r\n\r\n\n",
    "spaces": b"  \n \t \n",
    "utf-16": _FILE.decode().encode("utf-16"),
    "utf-16-unmarked": _FILE.decode().encode("utf-16-le"),
    "semicolons": b"id;note\na;fine\n",
    "title-line": b"Report of May\n\nid,note\na,fine\n",
    "same-name-twice": b"id,note,Note\na,b,c\n",
    "unknown-column": b"note,x\na,b\n",
    "columns-10000": b"id," + b",".join(b"c%d" % column for column in range(2, 10_001)) + b"\na\n",
    "bidi-header": "id,\u202eeton\na,b\n".encode(),
    "quotes-in-header": b'id,"no""te","a\nb"\n1,2,3\n',
    "latin-1-header": "id,not\u00e9\n".encode("latin-1"),
    "open-quote-in-header": b'id,"note\na,b\n',
    "long-header": b"id," + b"x" * 1_100_000 + b"\na,b\n",
    "random": bytes(number * number % 251 for number in range(10_000)),
    "gzip-cut-off": gzip.compress(_FILE)[:-5],
    "gzip-damaged": gzip.compress(_FILE)[:-8] + b"\0" * 8,
    "gzip-garbage": b"\x1f\x8b" + b"garbage",
    "gzip-and-more": gzip.compress(_FILE) + b"more",
    "gzip-bomb": gzip.compress(b"\0" * 100_000_000),
    "gzip-empty": gzip.compress(b""),
}
_REJECTED_ROWS = {
    "too-few-columns": b"id,note\nbefore,\na\nafter,\n",
    "columns-400000": b"id,note\nbefore,\n" + b"," * 399_999 + b"x\nafter,\n",
    "decimal": _with("amount", "1.2.3"),
    "decimal-nan": _with("amount", "NaN"),
    "float-infinity": _with("share", "-Infinity"),
    "float-1e999": _with("share", "1e999"),
    "int-of-5000-digits": _with("number", "9" * 5_000),
    "int-with-fraction": _with("number", "1.5"),
    "date-of-year-0": _with("day", "0000-01-01"),
    "date-of-year-10000": _with("day", "10000-01-01"),
    "date-that-is-none": _with("day", "2026-02-29"),
    "leap-second": _with("at", "2016-12-31T23:59:60Z"),
    "choice": _with("kind", "bad"),
    "several-cells": b"id,amount,day\nbefore,1,\n,x,2026-13-01\nafter,1,\n",
    "empty-cell": b"id,note\nbefore,\n,x\nafter,\n",
    "empty-row": b"id,note\nbefore,\n , \nafter,\n",
    "bidi-cell": _with("number", "\u202e12"),
    "latin-1": _with("note", "caf\u00e9".encode("latin-1")),
    "surrogate": _with("note", b"a\xed\xa0\x80"),
    "header-again": b"id,number\nbefore,\nID,Number\nafter,\n",
    "row-over-item": _with("note", "x" * 390_000),
    "line-over-1-mib": _with("note", "x" * 1_100_000),
    "open-quote": _with("note", '"never closed'),
    "rule": _row("rule"),
    "broken-rule": _row("broken rule"),
    "rule-leaves-object": b"id,number\nbefore,\nobject,\nafter,\n",
}
_FAILED_ROWS = (
    "permanent", "raises", "exits", "cancels", "panics", "recursion", "large", "no json", "surrogate", "digits",
    "nested", "cycle", "raw", "heavy",
)  # fmt: skip
_TAKEN = {
    "header-only": b"id,note\n",
    "header-without-end": b"id,note",
    "line-without-end": b"id,note\na,fine",
    "mixed-line-ends": b'id,note\ra,"x\ry\nz\r\nw"\r\n\n\rb,\nc,',
    "carriage-returns": b"id,note\ra,fine\rb,\r",
    "byte-order-mark": b"\xef\xbb\xbfid,note\na,fine\n",
    "quote-in-cell": b'id,note\na,5" disk\n',
    "nul-bytes": b"i\0d,note\n\0a,f\0ine\0\n",
    "zero-width": "id,note\na,\u200bfi\u200bne\ufeff\n".encode(),
    "right-to-left": "id,note\na,\u05e9\u05dc\u05d5\u05dd \u202eabc\n".encode(),
    "combining": "id,note\na,e\u0301\n".encode(),
    "marks-100000": ("id,note\na,e" + "\u0301" * 100_000 + "\n").encode(),
    "cell-300000": b"id,note\na," + b"x" * 300_000 + b"\n",
    "brackets": b"id,note\na," + b"[" * 100_000 + b"\n",
    "decimal-1e999999": b"id,amount\na,1e999999\n",
    "int-of-4000-digits": b"id,number\na," + b"9" * 4_000 + b"\n",
    "number-as-time": b"id,at\na,1767225600\n",
    "result-nan": b"id,note\nnan,\n",
    "gzip-members": gzip.compress(b"id,note\n") + gzip.compress(b"a,fi") + gzip.compress(b"ne\n") + b"\0" * 512,
}
_KEYS = {
    "key-without-job": "inbox/day.csv",
    "key-of-no-job": "inbox/nothing/day.csv",
    "key-in-another-case": f"inbox/{NAME.upper()}/day.csv",
    "key-with-a-dot": f"inbox/{NAME}.csv/day.csv",
    "key-of-1024-bytes-without-job": "inbox/" + "x" * 1_010 + "/day.csv",
    "key-of-odd-characters": f"inbox/{NAME}/a b+c%2Fd&=?#/\u00fc\u05d0\U0001f600 .csv",
    "key-of-1024-bytes": f"inbox/{NAME}/" + "x" * 1_006 + ".csv",
}

_JSON_LINES = {
    "broken": b'{"id": "a"',
    "nan": b'{"id": "a", "share": NaN}',
    "array": b'["a"]',
    "name-twice": b'{"id": "a", "id": "b"}',
    "field-twice": b'{"id": "a", "note": "b", "NOTE": "c"}',
    "nested": b'{"id": "a", "note": ' + b"[" * 200 + b"]" * 200 + b"}",
    "half-character": b'{"id": "\\ud800"}',
    "latin-1": b'{"id": "caf\xe9"}',
    "type": b'{"id": "a", "number": "12"}',
    "missing": b'{"note": "a"}',
    "unknown": b'{"id": "a", "x": 1}',
    "long": b'{"id": "' + b"a" * 1_100_000 + b'"}',
}

SAMPLES: dict[str, Sample] = {
    **{
        f"json-{name}": Sample(content=b'{"id": "before"}\n' + line + b'\n{"id": "after"}\n', job=_JSON)
        for name, line in _JSON_LINES.items()
    },
    "json-for-csv": Sample(content=b'{"id": "a"}\n{"id": "b"}\n'),
    "json-document": Sample(content=b'[\n  {"id": "a"},\n  {"id": "b"}\n]\n', job=_JSON),
    "csv-for-json": Sample(content=_FILE, job=_JSON),
    "utf-8-for-utf-16": Sample(content=_FILE, job=_UTF_16),
    "utf-32": Sample(content=_FILE.decode().encode("utf-32")),
    **{name: Sample(content=content) for name, content in {**_BINARY, **_REJECTED_FILES, **_REJECTED_ROWS}.items()},
    **{name: Sample(content=content) for name, content in _TAKEN.items()},
    **{f"job-{name.replace(' ', '-')}": Sample(content=_row(name)) for name in _FAILED_ROWS},
    **{name: Sample(content=_FILE, key=key) for name, key in _KEYS.items()},
    "wide-header-to-ignore": Sample(content=b"id," + b"x" * 100_000 + b"\na,b\n", job=_IGNORING),
    "no-header": Sample(content=b"a,b,1,1,1.5,2026-01-01,2026-01-01T00:00:00Z,odd\n"),
    "deleted-before-planning": Sample(content=_FILE, before=_delete),
    "deleted-before-reading": Sample(content=_FILE, meanwhile=_delete),
}
"""Every sample by its name in the page."""
