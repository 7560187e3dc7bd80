"""Print what finishers that meet on counters cost, by design and by chunk size."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from bench.contention.model import GROUP_ROWS, Design, Outcome, run
from chalicelib.store.pacing import TRANSACTIONAL_FACTOR

FINISHERS = (10, 100, 1000)
TREE = Design(name="tree, chunks of 500", chunk_rows=500)
DESIGNS = (
    Design(name="single counter"),
    Design(name="10 shards", shards=10),
    Design(name="100 shards", shards=100),
    Design(name="1,000 shards", shards=1000),
    TREE,
)
CHUNK_ROWS = (50, 100, 250, 500, 1000, 2500, 10_000, 50_000)
UNITS_OF_A_CHUNK = 5
"""It is made and closed in transactions (2 + 2), and its total is set (1); the batch's counter is shared by many."""


def units_a_row(chunk_rows: int) -> float:
    """Return the write units of a row beyond its record and its marker: its chunk, and the counter of each group."""
    return (UNITS_OF_A_CHUNK + TRANSACTIONAL_FACTOR * -(-chunk_rows // GROUP_ROWS)) / chunk_rows


def main() -> None:
    """Print both tables."""
    console = Console(width=130)
    designs = [(design.name, finishers, run(design, finishers)) for design in DESIGNS for finishers in FINISHERS]
    console.print(_table("Designs", "design", designs))
    sizes = [
        (f"{size:,} ({units_a_row(size):.3f})", 1000, run(Design(name="tree", chunk_rows=size), 1000))
        for size in CHUNK_ROWS
    ]
    console.print(_table("Chunk sizes of the tree (and write units a row over 3)", "rows a chunk", sizes))


def _table(title: str, first: str, lines: Iterable[tuple[str, int, Outcome]]) -> Table:
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for name in ("finishers", "rows", "transactions", "cancelled", "tries each", "refused", "redelivered", "dead", "s"):
        table.add_column(name, justify="right")
    for name, finishers, outcome in lines:
        table.add_row(
            name,
            f"{finishers:,}",
            f"{outcome.rows:,}",
            f"{outcome.transactions:,}",
            f"{outcome.conflicts:,}",
            f"{outcome.tries:.2f}",
            f"{outcome.plain_conflicts:,}",
            f"{outcome.redeliveries:,}",
            f"{outcome.dead_rows:,}",
            f"{outcome.seconds:,.1f}",
        )
    return table


if __name__ == "__main__":
    main()
