"""The columns of results as CSV, which are known before the first row is: no part waits for another."""

from collections.abc import Callable, Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from chalicelib.errors import job_errors
from chalicelib.files.form import OUR_COLUMNS

_OBJECTS = (msgspec.inspect.StructType, msgspec.inspect.DataclassType, msgspec.inspect.TypedDictType)
"""Types that msgspec writes as an object with known names."""


def result_fields(process: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names in the objects that ``process`` says it returns; none if it does not say, or returns others.

    Of a union they are those of each of its types.
    """
    try:
        returned = get_type_hints(process, include_extras=True).get("return")
        return tuple(dict.fromkeys(_names(returned)))
    except job_errors():  # a name that is imported for type checkers alone, or a type that msgspec does not take
        return ()


def input_columns(header: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a file that stand in its results: all but Tally's own."""
    return tuple(name for name in header if name not in OUR_COLUMNS)


def field_columns(inputs: Sequence[str], fields: Sequence[str]) -> tuple[str, ...]:
    """Return a column for each field of results: its name, with ``result_`` before it if a column has that name.

    Names are compared without case, as databases compare them.
    """
    taken = {name.casefold() for name in (*inputs, *OUR_COLUMNS)}
    columns = []
    for field in fields:
        column = field
        while column.casefold() in taken:
            column = f"result_{column}"
        taken.add(column.casefold())
        columns.append(column)
    return tuple(columns)


def _names(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        for each in get_args(kind):
            yield from _names(each)
        return
    found = msgspec.inspect.type_info(kind)
    if isinstance(found, _OBJECTS) and not getattr(found, "array_like", False):
        if isinstance(found, msgspec.inspect.StructType) and found.tag_field:
            yield found.tag_field
        yield from (field.encode_name for field in found.fields)
