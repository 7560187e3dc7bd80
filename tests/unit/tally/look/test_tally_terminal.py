"""Every command that prints tables, on terminals of several widths: no number and no id is cut or broken."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chalicelib.metrics import Metrics
from chalicelib.store.batch import BatchStatus, Hold, Unpacking
from chalicelib.store.bits import RowBits
from chalicelib.store.items import Counts, Outcome
from chalicelib.store.waiting import Waiting
from tally.batch import failures
from tally.batch.failures import Top
from tally.batch.picture import Picture
from tally.batch.reader import Progress
from tally.batch.reasons import Reason, Reasons
from tally.cli import run
from tally.doctor.finding import failed, ok
from tally.output import Output
from tally.prove import report
from tally.prove.probe import Result, Verdict
from tally.queues import overview
from tally.queues.depth import Depth
from tally.queues.overview import QueueState
from tally.stages.stage import Stage
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.screen import broken, lines_on

WIDTHS = (40, 60, 80, 100, 200)
LONG_JOB = "a_job_whose_name_is_as_long_as_somebody_found_it_to_be_right"
JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str
    amount: int

def process(row):
    if row.kind == "bad":
        raise ValueError(f"no exchange rate for day 2026-11-{row.amount} of the currency that this row asks for")
    return {"fee": row.amount * 1000, "note": row.kind * 9}
"""
TAKER = """
from chalicelib import rows

FORMAT = "jsonl"

class Row(rows.Row):
    fee: int
    note: str

def process(row):
    return None
"""
ROWS = "kind,amount\nfine,1\nbad,20\nfine,3\nfine,none\nbad,25\n"


def console(file: io.StringIO, width: int, *, height: int = 50) -> Console:
    return Console(file=file, width=width, height=height, force_terminal=True, soft_wrap=True, color_system=None)


def on_terminal(width: int, write: Callable[[Output], object]) -> list[str]:
    """Return what a terminal of some width shows of what is written."""
    file = io.StringIO()
    write(Output(console=console(file, width), as_json=False))
    return lines_on(width, file.getvalue())


def piped(write: Callable[[Output], object]) -> str:
    """Return what a pipe gets of the same."""
    file = io.StringIO()
    write(Output(console=Console(file=file, width=10_000, soft_wrap=True), as_json=False))
    return file.getvalue()


def assert_right_at_every_width(write: Callable[[Output], object]) -> None:
    in_pipe = piped(write)
    assert any(character.isdigit() for character in in_pipe)
    for width in WIDTHS:
        shown = on_terminal(width, write)
        assert not broken(in_pipe, shown, width), (width, shown)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Iterator[dict[str, str]]:
    """Return the id of an ended batch of a job with a short name, and of one with a name of 60 characters.

    The results of the first were to become a batch of a third job, and did not.
    """
    monkeypatch.setattr(Metrics, "flush", lambda _self, _stage: None)
    with (
        deployed_job(monkeypatch, tmp_path, "taker", TAKER),
        deployed_job(monkeypatch, tmp_path, "short", f'{JOB}\nTHEN = "taker"\n'),
        deployed_job(monkeypatch, tmp_path, LONG_JOB, JOB),
    ):
        pipeline = Pipeline(monkeypatch)
        vars(stage)["dynamodb"] = pipeline.dynamodb
        key = "a/folder/deep/in/the/inbox/of/somebody/who/likes/long/names/and/has/many/of/them/day.csv"
        ids = {job: pipeline.upload(f"inbox/{job}/{key}", ROWS.encode()) for job in ("short", LONG_JOB)}
        pipeline.drain()
        yield ids


