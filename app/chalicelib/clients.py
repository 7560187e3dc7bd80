"""The SDK's clients, made on first use and kept while the process lives."""

from functools import cache
from typing import Any


@cache
def client(service: str) -> Any:
    """Return a client whose retries and timeouts are said, not inherited.

    The SDK's default retry mode changed in 2026, and its quota runs out under sustained 500s: it gets a few quick
    tries, ``retry`` does the rest. ``read_timeout`` is seconds without a byte, far below any function's timeout.
    """
    import boto3  # noqa: PLC0415  a fifth of a second that importing app.py, as every deploy does, need not pay
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=2,
        read_timeout=10,
        tcp_keepalive=True,
        # Half of what a request of a hundred items costs the function's processor; the service checks them anyway.
        parameter_validation=False,
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]
