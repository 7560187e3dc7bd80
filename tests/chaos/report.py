"""What a run has to say: the verdict, as tables for people and as JSON."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos.faults import KILLS, OPERATOR, TALLY, Fault, Rates

if TYPE_CHECKING:
    from tally.output import Output
    from tests.chaos.contest import Score
    from tests.chaos.pipeline import Outcome
    from tests.chaos.proxy import Traffic

_CELLS = ("counter", "rows", "counted", "error", "completed", "early", "requests/row", "write units/row", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run."""

    seed: int
    rates: Rates
    outcome: "Outcome"
    scores: "tuple[Score, ...]"
    traffic: "dict[str, Traffic]"

    @property
    def passed(self) -> bool:
        """Tell whether Tally lost nothing, counted nothing twice, left nothing open and completed once an attempt."""
        return all(batch.exact for batch in self.outcome.batches) and not self.outcome.commands.mended

    def show(self, output: "Output") -> None:
        """Write the tables."""
        output.say("")
        output.table("Faults injected", ("fault", "into Tally", "into the counters"), self._faults())
        output.say("")
        output.table("Who is right", _CELLS, self._counters())
        output.say(
            "write units: ConsumedCapacity of the local AWS, by item size; a failed condition, which is billed and not "
            "told, as documented for items of up to 1 KB"
        )
        output.say("")
        output.table("Tally, batch by batch", *self._batches())
        for batch in self.outcome.batches:
            for difference in batch.differences[:5]:
                output.warn(f"{batch.id}: {difference}")
        for counter in self.outcome.commands.mended[:5]:
            output.warn(f"{counter}: a repair had to set its counters to what the markers prove")
        totals = self._totals()
        output.say("")
        output.say(
            f"seed {self.seed}, {self.outcome.seconds:.0f} s, dead letters {self.outcome.dead_letters}: "
            f"lost {totals['lost']:,}, overcounted {totals['overcounted']:,}, batches stuck {totals['stuck']}, "
            f"completion ids {totals['completion_ids']} for {totals['attempts']} attempts: "
            f"{'passed' if self.passed else 'FAILED'}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "passed": self.passed,
            "seed": self.seed,
            "rates": asdict(self.rates),
            "tally": {
                **self._totals(),
                "seconds": round(self.outcome.seconds, 1),
                "invocations": self.outcome.invocations,
                "dead_letters": self.outcome.dead_letters,
                "replayed": asdict(self.outcome.replayed),
                "commands": asdict(self.outcome.commands),
                **_traffic(self.traffic.get(TALLY), sum(batch.rows for batch in self.outcome.batches)),
                "batches": [
                    asdict(batch) | {"lost": batch.lost, "overcounted": batch.overcounted, "exact": batch.exact}
                    for batch in self.outcome.batches
                ],
            },
            "counters": [
                {
                    **asdict(score),
                    "error": score.error,
                    **_traffic(self.traffic.get(score.name), score.things),
                }
                for score in self.scores
            ],
        }

    def _totals(self) -> dict[str, int]:
        batches = self.outcome.batches
        return {
            "rows": sum(batch.rows for batch in batches),
            "markers": sum(batch.markers for batch in batches),
            "bits": sum(batch.bits for batch in batches),
            "chunk_counters": sum(batch.chunk_counters for batch in batches),
            "batch_counters": sum(batch.batch_counters for batch in batches),
            "lost": sum(batch.lost for batch in batches),
            "overcounted": sum(batch.overcounted for batch in batches),
            "stuck": sum(batch.stuck for batch in batches),
            "attempts": sum(batch.attempts for batch in batches),
            "exports": sum(batch.exports for batch in batches),
            "events": sum(batch.events for batch in batches),
            "completion_ids": sum(len(batch.event_ids) for batch in batches),
        }

    def _faults(self) -> list[tuple[str, int, int]]:
        ours: Counter[Fault] = Counter()
        theirs: Counter[Fault] = Counter()
        for caller, traffic in self.traffic.items():
            (ours if caller in {TALLY, OPERATOR} else theirs).update(traffic.faults)
        rows = [
            (fault.value, ours[fault], theirs[fault])
            for fault in Fault
            if fault is not Fault.NONE and fault not in KILLS
        ]
        killed = sum(ours[fault] for fault in KILLS)
        share = killed / self.outcome.invocations if self.outcome.invocations else 0
        replayed = self.outcome.replayed
        return [
            *rows,
            (f"workers killed ({share:.1%} of {self.outcome.invocations:,} invocations)", killed,
             sum(score.kills for score in self.scores)),
            ("S3 events delivered again", replayed.uploads, 0),
            ("stream records delivered again", replayed.records, 0),
            ("rows redriven meanwhile", self.outcome.commands.redriven, 0),
            ("repairs meanwhile", self.outcome.commands.repairs, 0),
            ("of all requests", sum(ours.values()), sum(theirs.values())),
        ]  # fmt: skip

    def _counters(self) -> list[tuple[Any, ...]]:
        totals = self._totals()
        counted = totals["batch_counters"]
        ids = totals["completion_ids"]
        mine = _traffic(self.traffic.get(TALLY), totals["rows"])
        row = (
            "Tally", totals["rows"], counted, _signed(counted - totals["rows"]),
            f"{ids} of {totals['attempts']}", 0, f"{mine['requests_per_row']:.3f}",
            f"{mine['write_units_per_row']:.3f}", "all of it: rows, markers with results, counters, queues",
        )  # fmt: skip
        return [row, *map(self._counter, self.scores)]

    def _counter(self, score: "Score") -> tuple[Any, ...]:
        cost = _traffic(self.traffic.get(score.name), score.things)
        note = score.remark + (f"; {score.dead} given up after 5 deliveries" if score.dead else "")
        return (
            score.name, score.things, score.counted, _signed(score.error), f"{score.completions.fired} of 1",
            score.completions.early, f"{cost['requests_per_row']:.3f}", f"{cost['write_units_per_row']:.3f}", note,
        )  # fmt: skip

    def _batches(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        columns = (
            "batch", "status", "rows", "markers", "bits", "chunk counters", "batch counter", "lost", "overcounted",
            "stuck", "completion ids", "events", "results proven", "outcomes as the sample's",
        )  # fmt: skip
        return columns, [
            (
                batch.id, batch.status, batch.rows, batch.markers, batch.bits, batch.chunk_counters,
                batch.batch_counters, batch.lost, batch.overcounted, "yes" if batch.stuck else "no",
                len(batch.event_ids), batch.events, f"{batch.exports} of {batch.attempts} attempts",
                "yes" if batch.as_expected else "no",
            )
            for batch in self.outcome.batches
        ]  # fmt: skip


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "0"


def _traffic(traffic: "Traffic | None", rows: int) -> dict[str, Any]:
    if traffic is None or not rows:
        return {"requests_per_row": 0.0, "write_units_per_row": 0.0, "read_units_per_row": 0.0, "faults": {}}
    return {
        "faults": {fault.value: count for fault, count in traffic.faults.items()},
        "requests_per_row": round(traffic.requests / rows, 3),
        "write_units_per_row": round(traffic.writes / rows, 3),
        "read_units_per_row": round(traffic.reads / rows, 3),
    }
