"""Trying again: jitter, an end to attempts, an end to time."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import FatalError, TallyError, ThrottledError, UnknownOutcomeError
from chalicelib.retry import Retry
from tally.testing.faults import Killed
from tally.testing.memory_dynamodb import client_error

FRACTIONS = st.lists(st.floats(0, 1), min_size=8, max_size=8)


class Operation:
    """Fails as often as it is told, then answers; counts its calls."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def _jitter(fractions: list[float]) -> Callable[[float, float], float]:
    waiting = iter(fractions)
    return lambda low, high: low + next(waiting) * (high - low)


def _throttled(times: int) -> Operation:
    return Operation(*[client_error("ThrottlingException") for _ in range(times)])


def test_an_answer_is_returned_with_the_arguments_passed_on() -> None:
    """Nothing is between the caller and the operation while all goes well."""
    slept: list[float] = []
    assert Retry(sleep=slept.append)(divmod, 7, 2) == (3, 1)
    assert Retry(sleep=slept.append)(int, "11", base=2) == 3
    assert slept == []


@given(fractions=FRACTIONS)
def test_every_delay_is_anywhere_between_none_and_the_doubled_bound(fractions: list[float]) -> None:
    """Full jitter: the bound doubles to its cap of 5 s, the delay is all of the range below it."""
    slept: list[float] = []
    with pytest.raises(ThrottledError):
        Retry(sleep=slept.append, random=_jitter(fractions))(_throttled(99))
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert slept == [fraction * bound for fraction, bound in zip(fractions, bounds, strict=False)]


@pytest.mark.parametrize("failures", [0, 1, 7])
def test_what_passes_within_eight_attempts_succeeds(failures: int) -> None:
    """The eighth attempt is the last."""
    operation = _throttled(failures)
    assert Retry(sleep=lambda _: None)(operation) == "done"
    assert operation.calls == failures + 1


def test_attempts_come_to_an_end() -> None:
    """The queue or the stream delivers again."""
    operation = _throttled(8)
    with pytest.raises(ThrottledError):
        Retry(sleep=lambda _: None)(operation)
    assert operation.calls == 8


@given(fractions=FRACTIONS, seconds=st.floats(-1, 12))
def test_no_delay_is_begun_that_would_outlast_the_function(fractions: list[float], seconds: float) -> None:
    """A function that is killed while it sleeps answers nothing, not even for the messages that were done."""
    left = seconds

    def sleep(delay: float) -> None:
        nonlocal left
        assert delay < left
        left -= delay

    operation = _throttled(99)
    with pytest.raises(ThrottledError):
        Retry(remaining_seconds=lambda: left, sleep=sleep, random=_jitter(fractions))(operation)
    assert operation.calls >= 1
    assert operation.calls == 8 or left < 5


def test_a_delay_as_long_as_the_time_left_is_not_begun() -> None:
    """There must be time for the call after it."""
    operation = _throttled(1)
    with pytest.raises(ThrottledError):
        Retry(remaining_seconds=lambda: 0.1, sleep=lambda _: None, random=lambda _, high: high)(operation)
    assert operation.calls == 1


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException", "ConditionalCheckFailedException"])
def test_an_error_that_no_wait_mends_is_raised_at_once(code: str) -> None:
    """Trying again is no help, and a failed condition is an answer."""
    operation = Operation(client_error(code))
    slept: list[float] = []
    with pytest.raises(TallyError):
        Retry(sleep=slept.append)(operation)
    assert (operation.calls, slept) == (1, [])


def test_an_error_that_may_pass_followed_by_one_that_does_not_raises_the_latter() -> None:
    """The last word counts."""
    operation = Operation(client_error("ThrottlingException"), client_error("ValidationException"))
    with pytest.raises(FatalError, match="ValidationException"):
        Retry(sleep=lambda _: None)(operation)
    assert operation.calls == 2


def test_the_translated_error_is_chained_to_the_original() -> None:
    """A reader of the log sees the SDK's own words."""
    original = ReadTimeoutError(endpoint_url="http://127.0.0.1")
    with pytest.raises(UnknownOutcomeError) as raised:
        Retry(sleep=lambda _: None, remaining_seconds=lambda: 0)(Operation(original))
    assert raised.value.__cause__ is original


def test_an_error_of_our_own_is_tried_again() -> None:
    """A 200 that refused some of the entries is one."""
    operation = Operation(ThrottledError("3 messages were not taken"))
    assert Retry(sleep=lambda _: None)(operation) == "done"
    assert operation.calls == 2


def test_an_error_of_our_own_is_raised_as_it_is() -> None:
    """It is no cause of itself, or a walk along the causes never ends."""
    own = ThrottledError("3 messages were not taken")
    with pytest.raises(ThrottledError) as raised:
        Retry(sleep=lambda _: None, remaining_seconds=lambda: 0)(Operation(own))
    assert raised.value is own
    assert raised.value.__cause__ is not own


@pytest.mark.parametrize("error", [ValueError("a bug"), Killed()])
def test_what_is_no_error_of_aws_passes_untouched(error: BaseException) -> None:
    """A bug, or the end of the worker, is not for this module to judge."""
    operation = Operation(error)
    with pytest.raises(type(error)) as raised:
        Retry(sleep=lambda _: None)(operation)
    assert raised.value is error
    assert operation.calls == 1


def test_an_exhausted_retry_quota_is_logged() -> None:
    """From then on the SDK makes one attempt a call: a reader of the log knows why there are so many of ours."""
    error = client_error("InternalServerError", 500)
    error.response["ResponseMetadata"]["RetryQuotaReached"] = True  # type: ignore[typeddict-unknown-key]
    warnings: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chalicelib.retry.logger.warning", lambda event, **_: warnings.append(event))
        assert Retry(sleep=lambda _: None)(Operation(error)) == "done"
    assert warnings == ["retry.quota_exhausted"]
