"""The result of a trial, for people and as JSON."""

from typing import Any

import msgspec

from tally.batch import prices
from tally.batch.reasons import Group, normal
from tally.errors import ExitCode
from tally.look import duration
from tally.output import Output
from tally.trial.estimate import Estimate, concurrency
from tally.trial.trial import Seen, Trial
from tally.trial.watch import Durations

_MAX_SHOWN_CHARACTERS = 300


def verdict(seen: Seen, *, interrupted: bool) -> ExitCode:
    """Return the exit status: 0 if every row that was tried succeeded."""
    if interrupted:
        return ExitCode.INTERRUPTED
    flawless = not seen.reason and seen.counts.succeeded == seen.counts.total
    return ExitCode.OK if flawless else ExitCode.NOT_AS_HOPED


def show(output: Output, trial: Trial, estimate: Estimate | None, *, interrupted: bool) -> None:
    """Write the result for people."""
    seen = trial.seen
    if seen.reason:
        output.say(f"A stage would reject the file: {seen.reason}")
        if not seen.counts.total:
            return
    counts = seen.counts
    of = f" of {'' if seen.every_chunk else 'about '}{estimate.cost.rows:,}" if estimate and not seen.whole else ""
    output.say(
        f"{'interrupted: ' if interrupted else ''}{counts.total:,}{of} rows: {counts.succeeded:,} succeeded, "
        f"{counts.failed:,} failed, {counts.rejected:,} rejected"
        + (f"; {seen.heavy:,} heavy rows among those that were read" if seen.heavy else "")
    )
    if seen.stopped:
        output.warn(
            f"a stage would stop the batch ({seen.stopped}): FAILURE_LIMIT is {trial.watch.of.failure_limit!r}."
        )
    groups = seen.reasons.grouped()
    for number, group in enumerate(groups.groups, start=1):
        output.say(f"{number}. {group.rows:,} {group.outcome} ({group.rows / groups.rows:.1%}): {group.pattern}")
        output.say(f"   for example {_example(group)}")
    if any(group.example.line for group in groups.groups):
        output.say("Look at one with --line, or stop where one raises with --pdb.")
    if seen.results:
        output.say("The first results:")
        for result in seen.results:
            output.say(f"   line {result.line:,}: {_short(result.result.decode())}")
    _show_key(output, trial)
    if trial.watch.durations.calls:
        output.say(_speed(trial.watch.durations))
    if estimate:
        _show_estimate(output, estimate)


def as_json(trial: Trial, estimate: Estimate | None, *, file: str, interrupted: bool) -> dict[str, Any]:
    """Return what ``--json`` shows."""
    seen, took = trial.seen, trial.watch.durations
    grouping = seen.reasons.grouped()
    return {
        "job": trial.watch.of.name,
        "file": file,
        "rows": seen.counts.total,
        "succeeded": seen.counts.succeeded,
        "failed": seen.counts.failed,
        "rejected": seen.counts.rejected,
        "whole": seen.whole,
        "interrupted": interrupted,
        "reason": seen.reason,
        "hold": seen.stopped,
        "reasons": [
            {
                "outcome": group.outcome.value,
                "reason": group.pattern,
                "rows": group.rows,
                "share": group.rows / grouping.rows,
                "codes": list(group.codes),
                "example": {"line": group.example.line or None, "reason": group.example.text},
            }
            for group in grouping.groups
        ],
        "results": [{"line": result.line, "result": msgspec.json.decode(result.result)} for result in seen.results],
        "calls": took.calls,
        "row_seconds": {
            "p50": took.quantile(0.5),
            "p99": took.quantile(0.99),
            "longest": took.longest,
            "mean": took.seconds / took.calls if took.calls else 0.0,
        },
        "estimate": estimate.as_json() if estimate else None,
    }


def _show_key(output: Output, trial: Trial) -> None:
    """Say where a job's results go by key, which a trial does not show."""
    if key := trial.watch.of.key:
        output.say(
            f"KEY: a stage puts results into its results table, by {key.name} of the {key.source}, and is deployed only"
            " with one: --var 'results_table={}'."
        )


def _show_estimate(output: Output, estimate: Estimate) -> None:
    found, rows = estimate.cost, estimate.cost.rows or 1
    requests = found.dynamodb_requests + found.sqs_requests + found.s3_requests + found.exported.s3_puts
    dollars = sum(found.dollars.values())
    workers = ", ".join(f"{count} {name}" for name, count in concurrency().items())
    scaled = f", scaled from {estimate.share:.1%} of it" if estimate.scaled else ""
    output.say(f"On a stage the file would take{scaled}, about:")
    output.say(f"   chunks: {found.chunks:,}, work messages: {found.messages:,}, requests: {requests:,}")
    output.say(f"   {found.write_units:,.0f} write units ({found.write_units / rows:.3f} a row)")
    output.say(
        f"   ${dollars:,.4f} (${dollars / rows * prices.MILLION:,.2f} a million rows, prices of {prices.CHECKED})"
    )
    wait = f", {duration(estimate.longest_wait)} of it for retries" if estimate.longest_wait else ""
    output.say(
        f"   {duration(estimate.seconds)} with up to {workers} at once{wait}; what takes longest: {estimate.limit}"
    )


def _speed(took: Durations) -> str:
    p50, p99, longest = map(milliseconds, (took.quantile(0.5), took.quantile(0.99), took.longest))
    return f"process ran {took.calls:,} times: {p50} a row (p50), {p99} (p99), {longest} at most"


def milliseconds(seconds: float) -> str:
    """Return a short duration for people."""
    return f"{seconds * 1000:,.3g} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _example(group: Group) -> str:
    line, text = group.example.line, _short(normal(group.example.text))
    if text.startswith(f"line {line}"):  # a rejection says its line itself
        return text
    return f"line {line:,}: {text}" if line else f"row {group.example.row}: {text}"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"
