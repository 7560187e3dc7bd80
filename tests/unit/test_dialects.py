"""Files as they are, from upload to results."""

from pathlib import Path

import pytest

from chalicelib.store.batch import BatchStatus
from tests.support.builders import deployed_job
from tests.support.pipeline import Pipeline

JOB = """
import msgspec
from chalicelib import rows
DELIMITER = ";"
NULLS = {"NA"}
EXTRA = "ignore"
class Row(rows.Row, kw_only=True):
    number: int = msgspec.field(name="")
    length: float | None = msgspec.field(name="Sepal.Length")
    kind: str = msgspec.field(name="kind (of it)", default="none")
def process(row):
    return [row.number, row.length, row.kind]
"""
FILE = b"""\
;"Sepal.Length";note;note;Kind (of it)
1;5.1;a,b;c;"iris; ""blue""
and white"
2;NA;x;y;NA
NA;long;x;y;z
"""


def test_a_file_with_semicolons_nulls_and_other_names_is_processed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What ingest keeps under the names of the file, process reads again."""
    with deployed_job(monkeypatch, tmp_path, "flowers", JOB):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/flowers/day.csv", FILE)
        pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED_WITH_FAILURES
    results = [bytes(outcome.result) for _, outcome in pipeline.outcomes(batch)]
    assert results[:2] == [b'[1,5.1,"iris; \\"blue\\" and white"]', b'[2,null,"none"]']
    assert pipeline.outcomes(batch)[2][1].reason == (
        "line 5, column 1 '': empty; column 2 'Sepal.Length': expected float | null, got 'long'"
    )
