"""Batches, chunks and rows are loaded consistently, and in as few requests as they take."""

import random
from typing import Any

import pytest

from chalicelib.errors import FormatError, NotFoundError
from chalicelib.store.items import ChunkKey, Outcome, number
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import RowOutcome
from chalicelib.store.repository import Repository
from chalicelib.store.rows import StoredRow, to_items
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Requests, chunk_of, ledger, plant_batch, plant_ready, table

BATCH = "offices-1"
KEY = ChunkKey(BATCH, 0)


def _repository(client: Any) -> Repository:
    return Repository(table=table(client))


def _stored(rows: int, *, characters: int = 4) -> list[StoredRow]:
    luck = random.Random(7)
    return [StoredRow(row, row + 2, [f"o{row}", luck.randbytes(characters // 2).hex()]) for row in range(rows)]


def _world(stored: list[StoredRow]) -> MemoryDynamoDB:
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, BATCH)
    items = to_items(KEY, ("office_id", "comment"), stored, expires_at=99)
    table(dynamodb).write_all(items)
    plant_ready(dynamodb, KEY, len(stored), pages=number(len(items)))
    return dynamodb


def test_what_is_not_there_is_none_or_an_error_as_the_caller_asks() -> None:
    """The error says what may have happened."""
    nothing = _repository(MemoryDynamoDB())
    assert nothing.find_batch(BATCH) is None
    assert nothing.find_chunk(KEY) is None
    with pytest.raises(NotFoundError, match="no batch offices-1"):
        nothing.require_batch(BATCH)
    with pytest.raises(NotFoundError, match="no chunk batch#offices-1#000000"):
        nothing.require_chunk(KEY)


def test_what_is_there_is_found() -> None:
    """Each by its own key."""
    dynamodb = _world(_stored(3))
    repository = _repository(dynamodb)
    assert repository.require_batch(BATCH) == repository.find_batch(BATCH)
    assert repository.require_chunk(KEY) == repository.find_chunk(KEY) == chunk_of(dynamodb, KEY)


def test_a_worker_gets_batch_chunk_and_rows_in_one_consistent_request() -> None:
    """A message costs one read. It sees every outcome that was counted before."""
    stored = _stored(3)
    requests = Requests(_world(stored))
    work = _repository(requests).require_work(KEY)
    assert [row for _, row in work.stored()] == stored
    assert (work.batch.id, work.chunk.key) == (BATCH, KEY)
    assert [operation for operation, _ in requests.made] == ["batch_get_item"]
    assert requests.of("batch_get_item")[0]["RequestItems"]["tally-test"]["ConsistentRead"] is True


def test_a_message_about_a_batch_of_version_1_says_so() -> None:
    """Its chunk has no state, which by itself says nothing that an operator could act on."""
    dynamodb = _world(_stored(1))
    for pk, sk, gone in ((f"batch#{BATCH}", "batch", "format"), (KEY.pk, "chunk", "state")):
        del dynamodb.items[pk, sk][gone]
    with pytest.raises(FormatError, match=r"has format 1, .*Change over"):
        _repository(dynamodb).require_work(KEY)


def test_pages_after_the_first_are_read_when_the_worker_comes_to_the_rows() -> None:
    """All of them in one more request; a worker that finds every row done does without."""
    stored = _stored(1_500, characters=1_600)
    requests = Requests(_world(stored))
    work = _repository(requests).require_work(KEY)
    assert work.chunk.pages > 2
    assert len(requests.made) == 1
    assert [row for _, row in work.stored()] == stored
    assert len(requests.made) == 2


def test_a_chunk_without_rows_gives_none() -> None:
    """All of them were rejected, or it was given up unread."""
    dynamodb = _world([])
    work = _repository(dynamodb).require_work(KEY)
    assert list(work.stored()) == []


@pytest.mark.parametrize("missing", [("batch#offices-1", "batch"), (KEY.pk, "chunk")])
def test_work_without_its_batch_or_its_chunk_is_an_error(missing: tuple[str, str]) -> None:
    """Half of it would be run over nothing."""
    dynamodb = _world(_stored(1))
    del dynamodb.items[missing]
    with pytest.raises(NotFoundError, match=KEY.pk):
        _repository(dynamodb).require_work(KEY)


def test_who_needs_no_rows_reads_none() -> None:
    """Ingest and redrive ask for the batch and the chunk: rows would be paid for by the kilobyte."""
    requests = Requests(_world(_stored(3)))
    batch, chunk = _repository(requests).require_with_batch(KEY)
    assert (batch.id, chunk.key) == (BATCH, KEY)
    ((_, request),) = requests.made
    assert [found["sk"]["S"] for found in request["RequestItems"]["tally-test"]["Keys"]] == ["batch", "chunk"]


def test_chunks_come_in_order_a_hundred_to_a_request() -> None:
    """Those that do not exist are left out: a plan may be under way."""
    dynamodb = MemoryDynamoDB()
    for position in range(0, 250, 2):
        plant_ready(dynamodb, ChunkKey(BATCH, position), 1)
    requests = Requests(dynamodb)
    chunks = _repository(requests).chunks(BATCH, range(250))
    assert [chunk.key.number for chunk in chunks] == list(range(0, 250, 2))
    assert len(requests.made) == 3


def test_markers_come_in_the_order_in_which_they_counted() -> None:
    """However many: a query has pages, here of seven items."""
    dynamodb = _world(_stored(20))
    for row in range(20):
        outcome = RowOutcome(row=row, outcome=Outcome.SUCCEEDED)
        ledger(dynamodb).record(KEY, [Finished(1, outcome)], Seen.of(chunk_of(dynamodb, KEY)))
    repository = _repository(dynamodb)
    assert [list(marker.every_row) for marker in repository.markers(KEY)] == [[row] for row in range(20)]
    assert [marker.version for marker in repository.markers(KEY)] == list(range(2, 22))


def test_an_audit_reads_bits_and_no_results() -> None:
    """It needs which rows have which outcome; results are most of a marker's bytes."""
    dynamodb = _world(_stored(3))
    outcomes = [RowOutcome(row=row, outcome=outcome) for row, outcome in enumerate([Outcome.SUCCEEDED, Outcome.FAILED])]
    ledger(dynamodb).record(KEY, [Finished(1, outcome) for outcome in outcomes], Seen.of(chunk_of(dynamodb, KEY)))
    requests = Requests(dynamodb)
    (bare,), (whole,) = _repository(requests).markers(KEY, data=False), _repository(dynamodb).markers(KEY)
    assert (bare.rows, bare.counts, bare.version, bare.outcomes) == (whole.rows, whole.counts, whole.version, ())
    assert (bare.counted_at, bare.expires_at) == (whole.counted_at, whole.expires_at)
    assert "data" not in requests.of("query")[0]["ProjectionExpression"]
