"""The verdict's own recount of a batch, from raw items: no code of the pipeline decides what a bit or a marker says."""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OUTCOMES = ("succeeded", "failed", "rejected")
_MARKER = "mark#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recounted:
    """What the items of a batch say of its rows, each source for itself."""

    markers: int = 0
    """Rows that are in a marker, as often as they are in one."""
    bits: int = 0
    """Rows whose bit is set in their chunk."""
    chunk_counters: int = 0
    outcomes: Mapping[str, int]
    differences: tuple[str, ...] = ()


def recount(dynamodb: "DynamoDBClient", table: str, batch_id: str, chunks: int) -> Recounted:
    """Read every partition of a batch and count."""
    found = [
        recount_chunk(number, _items(dynamodb, table, f"batch#{batch_id}#{number:06d}")) for number in range(chunks)
    ]
    outcomes: Counter[str] = Counter()
    for each in found:
        outcomes.update(each.outcomes)
    return Recounted(
        markers=sum(each.markers for each in found),
        bits=sum(each.bits for each in found),
        chunk_counters=sum(each.chunk_counters for each in found),
        outcomes={name: outcomes[name] for name in OUTCOMES},
        differences=tuple(difference for each in found for difference in each.differences),
    )


def _items(dynamodb: "DynamoDBClient", table: str, pk: str) -> list[Mapping[str, Any]]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ConsistentRead=True,
    )
    return [item for page in pages for item in page["Items"]]


def recount_chunk(number: int, items: Iterable[Mapping[str, Any]]) -> Recounted:
    """Recount one chunk, closed as it should be, from the items of its partition."""
    by_sk = {item["sk"]["S"]: item for item in items}
    if "chunk" not in by_sk:
        return Recounted(outcomes={}, differences=(f"chunk {number}: is not there",))
    chunk = by_sk["chunk"]
    differences: list[str] = []
    times: Counter[int] = Counter()
    outcomes: Counter[str] = Counter()
    for sk, marker in by_sk.items():
        if not sk.startswith(_MARKER):
            continue
        rows = {name: _rows(marker, name) for name in OUTCOMES}
        for name, some in rows.items():
            times.update(some)
            outcomes[name] += len(some)
        if _packed(marker) != {name: len(some) for name, some in rows.items()}:
            differences.append(f"chunk {number}: {sk} packs other outcomes than its bits say")
    done, total = _rows(chunk, "done"), _number(chunk, "expected_rows")
    counters = {name: _number(chunk, name) for name in OUTCOMES}
    twice = sorted(row for row, often in times.items() if often > 1)
    checks = [
        (not twice, f"rows {twice[:5]} are in more than one marker"),
        (set(times) == set(range(total)), f"its markers have {len(times)} rows of {total}"),
        (done == set(times), f"its bits have {len(done)} rows, its markers {len(times)}"),
        (
            counters == dict(outcomes) | {name: outcomes[name] for name in OUTCOMES},
            f"counts {counters}, not {outcomes}",
        ),
        (_number(chunk, "rows") == total, f"read with {_number(chunk, 'rows')} rows, planned with {total}"),
        (_number(chunk, "remaining") == 0, f"{_number(chunk, 'remaining')} rows remain"),
        (chunk["state"]["S"] == "closed", f"its state is {chunk['state']['S']}"),
    ]
    differences += [f"chunk {number}: {what}" for holds, what in checks if not holds]
    return Recounted(
        markers=sum(times.values()),
        bits=len(done),
        chunk_counters=sum(counters.values()),
        outcomes=outcomes,
        differences=tuple(differences),
    )


def _packed(marker: Mapping[str, Any]) -> dict[str, int]:
    """Return how many outcomes a marker has packed: successes as results in order, the others named."""
    page = json.loads(zlib.decompress(bytes(marker["data"]["B"])))
    others = Counter(other["outcome"] for other in page.get("others", []))
    return {"succeeded": len(page["results"]), "failed": others["failed"], "rejected": others["rejected"]}


def _rows(item: Mapping[str, Any], name: str) -> set[int]:
    mask = int.from_bytes(bytes(item[name]["B"]), "little") if name in item else 0
    return {row for row in range(mask.bit_length()) if mask >> row & 1}


def _number(item: Mapping[str, Any], name: str) -> int:
    return int(item[name]["N"]) if name in item else 0
