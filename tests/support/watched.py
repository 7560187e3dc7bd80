"""A program that a test runs in a terminal: `tally` over a batch in memory, of which one chunk of two is done."""

import signal
import sys
import tempfile
from pathlib import Path

import pytest

from chalicelib.metrics import Metrics
from tally import cli
from tally.commands import options
from tally.stages.stage import Resources, Stage
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

def process(row):
    if row.kind == "bad":
        raise ValueError("no rate for it")
"""
ROWS = "kind\nfine\nbad\nfine\nfine\nfine\nfine\n"


def main(arguments: list[str]) -> int:
    """Run a command of `tally` that finds the batch; its id is written first."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metrics, "flush", lambda _self, _stage: None)
        with deployed_job(patch, Path(folder), "watched", JOB):
            pipeline = Pipeline(patch)
            pipeline.upload("inbox/watched/day.csv", ROWS.encode())
            pipeline.drain_uploads()
            pipeline.deliver("dispatch", most=1_000)
            pipeline.deliver("work")
            stage = Stage(name="test", resources=Resources(table="tally-test", inbox_bucket="inbox"))
            vars(stage)["dynamodb"] = pipeline.dynamodb
            patch.setattr(options, "find", lambda *_arguments, **_options: stage)
            signal.signal(signal.SIGTERM, cli._interrupt)
            return cli.run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
