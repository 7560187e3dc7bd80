"""Records of the stream, as Lambda delivers them."""

import json
from pathlib import Path

from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.transport.streams import Change, changes

KEYS = {"pk": {"S": "batch#b"}, "sk": {"S": "batch"}}
EVENTS = Path(__file__).parents[2] / "events"


def test_changes_come_in_order_with_both_images() -> None:
    """An insertion has no old image."""
    event = {
        "Records": [
            {"eventName": "INSERT", "dynamodb": {"Keys": KEYS, "NewImage": KEYS}},
            {
                "eventName": "MODIFY",
                "dynamodb": {"Keys": KEYS, "OldImage": KEYS, "NewImage": {**KEYS, "a": {"N": "1"}}},
            },
        ]
    }
    assert list(changes(event)) == [
        Change(old={}, new=KEYS),
        Change(old=KEYS, new={**KEYS, "a": {"N": "1"}}),
    ]
    assert [change.sk for change in changes(event)] == ["batch"] * 2


def test_a_deletion_is_a_change_of_no_kind() -> None:
    """TTL deletes rows and markers by the thousand; no handler may take them for new ones."""
    (change,) = changes({"Records": [{"eventName": "REMOVE", "dynamodb": {"Keys": KEYS, "OldImage": KEYS}}]})
    assert change.sk == ""
    assert change.old == KEYS


def test_an_event_without_records_has_no_changes() -> None:
    """A handler that is invoked by hand for a try does nothing."""
    assert list(changes({})) == []


def test_an_event_as_lambda_delivers_it_is_understood() -> None:
    """With everything around the images that nobody reads."""
    event = json.loads((EVENTS / "dispatch.json").read_text(encoding="utf-8"))
    planned, ready = (Chunk.from_item(change.new) for change in changes(event))
    assert (planned.state, planned.rows) == (ChunkState.PLANNED, None)
    assert (ready.state, ready.rows, list(ready.done), list(ready.undone)) == (
        ChunkState.READY,
        10,
        [7],
        [0, 1, 2, 3, 4, 5, 6, 8, 9],
    )
