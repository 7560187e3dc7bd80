"""A message is deleted only when what it asked for is durable, whatever the mapping says of partial answers."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.errors import BusyError, FatalError
from chalicelib.transport.partial_batch_response import Failures, Message, PartialBatchResponse, RedeliverError
from tally.testing.faults import Killed
from tally.testing.memory_dynamodb import client_error
from tests.support.builders import message_event

REPORTS = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
SILENT: dict[str, list[str]] = {"FunctionResponseTypes": []}
Handle = Callable[[Sequence[Message], Failures], None]


class FakeLambda:
    """Answers with these mappings, or raises; counts the questions."""

    def __init__(self, *mappings: dict[str, Any], error: Exception | None = None) -> None:
        self.mappings = list(mappings)
        self.error = error
        self.questions: list[dict[str, str]] = []

    def list_event_source_mappings(self, **question: str) -> dict[str, Any]:
        self.questions.append(question)
        if self.error:
            raise self.error
        return {"EventSourceMappings": self.mappings}


def _failing(*bodies: str) -> Handle:
    def handle(messages: Sequence[Message], failures: Failures) -> None:
        for message in messages:
            with failures.isolated(message):
                if message.body in bodies:
                    raise FatalError(f"cannot do {message.body}")

    return handle


def _answer(lambda_: FakeLambda, handle: Handle, *bodies: str) -> dict[str, Any]:
    client: Any = lambda_
    partial_batch_response = PartialBatchResponse(lambda_client=lambda: client, function_name="tally-test-finish")
    return partial_batch_response.answer(message_event(*bodies), handle)


def test_all_done_fails_none_and_asks_nobody() -> None:
    """The ordinary answer costs no request."""
    lambda_ = FakeLambda()
    assert _answer(lambda_, _failing(), "a", "b") == {"batchItemFailures": []}
    assert lambda_.questions == []


def test_the_messages_that_failed_come_again_where_the_mapping_reports() -> None:
    """And only they: the others are deleted."""
    lambda_ = FakeLambda(REPORTS)
    answer = _answer(lambda_, _failing("b", "d"), "a", "b", "c", "d")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}, {"itemIdentifier": "message-3"}]}
    assert lambda_.questions == [
        {"FunctionName": "tally-test-finish", "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:queue"}
    ]


@pytest.mark.parametrize(
    "lambda_",
    [
        FakeLambda(SILENT),
        FakeLambda({}),
        FakeLambda(),
        FakeLambda(REPORTS, SILENT),
        FakeLambda(error=client_error("AccessDeniedException")),
        FakeLambda(error=EndpointConnectionError(endpoint_url="http://127.0.0.1")),
    ],
    ids=["silent", "old answer", "no mapping", "one of two", "not allowed", "not reachable"],
)
def test_failures_raise_where_the_mapping_might_take_the_answer_for_success(lambda_: FakeLambda) -> None:
    """Every message comes again, which is safe; an answer would delete those that failed."""
    with pytest.raises(RedeliverError, match="1 of 3 messages failed") as raised:
        _answer(lambda_, _failing("b"), "a", "b", "c")
    assert isinstance(raised.value.__cause__, FatalError)
    assert len(lambda_.questions) == 1


def test_all_failed_raises_the_first_error_itself() -> None:
    """It is what an operator has to see, and it needs no partial answer."""
    lambda_ = FakeLambda(REPORTS)
    with pytest.raises(FatalError, match="cannot do a"):
        _answer(lambda_, _failing("a", "b"), "a", "b")
    assert lambda_.questions == []


def _put_back(messages: Sequence[Message], failures: Failures) -> None:
    for message in messages:
        with failures.isolated(message):
            raise FatalError("a bug") if message.body == "bug" else BusyError("somebody has it")


def test_what_is_only_put_back_is_no_error_of_the_function() -> None:
    """Or its alarm would ring for each second delivery of a heavy row whose worker is alive."""
    answer = _answer(FakeLambda(REPORTS), _put_back, "a")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}


def test_what_is_put_back_raises_where_the_mapping_might_take_the_answer_for_success() -> None:
    """An alarm too many is better than a lost row."""
    with pytest.raises(RedeliverError) as raised:
        _answer(FakeLambda(SILENT), _put_back, "a")
    assert isinstance(raised.value.__cause__, BusyError)


def test_a_fault_shows_even_where_other_messages_are_only_put_back() -> None:
    """It is what an operator has to see."""
    with pytest.raises(FatalError, match="a bug"):
        _answer(FakeLambda(REPORTS), _put_back, "a", "bug", "b")


def test_an_error_outside_of_any_message_raises() -> None:
    """It is the whole invocation's."""

    def handle(messages: Sequence[Message], failures: Failures) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        _answer(FakeLambda(REPORTS), handle, "a")


def test_a_failure_is_kept_to_the_messages_of_its_block() -> None:
    """Of several, all come again; a block that ends well takes no failure back."""
    failures = Failures()
    first, second, third = (Message(str(number), "") for number in range(3))
    with failures.isolated(first, second):
        raise ValueError("of both")
    with failures.isolated(first, third):
        pass
    assert list(failures.errors) == ["0", "1"]


def test_the_end_of_the_worker_is_no_failure_of_a_message() -> None:
    """Only errors are kept: what kills the process must get through."""
    failures = Failures()
    with pytest.raises(Killed), failures.isolated(Message("0", "")):
        raise Killed
    assert failures.errors == {}


def test_messages_are_told_apart_by_the_name_of_the_delivery() -> None:
    """Two with the same body are two: one may fail, and both are named."""
    seen: list[Message] = []

    def handle(messages: Sequence[Message], failures: Failures) -> None:
        seen.extend(messages)
        with failures.isolated(messages[1]):
            raise ValueError("the second")

    answer = _answer(FakeLambda(REPORTS), handle, "same", "same")
    assert seen == [Message("message-0", "same"), Message("message-1", "same")]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}


def test_each_message_is_handled_by_itself() -> None:
    """One that fails is in nobody's way, and comes again alone."""
    client: Any = FakeLambda(REPORTS)
    handled: list[str] = []

    def handle(message: Message) -> None:
        if message.body == "b":
            raise FatalError("cannot do b")
        handled.append(message.body)

    made = PartialBatchResponse(lambda_client=lambda: client, function_name="tally-test-ingest")
    answer = made.each(message_event("a", "b", "c"), handle)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert handled == ["a", "c"]


def test_a_message_says_how_often_it_was_received() -> None:
    """By which process knows that its worker may have died of a row; one that does not say so is new."""
    client: Any = FakeLambda(REPORTS)
    event = message_event("first", "third")
    event["Records"][1] |= {"receiptHandle": "r", "attributes": {"ApproximateReceiveCount": "3"}}
    seen: list[Message] = []
    PartialBatchResponse(lambda_client=lambda: client, function_name="f").each(event, seen.append)
    assert seen == [Message("message-0", "first"), Message("message-1", "third", "r", receive_count=3)]
