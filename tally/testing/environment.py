"""The environment of handlers in memory: the settings that they read at import, without credentials."""

import importlib
import json
import os
import sys
from types import ModuleType

from chalicelib.services import settings as cached_settings
from tally.testing.configuration import INFRA, functions, queues

_APP = INFRA.parent / "app"
_QUEUES = (*queues(), "work-dlq", "dead-letters")
_TRIGGER = {"batch_size": 10}

VARIABLES = {
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
            name: {"url": f"http://127.0.0.1/{name}", "arn": f"arn:aws:sqs:us-east-1:000000000000:tally-test-{name}"}
            for name in _QUEUES
        }
    ),
    "TALLY_FUNCTIONS": json.dumps(dict.fromkeys(functions(), _TRIGGER)),
    "TALLY_RETENTION_DAYS": "30",
    "TALLY_EXPORT": "false",
    "TALLY_RESULTS_RETENTION_DAYS": "90",
    "TALLY_CHUNK_ROWS": "4",
    "TALLY_CHUNK_BYTES": "4096",
    "TALLY_RECONCILE_MINUTES": "5",
    "TALLY_OBJECT_SETTLING_MINUTES": "0",
    "TALLY_WRITE_SHARE": "0",
    "TALLY_RESULTS_TABLE": json.dumps({"name": "tally-test-results"}),
    "TALLY_LOG_LEVEL": "CRITICAL",
}
"""Chunks are small, so that a few rows make several."""


def handlers() -> ModuleType:
    """Import ``app.py`` with these settings in the environment, where they stay; call it before anything imports it.

    An ``app`` that was imported with a stage's settings keeps them.
    """
    if "app" not in sys.modules:
        os.environ.update(VARIABLES)
        cached_settings.cache_clear()  # by its own name: a test may have put others in its place
        if str(_APP) not in sys.path:
            sys.path.insert(0, str(_APP))
    return importlib.import_module("app")
