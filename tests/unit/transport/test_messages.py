"""What travels through the queues: any content, in characters that SQS takes, and as much as fits."""

import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.errors import MessageError
from chalicelib.store.items import Outcome
from chalicelib.transport.messages import (
    ABSENT,
    MAX_MESSAGE_BYTES,
    MAX_PART_BYTES,
    ChunkMessage,
    FinishedMessage,
    FinishedRow,
    RowOutcome,
    WorkMessage,
    WorkRow,
    decode,
    encode,
    encoded_size,
    pack,
)

BATCH = "transactions-0123456789abcdef0123"
# The characters that make trouble come up often: controls, DEL, quotes, what XML forbids, two and four bytes.
TEXTS = st.text(
    st.sampled_from('\x00\t\n\r\x1f\x7f\x85"\\é\u2028\ud7ff\ue000\ufffd\ufffe\uffff\U0001ffff𐀀')
    | st.characters(codec="utf-8")
)
ROWS = st.builds(
    WorkRow,
    chunk=st.integers(0, 10**6),
    row=st.integers(0, 10**6),
    data=TEXTS.map(lambda text: msgspec.Raw(msgspec.json.encode({"name": text}))),
)
FINISHED = st.builds(
    FinishedRow,
    chunk=st.integers(0, 10**6),
    outcome=st.builds(
        RowOutcome,
        row=st.integers(0, 10**6),
        outcome=st.sampled_from(Outcome),
        result=st.just(ABSENT) | TEXTS.map(lambda text: msgspec.Raw(msgspec.json.encode(text))),
        error=TEXTS,
    ),
)
# SendMessage, "MessageBody": #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF
ACCEPTED = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def _content(row: WorkRow) -> tuple[int, int, object]:
    return row.chunk, row.row, msgspec.json.decode(row.data) if bytes(row.data) else None


@given(rows=st.lists(ROWS, max_size=5))
@example(rows=[WorkRow(0, 0, msgspec.Raw('"\ufffe\uffff"'.encode()))])
def test_any_row_arrives_as_it_was_sent_in_characters_that_sqs_takes(rows: list[WorkRow]) -> None:
    """SQS refuses a whole message for one character that XML 1.0 has not."""
    body = encode(WorkMessage(BATCH, rows))
    assert ACCEPTED.fullmatch(body)
    arrived = decode(body, WorkMessage)
    assert arrived.batch == BATCH
    assert list(map(_content, arrived.rows)) == list(map(_content, rows))


@given(rows=st.lists(FINISHED, max_size=5))
@example(rows=[FinishedRow(0, RowOutcome(0, Outcome.FAILED, error="\ufffe\uffff\x00"))])
def test_any_outcome_arrives_as_it_was_sent_in_characters_that_sqs_takes(rows: list[FinishedRow]) -> None:
    """Errors quote what the user's libraries say."""
    body = encode(FinishedMessage(BATCH, rows))
    assert ACCEPTED.fullmatch(body)
    arrived = decode(body, FinishedMessage).rows
    assert [(row.chunk, row.outcome.row, row.outcome.outcome, row.outcome.error) for row in arrived] == [
        (row.chunk, row.outcome.row, row.outcome.outcome, row.outcome.error) for row in rows
    ]
    for there, here in zip(arrived, rows, strict=True):
        assert bool(bytes(there.outcome.result)) == bool(bytes(here.outcome.result))
        if bytes(here.outcome.result):
            assert msgspec.json.decode(there.outcome.result) == msgspec.json.decode(here.outcome.result)


@given(rows=st.lists(ROWS, min_size=1, max_size=5))
@example(rows=[WorkRow(0, 0, msgspec.Raw('"\ufffe"'.encode()))])
@example(rows=[WorkRow(0, 0, msgspec.Raw('"\uffff"'.encode()))])
def test_the_size_of_a_part_is_what_it_adds_to_a_message(rows: list[WorkRow]) -> None:
    """In bytes, with the comma, of which the last part has none."""
    empty = len(encode(WorkMessage(BATCH, [])).encode())
    full = len(encode(WorkMessage(BATCH, rows)).encode())
    assert full - empty == sum(map(encoded_size, rows)) - 1


def test_what_is_absent_does_not_travel() -> None:
    """A work message is mostly rows: every byte is paid for by the thousand."""
    assert encode(ChunkMessage("b", 7)) == '{"batch":"b","chunk":7}'
    assert encode(WorkMessage("b", [WorkRow(1, 2)])) == '{"batch":"b","rows":[{"chunk":1,"row":2}]}'
    assert decode('{"chunk":1,"row":2}', WorkRow) == WorkRow(1, 2)
    assert encode(RowOutcome(3, Outcome.SUCCEEDED)) == '{"row":3,"outcome":"succeeded"}'


@pytest.mark.parametrize("body", ["", "hello", "[]", '{"batch":"b"}', '{"batch":"b","chunk":"x"}'])
def test_a_body_that_tally_did_not_write_is_refused(body: str) -> None:
    """It goes to the dead letters, with the kind that was expected in the log."""
    with pytest.raises(MessageError, match="not a ChunkMessage"):
        decode(body, ChunkMessage)


@given(sizes=st.lists(st.integers(1, MAX_PART_BYTES), max_size=40), most=st.integers(1, 12))
@example(sizes=[MAX_PART_BYTES - 1, 1, 1], most=9)
@example(sizes=[1] * 9, most=3)
def test_packs_keep_the_order_lose_nothing_and_obey_both_bounds(sizes: list[int], most: int) -> None:
    """And no pack is closed before the next part would have broken a bound."""
    packs = list(pack(sizes, size=lambda part: part, most=most))
    assert [part for packed in packs for part in packed] == sizes
    for packed in packs:
        assert 0 < len(packed) <= most
        assert sum(packed) <= MAX_PART_BYTES
    for packed, following in pairwise(packs):
        assert len(packed) == most or sum(packed) + following[0] > MAX_PART_BYTES


def test_a_part_that_fits_nowhere_stands_alone() -> None:
    """Its sender has to see to it; the others are not held up."""
    assert list(pack([1, MAX_PART_BYTES + 1, 1], size=lambda part: part, most=9)) == [[1], [MAX_PART_BYTES + 1], [1]]


def test_a_full_pack_with_its_envelope_is_a_message_that_the_queue_takes() -> None:
    """The bound is of bytes as they are sent: escapes and two-byte characters included."""
    name = "j" * 400
    rows = [WorkRow(10**6, row, msgspec.Raw(msgspec.json.encode("é\uffff" * 20_000))) for row in range(4)]
    packs = list(pack(rows, size=encoded_size, most=100))
    assert [len(packed) for packed in packs] == [1, 1, 1, 1]
    spare = MAX_PART_BYTES - encoded_size(WorkRow(10**6, 0, msgspec.Raw(b'""')))
    full = WorkRow(10**6, 0, msgspec.Raw(msgspec.json.encode("é" * (spare // 2) + "x" * (spare % 2))))
    assert encoded_size(full) == MAX_PART_BYTES
    assert len(encode(WorkMessage(name, [full])).encode()) <= MAX_MESSAGE_BYTES
