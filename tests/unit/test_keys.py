"""The key of a job: a column of its row, or a field of what it returns, and nothing else."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest

from chalicelib import jobs, rows
from chalicelib.errors import FatalError
from chalicelib.keys import MAX_KEY_BYTES, Key, KeySource, Unsaved, UnsavedError


class Row(rows.Row):
    """A row with a column whose name is none of Python."""

    office_id: str
    count: int = 0
    long_name: str = msgspec.field(name="Long Name", default="")


class Struct(msgspec.Struct, rename="camel"):
    """A result whose field is called otherwise in JSON."""

    report_id: str


@dataclass
class Plain:
    """A result of a dataclass."""

    report_id: str


class Typed(TypedDict):
    """A result of a dictionary."""

    report_id: str


class Tuple(NamedTuple):
    """A result that is a list in JSON."""

    report_id: str


def job(key: object, returned: object = None, **says: object) -> jobs.Job:
    """Return the job of a module with a key, whose process is annotated with a type."""

    def process(row: Row) -> object:
        return {}

    process.__annotations__["return"] = returned
    module = ModuleType("reports")
    vars(module).update({"Row": Row, "process": process, "KEY": key, **says})
    return jobs.job_of("reports", module)


@pytest.mark.parametrize(
    ("key", "returned", "name", "source"),
    [
        ("office_id", dict[str, int], "office_id", KeySource.ROW),
        ("Long Name", None, "Long Name", KeySource.ROW),
        ("long_name", None, "Long Name", KeySource.ROW),
        ("reportId", Struct, "reportId", KeySource.RESULT),
        ("reportId", Struct | None, "reportId", KeySource.RESULT),
        ("report_id", Plain, "report_id", KeySource.RESULT),
        ("report_id", Typed, "report_id", KeySource.RESULT),
    ],
)
def test_a_key_names_a_column_or_a_field_of_the_result(
    key: str, returned: object, name: str, source: KeySource
) -> None:
    assert job(key, returned).key == Key(name=name, source=source)


def test_the_result_goes_before_the_row() -> None:
    class Result(msgspec.Struct):
        office_id: str

    assert job("office_id", Result).key == Key(name="office_id", source=KeySource.RESULT)


@pytest.mark.parametrize(
    ("key", "returned"),
    [
        ("offices", Struct),
        ("report_id", Struct),  # it is reportId in JSON
        ("report_id", Tuple),  # a list in JSON
        ("report_id", dict[str, Any]),
        ("report_id", "Missing"),
        ("idempotency_key", Struct),
        ("", Struct),
        (7, Struct),
    ],
)
def test_a_key_that_names_nothing_is_refused_with_its_place(key: object, returned: object) -> None:
    with pytest.raises(FatalError, match=r"^jobs/reports\.py: KEY "):
        job(key, returned)


def test_a_key_without_files_of_results_is_refused() -> None:
    """Results are saved once their files are complete, so a job that writes none would never have any saved."""
    with pytest.raises(FatalError, match="EXPORT = False"):
        job("office_id", EXPORT=False)


def test_a_job_without_a_key_has_none() -> None:
    assert job(None).key is None


KEY = Key(name="id", source=KeySource.RESULT)


@pytest.mark.parametrize(("value", "key"), [("a", "a"), (17, "17"), (0, "0"), ("é" * 1024, "é" * 1024)])
def test_a_text_or_a_whole_number_is_a_key(value: object, key: str) -> None:
    assert KEY.found({"id": value}, {}) == key


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({}, Unsaved.NO_KEY),
        (None, Unsaved.NO_KEY),
        ([1], Unsaved.NO_KEY),
        ({"id": None}, Unsaved.NO_KEY),
        ({"id": ""}, Unsaved.NO_KEY),
        ({"id": True}, Unsaved.KEY_NOT_TEXT),
        ({"id": 1.5}, Unsaved.KEY_NOT_TEXT),
        ({"id": ["a"]}, Unsaved.KEY_NOT_TEXT),
        ({"id": "x" * (MAX_KEY_BYTES + 1)}, Unsaved.KEY_TOO_LONG),
        ({"id": "é" * MAX_KEY_BYTES}, Unsaved.KEY_TOO_LONG),
    ],
)
def test_what_is_no_key_is_named(result: object, code: Unsaved) -> None:
    with pytest.raises(UnsavedError) as raised:
        KEY.found(result, {"id": "of the row"})
    assert raised.value.code is code


def test_the_key_of_a_row_is_its_column() -> None:
    assert Key(name="id", source=KeySource.ROW).found({"id": "of the result"}, {"id": "of the row"}) == "of the row"
