"""A file that one invocation cannot plan: it hands over, dies where it can, and the batch is exact all the same."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.recording import variables
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts
from tests.e2e.conftest import STAGE, Tally

pytestmark = pytest.mark.e2e
PLAN = f"tally-{STAGE}-plan"
ROWS, CHUNK_ROWS, CHUNKS_AN_INVOCATION = 1_600, 4, 100
CONTENT = b"office_id,user_count,contract_count\n" + b"A,1,2\n" * ROWS
LARGE_ROWS = 60
LARGE = b"office_id,user_count,contract_count\nA,1,2\n" + (b"X" * 400_000 + b",1,1\n") * LARGE_ROWS
OUT_OF_TIME = 21
"""Seconds with which a plan hands over after a hundred chunks, or one part: it wants 20 for more, and keeps 2."""


@contextmanager
def _short_of_time(tally: Tally, handovers: Path) -> Iterator[None]:
    """Let each plan be out of time from its start, in chunks of a few rows, and its first two handovers kill it."""
    functions = tally.stage.functions
    before = functions.get_function_configuration(FunctionName=PLAN)["Timeout"]
    more = {
        "PYTHONPATH": str(Path(__file__).with_name("lethal")),
        "E2E_HANDOVERS": str(handovers),
        "TALLY_CHUNK_ROWS": str(CHUNK_ROWS),
    }
    functions.update_function_configuration(FunctionName=PLAN, Timeout=OUT_OF_TIME)
    try:
        with variables(functions, [PLAN], more):
            yield
    finally:
        functions.update_function_configuration(FunctionName=PLAN, Timeout=before)


def test_a_plan_that_hands_over_and_dies_while_it_does_ends_as_one(tally: Tally, tmp_path: Path) -> None:
    """Dead before its handover was asked for, Lambda invokes it again; dead after, two plans go on at once."""
    handovers = tmp_path / "handovers"
    with _short_of_time(tally, handovers):
        batch = tally.ended(tally.submit("handed-over.csv", CONTENT))
    assert batch.status is BatchStatus.COMPLETED
    assert batch.counts == Counts(succeeded=ROWS)
    assert batch.chunks == ROWS // CHUNK_ROWS
    assert tally.json("audit", batch.id)["exact"] is True
    # After each hundred chunks but the last; all but the first of them were sent.
    assert handovers.stat().st_size >= ROWS // CHUNK_ROWS // CHUNKS_AN_INVOCATION - 1


def test_a_gzip_file_is_unpacked_in_several_invocations_that_die(tally: Tally, tmp_path: Path) -> None:
    """Three parts, one an invocation, so that both handovers are in the middle of it; there is one plain object."""
    handovers = tmp_path / "handovers"
    with _short_of_time(tally, handovers):
        batch = tally.ended(tally.submit("handed-over.csv.gz", gzip.compress(LARGE)))
    assert batch.counts == Counts(succeeded=1, rejected=LARGE_ROWS)
    assert batch.content_size == len(LARGE)
    assert tally.json("audit", batch.id)["exact"] is True
    assert handovers.stat().st_size >= 2
    bucket = batch.source.bucket
    (plain,) = tally.stage.s3.list_object_versions(Bucket=bucket, Prefix=batch.content.key)["Versions"]
    assert plain["VersionId"] == batch.content.version_id
    assert "Uploads" not in tally.stage.s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize(
    ("function", "loop"), [("plan", "Allow"), ("process", "Allow"), ("process_heavy", "Allow"), ("ingest", "Terminate")]
)
def test_lambda_takes_no_round_that_is_meant_for_a_loop(tally: Tally, function: str, loop: str) -> None:
    """It stops a function after some sixteen rounds unless told otherwise; the others have no rounds to go."""
    config = tally.stage.functions.get_function_recursion_config(FunctionName=f"tally-{STAGE}-{function}")
    assert config["RecursiveLoop"] == loop
