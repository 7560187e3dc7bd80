"""The contention model: what docs/contention.md leases of it, with fixed seeds."""

import random

import pytest
import simpy

from bench.contention.__main__ import CHUNK_ROWS, DESIGNS, TREE, units_a_row
from bench.contention.model import GROUP_ROWS, PACK_ROWS, Design, Outcome, _Table, run

SEEDS = (1, 2, 3)


@pytest.fixture
def table() -> _Table:
    """Give a table in simulated time."""
    return _Table(simpy.Environment(), random.Random(1), Outcome(rows=0))


def test_a_transaction_that_meets_another_on_any_item_is_cancelled(table: _Table) -> None:
    """The later one is, at once, and it holds nothing."""
    first = table.env.process(table.transact(["a", "b"]))
    second = table.env.process(table.transact(["b", "c"]))
    other = table.env.process(table.transact(["d", "c"]))
    table.env.run()
    assert (first.value, second.value, other.value) == (True, False, True)
    assert (table.outcome.transactions, table.outcome.conflicts) == (2, 1)


def test_a_plain_write_is_refused_only_by_a_running_transaction(table: _Table) -> None:
    """Two plain writes of an item wait for each other inside DynamoDB."""
    plain = [table.env.process(table.update("a")) for _ in range(2)]
    table.env.run()
    table.env.process(table.transact(["a"]))
    refused = table.env.process(table.update("a"))
    table.env.run()
    after = table.env.process(table.update("a"))
    table.env.run()
    assert [write.value for write in (*plain, refused, after)] == [True, True, False, True]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
@pytest.mark.parametrize("finishers", [1, 7, 100])
def test_every_group_of_rows_is_counted_or_dead(design: Design, finishers: int) -> None:
    """The model loses nothing, whatever meets."""
    outcome = run(design, finishers)
    assert outcome.rows == finishers * 2 * PACK_ROWS
    if not outcome.dead_rows:
        assert outcome.transactions >= outcome.rows / GROUP_ROWS


@pytest.mark.parametrize("seed", SEEDS)
def test_a_single_counter_breaks_under_a_thousand_finishers(seed: int) -> None:
    """Transactions are cancelled ten times as often as applied, and rows die in the queue."""
    outcome = run(Design(name="single counter"), 1000, seed=seed)
    assert outcome.conflicts > 10 * outcome.transactions
    assert outcome.dead_rows > outcome.rows / 10


@pytest.mark.parametrize("seed", SEEDS)
def test_shards_only_move_the_place_where_it_breaks(seed: int) -> None:
    """A hundred do for a hundred finishers, and no longer for a thousand."""
    hundred = Design(name="100 shards", shards=100)
    few, many = run(hundred, 100, seed=seed), run(hundred, 1000, seed=seed)
    assert few.redeliveries == 0
    assert few.tries < 1.7
    assert many.tries > 2.4
    assert run(Design(name="10 shards", shards=10), 1000, seed=seed).redeliveries > 500


@pytest.mark.parametrize("seed", SEEDS)
def test_contention_in_the_tree_does_not_grow_with_the_finishers(seed: int) -> None:
    """Each counter has the finishers of its own chunk, and the batch's a few settlers."""
    few, many = run(TREE, 10, seed=seed), run(TREE, 1000, seed=seed)
    assert many.tries < 1.4
    assert many.tries < few.tries * 1.25
    assert many.seconds < 10 * few.seconds
    assert many.redeliveries == many.dead_rows == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_chunks_of_a_few_hundred_rows_are_right(seed: int) -> None:
    """Smaller ones cost more units than they save tries; larger ones are hot."""
    runs = {size: run(Design(name="tree", chunk_rows=size), 1000, seed=seed) for size in CHUNK_ROWS}
    fit = [size for size in CHUNK_ROWS if units_a_row(size) <= 0.05 and runs[size].tries <= 1.5]
    assert fit == [250, 500]
    assert min(runs, key=lambda size: runs[size].seconds) in fit
    assert runs[10_000].redeliveries > 0
