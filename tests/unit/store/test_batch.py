"""The batch item: its format, its version, and what it says as it was written."""

from typing import Any

import pytest

from chalicelib.errors import FatalError, FormatError
from chalicelib.store.batch import Batch, BatchStatus, Cursor, Hold, Source, Unpacking, is_known
from chalicelib.store.items import number, text

BATCH = Batch(
    id="offices-1",
    job="offices",
    source=Source(bucket="inbox", key="inbox/offices/dé y.csv", version_id="v1", etag="e"),
    size=99,
    status=BatchStatus.PLANNING,
    created_at="2026-03-01T00:00:00.000000+00:00",
    expires_at=1_800_000_000,
    chunk_rows=500,
    chunk_bytes=262_144,
    header=("office_id", "é"),
)


def test_a_new_batch_is_read_as_it_was_written() -> None:
    """Nothing of it is lost, and nothing counted."""
    assert Batch.from_item(BATCH.to_item()) == BATCH


def test_what_came_later_is_read_too() -> None:
    """Each part of the item is there only once it says something."""
    later: dict[str, dict[str, Any]] = {
        "status": text("running"),
        "chunks": number(3),
        "remaining": number(-1),
        "version": number(7),
        "hold": text("paused"),
        "cursor_offset": number(10),
        "cursor_line": number(11),
        "cursor_chunks": number(2),
        "cursor_rows": number(9),
        "unpack_upload_id": text("u"),
        "unpack_read": number(5),
        "unpacked_key": text("unpacked/day.csv"),
        "unpacked_version_id": text("v2"),
        "unpacked_size": number(999),
    }
    batch = Batch.from_item({**BATCH.to_item(), **later})
    assert (batch.chunks, batch.remaining, batch.version, batch.hold) == (3, -1, 7, Hold.PAUSED)
    assert batch.cursor == Cursor(offset=10, line=11, chunks=2, rows=9)
    assert batch.unpacking == Unpacking(read=5, upload_id="u")
    assert (batch.content.key, batch.content.version, batch.content_size) == ("unpacked/day.csv", "v2", 999)


def test_a_batch_says_which_format_it_and_its_items_have() -> None:
    """By which a later Tally tells."""
    item = BATCH.to_item()
    assert (item["format"], item["version"]) == (number(2), number(0))
    assert is_known(item)


@pytest.mark.parametrize(("written", "said"), [(None, 1), (1, 1), (3, 3)])
def test_a_batch_of_another_format_is_a_clear_error(written: int | None, said: int) -> None:
    """Version 1 wrote no format. Reading it as if it were ours would count its rows for nothing."""
    item = {name: value for name, value in BATCH.to_item().items() if name != "format"}
    item |= {"format": number(written)} if written else {}
    assert not is_known(item)
    with pytest.raises(
        FormatError, match=f"offices-1 has format {said}, .* knows format 2: .*docs/deploy.md"
    ) as raised:
        Batch.from_item(item)
    assert isinstance(raised.value, FatalError)
