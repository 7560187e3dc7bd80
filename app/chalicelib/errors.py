"""One error tree: each branch says what the caller has to do."""

import sys
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

if TYPE_CHECKING:
    from collections.abc import Mapping


class TallyError(Exception):
    """The root of every error that Tally raises on purpose."""


class RetryableError(TallyError):
    """Wait and call again: nothing was applied, or it is unknown whether it was and a second time is safe."""


class ConflictError(RetryableError):
    """Another transaction held one of the items; nothing was applied."""


class ThrottledError(RetryableError):
    """The service asked for a slower pace; nothing was applied."""


class BusyError(RetryableError):
    """Another worker has the row, or a wait is not over: the message is put back, and nothing is wrong."""


class UnknownOutcomeError(RetryableError):
    """A 500, a timeout or a lost connection: the write may have been applied, only its answer is missing."""


class FatalError(TallyError):
    """A bug, a missing right or a wrong setting: trying again is no help; the queue redelivers, then its DLQ alarms."""


class SettingsError(FatalError):
    """A setting is missing or malformed."""


class MessageError(FatalError):
    """A message of a queue is not one that Tally wrote."""


class NotFoundError(FatalError):
    """A batch or a chunk is not in the table: it was deleted, or never there."""


class SourceGoneError(TallyError):
    """The object version of a batch can no longer be read: its rows become outcomes with this reason."""


class SourceMissingError(SourceGoneError):
    """S3 answers 404: the object was deleted, or it is so young that S3 does not show it yet."""


class UploadEndedError(FatalError):
    """A multipart upload is no more: it was completed, perhaps by a call of ours that was not heard of, or aborted."""


class PermanentError(TallyError):
    """For a job's own use: raised in ``process`` it fails the row at once, without another try."""


class FormatError(FatalError):
    """A batch was written by a version of Tally whose items this one does not know."""


class CancelledError(TallyError):
    """A write was refused because conditions failed; ``failed`` has the positions of those actions.

    With each comes the item as it is, if the action asked for it. A lone write has position 0. ``table`` turns this
    into an answer: it is no fault.
    """

    def __init__(self, failed: "Mapping[int, Mapping[str, Any]]") -> None:
        super().__init__(f"conditions failed at positions {list(failed)}")
        self.failed = failed


class WorkerStop(BaseException):
    """The worker stops on this line, as a debugger or an injected fault wants it: never the outcome of a row."""


def job_errors() -> tuple[type[BaseException], ...]:
    """Return what an ``except`` clause around a job's own code catches: whatever it raised is about one row.

    Not every error is an ``Exception``: a panic in Rust is none, nor is a cancelled task. Two are not the job's: a
    KeyboardInterrupt, for somebody debugs it, and a ``WorkerStop``. Call it in that clause, where the interpreter has
    what was raised.
    """
    if isinstance(sys.exception(), KeyboardInterrupt | WorkerStop):
        return ()
    return (BaseException,)


def described(error: BaseException) -> str:
    """Say what was raised, in text that can be sent: an exception may hold anything, or have no text."""
    try:
        text = f"{type(error).__name__}: {error}"
    except job_errors():  # its own __str__ raised
        text = type(error).__name__
    return sendable(text)


def sendable(text: str) -> str:
    """Return a text without lone surrogates, which UTF-8 has not: each as its escape."""
    return text.encode(errors="backslashreplace").decode()


THROTTLES = frozenset(
    {
        # The key of a queue, of S3's objects or of the table has a rate of its own.
        "KMS.ThrottlingException",
        "KmsThrottled",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""The codes of DynamoDB, SQS, S3, Lambda and EventBridge, from their models in botocore and their API references."""
_CONFLICTS = frozenset(
    {
        "ReplicatedWriteConflictException",
        "TransactionConflict",
        "TransactionConflictException",
        # The same token is still being worked on: its first call was ours, and its answer is what we wait for.
        "TransactionInProgressException",
    }
)
_SOURCE_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
_SOURCE_GONE = frozenset({"NoSuchBucket", "PreconditionFailed", "412"})
_SERVER_ERROR = 500


def translate(error: ClientError | BotoCoreError) -> TallyError:
    """Say what an error of the SDK asks of the caller.

    Raise the result ``from`` the original. Codes: DynamoDB developer guide, "Error handling" and
    ``CancellationReasons`` of TransactWriteItems.
    """
    if not isinstance(error, ClientError):
        # Timeouts, broken and refused connections; anything else of botocore's own is a wrong call or setting.
        network = isinstance(error, HTTPClientError | NoConnectionError)
        return UnknownOutcomeError(str(error)) if network else FatalError(str(error))
    response: Mapping[str, Any] = error.response
    code = response.get("Error", {}).get("Code", "")
    if code == "TransactionCanceledException":
        return _translate_cancellation(response["CancellationReasons"])
    if code == "ConditionalCheckFailedException":
        return CancelledError({0: response.get("Item", {})})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    branches: list[tuple[bool, type[TallyError]]] = [
        (code in THROTTLES, ThrottledError),
        (code in _CONFLICTS, ConflictError),
        (code == "NoSuchUpload", UploadEndedError),
        (code in _SOURCE_MISSING, SourceMissingError),
        (code in _SOURCE_GONE, SourceGoneError),
        (status >= _SERVER_ERROR, UnknownOutcomeError),
    ]
    kind = next((branch for applies, branch in branches if applies), FatalError)
    return kind(str(error))


def _translate_cancellation(reasons: "list[Mapping[str, Any]]") -> TallyError:
    """Read the cancellation reasons one by one; a failed condition is final, so it counts before what may pass."""
    codes = [reason.get("Code", "None") for reason in reasons]
    failed = {at: reason.get("Item", {}) for at, reason in enumerate(reasons) if codes[at] == "ConditionalCheckFailed"}
    if failed:
        return CancelledError(failed)
    if any(code in THROTTLES for code in codes):
        return ThrottledError(f"transaction throttled: {codes}")
    if any(code in _CONFLICTS for code in codes):
        return ConflictError(f"transaction conflict: {codes}")
    return FatalError(f"transaction refused: {codes}")
