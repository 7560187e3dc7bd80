"""Chains: what is noted of a batch that was deleted meanwhile is nothing."""

from chalicelib.store.chains import Chain, Chains
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import table


def test_a_chain_whose_batch_was_deleted_notes_nothing() -> None:
    """Its message may outlive the batch by days; an item with a child alone would be no batch."""
    dynamodb = MemoryDynamoDB()
    chain = Chain(
        batch_id="offices-1",
        attempt=1,
        then="written",
        depth=1,
        decided_at="2026-03-01T12:00:00",
        upload_id="upload",
        child="written-2",
    )
    Chains(table=table(dynamodb)).note_end(chain)
    assert not dynamodb.items
