"""Sending to SQS: what a 200 did not take is sent again, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import FatalError, ThrottledError
from chalicelib.transport.queues import send
from tally.testing.faults import Fault
from tests.support.builders import RETRY, Requests, faulty, in_turn

URL = "http://127.0.0.1/work"
MAX_BYTES = 262_144


class FakeSQS:
    """Takes what it is sent, except the bodies that ``refused`` names for each request in turn."""

    def __init__(self, *refused: set[str], sender_fault: bool = False, code: str = "InternalError") -> None:
        self.refused = list(refused)
        self.sender_fault = sender_fault
        self.code = code
        self.requests: list[list[str]] = []
        self.taken: list[str] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl == URL
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        refused = self.refused.pop(0) if self.refused else set()
        self.requests.append([entry["MessageBody"] for entry in Entries])
        self.taken += [entry["MessageBody"] for entry in Entries if entry["MessageBody"] not in refused]
        failed = [
            {"Id": entry["Id"], "Code": self.code, "SenderFault": self.sender_fault}
            for entry in Entries
            if entry["MessageBody"] in refused
        ]
        return {"Successful": [], "Failed": failed} if failed else {"Successful": []}


def _send(sqs: Any, bodies: list[str]) -> int:
    return send(sqs, URL, bodies, RETRY)


def test_ten_go_into_a_request() -> None:
    """A request costs the same for one as for ten."""
    sqs = FakeSQS()
    bodies = [str(number) for number in range(23)]
    assert _send(sqs, bodies) == 23
    assert [len(request) for request in sqs.requests] == [10, 10, 3]
    assert sqs.taken == bodies


@pytest.mark.parametrize(("delay", "said"), [(0, None), (900, 900)])
def test_a_delay_is_that_of_each_message(delay: int, said: int | None) -> None:
    """Rows that raised wait for their next try in the queue. Without a delay the queue's own holds."""
    requests: Any = Requests(FakeSQS())
    send(requests, URL, ["a", "b"], RETRY, delay_seconds=delay)
    (request,) = requests.of("send_message_batch")
    assert [entry.get("DelaySeconds") for entry in request["Entries"]] == [said, said]


def test_nothing_to_send_is_no_request() -> None:
    """SQS refuses an empty batch."""
    sqs = FakeSQS()
    assert _send(sqs, []) == 0
    assert sqs.requests == []


@given(sizes=st.lists(st.integers(1, MAX_BYTES - 10), max_size=25))
def test_a_request_keeps_to_both_bounds_of_sqs(sizes: list[int]) -> None:
    """Ten messages and 256 KiB, in bytes rather than characters; none is lost, none changes places."""
    sqs = FakeSQS()
    bodies = [f"{position}" + "é" * (size // 2) for position, size in enumerate(sizes)]
    _send(sqs, bodies)
    assert sqs.taken == bodies
    for request in sqs.requests:
        assert len(request) <= 10
        assert sum(len(body.encode()) for body in request) <= MAX_BYTES


def test_a_request_is_filled_to_the_last_byte() -> None:
    """Four messages of a quarter each are one request, and one byte more makes two."""
    quarter = "é" * (MAX_BYTES // 8)
    sqs = FakeSQS()
    _send(sqs, [quarter] * 4)
    assert len(sqs.requests) == 1
    _send(sqs, [quarter] * 3 + [quarter + "x"])
    assert [len(request) for request in sqs.requests] == [4, 3, 1]


def test_only_the_messages_that_a_200_refused_are_sent_again() -> None:
    """The others are in the queue already: sending them again would only make duplicates."""
    sqs = FakeSQS({"b", "c"}, {"c"})
    assert _send(sqs, ["a", "b", "c"]) == 3
    assert sqs.requests == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert sorted(sqs.taken) == ["a", "b", "c"]


def test_a_message_that_is_refused_for_ever_raises() -> None:
    """Not an answer that says it was sent."""
    sqs = FakeSQS(*[{"b"}] * 99)
    with pytest.raises(ThrottledError, match="did not take 1 messages"):
        _send(sqs, ["a", "b"])
    assert sqs.taken == ["a"]


@pytest.mark.parametrize("code", ["KmsThrottled", "KMS.ThrottlingException"])
def test_a_key_that_is_asked_too_often_is_asked_again(code: str) -> None:
    """SQS counts the throttles of a customer's key among the sender's faults; they pass."""
    sqs = FakeSQS({"b"}, sender_fault=True, code=code)
    assert _send(sqs, ["a", "b"]) == 2
    assert sqs.requests == [["a", "b"], ["b"]]


def test_a_refusal_by_the_senders_fault_raises_at_once() -> None:
    """The same message would be refused again."""
    sqs = FakeSQS(*[{"b"}] * 99, sender_fault=True)
    with pytest.raises(FatalError, match="InternalError"):
        _send(sqs, ["a", "b"])
    assert len(sqs.requests) == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_request_without_an_answer_is_sent_again(fault: Fault) -> None:
    """At least once: duplicates are for the consumers, losses are for nobody."""
    sqs = FakeSQS()
    assert _send(faulty(sqs, in_turn(fault)), ["a", "b"]) == 2
    assert set(sqs.taken) == {"a", "b"}