@pytest.mark.parametrize("job", ["short", LONG_JOB])
@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["status", "ID", "--no-cost"],
        ["status", "ID", "--no-cost", "--watch"],
        ["rows", "ID"],
        ["row", "ID", "--row", "0:1"],
        ["failures", "ID"],
        ["audit", "ID"],
        ["tune", "ID"],
        ["redrive", "ID"],
    ],
    ids=" ".join,
)
def test_what_a_command_says_of_a_batch_is_whole_at_every_width(
    command: list[str], job: str, batches: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(output: Output) -> None:
        monkeypatch.setattr(Output, "make", classmethod(lambda _cls, **_options: output))
        run([batches[job] if word == "ID" else word for word in command])

    if command[0] == "redrive":
        # What it says of the same rows differs the second time: none is left.
        write(Output(console=Console(file=io.StringIO()), as_json=False))
    assert_right_at_every_width(write)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_listed_batch_is_found_by_its_whole_id(
    width: int, batches: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id that fits is in one line; a longer one is wrapped by the terminal alone, so that it is copied as one."""

    def write(output: Output) -> None:
        monkeypatch.setattr(Output, "make", classmethod(lambda _cls, **_options: output))
        run(["list"])

    shown = on_terminal(width, write)
    assert any(batches["short"] in line for line in shown)
    assert batches[LONG_JOB] in ("".join(shown) if len(batches[LONG_JOB]) > width else "\n".join(shown))
    assert {"succeeded", "failed", "rejected"} <= set(" ".join(shown).split())


def test_queues_are_whole_at_every_width() -> None:
    depth = Depth(visible=1_234_567, in_flight=2_345, delayed=12)
    states = [
        QueueState(name="work", url="u", depth=depth, oldest_seconds=86_399, dead=1_001),
        QueueState(name="lost-uploads-of-the-planner", url="u", depth=depth),
        QueueState(name="gone", url="u", depth=None),
    ]
    assert_right_at_every_width(lambda output: overview.show(output, states))


def test_a_proof_is_whole_at_every_width() -> None:
    results = [
        Result(
            name="duplicate-deliveries",
            expected="20,000 rows are counted once though every message comes twice",
            seen="20,000 of 20,000 rows, 3,141 duplicates in batch proof-0123456789abcdef0123",
            verdict=verdict,
            seconds=12.5,
        )
        for verdict in Verdict
    ]
    assert_right_at_every_width(lambda output: report.show(output, results))


def test_an_examination_is_whole_at_every_width(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    findings = [
        ok("queue.backlog", "tally-test-work", "12,345 messages, the oldest of 678 s"),
        failed("function", "tally-test-process", "timeout 30 s, 900 s expected", "run `tally deploy --stage test`"),
    ]
    monkeypatch.setattr("tally.commands.doctor.find", lambda *_, **__: stage)
    monkeypatch.setattr("tally.doctor.examine", lambda *_, **__: findings)

    def write(output: Output) -> None:
        monkeypatch.setattr(Output, "make", classmethod(lambda _cls, **_options: output))
        run(["doctor", "--stage", "test"])

    assert_right_at_every_width(write)


def test_a_bill_is_whole_at_every_width() -> None:
    lines = [("alarms on metrics, beside the free ones", "38 of them, at 0.10 dollars each", "3.80")]
    assert_right_at_every_width(lambda output: output.table("A month", ("", "how much", "dollars"), lines))


def under_way(**changes: Any) -> Progress:
    """Return a batch under way with large numbers."""
    from tests.unit.tally.batch.test_tally_watch import at  # noqa: PLC0415

    running = at(BatchStatus.RUNNING)
    (chunk,) = running.chunks.values()
    counts = Counts(succeeded=4_711_222, failed=12_345, rejected=678)
    batch = replace(running.batch, id="offices-0123456789abcdef0123", expected_rows=9_876_543, chunks=10_001, **changes)
    noted = Waiting(rows=RowBits.first(4_321), attempt=2, due_at=0, reason="TimeoutError: the bank is down again " * 9)
    return Progress(batch=batch, chunks={0: replace(chunk, counts=counts)}, waiting={0: noted})


def reasons() -> Top:
    found = Reasons()
    for number in range(7):
        reason = f"{'ABCDEFG'[number]}Error: {'no exchange rate ' * 20}"
        found.add(Reason(outcome=Outcome.FAILED, text=reason, code="", row="0:1", line=3))
    return Top(groups=tuple(found.grouped().groups[: failures.MAX_TOP]), read=10, chunks=99)


def picture(progress: Progress) -> Picture:
    return Picture(progress=progress, top=reasons(), rate=12_345.6, eta_seconds=3_724, elapsed_seconds=33)


COUNTED = [
    "4,724,245 of 9,876,543 rows",
    "4,711,222 succeeded",
    "12,345 failed",
    "678 rejected",
    "4,321 waiting for a retry",
    "12,346 rows/s",
    "ETA 1 h 2 min",
    "chunks 0 of 10,001",
    "elapsed 33.0 s",
]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_live_view_shows_every_counter_whole(width: int) -> None:
    file = io.StringIO()
    console(file, width).print(picture(under_way(hold=Hold.PAUSED)))
    written = file.getvalue().splitlines()
    assert [counter for counter in COUNTED if not any(counter in line for line in written)] == []
    assert max(map(len, written)) <= width  # else the terminal wraps, and the picture is not drawn over
    assert "running, paused" in written[0]
    assert sum("failed: " in line for line in written) == failures.MAX_TOP


@pytest.mark.parametrize(("width", "height"), [(40, 10), (60, 9), (100, 6)])
def test_a_low_terminal_loses_reasons_and_no_counter(width: int, height: int) -> None:
    file = io.StringIO()
    console(file, width, height=height).print(picture(under_way()))
    written = file.getvalue().splitlines()
    assert [counter for counter in COUNTED if not any(counter in line for line in written)] == []
    assert len(written) < height


@pytest.mark.parametrize("width", [1, 5, 12, 20])
def test_a_terminal_too_narrow_for_a_number_is_no_error(width: int) -> None:
    file = io.StringIO()
    console(file, width).print(picture(under_way()))
    output = Output(console=console(file, width), as_json=False)
    output.table("", ("id", "rows"), [("offices-0123456789abcdef0123", 1_234)])
    output.say("1,234 rows of it")
    with output.progress("recounting chunks", 1_234) as advance:
        advance(1)
    assert "1,234" in file.getvalue()


def test_a_gzip_upload_is_shown_by_its_bytes() -> None:
    progress = under_way(size=5_000_000, unpacking=Unpacking(read=1_234_000))
    progress = replace(progress, batch=replace(progress.batch, status=BatchStatus.UNPACKING))
    file = io.StringIO()
    console(file, 60).print(picture(progress))
    assert "1,234,000 of 5,000,000 bytes read" in file.getvalue()
    assert "24 %" in file.getvalue()


def test_a_bar_is_ascii_where_the_locale_is() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    Console(file=file, width=60, force_terminal=True, color_system=None).print(picture(under_way()))
    file.flush()
    assert f"{'#' * 19}{'-' * 21}   47 %" in raw.getvalue().decode("ascii")


def test_every_colour_has_a_word_beside_it() -> None:
    """Coloured text says the same without colours."""
    file = io.StringIO()
    Console(file=file, width=200, force_terminal=True, color_system="standard").print(picture(under_way()))
    for colour, word in (("32", "succeeded"), ("31", "failed"), ("35", "rejected"), ("36", "waiting for a retry")):
        assert any(f"\x1b[{colour}m" in part and word in part for part in file.getvalue().split("\x1b[0m"))


def test_what_a_file_says_does_not_steer_the_terminal(output: Output, said: io.StringIO) -> None:
    output.say("ValueError: \x1b[2J\x07 gone")
    output.table("", ("id", "reason"), [("0:1", "\x1b]0;title\x07")])
    assert "\x1b" not in said.getvalue()
    assert "\\x1b[2J\\x07 gone" in said.getvalue()
