"""Write units and requests a row, by kind: what the functions really asked of AWS over one file."""

from bench.line import Line
from bench.recording import Traffic

RECORDS, MARKERS = "dynamodb BatchWriteItem row", "dynamodb TransactWriteItems mark"
_LIMIT = 3.02
"""1 unit for the record, 2 for the marker, 2/99 for the counter that moves with 99 markers."""


def lines(traffic: Traffic, rows: int) -> list[Line]:
    """Return the lines of a file's requests."""
    units = {kind: round(count / rows, 4) for kind, count in traffic.writes.most_common()}
    total = sum(traffic.requests.values())
    others = {
        kind: round(count / rows, 4) for kind, count in traffic.requests.most_common() if kind not in {RECORDS, MARKERS}
    }
    essential = traffic.essential(RECORDS, MARKERS)
    return [
        Line(
            name="write units a row", value=traffic.writes.total() / rows, unit="", most=3.05,
            raw={"rows": rows, "limit": _LIMIT, **units},
        ),
        Line(
            name="requests a row beside the writes themselves", value=(total - essential) / rows, unit="", most=0.05,
            raw={"records and markers": round(essential / rows, 4), **others},
        ),
        Line(
            name="read units a row", value=traffic.reads.total() / rows, unit="",
            raw={kind: round(count / rows, 4) for kind, count in traffic.reads.most_common()},
        ),
    ]  # fmt: skip
