"""A program that a test runs in a terminal: `tally` over a batch in memory, of which one chunk of two is done."""

import fcntl
import logging
import signal
import sys
import tempfile
import termios
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
from chalicelib.errors import PermanentError

class Row(rows.Row):
    kind: str

def process(row):
    if row.kind == "bad":
        raise PermanentError("no rate")
"""
ROWS = "kind\nfine\nbad\nfine\nfine\nfine\nfine\n"


def main(arguments: list[str]) -> int:
    """Run a command of `tally` that finds the batch."""
    if sys.stdin.isatty():
        fcntl.ioctl(sys.stdin, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches this process as a signal
    logging.disable()  # here the handlers share the command's terminal
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metrics, "flush", lambda _self, _stage: None)
        with deployed_job(patch, Path(folder), "watched", JOB):
            pipeline = Pipeline(patch)
            pipeline.upload("inbox/watched/day.csv", ROWS.encode())
            pipeline.drain_uploads()
            while not pipeline.waiting("work"):
                for what in pipeline.work():
                    assert pipeline.deliver(what, most=1_000)
            for what in ("work", "finished"):
                assert pipeline.deliver(what)
            stage = Stage(name="test", resources=Resources(table="tally-test", inbox_bucket="inbox"))
            vars(stage)["dynamodb"] = pipeline.dynamodb
            patch.setattr(options, "find", lambda *_arguments, **_options: stage)
            signal.signal(signal.SIGTERM, cli._interrupt)
            return cli.run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
