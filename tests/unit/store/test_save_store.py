"""Saves: what is noted of a batch that was deleted meanwhile is nothing."""

from chalicelib.keys import Key, KeySource
from chalicelib.store.saves import Place, Save, Saves
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import table


def test_a_save_whose_export_was_deleted_notes_nothing() -> None:
    """Its message may outlive the batch by days; an item with ``saved_at`` alone would be no export."""
    dynamodb = MemoryDynamoDB()
    save = Save(
        batch_id="offices-1",
        attempt=1,
        key=Key(name="office_id", source=KeySource.ROW),
        rows=0,
        completed_at="2026-03-01T12:00:00",
        begun_at="2026-03-01T12:00:01",
        place=Place(chunks_left=0),
        saved_at="2026-03-01T12:00:02",
    )
    Saves(table=table(dynamodb)).finish(save)
    assert not dynamodb.items
