"""The table of docs/performance.md: what is generated, and where it goes."""

from pathlib import Path

import pytest

from bench.line import Line, with_table

PAGE = Path(__file__).parents[3] / "docs" / "performance.md"


def test_the_table_takes_the_place_of_the_one_before() -> None:
    """All around it stays; doing it twice changes nothing."""
    before = "Said by a person.\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nSaid after it.\n"
    line = Line(name="pipeline / the job alone", value=5.25, unit="x", most=6, raw={"pipeline s": 5.6})
    once = with_table(before, [line], said="today")
    assert "| pipeline / the job alone | 5.250 x | <= 6 | met | pipeline s 5.600 |" in once
    assert once.startswith("Said by a person.\n")
    assert once.endswith("\nSaid after it.\n")
    assert "old" not in once
    assert with_table(once, [line], said="today") == once


@pytest.mark.parametrize("marker", ["<!-- bench: begin -->", "<!-- bench: end -->"])
def test_the_page_has_a_place_for_the_table(marker: str) -> None:
    """Once each."""
    assert PAGE.read_text(encoding="utf-8").count(marker) == 1
