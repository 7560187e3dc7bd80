"""Files of the shapes that people have, made up after real ones: a job is drafted, and takes every row of its file."""

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Outcome
from tally.draft.draft import draft
from tally.draft.files import Files
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

REPO = Path(__file__).parents[4]
JOB = "shape"

MANY = "".join(f"{number},{('red', 'green', 'blue')[number % 3]},{number * 0.25}\n" for number in range(300))
WIDE = ",".join(f"Column {number}" for number in range(1_000)) + "\n" + ",".join(map(str, range(1_000))) + "\n"
QUESTION = "How satisfied were you, on a scale from 1 (not at all) to 10 (completely), with what you were offered? " * 3

SHAPES: dict[str, tuple[str | bytes, dict[str, str]]] = {
    "row names without a header, dots, NA": (
        '"","Sepal.Length","weight (kg)"\n"1",5.1,NA\n"2",NA,70\n',
        {"index": "int", "sepal_length": "float | None", "weight_kg": "int | None"},
    ),
    "semicolons and decimal commas": ("Ort;Preis\nBonn;1,50\nKiel;2,75\n", {"ort": "str", "preis": "str"}),
    "tabs and a database's null": ("id\tnote\n1\t\\N\n2\tx\n", {"id": "int", "note": "str | None"}),
    "bars without a header": ("1|a|2.5\n2|b|3.5\n", {"column_1": "int", "column_2": "str", "column_3": "float"}),
    "carets": ("a^b\n1^2\n3^4\n", {"a": "int", "b": "int"}),
    "numbers without a header": (
        "5.1,3.5,0\n4.9,3.0,1\n",
        {"column_1": "float", "column_2": "float", "column_3": "int"},
    ),
    "text without a header": ("b1,2026-01-01\nb2,2026-01-02\n", {"column_1": "str", "column_2": "dt.date"}),
    "a header of years": ("country,2019,2020,2021\nFR,1,2,3\nDE,4,5,6\n", {"country": "str", "column_2019": "int"}),
    "words of Python": (
        "class,from,def,None\n1,2,3,4\n",
        {"class_": "int", "from_": "int", "def_": "int", "none": "int"},
    ),
    "names that the module needs": (
        "int,str,float,dt,msgspec,Decimal,Literal,rows,Row,process,date\n1,a,1.5,x,y,z,a,b,c,d,2026-01-01\n",
        {"int_": "int", "str_": "str", "float_": "float", "dt_": "str", "msgspec_": "str", "date": "dt.date"},
    ),
    "names that Row has": (
        "idempotency_key,extra,__init__,l\n1,2,3,4\n",
        {"idempotency_key_": "int", "extra_": "int", "init": "int", "l_": "int"},
    ),
    "camel case and spaces": (
        "customerID,First Name,HTTPStatus\n1,Ada,200\n",
        {"customer_id": "int", "first_name": "str"},
    ),
    "names in other scripts": (
        "Größe,温度,\u0430\n1,2,x\n",
        {"grosse": "int", "column_2": "int", "column_3": "str"},
    ),
    "Latin letters that have no mark to take off": (
        "Straße,Łódź,Ørsted,Œuvre\n1,2,3,4\n",
        {"strasse": "int", "lodz": "int", "orsted": "int", "oeuvre": "int"},
    ),
    "a first name of signs alone": ("🆔,n\n1,2\n", {"column_1": "int", "n": "int"}),
    "telephone numbers with a plus": (
        "a,b,c\n+491701234567,+5,+1234567\n+15550101234,-5,-1234567\n",
        {"a": "str", "b": "Decimal", "c": "str"},
    ),
    "a header that begins as a comment does": ("#chrom\tpos\n1\t10\n2\t20\n", {"chrom": "int", "pos": "int"}),
    "names twice, and alike but for case": (
        "note,note,Note,x-y,x y\na,b,c,1,2\n",
        {"note": "str", "note_2": "str", "note_3": "str", "x_y": "int", "x_y_2": "int"},
    ),
    "several columns without a name": (",,v,\na,b,1,c\n", {"index": "str", "column_2": "str", "v": "int"}),
    "quotes and backslashes in names": ('"size ("")","a\\b"\n1,2\n', {"size": "int", "a_b": "int"}),
    "long questions as names": (
        f'id,"{QUESTION}"\n1,yes\n',
        {"id": "int", "how_satisfied_were_you_on_a_scale_from_1": "str"},
    ),
    "codes with zeros before them": ("zip,n\n01234,1\n99999,2\n", {"zip": "str", "n": "int"}),
    "days and months in doubt": ("day\n01/02/2024\n03/04/2024\n", {"day": "str"}),
    "dates, times and offsets": (
        "d,t,at,z\n2026-01-31,12:00:00,2026-01-31 12:00:00,2026-01-31T12:00:00Z\n",
        {"d": "dt.date", "t": "dt.time", "at": "dt.datetime", "z": "dt.datetime"},
    ),
    "truth": ("a,b,c\ntrue,TRUE,yes\nfalse,False,no\n", {"a": "bool", "b": "bool", "c": "str"}),
    "odd numbers": (
        "a,b,c,d,e,f\n.5,1e5,123456789012345678901,1e999,1_000,nan\n-.5,2,1,2,3,4\n",
        {"a": "Decimal", "b": "float", "c": "str", "d": "str", "e": "str", "f": "int | None"},
    ),
    "infinity": ("a\n1.5\ninf\n", {"a": "str"}),
    "money": ("price,share\n9.99,0.5\n5,1\n", {"price": "Decimal", "share": "float"}),
    "a few cells of another kind": ("a\n1\n2\nmany\n", {"a": "str"}),
    "a column without a value": ("a,b\n1,\n2,\n", {"a": "int", "b": "str | None"}),
    "few values in many rows": (
        "n,colour,x\n" + MANY,
        {"n": "int", "colour": 'Literal["blue", "green", "red"]', "x": "float"},
    ),
    "countries, of which one is NA": (
        "code\n" + "AT\nBE\nCH\nDE\nES\nFR\nGB\nIT\nNA\nNL\nPT\nSE\n",
        {"code": "str"},
    ),
    "line ends and delimiters in cells": ('a,b\n"x,\ny","he said ""no"""\nz,"""w"""\n', {"a": "str", "b": "str"}),
    "a mark, and the line ends of Windows": ("\ufeffa,b\r\n1,2\r\n3,4\r\n", {"a": "int", "b": "int"}),
    "the line ends of old Macs": ("a,b\r1,2\r3,4\r", {"a": "int", "b": "int"}),
    "one column of sentences": ("text\nOne, two.\nThree; four, five\n", {"text": "str"}),
    "one column of times": ("at\n12:30:00\n13:45:10\n", {"at": "dt.time"}),
    "blank lines": ("\n\na,b\n\n1,2\n\n", {"a": "int", "b": "int"}),
    "white space everywhere": (" a , b\n 1 ,\t x  y \n", {"a": "int", "b": "str"}),
    "a header alone": ("a,b\n", {"a": "str | None", "b": "str | None"}),
    "a thousand columns": (WIDE, {"column_0": "int", "column_999": "int"}),
    "gzip": (gzip.compress(b"a,b\n1,x\n"), {"a": "int", "b": "str"}),
    "UTF-16": ("Ort;n\nKöln;1\nŁódź;2\n".encode("utf-16"), {"ort": "str", "n": "int"}),
    "UTF-16 without a mark": ("a,b\nx,1\ny,2\n".encode("utf-16-be"), {"a": "str", "b": "int"}),
    "an encoding of Windows": ("Ort,Größe\nMünchen,1\nKöln,2\n".encode("cp1252"), {"ort": "str", "grosse": "int"}),
    "an encoding of Central Europe": ("miasto\nŁódź\nKraków\nżółw\n".encode("cp1250"), {"miasto": "str"}),
    "JSON lines": (
        (
            '{"id": 1, "Name": "x", "at": "2026-01-31", "n": null}\n\n'
            '{"id": 2.5, "name": "NA", "at": "2026-02-01", "ok": true}\n'
        ),
        {"id": "float", "name": "str | None", "at": "dt.date", "n": "str | None", "ok": "bool | None"},
    ),
    "JSON lines with lists, objects and odd names": (
        (
            '{"class": [1], "x y": {"a": 1}, "idempotency_key": 1, "": 2}\n'
            '{"class": [], "X-Y": {}, "idempotency_key": 2, "": 3}\n'
        ),
        {"class_": "Any", "x_y": "Any", "idempotency_key_": "int", "column_4": "int"},
    ),
}


