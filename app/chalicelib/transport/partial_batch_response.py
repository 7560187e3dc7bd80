"""The answer of a queue handler, so that SQS deletes a message only after its work is durable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import BusyError, TallyError
from chalicelib.logs import logger

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a queue; ``id`` is this delivery's name for it, no key to tell duplicates by."""

    id: str
    body: str
    receipt_handle: str = ""
    receive_count: int = 1


def _message(record: Mapping[str, Any]) -> Message:
    received = record.get("attributes", {}).get("ApproximateReceiveCount", 1)
    return Message(record["messageId"], record["body"], record.get("receiptHandle", ""), int(received))


@dataclass(slots=True)
class Failures:
    """The messages of one invocation that are to come again."""

    errors: dict[str, Exception] = field(default_factory=dict)

    @contextmanager
    def isolated(self, *messages: Message) -> Iterator[None]:
        """Keep what goes wrong in the block to these messages: they come again, the others are done."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  no error of one message may fail the others
            for message in messages:
                self.errors[message.id] = error
                logger.warning("message.failed", message_id=message.id, error=f"{type(error).__name__}: {error}")


class RedeliverError(TallyError):
    """The mapping does not take partial answers, so the whole batch comes again, which every handler takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialBatchResponse:
    """Answers for one invocation of a function."""

    lambda_client: "Callable[[], LambdaClient]"
    function_name: str

    def answer(self, event: Mapping[str, Any], handle: Callable[[Sequence[Message], Failures], None]) -> dict[str, Any]:
        """Let ``handle`` deal with the messages of an event and return the partial batch response.

        Raises RedeliverError when messages failed and the mapping does not report partial failures: an answer of
        ``batchItemFailures`` would count as success there, and the messages would be lost. Which of the two it is
        gets asked of Lambda itself, and only then: settings in the environment may be older than the mapping.
        """
        records = event["Records"]
        messages = [_message(record) for record in records]
        failures = Failures()
        handle(messages, failures)
        if not failures.errors:
            return {"batchItemFailures": []}
        # The first that is a fault, if any is: what is only put back must not show as an error of the function.
        error = min(failures.errors.values(), key=lambda found: isinstance(found, BusyError))
        if len(failures.errors) == len(messages) and not isinstance(error, BusyError):
            raise error
        if not self._reports_partial_failures(records[0]["eventSourceARN"]):
            raise RedeliverError(f"{len(failures.errors)} of {len(messages)} messages failed") from error
        return {"batchItemFailures": [{"itemIdentifier": name} for name in failures.errors]}

    def each(self, event: Mapping[str, Any], handle: Callable[[Message], None]) -> dict[str, Any]:
        """Let ``handle`` deal with each message of an event by itself, and return the partial batch response."""

        def one_by_one(messages: Sequence[Message], failures: Failures) -> None:
            for message in messages:
                with failures.isolated(message):
                    handle(message)

        return self.answer(event, one_by_one)

    def _reports_partial_failures(self, queue_arn: str) -> bool:
        try:
            answer = self.lambda_client().list_event_source_mappings(
                FunctionName=self.function_name, EventSourceArn=queue_arn
            )
        except (ClientError, BotoCoreError) as error:
            logger.warning("mapping.unknown", error=str(error))  # not knowing, the safe answer is no
            return False
        mappings = answer["EventSourceMappings"]
        return bool(mappings) and all(
            "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []) for mapping in mappings
        )
