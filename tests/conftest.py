"""Settings that the app reads at import; no test talks to AWS by accident."""

import contextlib
import json
import os

import pytest

from tests.support.terraform import functions, queues

_ARN = "arn:aws:sqs:us-east-1:000000000000:tally-test-"
_TRIGGER = {"batch_size": 10}
_QUEUES = (*queues(), "work-dlq", "dead-letters")

os.environ.update(
    {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TALLY_STAGE": "test",
        "TALLY_TABLE": "tally-test",
        "TALLY_STREAM_ARN": "arn:aws:dynamodb:us-east-1:000000000000:table/tally-test/stream/1",
        "TALLY_INBOX_BUCKET": "inbox",
        "TALLY_EVENT_BUS": "tally-test",
        "TALLY_QUEUES": json.dumps(
            {
                name: {
                    "url": f"http://127.0.0.1/{name}",
                    "arn": f"{_ARN}{name}",
                }
                for name in _QUEUES
            }
        ),
        "TALLY_FUNCTIONS": json.dumps(dict.fromkeys(functions(), _TRIGGER)),
        "TALLY_RETENTION_DAYS": "30",
        "TALLY_CHUNK_ROWS": "4",
        "TALLY_CHUNK_BYTES": "4096",
        "TALLY_RECONCILE_MINUTES": "5",
        "TALLY_OBJECT_SETTLING_MINUTES": "0",
        "TALLY_WRITE_SHARE": "0",
        "TALLY_LOG_LEVEL": "CRITICAL",
    }
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep hypothesis steady: a slow machine is no failure, and a failure is to be seen again."""
    from hypothesis import HealthCheck, settings  # noqa: PLC0415

    if "TALLY_MUTANT" in os.environ:  # `make model` asks whether a test notices that something is gone
        from tests.model.mutants import MUTANTS  # noqa: PLC0415

        mutants = {mutant.name: mutant for mutant in MUTANTS}
        stack = contextlib.ExitStack()
        stack.enter_context(mutants[os.environ["TALLY_MUTANT"]].applied())
        config.add_cleanup(stack.close)

    settings.register_profile(
        "tally",
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("tally")
