"""The composition root: what a handler needs, put together for one invocation."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Self

from chalicelib.acknowledgement import Acknowledgement
from chalicelib.clients import client
from chalicelib.dispatch import Dispatcher
from chalicelib.finish import Finisher
from chalicelib.ingest import Ingester
from chalicelib.ledger import Ledger
from chalicelib.plan import Planner
from chalicelib.process import Processor
from chalicelib.retry import Retry
from chalicelib.settings import Settings
from chalicelib.settle import Settler
from chalicelib.table import Table

_RESERVE_SECONDS = 2.0
"""What a function keeps of its time to answer instead of being killed."""


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    return Settings.from_env()


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the handlers call, for as long as one invocation lasts."""

    settings: Settings
    retry: Retry
    client: Callable[[str], Any] = client

    @classmethod
    def of(cls, context: Any) -> Self:
        """Put together what an invocation needs; its Lambda context says how long it may take."""

        def remaining_seconds() -> float:
            return float(context.get_remaining_time_in_millis()) / 1000 - _RESERVE_SECONDS

        return cls(settings(), Retry(remaining_seconds=remaining_seconds))

    @property
    def ledger(self) -> Ledger:
        """The marker-item transaction."""
        return Ledger(table=self._table, retention=self._retention)

    @property
    def planner(self) -> Planner:
        """What the S3 handler calls."""
        return Planner(
            table=self._table,
            s3=self.client("s3"),
            retry=self.retry,
            chunk_rows=self.settings.chunk_rows,
            chunk_bytes=self.settings.chunk_bytes,
            retention=self._retention,
        )

    @property
    def ingester(self) -> Ingester:
        """What the handler of the ingest queue calls."""
        return Ingester(
            table=self._table,
            s3=self.client("s3"),
            ledger=self.ledger,
            retry=self.retry,
        )

    @property
    def dispatcher(self) -> Dispatcher:
        """What the first handler of the stream calls."""
        return Dispatcher(
            sqs=self.client("sqs"),
            ingest_queue_url=self.settings.queues["ingest"].url,
            work_queue_url=self.settings.queues["work"].url,
            pack_rows=self.settings.pack_rows,
            retry=self.retry,
        )

    @property
    def processor(self) -> Processor:
        """What the handler of the work queue calls."""
        return Processor(
            table=self._table,
            sqs=self.client("sqs"),
            finished_queue_url=self.settings.queues["finished"].url,
            retry=self.retry,
        )

    @property
    def finisher(self) -> Finisher:
        """What the handler of the finished queue calls."""
        return Finisher(ledger=self.ledger)

    @property
    def settler(self) -> Settler:
        """What the second handler of the stream calls."""
        return Settler(
            table=self._table,
            events=self.client("events"),
            event_bus=self.settings.event_bus,
            retry=self.retry,
        )

    @property
    def acknowledgement(self) -> Acknowledgement:
        """What a queue handler answers with."""
        return Acknowledgement(
            lambda_client=lambda: self.client("lambda"), function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        )

    @property
    def _table(self) -> Table:
        return Table(dynamodb=self.client("dynamodb"), name=self.settings.table, retry=self.retry)

    @property
    def _retention(self) -> timedelta:
        return timedelta(days=self.settings.retention_days)