@pytest.fixture(params=sorted(SHAPES))
def shape(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    content, types = SHAPES[request.param]
    data = content if isinstance(content, bytes) else content.encode()
    suffix = ".csv.gz" if data.startswith(b"\x1f\x8b") else ".jsonl" if data.startswith(b"{") else ".csv"
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    return SimpleNamespace(path=path, data=data, types=types)


def test_a_drafted_job_takes_every_row_of_its_file(shape: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Through the whole pipeline; its process runs as it was written."""
    drafted = draft(JOB, shape.path)
    source = Files.of(drafted, REPO).module_source
    (tmp_path / "jobs").mkdir()
    with deployed_job(monkeypatch, tmp_path / "jobs", JOB, source):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload(f"inbox/{JOB}/{shape.path.name}", shape.data)
        pipeline.drain()
        assert pipeline.batch(batch).status is BatchStatus.COMPLETED
        assert [outcome.outcome for _, outcome in pipeline.outcomes(batch)] == [Outcome.SUCCEEDED] * drafted.rows


def test_a_type_is_told_by_what_a_column_holds(shape: Any) -> None:
    found = {
        column.attribute: f"{column.type.annotation}{' | None' if column.type.nullable else ''}"
        for column in draft(JOB, shape.path).columns
    }
    assert {name: found.get(name) for name in shape.types} == shape.types
