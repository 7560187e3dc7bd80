"""From results to corrected results on a real stage: failed.csv is edited, its rows run again, everything is proven."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts
from tests.e2e.conftest import Tally
from tests.e2e.enforced import CONTENT, FAILING

pytestmark = pytest.mark.e2e

MORE = b"".join(b"M%d,more,p: text\n" % number for number in range(2_500))


def _results(tally: Tally, batch_id: str, folder: Path) -> list[dict[str, Any]]:
    """Fetch the results of the attempt that has ended; returns their rows in order."""
    tally.json("results", batch_id, "-o", str(folder))
    parts = [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("results-*"))]
    return [json.loads(line) for part in parts for line in part.splitlines()]


def test_corrected_rows_of_failed_csv_take_their_places_and_everything_is_proven(tally: Tally, tmp_path: Path) -> None:
    """A rejected row, a light and a heavy one that failed; in several chunks and in any order."""
    content = CONTENT + MORE + FAILING
    source = tmp_path / "corrected-day.csv"
    source.write_bytes(content)
    batch_id = tally.submit(source.name, content, job="documents")
    before = tally.ended(batch_id).counts
    assert before == Counts(succeeded=2_502, failed=2, rejected=1)
    rows = _results(tally, batch_id, tmp_path / "first")
    text = (tmp_path / "first" / "failed.csv").read_text(encoding="utf-8")
    header, *failed = list(csv.reader(io.StringIO(text, newline="")))
    assert header[:2] == ["tally_line", "tally_reason"]
    corrected = tmp_path / "corrected.csv"
    with corrected.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *([*row[:4], f"p: corrected {row[2]}"] for row in reversed(failed))])
    dry = tally.json("redrive", batch_id, "--from", str(corrected), "--dry-run")
    assert (dry["redriven"], dry["corrected"]["rows"]) == (0, 3)
    assert tally.json("redrive", batch_id, "--from", str(corrected))["redriven"] == 3
    batch = tally.ended(batch_id, attempt=2)
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, Counts(succeeded=2_505))
    assert tally.json("audit", batch_id)["exact"] is True
    again = _results(tally, batch_id, tmp_path / "second")
    assert [row["line"] for row in again] == [row["line"] for row in rows]
    changed = [row["line"] for row, was in zip(again, rows, strict=True) if row != was]
    assert (
        sorted(changed) == sorted(int(row[0]) for row in failed) == [row["line"] for row in again if "corrected" in row]
    )
    assert tally.json("verify", str(tmp_path / "second"), "--source", str(source))["whole"] is True
    assert tally.json("redrive", batch_id, "--from", str(corrected))["corrected"]["already"] == 3
    wrong = tally.run("redrive", batch_id, "--from", str(source))
    assert (wrong.returncode, "no column tally_line" in wrong.stderr) == (2, True)
