"""The codes that programs compare with: each has a comment, which the page shows."""

from enum import StrEnum

import pytest

from tally.results import schema
from tools import codes


class Commented(StrEnum):
    """One on several lines, as in ExitCode."""

    ONE = "one"  # the first
    TWO_OF_A_NAME_THAT_IS_SO_LONG_THAT_THE_COMMENT_IS_ON_A_LINE_OF_ITS_OWN = (
        "two"  # over several lines, because it does not fit into one
    )


class Uncommented(StrEnum):
    """One of two."""

    ONE = "one"  # the first
    TWO = "two"


def test_the_page_shows_what_stands_beside_each_value() -> None:
    assert codes.meanings(Commented) == {
        "one": "the first",
        "two": "over several lines, because it does not fit into one",
    }
    assert "| `color` | `one` | the first |" in codes.table({"`color`": Commented})


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Uncommented\.TWO has no comment"):
        codes.meanings(Uncommented)


@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("status", codes.CODES["`hold` of a batch"]),
        ("status", codes.CODES["`code` of an unsaved row"]),
        ("status", codes.CODES["`state` of results"]),
        ("status", codes.CODES["`not_chained` of a batch"]),
        ("redrive", codes.CODES["`kind` of a corrected line"]),
        ("doctor", codes.CODES["`state` of a finding of `doctor`"]),
    ],
)
def test_a_schema_names_every_value(command: str, values: type[StrEnum]) -> None:
    """Some are listed in the description of their field."""
    text = str(schema(command))
    assert [str(value) for value in values if str(value) not in text] == []
