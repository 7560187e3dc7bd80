"""An estimate of a file on a stage, from a trial of it: chunks, units, requests, dollars and time.

Units and requests are those of the functions' own code in memory. The part of the file that was not tried is taken to
be like the rest. Seconds of functions are those of the same code here; on a stage the processor's part of them is
longer, by the share of a processor that the function's memory buys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chalicelib.steps.run import SPLIT_SECONDS
from tally.batch import prices
from tally.batch.cost import Cost
from tally.batch.export_use import NO_EXPORT
from tally.testing.configuration import INFRA, local
from tally.trial.planning import Planning
from tally.trial.stage import SETTINGS
from tally.trial.trial import Seen, Trial

NEW_TABLE_UNITS = 4_000
"""Write units a second of a new table that is paid by request."""
_WHOLE_PROCESSOR_MB = 1_769
_START_SECONDS = 3.0
"""Until the first row runs, and after the last: cold starts, and five waits for the stream."""
_ANSWER_SECONDS = 0.005
"""Seconds of an answer of AWS, which comes at once here."""
_LINES_BYTES = 220
"""Bytes that an invocation logs itself."""
_READ_UNIT_BYTES = 4096
_BATCH_UNITS = 6
"""Units of the end of a batch, which a trial of a part does not reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The estimate for the whole file; ``scaled`` if only a part of it was tried, ``share`` of its bytes.

    ``seconds`` is from upload to event, ``longest_wait`` the part of it in which rows wait for retries.
    """

    cost: Cost
    seconds: float
    longest_wait: float
    share: float
    scaled: bool
    limit: str

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            **self.cost.as_json(),
            "scaled": self.scaled,
            "share_tried": round(self.share, 6),
            "seconds": round(self.seconds, 1),
            "seconds_of_retries": round(self.longest_wait, 1),
            "limited_by": self.limit,
            "concurrency": concurrency(),
        }


def concurrency() -> dict[str, int]:
    """Return how many of the functions that handle rows run at once, as Terraform deploys them."""
    functions = _functions()
    return {name: int(functions[name]["maximum_concurrency"]) for name in ("ingest", "process", "process_heavy")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Factors from the part that was tried to the whole file: of ``chunks``, of ``rows``, and of what was ``planned``.

    Some messages grow with chunks and some with rows: ``light`` is for those of the work queue, ``messages`` for all.
    """

    chunks: float = 1.0
    rows: float = 1.0
    planned: float = 1.0
    light: float = 1.0
    messages: float = 1.0

    @classmethod
    def of(cls, seen: Seen) -> "_Scale":
        """Return the scale of a trial."""
        if seen.whole:
            return cls()
        planned = 1.0 if seen.every_chunk else max(1.0, seen.content_size / seen.cut.bytes)
        chunks = max(1.0, seen.cut.chunks * planned / seen.chunks)
        rows = max(1.0, seen.cut.rows * planned / seen.counts.total)
        light = seen.chunk_messages * chunks + seen.pieces * rows
        messages = (light + seen.heavy_messages * rows) / max(1, _messages(seen))
        light /= max(1, seen.chunk_messages + seen.pieces)
        return cls(chunks=chunks, rows=rows, planned=planned, light=light, messages=messages)

    def by(self, function: str) -> float:
        """Return the factor for the requests of a function."""
        scales = {"plan": self.planned, "process": self.light, "process_heavy": self.rows, "finish": self.messages}
        return scales.get(function, self.chunks)


