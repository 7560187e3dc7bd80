"""A history in which every command on a stage is run, what a stage may lose is lost, and the console is looked at."""

import gzip
from pathlib import Path

from chalicelib.clock import utc_now
from tally.batch.reader import Reader
from tally.cli import run
from tally.errors import ExitCode
from tally.queues import dead
from tally.queues.fates import fates, taken
from tally.stages.expected import Expected
from tally.stages.function_metrics import Window
from tally.stages.stage import Stage
from tally.testing.faults import Fault
from tally.ui.batch_feed import BatchFeed
from tally.ui.list_feed import ListFeed
from tally.ui.stage_feed import StageFeed
from tests.support.operator_commands import PREFIX, STAGE, Operator

_FILE = b"kind,size\na,1\nbroken,2\nb,x\nheavy,3\n"
_CORRECTED = "tally_line,tally_reason,kind,size\n"
_OPTIONS = {"--discard", "--redrive", "--show"}
_ENDS_PLAN = {"update_item", "create_multipart_upload", "put_object"}


class Terminal:
    """Runs commands as an operator types them, on a stage whose handlers run in between."""

    def __init__(self, operator: Operator, folder: Path) -> None:
        self.operator, self.folder, self.pipeline = operator, folder, operator.pipeline

    def tally(self, name: str, *arguments: str, code: ExitCode = ExitCode.OK) -> None:
        """Run a command; what it calls is noted under its name, with the option that has rights of its own."""
        self.operator.command = " ".join([name, *(option for option in arguments if option in _OPTIONS)])
        assert run([name, *arguments, "--stage", STAGE]) is code, f"{name} {arguments}"
        self.operator.command = ""

    def repair(self, batch: str) -> None:
        """Repair a batch, whatever the audit says after that."""
        self.operator.command = "audit --repair"
        assert run(["audit", batch, "--repair", "--stage", STAGE]) in {ExitCode.OK, ExitCode.NOT_AS_HOPED}
        self.operator.command = ""

    def file(self, name: str, content: bytes) -> str:
        """Write a file and return where it is."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)


def run_every_command(terminal: Terminal) -> None:
    """Run every command that is about a stage, on batches with a row of each outcome."""
    pipeline, tally = terminal.pipeline, terminal.tally
    tally("submit", terminal.file("sizes.csv", _FILE))
    pipeline.drain_uploads()
    tally("pause", "@")
    tally("resume", "@")
    pipeline.drain()
    not_as_hoped = ExitCode.NOT_AS_HOPED
    for name in ("status", "failures", "rows", "cost", "tune", "audit", "events"):
        tally(name, *(["--batch"] if name == "events" else []), "@")
    tally("status", "@", "--watch", code=not_as_hoped)
    tally("wait", "@", "--exported", code=not_as_hoped)
    tally("list")
    tally("row", "@", "--line", "2")
    tally("row", "@", "--line", "4")
    tally("row", "@", "--row", "0:0")
    tally("results", "@", "-o", str(terminal.folder / "results"))
    tally("result", "sizes", "a")
    tally("redrive", "@")
    pipeline.drain()
    tally("redrive", "@", "--rejected")
    pipeline.drain()
    tally("redrive", "@", "--from", terminal.file("corrected.csv", f"{_CORRECTED}4,,b,4\n".encode()))
    pipeline.drain()
    tally("results", "@", "-o", str(terminal.folder / "corrected"))
    tally("submit", terminal.file("packed.csv.gz", gzip.compress(_FILE, mtime=0)), "--job", "sizes")
    pipeline.drain()
    tally("row", "@", "--line", "99", code=ExitCode.USAGE)
    tally("submit", terminal.file("offices.csv", b"x\n1\n"), "--force")
    pipeline.drain()
    tally("status", "@", "--no-cost")
    tally("list")
    tally("submit", terminal.file("cancelled.csv", _FILE), "--job", "sizes")
    pipeline.drain_uploads()
    tally("cancel", "@")
    pipeline.drain()
    tally("submit", terminal.file("large.csv", b"kind,size\n" + b"a,1\n" * 3_000_000), "--job", "sizes")
    pipeline.uploads.clear()
    tally("logs")
    tally("queues")
    tally("dead")
    tally("dead", "--show")
    tally("dead", "--redrive")
    for queue in ("plan-failures", "stream-failures", "dead-letters"):
        tally("dead", queue, "--discard", f"{PREFIX}-{queue}")
    tally("doctor", code=not_as_hoped)


def repair_what_was_lost(terminal: Terminal) -> None:
    """Lose a message of each queue, an event, the results, the rest of a plan, and have each repaired."""
    pipeline = terminal.pipeline
    for lost in ("ingest", "work", "heavy", "export"):
        batch = pipeline.upload(f"inbox/sizes/{lost}.csv", _FILE)
        pipeline.drain_uploads()
        while not pipeline.waiting(lost):
            for what in pipeline.work():
                assert pipeline.deliver(what)
        pipeline.waiting(lost).clear()
        terminal.repair(batch)
        pipeline.drain()
    batch = pipeline.upload("inbox/sizes/event.csv", _FILE)
    while not pipeline.has_batch(batch) or not pipeline.batch(batch).status.final:
        for what in pipeline.work():
            assert pipeline.deliver(what)
    pipeline.positions["settle"] = len(pipeline.dynamodb.stream)
    terminal.repair(batch)
    pipeline.drain()
    for name, content in (("plan.csv", _FILE), ("plan.csv.gz", gzip.compress(_FILE, mtime=0))):
        batch = pipeline.upload(f"inbox/sizes/{name}", content)
        pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation in _ENDS_PLAN else Fault.NONE
        assert not pipeline.deliver("upload")
        pipeline.faults = lambda _: Fault.NONE
        pipeline.uploads.clear()
        terminal.repair(batch)
        pipeline.drain()


def watch(operator: Operator, stage: Stage) -> None:
    """Read what the pages of the console read, but for what its actions share with the commands."""
    operator.command = "ui"
    reader = Reader(dynamodb=stage.dynamodb, table=stage.resources.table, patient=False)
    listed = ListFeed(reader=reader)
    listed.step()
    batches = reader.newest(1000).batches
    for batch in batches:
        feed = BatchFeed(reader=reader, batch_id=batch.id)
        for _ in range(20):
            feed.refresh()
            feed.step()
    whole = StageFeed(stage=stage)
    whole.step()
    whole.measure(Window.HOUR)
    sqs, wanted = stage.client("sqs"), Expected.require(stage.resources.expected, stage.name)
    letters = [(queue, letter) for queue in dead.dead_queues(wanted) for letter in dead.read(sqs, queue, 1)]
    fates(reader.repository.table, wanted, letters)
    taken(stage.logs, stage.name, utc_now())
    operator.command = ""
