"""The composition root: the steps, put together for one invocation."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Self
from uuid import uuid4

from chalicelib.clients import client
from chalicelib.errors import SettingsError
from chalicelib.events.bus import EventBus
from chalicelib.logs import logger
from chalicelib.metrics import Metrics
from chalicelib.pacers import results_pacer
from chalicelib.retry import Retry
from chalicelib.settings import Settings
from chalicelib.steps.begin_chain import ChainStarter
from chalicelib.steps.begin_export import ExportStarter
from chalicelib.steps.begin_save import SaveStarter
from chalicelib.steps.chain import Chainer
from chalicelib.steps.dead_letters import DeadLetterHandler
from chalicelib.steps.dispatch import Dispatcher
from chalicelib.steps.export import Exporter
from chalicelib.steps.failed_plans import FailedPlans
from chalicelib.steps.finish import Finisher
from chalicelib.steps.heavy import HeavyProcessor
from chalicelib.steps.ingest import Ingester
from chalicelib.steps.lost_exports import LostExports
from chalicelib.steps.lost_uploads import LostUploads
from chalicelib.steps.plan import Planner
from chalicelib.steps.process import Processor
from chalicelib.steps.reconcile import Reconciler
from chalicelib.steps.save import Saver
from chalicelib.steps.settle import Settler
from chalicelib.store.leases import SaverLease
from chalicelib.store.ledger import Ledger
from chalicelib.store.results_table import ResultsTable
from chalicelib.stores import Stores
from chalicelib.transport.partial_batch_response import PartialBatchResponse
from chalicelib.transport.uploads import Handover

_RESERVE_SECONDS = 2.0
"""The time that a function keeps to answer before Lambda kills it."""


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
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def of(cls, context: Any) -> Self:
        """Put together what an invocation needs; its Lambda context says how long it may take."""
        return cls.with_clients(context, settings(), client)

    @classmethod
    def with_clients(cls, context: Any, settings: Settings, client: Callable[[str], Any]) -> Self:
        """Do as ``of``, with settings and clients of the caller's."""

        def remaining_seconds() -> float:
            return float(context.get_remaining_time_in_millis()) / 1000 - _RESERVE_SECONDS

        # Every line says which invocation it is of: Lambda's own report of what that took has no other name for it.
        logger.append_keys(request_id=getattr(context, "aws_request_id", ""))
        return cls(settings, Retry(remaining_seconds=remaining_seconds), client)

    @classmethod
    @contextmanager
    def metered(cls, context: Any) -> Iterator[Self]:
        """Do as ``of``, and write the metrics at the end of the block, also if it raises: chunks were closed before."""
        services = cls.of(context)
        try:
            yield services
        finally:
            services.metrics.flush(services.settings.stage)

    @property
    def _stores(self) -> Stores:
        return Stores(settings=self.settings, retry=self.retry, client=self.client)

    @property
    def ledger(self) -> Ledger:
        """The marker-item transaction."""
        return Ledger(table=self._stores.paced_table, retention=self.settings.retention)

    @property
    def planner(self) -> Planner:
        """The step of the S3 handler."""
        return Planner(
            table=self._stores.table,
            s3=self.client("s3"),
            retry=self.retry,
            chunk_rows=self.settings.chunk_rows,
            chunk_bytes=self.settings.chunk_bytes,
            retention=self.settings.retention,
            settling=self.settings.settling,
            hand_over=Handover(
                lambda_client=lambda: self.client("lambda"),
                function_name=f"tally-{self.settings.stage}-plan",
                retry=self.retry,
            ),
        )

    @property
    def ingester(self) -> Ingester:
        """The step of the ingest queue's handler."""
        return Ingester(
            table=self._stores.paced_table,
            s3=self.client("s3"),
            retry=self.retry,
            retention=self.settings.retention,
            starts=self._stores.starts,
            settling=self.settings.settling,
        )

    @property
    def dispatcher(self) -> Dispatcher:
        """The step of the stream's first handler."""
        return Dispatcher(
            sqs=self.client("sqs"),
            ingest_queue_url=self.settings.queues["ingest"].url,
            work_queue_url=self.settings.queues["work"].url,
            heavy_queue_url=self.settings.queues["heavy"].url,
            retry=self.retry,
        )

    @property
    def processor(self) -> Processor:
        """The step of the work queue's handler."""
        return self._processor("work")

    @property
    def heavy_processor(self) -> HeavyProcessor:
        """The step of the heavy queue's handler."""
        return HeavyProcessor(
            processor=self._processor("heavy"),
            leases=self._stores.leases,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["heavy"].url,
        )

    @property
    def dead_letter_handler(self) -> DeadLetterHandler:
        """The step of the dead-letter queues' handler."""
        return DeadLetterHandler(
            table=self._stores.table,
            sqs=self.client("sqs"),
            ledger=self.ledger,
            ingester=self.ingester,
            finisher=self.finisher,
            leases=self._stores.leases,
            starts=self._stores.starts,
            failed_plans=self.failed_plans,
            queue_urls={name: self.settings.queues[name].url for name in ("ingest", "work", "heavy")},
            dead_letters_queue_url=self.settings.queues["dead-letters"].url,
            retry=self.retry,
        )

    @property
    def failed_plans(self) -> FailedPlans:
        """The step of the dead-letter queues' handler for the plan-failures queue."""
        return FailedPlans(
            table=self._stores.table,
            notes=self._stores.upload_notes,
            planner=self.planner,
            patience=self.settings.reconcile_period,
        )

    @property
    def lost_uploads(self) -> LostUploads:
        """The step of the schedule for uploads without a batch."""
        return LostUploads(
            table=self._stores.table,
            notes=self._stores.upload_notes,
            s3=self.client("s3"),
            bucket=self.settings.inbox_bucket,
            hand_over=self.planner.hand_over,
            patience=2 * self.settings.reconcile_period,  # Lambda tries an event three times, within some four minutes
            retry=self.retry,
        )

    @property
    def reconciler(self) -> Reconciler:
        """The step of the schedule."""
        return Reconciler(
            table=self._stores.table,
            planner=self.planner,
            dispatcher=self.dispatcher,
            settler=self.settler,
            patience=self.settings.reconcile_period,
            exports=self.lost_exports,
            chains=self._chains,
            metrics=self.metrics,
        )

    @property
    def lost_exports(self) -> LostExports | None:
        """The step of the schedule for results that were asked for and are not written; None in a stage without."""
        if not self.settings.export:
            return None
        return LostExports(
            table=self._stores.table,
            starter=self._export_starter,
            patience=self.settings.reconcile_period,
            metrics=self.metrics,
        )

    def _processor(self, queue: str) -> Processor:
        return Processor(
            table=self._stores.table,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues[queue].url,
            finished_queue_url=self.settings.queues["finished"].url,
            retry=self.retry,
            starts=self._stores.starts,
        )

    @property
    def finisher(self) -> Finisher:
        """The step of the finished queue's handler."""
        return Finisher(ledger=self.ledger)

    @property
    def settler(self) -> Settler:
        """The step of the stream's second handler."""
        return Settler(
            table=self._stores.table,
            bus=self._event_bus,
            exports=self._export_starter if self.settings.export else None,
            chains=self._chains,
            metrics=self.metrics,
        )

    @property
    def exporter(self) -> Exporter:
        """The step of the export queue's handler."""
        return Exporter(
            table=self._stores.table,
            s3=self.client("s3"),
            bus=self._event_bus,
            bucket=self.settings.inbox_bucket,
            retry=self.retry,
            retention=self.settings.retention,
            settling=self.settings.settling,
            saves=self.save_starter,
        )

    @property
    def saver(self) -> Saver:
        """The step of the save queue's handler; raises SettingsError in a stage without a results table."""
        results = self.settings.results_table
        if results is None:
            raise SettingsError("the stage has no results table: deploy it with the variable results_table")
        return Saver(
            table=self._stores.table,
            results=ResultsTable(table=replace(self._stores.table, name=results.name)),
            pacer=results_pacer(results, self.client("dynamodb")),
            lease=SaverLease(table=self._stores.table, owner=uuid4().hex),
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["save"].url,
            retry=self.retry,
            retention=results.retention,
        )

    @property
    def chainer(self) -> Chainer:
        """The step of the export queue's handler for the next job."""
        return Chainer(
            table=self._stores.table,
            s3=self.client("s3"),
            bucket=self.settings.inbox_bucket,
            retry=self.retry,
            settling=self.settings.settling,
        )

    @property
    def partial_batch_response(self) -> PartialBatchResponse:
        """The answers of queue handlers."""
        return PartialBatchResponse(
            lambda_client=lambda: self.client("lambda"), function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        )

    @property
    def _export_starter(self) -> ExportStarter:
        return ExportStarter(
            table=self._stores.table,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["export"].url,
            results_days=self.settings.results_retention_days,
            retry=self.retry,
        )

    @property
    def save_starter(self) -> SaveStarter:
        """The exporter's request to save the results of a batch."""
        return SaveStarter(
            table=self._stores.table,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["save"].url,
            retry=self.retry,
            has_table=self.settings.results_table is not None,
        )

    @property
    def _chains(self) -> ChainStarter | None:
        if "export" not in self.settings.queues:  # `tally try` has no such queue
            return None
        return ChainStarter(sqs=self.client("sqs"), queue_url=self.settings.queues["export"].url, retry=self.retry)

    @property
    def _event_bus(self) -> EventBus:
        return EventBus(events=self.client("events"), name=self.settings.event_bus, retry=self.retry)