def estimate(trial: Trial, planning: Planning) -> Estimate | None:
    """Return the estimate for the file; None if no row of it was tried."""
    seen, stage = trial.seen, trial.stage
    if not seen.chunks or not seen.counts.total:
        return None
    scale = _Scale.of(seen)
    took = _taken(trial, planning.seconds, scale)
    meters = {"plan": planning.meter, **stage.meters}
    # finish writes outcomes, so its units grow with the rows.
    units = {name: scale.rows if name == "finish" else scale.by(name) for name in meters}
    queues = {"ingest": scale.chunks, "work": scale.light, "heavy": scale.rows, "finished": scale.messages}
    rows, chunks = round(seen.counts.total * scale.rows), round(seen.chunks * scale.chunks)
    messages = _messages(seen) * scale.messages
    unsuccessful = (seen.counts.total - seen.counts.succeeded) / seen.counts.total
    exported = trial.export.of(
        chunks=chunks,
        rows=rows,
        partition_units=max(1.0, seen.stored_bytes / seen.chunks / _READ_UNIT_BYTES),
        failed_bytes=seen.content_size * unsuccessful,
    )
    if exported:
        took["export"] = _on_stage(
            "export",
            invocations=exported.messages,
            processor=trial.export.seconds * rows / max(1, trial.export.rows),
            waited=0.0,
            answers=exported.dynamodb_requests * _ANSWER_SECONDS,
        )
    exported = exported or NO_EXPORT
    invocations = sum(each.invocations for each in took.values())
    write_units = sum(meter.units.total() * units[name] for name, meter in meters.items())
    cost = Cost(
        rows=rows,
        chunks=chunks,
        sampled=seen.chunks,
        write_units=write_units + (0 if seen.whole else _BATCH_UNITS) + exported.write_units,
        read_units=sum(meter.read_units * scale.by(name) for name, meter in meters.items()) + exported.read_units,
        dynamodb_requests=round(sum(meter.requests.total() * scale.by(name) for name, meter in meters.items()))
        + exported.dynamodb_requests,
        sqs_requests=round(sum(count * queues.get(name, 1.0) for name, count in stage.sqs.requests.items()))
        + exported.sqs_requests,
        s3_requests=round(trial.s3.requests - seen.chunks + chunks) + exported.s3_gets,
        job_seconds=trial.watch.durations.seconds * scale.rows,
        functions={name: (each.invocations, each.gb_seconds) for name, each in took.items()},
        messages=round(messages),
        messages_estimated=not seen.whole,
        stored_gb_months=seen.stored_bytes * scale.chunks / prices.GB * SETTINGS.retention_days / prices.MONTH_DAYS,
        log_bytes=round(invocations * (prices.INVOCATION_LOG_BYTES + _LINES_BYTES)),
        exported=exported,
    )
    seconds, limit = _makespan(took, cost.write_units, trial.watch.durations.longest)
    wait = stage.sqs.longest_wait
    return Estimate(
        cost=cost,
        seconds=seconds + wait,
        longest_wait=wait,
        share=1.0 if seen.whole else min(1.0, seen.tried_bytes / max(1, seen.content_size)),
        scaled=not seen.whole,
        limit=limit,
    )


def _messages(seen: Seen) -> int:
    return seen.chunk_messages + seen.pieces + seen.heavy_messages


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """The totals of a function: invocations, seconds on a stage, and the longest invocation."""

    invocations: float
    seconds: float
    longest: float
    memory_mb: int

    @property
    def gb_seconds(self) -> float:
        return self.seconds * self.memory_mb / 1024


def _taken(trial: Trial, plan_seconds: float, scale: _Scale) -> dict[str, _Taken]:
    stage = trial.stage
    ran = stage.seconds["process"] + stage.seconds["process_heavy"]
    taken = {"plan": _on_stage("plan", invocations=1, processor=plan_seconds * scale.planned, waited=0.0)}
    for name in ("dispatch", "ingest", "process", "process_heavy", "finish", "settle"):
        if not stage.invocations[name]:
            continue
        times = scale.rows if name in {"process", "process_heavy", "finish"} else scale.by(name)
        # Only the job waits for anything here. Other work of this machine makes all of it slower.
        waits = trial.watch.waited * stage.seconds[name] / ran if name in {"process", "process_heavy"} and ran else 0.0
        taken[name] = _on_stage(
            name,
            invocations=stage.invocations[name] * scale.by(name),
            processor=stage.processor_seconds[name] * times,
            waited=(waits * times),
            answers=stage.meters[name].requests.total() * scale.by(name) * _ANSWER_SECONDS,
            longest=stage.longest[name],
        )
    return taken


def _on_stage(
    name: str, *, invocations: float, processor: float, waited: float, answers: float = 0.0, longest: float = 0.0
) -> _Taken:
    memory = int(_functions()[name]["memory_mb"])
    on_stage = waited + processor * max(1.0, _WHOLE_PROCESSOR_MB / memory)
    return _Taken(
        invocations=invocations,
        seconds=on_stage + answers,
        longest=longest * on_stage / ((waited + processor) or 1.0) + answers / invocations,
        memory_mb=memory,
    )


def _makespan(took: Mapping[str, _Taken], write_units: float, longest_row: float) -> tuple[float, str]:
    """Return the seconds until the last row is counted, and the part that takes most of them.

    The functions work side by side: the slowest of them decides, or the table, or one invocation.
    """
    takes = {"write units of a new table": write_units / NEW_TABLE_UNITS, "plan": took["plan"].seconds}
    for name, at_once in concurrency().items():
        if name in took:
            each = took[name]
            # A worker whose rows would take longer sends them back in pieces; a single row cannot be divided.
            longest = max(longest_row, min(each.longest, SPLIT_SECONDS))
            takes[name] = max(each.seconds / at_once, longest)
    limit = max(takes, key=lambda name: takes[name])
    first = took["ingest"].longest if "ingest" in took else 0.0
    return _START_SECONDS + first + takes[limit], limit


@cache
def _functions() -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = local("function_defaults", INFRA / "functions.tf")
    return found
