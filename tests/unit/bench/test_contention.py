"""The contention model: what docs/contention.md says of it, with fixed seeds."""

import random

import pytest
import simpy

from bench.contention.__main__ import DEPLOYED, DESIGNS, PIECES, SHIPPED, in_pieces
from bench.contention.model import Answer, Design, Outcome, _Table, run

SEEDS = (1, 2, 3)


@pytest.fixture
def table() -> _Table:
    """Give a table in simulated time."""
    return _Table(simpy.Environment(), random.Random(1), Outcome(messages=0))


def test_a_transaction_that_meets_another_on_any_item_is_cancelled(table: _Table) -> None:
    """The later one is, at once, and it holds nothing."""
    first = table.env.process(table.transact(["a", "b"]))
    second = table.env.process(table.transact(["b", "c"]))
    other = table.env.process(table.transact(["d", "c"]))
    table.env.run()
    assert (first.value, second.value, other.value) == (Answer.APPLIED, Answer.CONFLICT, Answer.APPLIED)
    assert (table.outcome.transactions, table.outcome.conflicts) == (2, 1)


def test_a_transaction_with_a_version_that_has_moved_changes_nothing(table: _Table) -> None:
    """It is refused, and the next one has the version that the refusal brought."""
    table.env.run(until=table.env.process(table.transact(["a"], 0)))
    stale = table.env.process(table.transact(["a"], 0))
    table.env.run(until=stale)
    again = table.env.process(table.transact(["a"], 1))
    table.env.run(until=again)
    assert (stale.value, again.value) == (Answer.STALE, Answer.APPLIED)
    assert table.versions["a"] == 2


@pytest.mark.parametrize("design", [*DESIGNS, *map(in_pieces, PIECES)], ids=lambda design: design.name)
@pytest.mark.parametrize("finishers", [1, 7, 100])
def test_every_message_is_counted_or_dead(design: Design, finishers: int) -> None:
    """The model loses nothing, whatever meets."""
    outcome = run(design, finishers)
    assert outcome.messages == finishers * 10
    assert outcome.seconds > 0
    if design.shards:
        assert outcome.transactions + outcome.dead_messages == outcome.messages


@pytest.mark.parametrize("seed", SEEDS)
def test_a_single_counter_breaks_under_a_hundred_finishers(seed: int) -> None:
    """Messages go back to their queue; under a thousand, each is sent ten times and more."""
    assert run(Design(name="single counter", shards=1), 100, seed=seed).redeliveries > 0
    assert run(Design(name="single counter", shards=1), 1000, seed=seed).tries > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_shards_only_move_the_place_where_it_breaks(seed: int) -> None:
    """Ten nearly do for a hundred finishers, and no longer for a thousand."""
    ten = Design(name="10 shards", shards=10)
    assert run(ten, 100, seed=seed).redeliveries < 10
    assert run(ten, 1000, seed=seed).redeliveries > 500


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("finishers", [20, 1000])
def test_a_message_a_chunk_meets_nobody(finishers: int, seed: int) -> None:
    """Each chunk has one finisher, and the batch's item one settler."""
    outcome = run(SHIPPED, finishers, seed=seed)
    assert outcome.conflicts == outcome.stale == outcome.redeliveries == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_of_slow_chunks_are_refused_and_never_die(seed: int) -> None:
    """Refused twice each at most, up to twenty pieces a chunk; none waits for its visibility timeout."""
    for pieces in PIECES:
        outcome = run(in_pieces(pieces), DEPLOYED, seed=seed)
        assert outcome.redeliveries == outcome.dead_messages == 0
        if pieces <= 20:
            assert outcome.conflicts + outcome.stale <= 2 * outcome.messages
