"""tally prove on a local AWS: it passes, with faults met, and leaves nothing, also when it is interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_for

pytestmark = pytest.mark.e2e

_REPO = Path(__file__).resolve().parents[2]
_PROBES = ("first-upload", "odd-keys", "rejected-rows", "overwritten", "faults", "redrive", "events", "alarm")


def _prove(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tally", "prove", *arguments],
        env={**os.environ, "TALLY_HOME": str(home)},
        cwd=_REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def _left(home: Path) -> list[Path]:
    return list((home / "proving").iterdir())


def test_every_probe_passes_and_nothing_is_left(tmp_path: Path) -> None:
    """A small form of what an operator runs."""
    chosen = [argument for name in _PROBES for argument in ("--probe", name)]
    running = _prove(tmp_path, "--rows", "3000", "--json", "--out", str(tmp_path / "report.md"), *chosen)
    said, told = running.communicate()
    assert running.returncode == 0, told
    found = json.loads(said)
    assert {probe["probe"]: probe["verdict"] for probe in found["probes"]} == {
        **dict.fromkeys(_PROBES, "passed"),
        "alarm": "only on AWS",
    }
    (faults,) = [probe for probe in found["probes"] if probe["probe"] == "faults"]
    assert "faults met: " in faults["seen"]
    assert "| faults |" in (tmp_path / "report.md").read_text()
    assert _left(tmp_path) == []


def test_an_interrupt_removes_the_stage(tmp_path: Path) -> None:
    """Its local AWS too: the process ends only when that has."""
    running = _prove(tmp_path, "--probe", "first-upload", "--probe", "poison")
    server = tmp_path / "proving" / "prove" / "prove" / "server.json"
    wait_for(server.exists, what="the local AWS to start")
    process = json.loads(server.read_text())["pid"]
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate()
    assert running.returncode == 1, told
    assert _left(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
