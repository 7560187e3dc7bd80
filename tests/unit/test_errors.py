"""An error of the SDK becomes one that says what the caller has to do."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)

from chalicelib.errors import (
    CancelledError,
    ConflictError,
    FatalError,
    SourceGoneError,
    SourceMissingError,
    TallyError,
    ThrottledError,
    UnknownOutcomeError,
    translate,
)
from tally.testing.memory_dynamodb import client_error

ITEM = {"pk": {"S": "a"}, "done": {"B": b"\x01"}}
URL = "https://dynamodb.us-east-1.amazonaws.com"


def _cancelled(*codes: str) -> TallyError:
    reasons = [{"Code": code} for code in codes]
    return translate(client_error("TransactionCanceledException", CancellationReasons=reasons))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, ThrottledError),
        ("ProvisionedThroughputExceededException", 400, ThrottledError),
        ("RequestLimitExceeded", 400, ThrottledError),
        ("RequestThrottled", 403, ThrottledError),
        ("KmsThrottled", 400, ThrottledError),
        ("KMS.ThrottlingException", 400, ThrottledError),
        ("SlowDown", 503, ThrottledError),
        ("TooManyRequestsException", 429, ThrottledError),
        ("TransactionConflictException", 400, ConflictError),
        ("TransactionInProgressException", 400, ConflictError),
        ("NoSuchKey", 404, SourceMissingError),
        ("NoSuchVersion", 404, SourceMissingError),
        ("NoSuchBucket", 404, SourceGoneError),
        ("PreconditionFailed", 412, SourceGoneError),
        ("404", 404, SourceMissingError),
        ("412", 412, SourceGoneError),
        ("InternalServerError", 500, UnknownOutcomeError),
        ("InternalFailure", 500, UnknownOutcomeError),
        ("ServiceUnavailable", 503, UnknownOutcomeError),
        ("", 502, UnknownOutcomeError),
        ("ValidationException", 400, FatalError),
        ("KmsDisabled", 400, FatalError),
        ("AccessDeniedException", 400, FatalError),
        ("IdempotentParameterMismatchException", 400, FatalError),
        ("ResourceNotFoundException", 400, FatalError),
        ("InvalidRange", 416, FatalError),
    ],
)
def test_a_code_says_which_action_it_calls_for(code: str, status: int, kind: type[TallyError]) -> None:
    """Wait and try again, give the row an outcome, or raise: nothing in between."""
    error = translate(client_error(code, status))
    assert type(error) is kind
    assert code in str(error)


def test_a_failed_condition_of_a_lone_write_is_at_position_0() -> None:
    """There is one action only. The item comes with it if it was asked for."""
    error = translate(client_error("ConditionalCheckFailedException"))
    assert isinstance(error, CancelledError)
    assert error.failed == {0: {}}
    error = translate(client_error("ConditionalCheckFailedException", Item=ITEM))
    assert isinstance(error, CancelledError)
    assert error.failed == {0: ITEM}


def test_a_refusal_brings_the_items_that_were_asked_for() -> None:
    """Those of the actions that failed; what an action that was sound brings is nobody's answer."""
    reasons = [
        {"Code": "None", "Item": ITEM},
        {"Code": "ConditionalCheckFailed", "Item": ITEM},
        {"Code": "ConditionalCheckFailed"},
    ]
    error = translate(client_error("TransactionCanceledException", CancellationReasons=reasons))
    assert isinstance(error, CancelledError)
    assert error.failed == {1: ITEM, 2: {}}


def test_failed_conditions_of_a_transaction_are_named_by_position() -> None:
    """Reasons come in the order of the actions."""
    error = _cancelled("None", "ConditionalCheckFailed", "None", "ConditionalCheckFailed")
    assert isinstance(error, CancelledError)
    assert error.failed == {1: {}, 3: {}}


def test_a_failed_condition_counts_before_a_conflict_in_the_same_cancellation() -> None:
    """The condition is final, the conflict passes: sending the same set again could not succeed."""
    error = _cancelled("TransactionConflict", "ConditionalCheckFailed", "ThrottlingError")
    assert isinstance(error, CancelledError)
    assert error.failed == {1: {}}


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("None", "TransactionConflict"), ConflictError),
        (("ThrottlingError", "None"), ThrottledError),
        (("ProvisionedThroughputExceeded",), ThrottledError),
        (("TransactionConflict", "ThrottlingError"), ThrottledError),
        (("None", "ValidationError"), FatalError),
        (("ItemCollectionSizeLimitExceeded",), FatalError),
    ],
)
def test_a_cancellation_without_a_failed_condition_says_wait_or_raise(
    codes: tuple[str, ...], kind: type[TallyError]
) -> None:
    """No SDK retry mode looks into the reasons, so this is the only place that does."""
    assert type(_cancelled(*codes)) is kind


def test_a_reason_without_a_code_is_no_failed_condition() -> None:
    """Emulators leave it out for an action that is sound."""
    reasons = [{}, {"Code": "ConditionalCheckFailed"}]
    error = translate(client_error("TransactionCanceledException", CancellationReasons=reasons))
    assert isinstance(error, CancelledError)
    assert error.failed == {1: {}}


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
        EndpointConnectionError(endpoint_url=URL, error="refused"),
        ConnectTimeoutError(endpoint_url=URL, error="timed out"),
        SSLError(endpoint_url=URL, error=OSError("EOF in violation of protocol")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_fails_leaves_the_outcome_unknown(error: BotoCoreError) -> None:
    """Whether the request arrived or not, a second one is safe, and the network comes back."""
    assert type(translate(error)) is UnknownOutcomeError


@pytest.mark.parametrize("error", [ParamValidationError(report="Unknown parameter"), NoCredentialsError()])
def test_a_call_that_never_left_is_no_fault_of_the_network(error: BotoCoreError) -> None:
    """A bug or a setting: the same call fails again."""
    assert type(translate(error)) is FatalError
