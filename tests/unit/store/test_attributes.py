"""Attributes: JSON as DynamoDB's own types, numbers exactly, and a name for what DynamoDB does not take."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.keys import Unsaved, UnsavedError
from chalicelib.store.attributes import MAX_LEVELS, attribute, json_value, value_of
from tally.testing.request_rules import faults

NUMBERS = st.integers(-(10**37), 10**37) | st.floats(allow_nan=False, allow_infinity=False, width=64).filter(
    lambda value: value == 0 or 1e-130 <= abs(value) < 1e126
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=20,
)


def exact(value: Any) -> Any:
    """Return a value with its numbers as they are written, for 1.0 is 1 to DynamoDB."""
    match value:
        case dict():
            return {name: exact(each) for name, each in value.items()}
        case list():
            return [exact(each) for each in value]
        case int() | float() if not isinstance(value, bool):
            return Decimal(repr(value))
        case _:
            return value


@given(VALUES)
def test_every_result_comes_back_as_it_was(value: Any) -> None:
    assert exact(value_of(attribute(json_value(json.dumps(value).encode())))) == exact(value)


@given(VALUES)
def test_what_is_made_is_what_dynamodb_takes(value: Any) -> None:
    item = {"key": {"S": "k"}, "job": {"S": "j"}, "result": attribute(json_value(json.dumps(value).encode()))}
    assert faults("dynamodb", "put_item", {"TableName": "tally-test", "Item": item}) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.1", "0.1"),
        ("1.10", "1.1"),
        ("-0.0", "0"),
        ("1e-7", "1E-7"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("1" + "0" * 100, "1E+100"),
        ("1e-130", "1E-130"),
        ("9.9e125", "9.9E+125"),
    ],
)
def test_a_number_is_kept_exactly(text: str, number: str) -> None:
    assert attribute(json_value(text.encode())) == {"N": number}


@pytest.mark.parametrize(
    "text",
    [
        "1" * 39,
        "1e126",
        "1e-131",
        '{"": 1}',
        '[{"a": {"": null}}]',
        "[" * (MAX_LEVELS + 1) + "]" * (MAX_LEVELS + 1),
    ],
)
def test_what_dynamodb_has_no_value_for_is_named(text: str) -> None:
    with pytest.raises(UnsavedError) as raised:
        attribute(json_value(text.encode()))
    assert raised.value.code is Unsaved.NOT_STORABLE


def test_as_many_levels_as_dynamodb_takes_are_taken() -> None:
    assert attribute(json_value(b"[" * MAX_LEVELS + b"]" * MAX_LEVELS))
