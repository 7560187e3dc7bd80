"""The report of a public suite becomes a table by operation, in place of the last one."""

from typing import Any

import pytest

from tools import conformance


def _case(claim: str, status: str) -> dict[str, Any]:
    return {"fullName": claim, "status": status, "failureMessages": ["why\nwhere"] if status == "failed" else []}


def _report(**files: list[str]) -> dict[str, Any]:
    results = [
        {
            "name": f"/somewhere/tests/{file}.test.ts",
            "assertionResults": [_case(f"{file} {position}", status) for position, status in enumerate(statuses)],
        }
        for file, statuses in files.items()
    ]
    return {"testResults": results}


REPORT = _report(
    **{
        "tier1/query/gsi": ["passed", "failed", "pending"],
        "tier3/limits/itemSize": ["passed"],
        "tier1/getItem/basic": [],
    }
)


def test_tests_are_counted_by_what_they_are_about() -> None:
    """A test that was left out did neither pass nor fail."""
    page = conformance.table(conformance.tests(REPORT), engine="ministack 1", day="2026-11-26")
    assert "ministack 1, 2026-11-26: 2 of 4 tests pass." in page
    assert "| Query | 1 | 1 | 1 |" in page
    assert "| limits | 1 | 0 | 0 |" in page
    assert "| GetItem | 0 | 0 | 0 |" in page
    assert "- tier1/query/gsi 1" in page


def test_a_failed_test_keeps_the_first_line_of_what_was_seen() -> None:
    """The rest is a stack."""
    assert [case.seen for case in conformance.tests(REPORT)] == ["", "why", "", ""]


def test_a_test_of_nothing_that_was_asked_for_is_an_error() -> None:
    """Else a suite whose folders have moved would seem to pass."""
    (case,) = conformance.tests(_report(**{"tier1/scan/basic": ["passed"]}))
    with pytest.raises(ValueError, match="to unpack"):
        _ = case.operation


def test_the_table_takes_the_place_of_the_last_one_and_of_nothing_else() -> None:
    """Written twice it is there once; the page has a place for it."""
    page = f"before {conformance.BEGIN} old {conformance.END} after"
    new = f"{conformance.BEGIN} new {conformance.END}"
    assert (
        conformance.replaced(page, new)
        == conformance.replaced(conformance.replaced(page, new), new)
        == f"before {new} after"
    )
    text = conformance.PAGE.read_text(encoding="utf-8")
    assert text.count(conformance.BEGIN) == text.count(conformance.END) == 1


@pytest.mark.parametrize("operation", conformance.OPERATIONS)
def test_the_page_has_a_line_for_each_operation(operation: str) -> None:
    """It was written by the list of operations that is there now."""
    assert f"\n| {operation} | " in conformance.PAGE.read_text(encoding="utf-8")
