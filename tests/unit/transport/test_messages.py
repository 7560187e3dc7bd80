"""Messages carry keys and outcomes of any content, in characters that SQS takes, as much as fits."""

import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.errors import MessageError
from chalicelib.store.bits import RowBits
from chalicelib.store.items import Outcome
from chalicelib.store.marker import ABSENT, ReasonCode, RowOutcome
from chalicelib.transport.messages import (
    MAX_MESSAGE_BYTES,
    MAX_PART_BYTES,
    ChunkMessage,
    FinishedMessage,
    WorkMessage,
    decode,
    encode,
    outcome_groups,
    outcome_size,
)

BATCH = "transactions-0123456789abcdef0123"
MOST_ROWS = 2_000
"""The most that a job may ask for in a chunk."""
# The characters that make trouble come up often: controls, DEL, quotes, what XML forbids, two and four bytes.
TEXTS = st.text(
    st.sampled_from('\x00\t\n\r\x1f\x7f\x85"\\é\u2028\ud7ff\ue000\ufffd\ufffe\uffff\U0001ffff𐀀')
    | st.characters(codec="utf-8")
)
NUMBERS = st.integers(0, 10**6)
WORK = st.builds(
    WorkMessage,
    batch=st.just(BATCH),
    chunk=NUMBERS,
    generation=NUMBERS,
    rows=st.none() | st.lists(NUMBERS, max_size=5),
    attempt=st.integers(1, 9),
    raised=st.dictionaries(NUMBERS, TEXTS, max_size=3),
    splits=st.integers(0, 3),
)
OUTCOMES = st.builds(
    RowOutcome,
    row=NUMBERS,
    outcome=st.sampled_from(Outcome),
    result=st.just(ABSENT) | TEXTS.map(lambda text: msgspec.Raw(msgspec.json.encode(text))),
    code=st.none() | st.sampled_from(ReasonCode),
    reason=TEXTS,
    traceback=TEXTS,
    line=NUMBERS,
    tries=st.integers(0, 9),
    duration_ms=NUMBERS,
)
# SendMessage, "MessageBody": #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF
ACCEPTED = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def _finished(outcomes: list[RowOutcome], *, done: bytes = b"\x01\xff", batch: str = BATCH) -> FinishedMessage:
    return FinishedMessage(batch=batch, chunk=7, generation=2, version=9, done=done, outcomes=outcomes)


def _content(outcome: RowOutcome) -> object:
    """Return everything that an outcome says; its result by value, for escapes may differ."""
    result = msgspec.json.decode(outcome.result) if bytes(outcome.result) else ABSENT
    return msgspec.structs.replace(outcome, result=ABSENT), result


@given(message=WORK)
@example(message=WorkMessage(batch=BATCH, chunk=0, generation=1, raised={0: "\ufffe\uffff\x00"}))
def test_any_work_arrives_as_it_was_sent_in_characters_that_sqs_takes(message: WorkMessage) -> None:
    """SQS refuses a whole message for one character that XML 1.0 has not, and a reason may have it."""
    body = encode(message)
    assert ACCEPTED.fullmatch(body)
    assert decode(body, WorkMessage) == message


@given(outcomes=st.lists(OUTCOMES, max_size=5), done=st.binary(max_size=250))
@example(outcomes=[RowOutcome(row=0, outcome=Outcome.FAILED, reason="\ufffe\uffff\x00")], done=b"")
def test_any_outcome_arrives_as_it_was_sent_in_characters_that_sqs_takes(
    outcomes: list[RowOutcome], done: bytes
) -> None:
    """Reasons quote what the user's libraries say. The bits arrive as they were read."""
    body = encode(_finished(outcomes, done=done))
    assert ACCEPTED.fullmatch(body)
    arrived = decode(body, FinishedMessage)
    assert (arrived.chunk, arrived.generation, arrived.version, arrived.done) == (7, 2, 9, done)
    assert list(map(_content, arrived.outcomes)) == list(map(_content, outcomes))


