"""Results on a deployed stage: fetched by the command line, proven against their file, whatever happened before."""

import gzip
import hashlib
import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from chalicelib.retry import Retry
from chalicelib.store.exports import Export, Exports
from chalicelib.store.items import Counts
from chalicelib.store.table import Table
from tests.e2e.conftest import STAGE, Tally, standstill, wait_for

pytestmark = pytest.mark.e2e
HEADER = b"office_id,user_count,contract_count\n"
CONTENT = HEADER + b"".join(b"A%d,%d,2\n" % (row, row % 7) for row in range(1_500)) + b"bad,x,1\n"
LARGE = HEADER + b"A,1,2\n" * 51_000
"""51 chunks of a thousand rows: two parts."""


def _fetched(tally: Tally, batch_id: str, folder: Path, *, attempt: int = 1) -> dict[str, Any]:
    """Fetch the results of an attempt; returns what the command says of them."""
    found = tally.json("results", batch_id, "-o", str(folder), "--attempt", str(attempt), "--timeout", "300")
    return dict(found)


def _verified(tally: Tally, folder: Path, name: str) -> dict[str, Any]:
    """Verify results against the file that was uploaded; returns what the command says, also if it is not whole."""
    done = tally.run("verify", str(folder), "--source", str(tally.home / name), "--json")
    return dict(json.loads(done.stdout))


def _export(tally: Tally, batch_id: str) -> Export | None:
    table = Table(dynamodb=tally.stage.dynamodb, name=tally.stage.resources.table, retry=Retry())
    return Exports(table=table).find(batch_id, 1)


def _rejected(tally: Tally, batch_id: str) -> int:
    progress = tally.reader.progress(batch_id)
    return progress.counts.rejected if progress else 0


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_stopped_batch_and_its_redrive_have_proven_results_beside_each_other(tally: Tally, tmp_path: Path) -> None:
    """No row was processed in the first attempt, every one in the second; both prove each row of the file."""
    with standstill(tally):
        batch_id = tally.submit("stopped.csv", CONTENT)
        wait_for(lambda: _rejected(tally, batch_id), what="the bad row to be rejected, and all others to wait")
        tally.json("cancel", batch_id)
    assert tally.ended(batch_id).counts == Counts(failed=1_500, rejected=1)
    first = _fetched(tally, batch_id, tmp_path / "first")
    assert (first["rows"], first["failed"], first["rejected"]) == (1_501, 1_500, 1)
    before = _digests(tmp_path / "first")
    assert (tmp_path / "first" / "failed.csv").read_bytes().count(b"\n") == 1_502
    assert tally.json("redrive", batch_id)
    assert tally.ended(batch_id, attempt=2).counts == Counts(succeeded=1_500, rejected=1)
    second = _fetched(tally, batch_id, tmp_path / "second", attempt=2)
    assert (second["succeeded"], second["rejected"]) == (1_500, 1)
    _fetched(tally, batch_id, tmp_path / "again")
    assert _digests(tmp_path / "again") == before
    for name in ("first", "second", "again"):
        assert _verified(tally, tmp_path / name, "stopped.csv")["problems"] == []


def test_a_file_without_rows_has_results_that_say_so(tally: Tally, tmp_path: Path) -> None:
    batch_id = tally.submit("empty.csv", HEADER)
    tally.ended(batch_id)
    assert _fetched(tally, batch_id, tmp_path / "empty")["rows"] == 0
    assert _verified(tally, tmp_path / "empty", "empty.csv")["problems"] == []


def test_a_rejected_file_has_no_results_and_says_why(tally: Tally) -> None:
    batch_id = tally.submit("wrong.csv", b"what,is,this\n1,2,3\n")
    tally.ended(batch_id)
    done = tally.run("results", batch_id)
    assert done.returncode == 2
    assert "was rejected as a file, it has no results" in done.stderr


def test_whatever_was_changed_in_fetched_results_is_named(tally: Tally, tmp_path: Path) -> None:
    batch_id = tally.submit("changed.csv", CONTENT)
    tally.ended(batch_id)
    _fetched(tally, batch_id, tmp_path / "whole")
    part = "results-000001.jsonl.gz"

    def problems(change: Any) -> str:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "copy")
        change(tmp_path / "copy" / part)
        found = _verified(tally, tmp_path / "copy", "changed.csv")
        assert found["whole"] is False
        return "\n".join(found["problems"])

    def flip(place: Path) -> None:
        body = bytearray(place.read_bytes())
        body[len(body) // 2] ^= 1
        place.write_bytes(body)

    def double(place: Path) -> None:
        lines = gzip.decompress(place.read_bytes()).splitlines(keepends=True)
        place.write_bytes(gzip.compress(b"".join([*lines[:5], *lines[4:]])))

    assert f"{part}: was changed" in problems(flip)
    assert f"{part}: is missing" in problems(Path.unlink)
    assert f"{part}: row 0:4, line 6 comes twice" in problems(double)


def test_results_whose_worker_is_killed_in_the_middle_are_proven_in_the_end(tally: Tally, tmp_path: Path) -> None:
    """Its message comes again after minutes; a repair asks for what is missing at once."""
    batch_id = tally.submit("large.csv", LARGE)
    wait_for(lambda: (found := _export(tally, batch_id)) and found.written, what="the first of three files")
    assert _kill_exporters(tally) > 0
    export = _export(tally, batch_id)
    assert export is not None
    assert not export.exported_at
    assert tally.json("audit", batch_id, "--repair")
    fetched = _fetched(tally, batch_id, tmp_path / "large")
    assert fetched["rows"] == 51_000
    assert fetched["files"] == 4
    assert _verified(tally, tmp_path / "large", "large.csv")["problems"] == []


def _kill_exporters(tally: Tally) -> int:
    """End the processes of the function that writes results; returns how many there were."""
    server = tally.stage.server
    assert server is not None
    killed = 0
    for child in psutil.Process(server.pid).children(recursive=True):
        with suppress(psutil.Error, ProcessLookupError):
            if child.environ().get("AWS_LAMBDA_FUNCTION_NAME") == f"tally-{STAGE}-export":
                os.kill(child.pid, signal.SIGKILL)
                killed += 1
    return killed
