"""The sample says beforehand which outcomes to expect."""

import io
from collections import Counter

import pytest

from chalicelib import jobs
from chalicelib.errors import PermanentError
from chalicelib.rows import RejectedRow
from tally.local import sample


def written(rows: int, seed: int = 1) -> bytes:
    target = io.BytesIO()
    sample.write(target, rows, seed=seed)
    return target.getvalue()


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 1000, 2345])
def test_expected_counts_are_what_the_job_itself_makes_of_the_file(rows: int) -> None:
    job = jobs.find("transactions")
    assert job is not None
    outcomes: Counter[str] = Counter()
    header, _, body = written(rows).partition(b"\n")
    for read in job.schema.read(body, header.decode().split(","), 2):
        if isinstance(read, RejectedRow):
            outcomes["rejected"] += 1
            continue
        try:
            job.process(read.parsed)
            outcomes["succeeded"] += 1
        except PermanentError:
            outcomes["failed"] += 1
    assert sample.expected(rows) == sample.Expected(
        rows=sum(outcomes.values()),
        succeeded=outcomes["succeeded"],
        failed=outcomes["failed"],
        rejected=outcomes["rejected"],
    )
    assert sum(outcomes.values()) == rows


def test_every_kind_of_bad_row_is_in_a_thousand_rows() -> None:
    assert sample.expected(100 * len(sample.BAD)) == sample.Expected(rows=1000, succeeded=990, failed=2, rejected=8)
    body = written(1000)
    assert b"\xe9" in body
    assert b",XXX," in body
    assert body.count(sample.HEADER.encode()) == 2
    assert b"\n,,,," in body


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others() -> None:
    assert written(500) == written(500)
    assert written(500) != written(500, seed=2)


def test_rows_need_cleaning() -> None:
    body = written(1000)
    assert b"\x07" in body
    assert b"  Padded   Trading Ltd " in body
    assert b"first line\nsecond line" in body
