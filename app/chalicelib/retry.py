"""Retries: full jitter, a bounded number of attempts, never past the function's own deadline."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import RetryableError, translate
from chalicelib.logs import logger

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 8
BASE_SECONDS = 0.05
CAP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Calls an operation until it succeeds, fails for good, or time or attempts run out.

    The delay before attempt n is uniform in 0..min(cap, base * 2**n) ("full jitter", AWS Architecture Blog,
    "Exponential Backoff And Jitter"). ``remaining_seconds`` is the function's time left: a delay that
    would not fit is not begun, the error is raised instead and the queue or the stream delivers again.
    """

    remaining_seconds: Callable[[], float] = lambda: float("inf")
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[float, float], float] = field(default=random.uniform)

    def __call__(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``operation(*args, **kwargs)`` returns; raises the translated error of its last attempt."""
        attempt = 0
        while True:
            try:
                return operation(*args, **kwargs)
            except (ClientError, BotoCoreError, RetryableError) as caught:
                error = caught if isinstance(caught, RetryableError) else translate(caught)
                _notice_quota(caught)
                attempt += 1
                delay = self.random(0, min(CAP_SECONDS, BASE_SECONDS * 2**attempt))
                may_wait = attempt < ATTEMPTS and delay < self.remaining_seconds()
                if not (isinstance(error, RetryableError) and may_wait):
                    raise error from (None if error is caught else caught)
            self.sleep(delay)


def _notice_quota(error: Exception) -> None:
    """Log that the SDK has stopped trying by itself: from now on every fault costs one of our attempts."""
    metadata = error.response.get("ResponseMetadata", {}) if isinstance(error, ClientError) else {}
    if metadata.get("RetryQuotaReached"):
        logger.warning("retry.quota_exhausted", attempts=metadata.get("RetryAttempts"))
