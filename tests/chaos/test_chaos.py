"""The proof, small, with a fixed seed: Tally is exact under fire, and a plain counter is not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.chaos
REPO = Path(__file__).resolve().parents[2]
SEED = 3
ROWS = 600


def _proxy() -> Path:
    return REPO / ".tally" / "check" / "mitmproxy" / "bin" / "mitmdump"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run chaos once, on a stage of its own."""
    assert _proxy().exists(), "no mitmproxy: `make test-chaos` installs it"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TALLY_"))}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.chaos", "--rows", str(ROWS), "--counter-rows", str(ROWS)),
            *("--seed", str(SEED), "--batches", "2", "--json", "--mitmdump", str(_proxy())),
        ],
        env=kept | {"TALLY_HOME": str(tmp_path_factory.mktemp("chaos"))},
        cwd=REPO,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_tally_is_exact_under_fire(report: dict[str, Any]) -> None:
    """Nothing lost, nothing counted twice, nothing open, one completion id an attempt."""
    tally = report["tally"]
    assert (tally["lost"], tally["overcounted"], tally["stuck"]) == (0, 0, 0)
    assert tally["rows"] == tally["markers"] == tally["bits"] == ROWS
    assert tally["chunk_counters"] == tally["batch_counters"] == ROWS
    assert tally["completion_ids"] == tally["attempts"] >= 2


def test_results_are_proven_under_fire(report: dict[str, Any]) -> None:
    """Those of the last attempt of each batch, and of each earlier one that stood until its manifest."""
    assert report["tally"]["exports"] >= len(report["tally"]["batches"])
    assert [batch["differences"] for batch in report["tally"]["batches"]] == [[], []]


def test_a_repair_finds_nothing_to_repair(report: dict[str, Any]) -> None:
    """Counters that differ from the markers while nobody has tampered with them would be Tally's fault."""
    assert report["tally"]["commands"]["repairs"] > 0
    assert report["tally"]["commands"]["redriven"] > 0
    assert report["tally"]["commands"]["mended"] == []


def test_faults_were_really_injected(report: dict[str, Any]) -> None:
    """A proof without faults would prove nothing."""
    assert sum(count for fault, count in report["tally"]["faults"].items() if fault != "none") > 5
    assert report["tally"]["replayed"]["uploads"] > 0


def test_the_atomic_counter_is_visibly_wrong(report: dict[str, Any]) -> None:
    """Unheard successes that are tried again, and duplicates: each about one in twenty."""
    by_name = {counter["name"]: counter for counter in report["counters"]}
    assert by_name["atomic"]["error"] > ROWS * 0.04
    assert by_name["chord"]["error"] > ROWS * 0.04
    assert by_name["marker"]["error"] == 0
