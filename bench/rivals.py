"""Tally beside what it competes with: the textbook, measured on the same rows, and Distributed Map, by its prices."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import recording
from bench.line import Line
from bench.pipeline import Run, process
from bench.recording import Invocations, Traffic
from bench.samples import Sample
from bench.textbook import run as textbook
from tally.batch import prices
from tally.batch.prices import Use
from tally.stages.stage import Stage

AMBIGUOUS = 0.02
"""Share of the counting writes that are applied and answered with a 500."""
_POLLED = ("ingest", "process", "process_heavy", "finish", "dead_letters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A file through Tally with its requests written down."""

    run: Run
    traffic: Traffic
    invocations: Mapping[str, Invocations]
    """By function, without the stage's prefix."""


def tally(stage: Stage, sample: Sample, folder: Path, *, ambiguous: float = 0.0, twice: bool = False) -> Counted:
    """Process a file with Tally; ``twice`` delivers its S3 event again."""
    log = folder / "requests.jsonl"
    names = recording.functions_of(stage)
    since = datetime.now(UTC) - timedelta(seconds=1)
    with recording.recorded(stage.functions, names, log, ambiguous=ambiguous):
        run = process(stage, sample)
        if twice:
            _deliver_again(stage, run)
    prefix = f"tally-{stage.name}-"
    found = recording.invocations(stage.logs, names, since)
    invocations = {name.removeprefix(prefix): each for name, each in found.items()}
    return Counted(run=run, traffic=recording.read(log), invocations=invocations)


def lines(stage: Stage, sample: Sample, small: Sample, folder: Path, repo: Path, *, seconds: float) -> list[Line]:
    """Return the lines of the textbook and of the prices; ``seconds`` is what Tally took over ``sample``."""
    ours = tally(stage, small, folder)
    timed = textbook.measure(sample, folder, repo)
    log = folder / "textbook.jsonl"
    counted = textbook.measure(small, folder, repo, log=log)
    assert counted.traffic is not None
    requests = {"Tally": ours.traffic.requests.total(), "textbook": counted.traffic.requests.total()}
    units = {"Tally": ours.traffic.writes.total(), "textbook": counted.traffic.writes.total()}
    return [
        Line(
            name=f"textbook / Tally, time of {sample.rows:,} rows", value=timed.seconds / seconds, unit="x", least=5,
            raw={"textbook s": timed.seconds, "Tally s": seconds},
        ),
        Line(
            name="textbook / Tally, requests a row", value=requests["textbook"] / requests["Tally"], unit="x", least=20,
            raw={name: round(number / small.rows, 3) for name, number in requests.items()},
        ),
        Line(
            name="textbook / Tally, write units a row", value=units["textbook"] / units["Tally"], unit="x",
            raw={name: round(number / small.rows, 3) for name, number in units.items()},
        ),
        *_exactness(stage, small, folder, repo, clean=timed),
        *_dollars(ours, counted, small.rows),
    ]  # fmt: skip


def _exactness(stage: Stage, sample: Sample, folder: Path, repo: Path, *, clean: textbook.Result) -> list[Line]:
    """Compare the counts, without faults and with: lost answers, and the S3 event delivered again."""
    faulty = textbook.measure(sample, folder, repo, log=folder / "textbook.jsonl", ambiguous=AMBIGUOUS, twice=True)
    ours = tally(stage, sample, folder, ambiguous=AMBIGUOUS, twice=True)
    wrong = ours.run.batch.counts.total - sample.rows
    share = f"{AMBIGUOUS:.0%} of answers to counting writes lost, S3 event twice"
    return [
        Line(
            name="textbook's count without faults, rows it is wrong by", value=clean.counted - clean.rows, unit="rows",
            raw={"rows": clean.rows, "counted": clean.counted, "results": clean.stored},
        ),
        Line(
            name="textbook's count under faults, rows it is wrong by", value=faulty.counted - faulty.rows, unit="rows",
            raw={"rows": faulty.rows, "counted": faulty.counted, "results": faulty.stored, "faults": share},
        ),
        Line(
            name="Tally's count under the same faults, rows it is wrong by", value=wrong,
            unit="rows", most=0, least=0, raw={"rows": sample.rows, "counted": ours.run.batch.counts.total},
        ),
    ]  # fmt: skip


def _dollars(ours: Counted, theirs: textbook.Result, rows: int) -> list[Line]:
    assert theirs.traffic is not None
    use = Use(
        write_units=ours.traffic.writes.total() / rows,
        read_units=ours.traffic.reads.total() / rows,
        sqs_requests=_sqs(ours.traffic, sum(ours.invocations[name].count for name in _POLLED)) / rows,
        invocations=sum(each.count for each in ours.invocations.values()) / rows,
        gb_seconds=sum(each.gb_seconds for each in ours.invocations.values()) / rows,
        s3_gets=ours.traffic.requests["s3 GET"] / rows,
    )
    work = theirs.invocations["textbook-work"]
    book = Use(
        write_units=theirs.traffic.writes.total() / rows,
        read_units=theirs.traffic.reads.total() / rows,
        sqs_requests=_sqs(theirs.traffic, work.count) / rows,
        invocations=sum(each.count for each in theirs.invocations.values()) / rows,
        gb_seconds=sum(each.gb_seconds for each in theirs.invocations.values()) / rows,
        s3_gets=1 / rows,
    )
    job = ours.invocations["process"].gb_seconds / rows
    bills = {"Tally": use.dollars(), "textbook": book.dollars(), **prices.distributed_map(job, rows_a_child=198)}
    return [
        Line(
            name=f"dollars a million rows: {name}", value=sum(bill.values()), unit="$",
            raw={service: round(dollars, 3) for service, dollars in bill.items()} | {"prices of": prices.CHECKED},
        )
        for name, bill in bills.items()
    ]  # fmt: skip


def _sqs(traffic: Traffic, polled: int) -> int:
    """Return what SQS bills: what was sent, and a receive and a delete for each invocation that it fed."""
    return traffic.sqs_billed + 2 * polled


def _deliver_again(stage: Stage, run: Run) -> None:
    source = run.batch.source
    found = {"key": source.key, "versionId": source.version_id, "eTag": source.etag, "size": run.batch.size}
    event = {"Records": [{"s3": {"bucket": {"name": source.bucket}, "object": found}}]}
    stage.functions.invoke(FunctionName=f"tally-{stage.name}-plan", Payload=json.dumps(event).encode())
