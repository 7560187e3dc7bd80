"""A million rows in simulated time, with fixed seeds: what docs/capacity.md says of the example and of a new table."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import hcl2
import pytest

from bench.capacity import CHUNKS, COUNTED, EXAMPLE, ON_DEMAND, ON_DEMAND_UNITS, ROWS, Result, Stage, run

INFRA = Path(__file__).parents[3] / "infra"
SEEDS = (1, 2, 3)
_run = cache(run)


def _refused(result: Result, *who: str) -> int:
    return sum(result.refused[each] for each in who)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_million_rows_at_the_minimum_of_the_example_are_counted_and_nothing_is_refused(seed: int) -> None:
    """Within a quarter of an hour, before auto scaling has added anything."""
    result = _run(EXAMPLE, seed=seed)
    assert result.counted == CHUNKS
    assert not result.refused
    assert result.seconds < 900


def test_the_simulated_example_is_the_one_that_is_shown() -> None:
    """Its minimum, and how many may run."""
    with (INFRA / "examples" / "prod.example.tfvars").open(encoding="utf-8") as file:
        shown = hcl2.load(file)
    overrides = shown["function_overrides"]
    limits = {name: int(overrides[name]["maximum_concurrency"]) for name in ("ingest", "finish", "dead_letters")}
    assert EXAMPLE.units == int(shown["provisioned_capacity"]["write"]["min"])
    assert (EXAMPLE.ingest, EXAMPLE.finish) == (limits["ingest"], limits["finish"])
    assert EXAMPLE.writers == limits["finish"] + 5 * limits["dead_letters"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_table_refuses_nothing_of_a_million_rows(seed: int) -> None:
    """No table was there before that could have grown."""
    result = _run(ON_DEMAND, seed=seed)
    assert result.counted == CHUNKS
    assert not result.refused
    assert result.busiest < ON_DEMAND_UNITS
    assert sum(result.taken.values()) == pytest.approx(81_000)


def test_twice_as_many_of_ingest_would_be_refused_and_hardly_be_faster() -> None:
    """Terraform's default follows from this."""
    more = _run(replace(ON_DEMAND, ingest=2 * ON_DEMAND.ingest), seed=1)
    assert _refused(more, "ingest", "finish") > 500
    assert more.seconds > 0.75 * _run(ON_DEMAND, seed=1).seconds
    text = (INFRA / "functions.tf").read_text(encoding="utf-8")
    found = re.search(r"ingest += {[^}]*maximum_concurrency = (\d+)", text)
    assert found
    assert int(found[1]) == ON_DEMAND.ingest


def test_without_pacing_the_example_would_be_refused_thousands_of_times() -> None:
    """The same functions, waiting for nothing."""
    unpaced = _run(replace(EXAMPLE, writers=0), seed=1)
    assert _refused(unpaced, "ingest", "finish") > 1_000


def test_the_units_of_a_chunk_are_those_of_the_page() -> None:
    """Its table is metered over the real code."""
    page = (INFRA.parent / "docs" / "capacity.md").read_text(encoding="utf-8")
    assert f"| its rows | `ingest` | {ROWS} (" in page
    assert f"| its outcomes, and the chunk counted | `finish` | {COUNTED} (" in page
    assert Stage(units=1, ingest=1, finish=1).writers == 0
