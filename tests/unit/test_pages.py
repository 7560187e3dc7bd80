"""Pages that are generated are current; figures and defaults in sentences are those of the code."""

import re
from pathlib import Path

import click
import pytest

from chalicelib.store.batch import Hold
from chalicelib.store.items import Outcome
from tally.cli import tally
from tally.testing import configuration
from tools import cli_reference, price_table, settings_page
from tools.generated import stale

REPO = Path(__file__).parents[2]
DOCS = REPO / "docs"


def _options() -> list[tuple[str, str]]:
    return [
        (name, option.opts[0])
        for name, command in tally.commands.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and option.name not in {"stage", "as_json", "debug"}
    ]


def test_the_command_reference_is_current() -> None:
    assert stale({cli_reference.PAGE: cli_reference.page()}) == []


@pytest.mark.parametrize(("command", "option"), _options())
def test_every_option_has_a_help_text(command: str, option: str) -> None:
    """The reference is written from it."""
    found = next(one for one in tally.commands[command].params if option in one.opts)
    assert isinstance(found, click.Option)
    assert found.help


def test_the_page_of_settings_is_current() -> None:
    """It is written from the code and from Terraform, so that no default on it can differ."""
    assert stale({settings_page.PAGE: settings_page.page()}) == []


@pytest.mark.parametrize("name", settings_page.job_settings())
def test_every_setting_of_a_job_is_explained_where_jobs_are(name: str) -> None:
    assert f"`{name}" in (DOCS / "jobs.md").read_text(encoding="utf-8")


def test_every_function_and_every_queue_is_on_the_page_that_draws_the_flow() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in configuration.functions() if f"`{name}`" not in page] == []
    assert [name for name in configuration.queues() if f"{name} queue" not in page] == []


def test_a_function_setting_that_is_null_is_a_dash_on_the_page() -> None:
    """``save`` has no maximum."""
    (save,) = (line for line in settings_page.page().splitlines() if line.startswith("| `save` |"))
    assert save.endswith("| 0 | - | - |")


def test_the_prices_are_those_of_the_bench_and_of_tally_cost() -> None:
    assert stale({price_table.PAGE: price_table.current()}) == []


def test_glue_and_batch_bill_a_minute_at_least() -> None:
    assert price_table.glue(1) == price_table.glue(400)
    assert price_table.glue(1000) > price_table.glue(400)
    assert price_table.fargate(1) == price_table.fargate(60)
    assert price_table.fargate(600) == pytest.approx(10 * price_table.fargate(60))


def test_a_durable_function_pays_for_each_item_of_its_map() -> None:
    assert price_table.durable(1_000_000, rows_an_operation=1) == pytest.approx(8)
    assert price_table.durable(1_000_000, rows_an_operation=1000) == pytest.approx(0.008)


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    """Rounded: the table of the bench has them in full."""
    bench = (DOCS / "performance.md").read_text(encoding="utf-8")
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    dollars, small, large, counted, rows = (
        re.search(pattern, bench)
        for pattern in (
            r"dollars a million rows: Tally \| ([0-9.]+) \$",
            r"1,000 rows, warm, upload to event \| ([0-9.]+) s",
            r"pipeline / the job alone, 100,000 rows .*pipeline s ([0-9.]+)",
            r"textbook's count under faults.*counted ([0-9,]*[0-9])",
            r"textbook's count under faults.*rows ([0-9,]*[0-9]), counted",
        )
    )
    month = re.search(r"\*\*in all\*\* \| by default \| ([0-9.]+) ", (DOCS / "deploy.md").read_text(encoding="utf-8"))
    assert month
    assert dollars
    assert small
    assert large
    assert counted
    assert rows
    assert f"${float(dollars[1]):.2f} a million rows" in readme
    assert f"about ${float(month[1]):.0f} a month" in readme
    assert f"1,000 rows in {float(small[1]):.1f} s" in readme
    assert f"100,000 in {float(large[1]):.0f} s" in readme
    assert f"counts {counted[1]} of {rows[1]}" in readme


def test_the_readme_leads_to_the_first_command_on_one_screen() -> None:
    """A reader sees what it is, when not to take it and how to try it before scrolling far; no line is cut."""
    lines = (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.index("```sh") < 40
    assert len(lines) < 130
    assert [line for line in lines if len(line) > 100 and not line.startswith("| ")] == []


def test_the_readme_says_what_distributed_map_costs_beside_tally() -> None:
    """With a thousand rows a child, where it stores nothing for a row."""
    bench = (DOCS / "performance.md").read_text(encoding="utf-8")
    ratio = re.search(r"dollars: Tally / Distributed Map, express, 1000 rows a child \| ([0-9.]+) x", bench)
    assert ratio
    assert round(float(ratio[1])) == 3
    assert "Distributed Map costs a third" in (REPO / "README.md").read_text(encoding="utf-8")


def test_the_glossary_defines_each_word_once_in_order() -> None:
    """And has a word for each outcome of a row, and for what stops a batch."""
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*([^*]+)\*\*: ", page, re.MULTILINE)
    assert len(words) > 30
    assert words == sorted(set(words))
    assert [each for each in (*Outcome, *Hold) if f"`{each}`" not in page] == []
