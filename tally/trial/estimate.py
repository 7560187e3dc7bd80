"""What a file would take on a stage, from what a trial of it took: chunks, units, requests, dollars and time.

Units and requests follow as those of `tally cost` do, from every chunk that was tried. Where not all of the file was
tried, the rest is taken to be like it. Seconds of functions are those that the same code took here; of the part that a
processor worked on, a function takes longer by the share of a processor that its memory buys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chalicelib.steps.run import SPLIT_SECONDS
from tally.batch import cost, prices
from tally.batch.cost import Cost, Worked
from tally.testing.configuration import INFRA, local
from tally.trial.stage import MAX_TOGETHER, SETTINGS
from tally.trial.trial import Seen, Trial

NEW_TABLE_UNITS = 4_000
"""Write units a second of a new table that is paid by request."""
_WHOLE_PROCESSOR_MB = 1_769
_START_SECONDS = 3.0
"""Until the first row runs, and after the last: cold starts, and five times a batch waits for the stream."""
_REQUEST_SECONDS = 0.005
"""What an answer of AWS takes that here comes at once."""
_REQUESTS = {"ingest": 4, "process": 4, "process_heavy": 9, "finish": 1, "dispatch": 1, "settle": 2}
"""Requests of an invocation, about."""
_LINES_BYTES = 220
"""What an invocation logs itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the whole file would take; ``scaled`` if only a part of it was tried, ``share`` of its bytes.

    ``seconds`` is from upload to event, ``longest_wait`` the part of it that rows wait for their retries.
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
    """Return how many of the functions that take rows run at once, as Terraform deploys them."""
    functions = _functions()
    return {name: int(functions[name]["maximum_concurrency"]) for name in ("ingest", "process", "process_heavy")}


def estimate(trial: Trial, plan_seconds: float) -> Estimate | None:
    """Return what the file would take; None if no chunk of it was tried.

    ``plan_seconds`` are those that planning took so far.
    """
    seen, stage, watch = trial.seen, trial.stage, trial.watch
    if not seen.chunks or not seen.counts.total:
        return None
    whole = seen.whole
    share = 1.0 if whole else min(1.0, seen.tried_bytes / max(1, _row_bytes(seen)))
    chunks = seen.cut.chunks if seen.every_chunk else round(seen.cut.chunks * _row_bytes(seen) / seen.cut.bytes)
    rows = seen.cut.rows if seen.every_chunk else round(seen.cut.rows * _row_bytes(seen) / seen.cut.bytes)
    of = chunks / seen.chunks
    more = 1.0 if whole else rows / seen.counts.total
    planned = 1.0 if seen.every_chunk else _row_bytes(seen) / seen.cut.bytes
    messages = seen.messages if whole else max(1, round(seen.messages * _messages_more(seen, of, more)))
    took = _taken(trial, plan_seconds * planned, of=of, more=more, messages=messages / max(1, seen.messages))
    worked = Worked(
        functions={name: (each.invocations, each.gb_seconds) for name, each in took.items()},
        messages=messages,
        log_bytes=round(sum(each.invocations for each in took.values()) * (prices.INVOCATION_LOG_BYTES + _LINES_BYTES)),
    )
    found = cost.total(
        seen.costs,
        of=of,
        rows=rows,
        chunks=chunks,
        messages=messages,
        moved=max(1.0, (seen.closings or -(-seen.chunks // MAX_TOGETHER)) * of),
        kept_days=SETTINGS.retention_days,
        worked=worked,
    )
    seconds, limit = _makespan(took, found.write_units, watch.durations.longest)
    wait = stage.sqs.longest_wait
    return Estimate(
        cost=found,
        seconds=seconds + wait,
        longest_wait=wait,
        share=share,
        scaled=not whole,
        limit=limit,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What a function takes in all: invocations, seconds on a stage, and the longest invocation."""

    invocations: float
    seconds: float
    longest: float
    memory_mb: int

    @property
    def gb_seconds(self) -> float:
        return self.seconds * self.memory_mb / 1024


def _row_bytes(seen: Seen) -> float:
    """Return the bytes of the file that are rows: all of it, as near as matters, unless every chunk was cut."""
    return seen.cut.bytes if seen.every_chunk else max(seen.content_size, seen.cut.bytes)


def _messages_more(seen: Seen, of: float, more: float) -> float:
    """Return how many times as many work messages there will be: they grow with rows where these are slow or heavy."""
    return more if seen.messages > 2 * seen.chunks else of


def _taken(trial: Trial, plan_seconds: float, *, of: float, more: float, messages: float) -> Mapping[str, _Taken]:
    stage = trial.stage
    functions = _functions()
    times = {"process": more, "process_heavy": more}
    counts = {"process": messages, "process_heavy": more}
    taken = {"plan": _on_stage(functions["plan"], 1, plan_seconds, 0.0, 0.0, longest=plan_seconds)}
    ran = stage.seconds["process"] + stage.seconds["process_heavy"]
    for name in ("dispatch", "ingest", "process", "process_heavy", "finish", "settle"):
        invocations = stage.invocations[name] * counts.get(name, of)
        if invocations:
            # The job alone waits for anything here. What else the machine does makes all of it take longer.
            waited = trial.watch.waited * stage.seconds[name] / ran if name in times and ran else 0.0
            taken[name] = _on_stage(
                functions[name],
                invocations,
                stage.processor_seconds[name] * times.get(name, of),
                waited * times.get(name, of),
                _REQUESTS[name] * _REQUEST_SECONDS,
                longest=stage.longest[name],
            )
    return taken


def _on_stage(
    function: Mapping[str, Any], invocations: float, processor: float, waited: float, answers: float, *, longest: float
) -> _Taken:
    memory = int(function["memory_mb"])
    slower = max(1.0, _WHOLE_PROCESSOR_MB / memory)
    on_stage = waited + processor * slower
    return _Taken(
        invocations=invocations,
        seconds=on_stage + invocations * answers,
        longest=longest * on_stage / ((waited + processor) or 1.0) + answers,
        memory_mb=memory,
    )


def _makespan(took: Mapping[str, _Taken], write_units: float, longest_row: float) -> tuple[float, str]:
    """Return the seconds until the last row is counted, and what they are mostly spent on.

    The functions work side by side: the slowest of them says how long it takes, or the table, or one invocation.
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