@given(outcomes=st.lists(OUTCOMES, min_size=1, max_size=5))
@example(outcomes=[RowOutcome(row=0, outcome=Outcome.FAILED, reason="\ufffe")])
@example(outcomes=[RowOutcome(row=0, outcome=Outcome.SUCCEEDED, result=msgspec.Raw('"\uffff"'.encode()))])
def test_the_size_of_an_outcome_is_what_it_adds_to_a_message(outcomes: list[RowOutcome]) -> None:
    """In bytes, with the comma, of which the last outcome has none."""
    empty = len(encode(_finished([])).encode())
    full = len(encode(_finished(outcomes)).encode())
    assert full - empty == sum(map(outcome_size, outcomes)) - 1


def test_what_says_nothing_does_not_travel() -> None:
    """A message for a whole chunk is three numbers and a name, whatever the rows are."""
    assert encode(ChunkMessage("b", 7)) == '{"batch":"b","chunk":7}'
    assert encode(WorkMessage(batch="b", chunk=1, generation=2)) == '{"batch":"b","chunk":1,"generation":2}'
    assert encode(RowOutcome(row=3, outcome=Outcome.SUCCEEDED)) == '{"row":3,"outcome":"succeeded"}'
    assert decode('{"batch":"b","chunk":1,"generation":2}', WorkMessage).rows is None


def test_no_rows_are_not_all_rows() -> None:
    """One asks for nothing, the other for the whole chunk."""
    message = WorkMessage(batch="b", chunk=1, generation=2, rows=[])
    assert decode(encode(message), WorkMessage).rows == []


@pytest.mark.parametrize(
    "body", ["", "hello", "[]", '{"batch":"b"}', '{"batch":"b","chunk":"x","generation":1}', '{"batch":"b","chunk":1}']
)
def test_a_body_that_tally_did_not_write_is_refused(body: str) -> None:
    """It goes to the dead letters, with the kind that was expected in the log. So does one of version 1."""
    with pytest.raises(MessageError, match="not a WorkMessage"):
        decode(body, WorkMessage)


def test_a_message_of_version_1_is_refused() -> None:
    """It carried rows by value, and no generation: what it says of them cannot be told from the past."""
    old = '{"batch":"b","rows":[{"chunk":0,"outcome":{"row":0,"outcome":"failed","error":"x"}}]}'
    with pytest.raises(MessageError, match="not a FinishedMessage"):
        decode(old, FinishedMessage)


@given(outcomes=st.lists(st.integers(0, MAX_PART_BYTES - 60), max_size=12))
def test_outcomes_are_grouped_in_order_into_as_few_messages_as_hold_them(outcomes: list[int]) -> None:
    """None is lost; each message is one that the queue takes."""
    sent = [RowOutcome(row=row, outcome=Outcome.FAILED, reason="x" * size) for row, size in enumerate(outcomes)]
    groups = list(outcome_groups(sent))
    assert [outcome for group in groups for outcome in group] == sent
    assert all(len(encode(_finished(group)).encode()) <= MAX_MESSAGE_BYTES for group in groups)
    for group, following in pairwise(groups):
        assert sum(map(outcome_size, group)) + outcome_size(following[0]) > MAX_PART_BYTES


def test_a_full_message_with_its_envelope_is_one_that_the_queue_takes() -> None:
    """With the longest name and the bits of the largest chunk, and escapes counted as they are sent."""
    bare = outcome_size(RowOutcome(row=10**6, outcome=Outcome.FAILED, reason="x")) - 1
    escaped = (MAX_PART_BYTES - bare) // len("\\uffff")
    reason = "\uffff" * escaped + "x" * ((MAX_PART_BYTES - bare) % len("\\uffff"))
    full = RowOutcome(row=10**6, outcome=Outcome.FAILED, reason=reason)
    assert outcome_size(full) == MAX_PART_BYTES
    message = _finished([full], done=RowBits.first(MOST_ROWS).to_bytes(), batch="j" * 400)
    assert MAX_PART_BYTES < len(encode(message).encode()) <= MAX_MESSAGE_BYTES


def test_the_rows_of_the_largest_chunk_are_a_small_message() -> None:
    """Keys only: no row is too large for a message, however large it is."""
    message = WorkMessage(batch="j" * 400, chunk=10**6, generation=10**6, rows=list(range(MOST_ROWS)))
    assert len(encode(message)) < 16_384
