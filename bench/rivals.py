"""Tally beside its rivals: the textbook, measured on the same rows, and Distributed Map, by its prices."""

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
from tally.batch import cost, prices
from tally.batch.prices import Use
from tally.stages.stage import Stage

AMBIGUOUS = 0.02
"""Share of the counting writes that are applied and answered with a 500."""
_TEXTBOOK = "textbook-work"
_POLLED = ("ingest", "process", "process_heavy", "finish", "export", "save", "dead_letters")


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
    """Return the lines of the textbook and of the prices; ``seconds`` is what Tally took over ``sample``.

    The textbook's own counts are the same for each row, so a ``small`` file is enough for them.
    """
    ours = tally(stage, sample, folder)
    timed = textbook.measure(sample, folder, repo)
    counted = textbook.measure(small, folder, repo, log=folder / "textbook.jsonl")
    assert counted.traffic is not None
    requests = {
        "Tally": (ours.traffic.requests.total() + 2 * ours.traffic.messages) / sample.rows,
        "textbook": (counted.traffic.requests.total() + 2 * counted.invocations[_TEXTBOOK].count) / small.rows,
    }
    units = {
        "Tally": ours.traffic.writes.total() / sample.rows,
        "textbook": counted.traffic.writes.total() / small.rows,
    }
    return [
        Line(
            name=f"textbook / Tally, time of {sample.rows:,} rows", value=timed.seconds / seconds, unit="x", least=40,
            raw={"textbook s": timed.seconds, "Tally s": seconds},
        ),
        Line(
            name="textbook / Tally, requests a row", value=requests["textbook"] / requests["Tally"], unit="x",
            least=150, raw={name: round(number, 4) for name, number in requests.items()},
        ),
        Line(
            name="textbook / Tally, write units a row", value=units["textbook"] / units["Tally"], unit="x",
            raw={name: round(number, 4) for name, number in units.items()},
        ),
        *_exactness(stage, small, folder, repo, clean=timed),
        *_dollars(stage, ours, counted),
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


def _dollars(stage: Stage, ours: Counted, theirs: textbook.Result) -> list[Line]:
    """Return the price of a million rows, all-in: with Tally's storage, also of results, and its logs."""
    assert theirs.traffic is not None
    batch, rows = ours.run.batch, ours.run.rows
    kept = cost.of(stage, batch, datetime.now(UTC))
    use = Use(
        write_units=ours.traffic.writes.total() / rows,
        read_units=ours.traffic.reads.total() / rows,
        sqs_requests=_sqs(ours.traffic, sum(ours.invocations[name].count for name in _POLLED)) / rows,
        invocations=sum(each.count for each in ours.invocations.values()) / rows,
        gb_seconds=sum(each.gb_seconds for each in ours.invocations.values()) / rows,
        s3_gets=ours.traffic.requests["s3 GET"] / rows,
        s3_puts=ours.traffic.requests["s3 PUT"] / rows,
        results_gb_months=kept.exported.kept_gb_months / rows,
        stored_gb_months=kept.stored_gb_months / rows,
        log_gb=kept.log_bytes / prices.GB / rows,
    )
    work, few = theirs.invocations[_TEXTBOOK], theirs.rows
    book = Use(
        write_units=theirs.traffic.writes.total() / few,
        read_units=theirs.traffic.reads.total() / few,
        sqs_requests=_sqs(theirs.traffic, work.count) / few,
        invocations=sum(each.count for each in theirs.invocations.values()) / few,
        gb_seconds=sum(each.gb_seconds for each in theirs.invocations.values()) / few,
        s3_gets=1 / few,
    )
    job = ours.invocations["process"].gb_seconds / rows
    bills = {"Tally": use.dollars(), "textbook": book.dollars()}
    bills |= prices.distributed_map(job, rows_a_child=batch.chunk_rows)
    totals = {name: sum(bill.values()) for name, bill in bills.items()}
    *_, same_rows = totals
    return [
        *(
            Line(
                name=f"dollars a million rows: {name}", value=totals[name], unit="$",
                most=0.12 if name == "Tally" else None,
                raw={service: round(dollars, 4) for service, dollars in bill.items()} | {"prices of": prices.CHECKED},
            )
            for name, bill in bills.items()
        ),
        Line(name=f"dollars: Tally / {same_rows}", value=totals["Tally"] / totals[same_rows], unit="x", most=1),
    ]  # fmt: skip


def _sqs(traffic: Traffic, polled: int) -> int:
    """Return the requests that SQS bills: sends, and a receive and a delete for each invocation they caused.

    The part of a message beyond 64 KB is billed when it is sent, and again when it is received.
    """
    sent = sum(count for kind, count in traffic.requests.items() if kind.startswith("sqs SendMessage"))
    return traffic.sqs_billed + max(0, traffic.sqs_billed - sent) + 2 * polled


def _deliver_again(stage: Stage, run: Run) -> None:
    source = run.batch.source
    found = {"key": source.key, "versionId": source.version_id, "eTag": source.etag, "size": run.batch.size}
    event = {"Records": [{"s3": {"bucket": {"name": source.bucket}, "object": found}}]}
    stage.functions.invoke(FunctionName=f"tally-{stage.name}-plan", Payload=json.dumps(event).encode())
