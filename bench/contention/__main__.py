"""Print the cost of conflicts between finishers, by design and by messages per chunk."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from bench.contention.model import Design, Outcome, run

FINISHERS = (1, 20, 100, 1000)
SHIPPED = Design(name="an item a chunk")
DESIGNS = (
    Design(name="single counter", shards=1),
    Design(name="10 shards", shards=10),
    Design(name="100 shards", shards=100),
    SHIPPED,
)
PIECES = (1, 2, 5, 20, 100)
DEPLOYED = 20
"""The most finishers of a stage with the default settings."""


def in_pieces(pieces: int) -> Design:
    """Return the design in use, for a chunk of slow rows whose outcomes come in so many messages."""
    return Design(name=f"{pieces} messages a chunk", pieces=pieces)


def main() -> None:
    """Print both tables."""
    console = Console(width=130)
    designs = [(design.name, finishers, run(design, finishers)) for design in DESIGNS for finishers in FINISHERS]
    console.print(_table("Designs, a message a chunk", designs))
    pieces = [(in_pieces(pieces).name, DEPLOYED, run(in_pieces(pieces), DEPLOYED)) for pieces in PIECES]
    console.print(_table("Chunks of slow rows", pieces))


def _table(title: str, lines: Iterable[tuple[str, int, Outcome]]) -> Table:
    table = Table(title=title)
    table.add_column("design", no_wrap=True)
    for name in ("finishers", "messages", "transactions", "conflicts", "stale", "tries", "redelivered", "dead", "s"):
        table.add_column(name, justify="right")
    for name, finishers, outcome in lines:
        table.add_row(
            name,
            f"{finishers:,}",
            f"{outcome.messages:,}",
            f"{outcome.transactions:,}",
            f"{outcome.conflicts:,}",
            f"{outcome.stale:,}",
            f"{outcome.tries:.2f}",
            f"{outcome.redeliveries:,}",
            f"{outcome.dead_messages:,}",
            f"{outcome.seconds:,.1f}",
        )
    return table


if __name__ == "__main__":
    main()
