"""The cost of a stage while nothing runs: held to Terraform's plan, which its own tests hold to the same file."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tally.batch import prices
from tally.batch.cost import FUNCTIONS
from tally.batch.idle import Standing, as_json, items
from tally.cli import run
from tally.errors import ExitCode
from tally.stages.stage import Resources
from tally.testing.configuration import functions

if TYPE_CHECKING:
    from tally.stages.stage import Stage

REPO = Path(__file__).parents[4]
PLANNED = (REPO / "infra" / "tests" / "fixtures" / "standing.json").read_text(encoding="utf-8")
DEFAULT = msgspec.json.decode(PLANNED, type=Standing)


def test_an_idle_stage_costs_a_little_over_four_dollars_a_month() -> None:
    """By default, free tiers not counted, with every alarm that it has.

    $0.20 of it is the export: two pollers of its queue, for a part takes up to minutes, in which nothing else may wait
    behind it; and the alarm on its dead letters, which nothing else tells of: no row waits for a file. An alarm that
    adds up several queues costs as much as one for each. As much is for save, likewise.
    """
    assert as_json(DEFAULT)["dollars_a_month"] <= 4.35
    assert DEFAULT.alarms > 20


def test_the_page_on_deploying_says_what_an_idle_stage_costs() -> None:
    """Item by item, and in all."""
    page = (REPO / "docs" / "deploy.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| ([^|]+) \| [^|]* \| ([0-9]+\.[0-9]{2}) \|$", page, re.MULTILINE))
    found = {item.name: f"{item.dollars:.2f}" for item in items(DEFAULT)}
    assert {name: said.get(name) for name in found} == found
    assert said["**in all**"] == f"{sum(item.dollars for item in items(DEFAULT)):.2f}"


@pytest.mark.parametrize(
    ("choice", "changed"),
    [
        ("`dashboard = true`", {"dashboards": 1}),
        ("`alarm_key = true`, a KMS key of the stage's own for the notifications", {"keys": 1}),
        (
            "`function_overrides = { finish = { maximum_concurrency = 20 } }`",
            {"limited_mappings": DEFAULT.limited_mappings + 1, "unlimited_mappings": DEFAULT.unlimited_mappings - 1},
        ),
        (
            "the same for `dead_letters`, which has five queues",
            {"limited_mappings": DEFAULT.limited_mappings + 5, "unlimited_mappings": DEFAULT.unlimited_mappings - 5},
        ),
        ("`alarms = false`", {"alarms": 0}),
        ("`reconcile_minutes = 15`", {"reconcile_minutes": 15}),
    ],
)
def test_the_page_on_deploying_says_what_each_choice_costs(choice: str, changed: dict[str, int]) -> None:
    """More or less than the default, a month."""
    page = (REPO / "docs" / "deploy.md").read_text(encoding="utf-8")
    said = re.search(rf"^\| {re.escape(choice)} \| ([0-9.]+) (more|less)", page, re.MULTILINE)
    assert said
    dollars = as_json(msgspec.structs.replace(DEFAULT, **changed))["dollars_a_month"]
    more = dollars - as_json(DEFAULT)["dollars_a_month"]
    assert float(said[1]) == pytest.approx(abs(more), abs=0.006)
    assert said[2] == ("more" if more > 0 else "less")


@pytest.mark.parametrize(
    ("changed", "dollars"),
    [
        ({"alarms": DEFAULT.alarms + 1}, prices.ALARM_MONTH),
        ({"dashboards": 1}, prices.DASHBOARD_MONTH),
        ({"keys": 1}, prices.KEY_MONTH),
        # Five pollers instead of two, three receives a minute each.
        ({"limited_mappings": 4, "unlimited_mappings": 7}, 3 * 3 * 60 * 24 * 30 * 0.40e-6),
        ({"write_units": 100}, 100 * 720 * 0.00065),
        ({"read_units": 100}, 100 * 720 * 0.00013),
        ({"scaled": 4}, 16 * prices.ALARM_MONTH),
    ],
)
def test_what_a_stage_has_beyond_the_default_is_added(changed: dict[str, int], dollars: float) -> None:
    """Each at its price."""
    more = msgspec.structs.replace(DEFAULT, **changed)
    difference = as_json(more)["dollars_a_month"] - as_json(DEFAULT)["dollars_a_month"]
    assert difference == pytest.approx(dollars, abs=1e-3)


def test_the_cost_of_a_stage_is_shown_without_a_batch(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From what Terraform said when it was deployed."""
    monkeypatch.setitem(vars(stage), "resources", Resources(table="t", inbox_bucket="b", standing=PLANNED))
    assert run(["cost", "--json"]) is ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["items"][0]["name"] == "alarms"
    assert shown["dollars_a_month"] == as_json(DEFAULT)["dollars_a_month"]


def test_a_stage_that_an_older_version_deployed_says_how_to_know(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its outputs were saved without it."""
    monkeypatch.setitem(vars(stage), "resources", Resources(table="t", inbox_bucket="b"))
    assert run(["cost"]) is not ExitCode.OK
    assert "`tally deploy --stage" in capsys.readouterr().err


def test_the_cost_of_a_batch_is_read_from_the_logs_of_every_function() -> None:
    """Also of those that only work for it when something failed."""
    assert sorted(FUNCTIONS) == sorted(functions())
