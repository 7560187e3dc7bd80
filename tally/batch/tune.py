"""Tuning: recommend timeouts and the routing of slow rows, from how long rows took."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from chalicelib.steps.run import SPLIT_SECONDS
from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import Outcome
from chalicelib.store.marker import ReasonCode, RowOutcome
from tally.batch.reader import Reader
from tally.look import milliseconds
from tally.output import Output

LEAST_ROWS = 100
"""With fewer rows the 99th percentile is only the slowest one."""
HEADROOM = 1.5
"""The rows of the next file may be slower."""
MESSAGE_SECONDS = SPLIT_SECONDS
"""Seconds of a message of process if no row is slower than the others: a longer message is split."""
VISIBILITY = 6
"""Visibility timeouts are so many function timeouts; Terraform derives them."""

_RESERVE_SECONDS = 5
"""Part of every timeout, for a cold start and for sending outcomes on."""
_LEAST_SECONDS = 30
"""With less, a slow answer of AWS and its retry would end a healthy function."""
_MAX_SECONDS = 900
"""Lambda's own limit."""
_WORTH_IT = 2
"""Routing is worth a line in the job if it divides the timeout by this."""


@dataclass(slots=True)
class Sample:
    """Durations of rows in milliseconds, by function, and the number of rows without one."""

    chunks: int = 0
    light: list[int] = field(default_factory=list)
    heavy: list[int] = field(default_factory=list)
    dead_lettered: int = 0

    @property
    def every(self) -> list[int]:
        """All rows."""
        return self.light + self.heavy

    @property
    def measured(self) -> bool:
        """Tell whether durations were kept: an older version's markers have none."""
        return any(self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of the durations of rows, in milliseconds."""

    rows: int
    mean: float
    sigma: float
    p99: float
    longest: int

    @classmethod
    def of(cls, milliseconds: Sequence[int]) -> Self:
        """Return the statistics of one row or more."""
        several = len(milliseconds) > 1
        return cls(
            rows=len(milliseconds),
            mean=statistics.fmean(milliseconds),
            sigma=statistics.stdev(milliseconds) if several else 0.0,
            p99=statistics.quantiles(milliseconds, n=100, method="inclusive")[98] if several else milliseconds[0],
            longest=max(milliseconds),
        )

    @property
    def usual(self) -> float:
        """The duration that few rows exceed: mean + 2 sigma."""
        return self.mean + 2 * self.sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Recommended settings of a function."""

    timeout_seconds: int
    enough: bool = True
    """False where Lambda's limit is too short for a single row."""

    @property
    def visibility_seconds(self) -> int:
        """The visibility timeout that Terraform derives."""
        return VISIBILITY * self.timeout_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The recommendations from a sample; None where the sample is too small."""

    sample: Sample
    light: Statistics | None
    heavy: Statistics | None
    process: Setting | None
    process_heavy: Setting | None
    routed: Setting | None
    """The setting of process without the rows above ``heavy_above_ms``."""
    heavy_above_ms: float
    shares: dict[str, float]
    """The share of all rows that took longer than the named duration."""

    @property
    def routing_pays(self) -> bool:
        """Tell whether routing slow rows alone would shorten the timeout of the others considerably."""
        if self.process is None or self.routed is None:
            return False
        return self.process.timeout_seconds >= _WORTH_IT * self.routed.timeout_seconds or not self.process.enough

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""

        def described(setting: Setting | None) -> dict[str, Any] | None:
            return asdict(setting) | {"visibility_seconds": setting.visibility_seconds} if setting else None

        return {
            "chunks": self.sample.chunks,
            "dead_lettered": self.sample.dead_lettered,
            "light": asdict(self.light) if self.light else None,
            "heavy": asdict(self.heavy) if self.heavy else None,
            "process": described(self.process),
            "process_heavy": described(self.process_heavy),
            "routed": described(self.routed),
            "routing_pays": self.routing_pays,
            "heavy_above_ms": self.heavy_above_ms,
            "shares": self.shares,
        }


def run(output: Output, reader: Reader, batch_id: str, *, chunks: int, heavy_above: float | None) -> Advice:
    """Sample a batch with a progress bar, and write the recommended settings."""
    batch = reader.require(batch_id)
    advice = advise(take_sample(output, reader, batch, chunks), heavy_above=heavy_above)
    _show(output, batch, advice)
    return advice


def take_sample(output: Output, reader: Reader, batch: Batch, most: int) -> Sample:
    """Read the durations of at most ``most`` chunks, spread evenly over the file."""
    chosen = spread([chunk for chunk in reader.chunks(batch).values() if chunk.counts.total], most)
    sample = Sample(chunks=len(chosen))
    with output.progress("reading chunks", len(chosen)) as advance:
        for chunk in chosen:
            _add(reader, chunk, sample)
            advance(1)
    return sample


def spread(chunks: Sequence[Chunk], most: int) -> list[Chunk]:
    """Return at most ``most`` chunks, evenly spread, because slow rows may stand together in a file."""
    count = min(most, len(chunks))
    return [chunks[position * len(chunks) // count] for position in range(count)]


def _add(reader: Reader, chunk: Chunk, sample: Sample) -> None:
    for _, outcome in reader.outcomes(chunk.key):
        sample.dead_lettered += outcome.code is ReasonCode.DEAD_LETTERED
        if measured(outcome):
            went_to = sample.heavy if outcome.row in chunk.heavy else sample.light
            went_to.append(outcome.duration_ms)


def measured(outcome: RowOutcome) -> bool:
    """Tell whether a row has a duration: a rejected, stopped or dead-lettered one was not measured."""
    return bool(outcome.duration_ms) or outcome.outcome is Outcome.SUCCEEDED  # which may take under a millisecond


def advise(sample: Sample, *, heavy_above: float | None = None) -> Advice:
    """Return the recommendations from a sample; ``heavy_above`` is in seconds, mean + 2 sigma if None."""
    light = Statistics.of(sample.light) if sample.light else None
    heavy = Statistics.of(sample.heavy) if sample.heavy else None
    threshold = heavy_above * 1000 if heavy_above is not None else light.usual if light else 0.0
    quick = [took for took in sample.light if took <= threshold]
    thresholds = {"threshold": threshold} | ({"mean + 2 sigma": light.usual, "p99": light.p99} if light else {})
    return Advice(
        sample=sample,
        light=light,
        heavy=heavy,
        process=_setting(light, sample, MESSAGE_SECONDS),
        process_heavy=_setting(heavy, sample, 0),
        routed=_setting(Statistics.of(quick) if quick else None, sample, MESSAGE_SECONDS),
        heavy_above_ms=threshold,
        shares={name: share_above(sample.every, value) for name, value in thresholds.items()},
    )


def share_above(milliseconds: Sequence[int], threshold: float) -> float:
    """Return the share of rows that took longer than a threshold."""
    return sum(took > threshold for took in milliseconds) / len(milliseconds) if milliseconds else 0.0


def _setting(found: Statistics | None, sample: Sample, others_seconds: float) -> Setting | None:
    return setting(found, others_seconds) if found and found.rows >= LEAST_ROWS and sample.measured else None


def setting(found: Statistics, others_seconds: float) -> Setting:
    """Return the timeout of a function for the slowest row, beside others that take so many seconds together.

    No measured row may be cut off: it would be killed on every delivery until it is a dead letter.
    """
    usable = (_MAX_SECONDS - _RESERVE_SECONDS) / HEADROOM
    needed = max(found.p99, found.longest) / 1000 + others_seconds
    seconds = math.ceil(needed * HEADROOM) + _RESERVE_SECONDS
    return Setting(timeout_seconds=min(_MAX_SECONDS, max(_LEAST_SECONDS, seconds)), enough=needed <= usable)


def snippet(advice: Advice) -> list[str]:
    """Return the Terraform variables to paste, for the functions that have a recommendation."""
    functions = {"process": advice.process, "process_heavy": advice.process_heavy}
    known = {name: found for name, found in functions.items() if found}
    if not known:
        return []
    width = max(map(len, known))
    settings = [
        f"  {name:<{width}} = {{ timeout_seconds = {found.timeout_seconds} }}"
        f" # its queue's visibility timeout becomes {found.visibility_seconds} s ({VISIBILITY}x)"
        for name, found in known.items()
    ]
    return ["function_overrides = {", *settings, "}"]


def _show(output: Output, batch: Batch, advice: Advice) -> None:
    sample = advice.sample
    found = {"process": advice.light, "process_heavy": advice.heavy}
    figures = [
        (name, of.rows, *map(milliseconds, (of.mean, of.sigma, of.usual, of.p99, of.longest)))
        for name, of in found.items()
        if of
    ]
    output.say(f"{len(sample.every):,} rows measured, in {sample.chunks:,} chunks of batch {batch.id}")
    if figures:
        output.table("", ("function", "rows", "mean", "sigma", "mean + 2 sigma", "p99", "max"), figures)
    if sample.dead_lettered:
        output.warn(
            f"{sample.dead_lettered:,} of the rows were dead-lettered (timed out, or killed their worker): "
            "the figures leave them out."
        )
    if not sample.measured:
        output.say("No durations: the batch is not processed yet, or was processed by a version that kept none.")
        return
    _show_routing(output, batch, advice)
    for name, of, advised in (
        ("process", advice.light, advice.process),
        ("process_heavy", advice.heavy, advice.process_heavy),
    ):
        if of and advised is None:
            output.say(f"{name}: too little data, {of.rows:,} rows; a p99 needs {LEAST_ROWS}: keep its timeout.")
        if advised and not advised.enough:
            output.warn(
                f"{name}: single rows come too near Lambda's limit of {_MAX_SECONDS} s: divide the work of a row."
            )
    lines = snippet(advice)
    if lines:
        output.say(f"For infra/terraform.tfvars ({HEADROOM}x headroom), merged with what is there; then deploy:")
    for line in lines:
        output.command(f"  {line}")


def _show_routing(output: Output, batch: Batch, advice: Advice) -> None:
    for name, share in advice.shares.items():
        above = f" ({milliseconds(advice.heavy_above_ms)})" if name == "threshold" else ""
        output.say(f"{share:.2%} of the rows took longer than the {name}{above}")
    if advice.routing_pays and advice.routed and advice.process:
        output.say(
            f"Routing pays: let heavy(row) in app/chalicelib/jobs/{batch.job}.py be true for rows that take over "
            f"{milliseconds(advice.heavy_above_ms)}; then process does with timeout_seconds = "
            f"{advice.routed.timeout_seconds}."
        )
