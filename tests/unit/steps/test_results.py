"""Results that nobody could read again never leave the row that made them."""

import math
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from chalicelib.steps.results import encoded


def _nested(levels: int) -> list[object]:
    found: list[object] = []
    for _ in range(levels - 1):
        found = [found]
    return found


def _endless() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("result", "json"),
    [
        (None, b"null"),
        ({"amount": Decimal("1.50"), "2": 3}, b'{"amount":"1.50","2":3}'),
        (math.nan, b"null"),
        (msgspec.Raw(b'{"a":1}'), b'{"a":1}'),
        ("[" * 500, b'"' + b"[" * 500 + b'"'),
        ('"\\' * 200 + "[{" * 200, b'"' + b'\\"\\\\' * 200 + b"[{" * 200 + b'"'),
        ([[]] * 500, b"[" + b",".join([b"[]"] * 500) + b"]"),
        (_nested(100), b"[" * 100 + b"]" * 100),
    ],
)
def test_a_result_is_kept_as_the_json_that_msgspec_makes_of_it(result: object, json: bytes) -> None:
    """Brackets in texts, and many lists beside each other, are no levels."""
    assert bytes(encoded(result)) == json


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (object, TypeError),
        (lambda: (cell for cell in "ab"), TypeError),
        (lambda: {(1, 2): 3}, TypeError),
        (lambda: "\ud800", UnicodeEncodeError),
        (lambda: 10**5_000, ValueError),
        (lambda: _nested(101), ValueError),
        (lambda: [{"a": "]"}, _nested(100)], ValueError),
        (_endless, RecursionError),
        (lambda: msgspec.Raw(b"garbage"), ValueError),
        (lambda: msgspec.Raw(b""), ValueError),
        (lambda: msgspec.Raw(b'"\xff"'), ValueError),
        (lambda: [msgspec.Raw(b"1]")], ValueError),
    ],
)
def test_a_result_without_json_raises(result: Callable[[], object], error: type[Exception]) -> None:
    """It fails its own row; in a message it would keep all others from being counted."""
    with pytest.raises(error):
        encoded(result())
