"""Columns of results as CSV: they are known from what the job says, before there is a row."""

import dataclasses
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import pytest

from chalicelib.results.fields import field_columns, input_columns, result_fields
from chalicelib.results.table import Columns


class Figure(msgspec.Struct, rename="camel"):
    """Has other names in JSON."""

    office_id: str
    per_user: Decimal | None = None


class Tagged(msgspec.Struct, tag="other", tag_field="kind"):
    """Has its tag in JSON."""

    name: str


class Placed(msgspec.Struct, array_like=True):
    """Is a list in JSON."""

    name: str


@dataclasses.dataclass
class Plain:
    """Is no Struct."""

    name: str
    count: int


class Typed(TypedDict, total=False):
    """Has no field that must be there."""

    name: str


class Named(NamedTuple):
    """Is a list in JSON."""

    name: str


@pytest.mark.parametrize(
    ("returned", "fields"),
    [
        (Figure, ("officeId", "perUser")),
        (Figure | None, ("officeId", "perUser")),
        (Annotated[Figure, "a note"], ("officeId", "perUser")),
        (Figure | Plain, ("officeId", "perUser", "name", "count")),
        (Tagged | Plain, ("kind", "name", "count")),
        (Plain, ("name", "count")),
        (Typed, ("name",)),
        (Named, ()),
        (Placed, ()),
        (dict[str, int], ()),
        (int, ()),
        (None, ()),
        (Any, ()),
    ],
)
def test_fields_are_those_of_the_type_that_process_returns(returned: Any, fields: tuple[str, ...]) -> None:
    def process(row: object) -> Any:
        return row

    process.__annotations__["return"] = returned
    assert result_fields(process) == fields


def test_a_job_that_does_not_say_or_cannot_be_asked_has_no_fields() -> None:
    unsaid: Any = lambda row: row  # noqa: E731  no annotation has room in it

    def unknown(row: object) -> "NotThere":  # type: ignore[name-defined]  # noqa: F821
        return row

    assert result_fields(unsaid) == ()
    assert result_fields(unknown) == ()


def test_no_two_columns_have_the_same_name() -> None:
    assert field_columns(["id", "result_id"], ["ID", "name", "tally_line", "result_name"]) == (
        "result_result_ID",
        "name",
        "result_tally_line",
        "result_name",
    )


def test_columns_of_an_earlier_export_are_no_columns_of_the_file() -> None:
    assert input_columns(["tally_line", "tally_reason", "id", "tally_outcome"]) == ("id",)


@pytest.mark.parametrize(
    ("result", "cells"),
    [
        (b'{"a":1,"b":"x"}', ["1", "x", ""]),
        (b'{"a":1}', ["1", "", ""]),
        (b'{"a":null,"b":true}', ["", "true", ""]),
        (b'{"a":[1,{"c":2}],"b":0.10}', ['[1,{"c":2}]', "0.10", ""]),
        (b'{"a":1,"c":2}', ["1", "", '{"a":1,"c":2}']),
        (b"null", ["", "", "null"]),
        (b"[1]", ["", "", "[1]"]),
        (b'"text"', ["", "", '"text"']),
        (b"", ["", "", ""]),
    ],
)
def test_what_the_fields_do_not_hold_is_in_a_column_of_its_own(result: bytes, cells: list[str]) -> None:
    assert Columns(("id",), ("a", "b")).result_cells(msgspec.Raw(result)) == cells


def test_a_job_without_fields_has_each_result_in_one_column() -> None:
    assert Columns(("id",), ()).result_cells(msgspec.Raw(b"{}")) == ["{}"]
