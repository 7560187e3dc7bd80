"""The SDK's clients, made on first use and kept while the process lives."""

from functools import cache
from typing import Any

ATTEMPTS = 3
"""Quick tries of the SDK; ``retry`` does the rest."""
CONNECT_SECONDS = 2
READ_SECONDS = 10
"""Without a byte; far below any function's timeout."""


@cache
def client(service: str) -> Any:
    """Return a client with explicit retries and timeouts.

    The SDK's default retry mode changed in 2026, and its quota runs out under sustained 500s.
    """
    import boto3  # noqa: PLC0415  a fifth of a second that importing app.py, as every deploy does, need not pay
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        tcp_keepalive=True,
        # Half of what a request of a hundred items costs the function's processor; the service checks them anyway.
        parameter_validation=False,
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]
