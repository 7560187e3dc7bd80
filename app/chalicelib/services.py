"""The composition root: what a handler needs, put together for one invocation."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any, Self
from uuid import uuid4

from chalicelib.clients import client
from chalicelib.errors import SettingsError
from chalicelib.events.bus import EventBus
from chalicelib.logs import logger
from chalicelib.metrics import Metrics
from chalicelib.retry import Retry
from chalicelib.settings import ResultsTable as ResultsTableSettings
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
from chalicelib.store.leases import Leases, SaverLease
from chalicelib.store.ledger import Ledger
from chalicelib.store.pacing import Pacer, Share
from chalicelib.store.results_table import ResultsTable
from chalicelib.store.starts import Starts
from chalicelib.store.table import Table
from chalicelib.store.uploads import UploadNotes
from chalicelib.transport.partial_batch_response import PartialBatchResponse
from chalicelib.transport.uploads import Handover

_RESERVE_SECONDS = 2.0
"""The time that a function keeps to answer before Lambda kills it."""

_WRITERS = ((1 / 2, ("ingest",)), (1 / 2, ("finish", "dead_letters")))
"""The functions that write for each row, and their part of it. Rows are larger than what comes of them, which a
transaction bills twice: on the sample ingest writes 46 units a thousand rows, finish 30. Other jobs return more."""


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    return Settings.from_env()


_paced: list[Pacer] = []
_saving: list[Pacer] = []


def _part(settings: Settings, function: str) -> float:
    """Return the part of what rows may take that is one worker's: by what its function writes, and how many may run."""
    part, names = next((found for found in _WRITERS if function in found[1]), _WRITERS[-1])
    return part / sum(settings.functions[name].most_at_once for name in names)


def _pacer(services: "Services") -> Pacer:
    """Return the pacer of this process: what one invocation wrote, the next one waits for."""
    if not _paced:
        settings = services.settings
        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "").removeprefix(f"tally-{settings.stage}-")
        share = Share(
            dynamodb=services.client("dynamodb"),
            table=settings.table,
            share=settings.write_share * _part(settings, function),
            retry=Retry(),  # this invocation's would be out of time in the next
        )
        _paced.append(Pacer(units_per_second=share.units_per_second))
    return _paced[0]


def _saving_pacer(services: "Services", results: ResultsTableSettings) -> Pacer:
    """Return the pacer of this process on the results table: one saver works at a time, so the share is its own."""
    if not _saving:
        share = Share(
            dynamodb=services.client("dynamodb"), table=results.name, share=results.write_share, retry=Retry()
        )
        _saving.append(Pacer(units_per_second=share.units_per_second if results.write_share else lambda: float("inf")))
    return _saving[0]


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
        """Do as ``of``, and write the metrics at the end of the block, also if it raises: what it closed is closed."""
        services = cls.of(context)
        try:
            yield services
        finally:
            services.metrics.flush(services.settings.stage)

    @property
    def ledger(self) -> Ledger:
        """The marker-item transaction."""
        return Ledger(table=self._paced_table, retention=self._retention)

    @property
    def planner(self) -> Planner:
        """The step of the S3 handler."""
        return Planner(
            table=self._table,
            s3=self.client("s3"),
            retry=self.retry,
            chunk_rows=self.settings.chunk_rows,
            chunk_bytes=self.settings.chunk_bytes,
            retention=self._retention,
            settling=self._settling,
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
            table=self._paced_table,
            s3=self.client("s3"),
            retry=self.retry,
            retention=self._retention,
            starts=self._starts,
            settling=self._settling,
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
            leases=self._leases,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["heavy"].url,
        )

    @property
    def dead_letter_handler(self) -> DeadLetterHandler:
        """The step of the dead-letter queues' handler."""
        return DeadLetterHandler(
            table=self._table,
            sqs=self.client("sqs"),
            ledger=self.ledger,
            ingester=self.ingester,
            finisher=self.finisher,
            leases=self._leases,
            starts=self._starts,
            failed_plans=self.failed_plans,
            queue_urls={name: self.settings.queues[name].url for name in ("ingest", "work", "heavy")},
            dead_letters_queue_url=self.settings.queues["dead-letters"].url,
            retry=self.retry,
        )

    @property
    def failed_plans(self) -> FailedPlans:
        """The step of the dead-letter queues' handler for the plan-failures queue."""
        return FailedPlans(
            table=self._table, notes=self._upload_notes, planner=self.planner, patience=self._reconcile_period
        )

    @property
    def lost_uploads(self) -> LostUploads:
        """The step of the schedule for uploads without a batch."""
        return LostUploads(
            table=self._table,
            notes=self._upload_notes,
            s3=self.client("s3"),
            bucket=self.settings.inbox_bucket,
            hand_over=self.planner.hand_over,
            patience=2 * self._reconcile_period,  # Lambda tries an event three times, within some four minutes
            retry=self.retry,
        )

    @property
    def reconciler(self) -> Reconciler:
        """The step of the schedule."""
        return Reconciler(
            table=self._table,
            planner=self.planner,
            dispatcher=self.dispatcher,
            settler=self.settler,
            patience=self._reconcile_period,
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
            table=self._table,
            starter=self._export_starter,
            patience=self._reconcile_period,
            metrics=self.metrics,
        )

    def _processor(self, queue: str) -> Processor:
        return Processor(
            table=self._table,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues[queue].url,
            finished_queue_url=self.settings.queues["finished"].url,
            retry=self.retry,
            starts=self._starts,
        )

    @property
    def finisher(self) -> Finisher:
        """The step of the finished queue's handler."""
        return Finisher(ledger=self.ledger)

    @property
    def settler(self) -> Settler:
        """The step of the stream's second handler."""
        return Settler(
            table=self._table,
            bus=self._event_bus,
            exports=self._export_starter if self.settings.export else None,
            chains=self._chains,
            metrics=self.metrics,
        )

    @property
    def exporter(self) -> Exporter:
        """The step of the export queue's handler."""
        return Exporter(
            table=self._table,
            s3=self.client("s3"),
            bus=self._event_bus,
            bucket=self.settings.inbox_bucket,
            retry=self.retry,
            retention=self._retention,
            settling=self._settling,
            saves=self._save_starter,
        )

    @property
    def saver(self) -> Saver:
        """The step of the save queue's handler; raises SettingsError in a stage without a results table."""
        results = self.settings.results_table
        if results is None:
            raise SettingsError("the stage has no results table: deploy it with the variable results_table")
        return Saver(
            table=self._table,
            results=ResultsTable(table=replace(self._table, name=results.name)),
            pacer=_saving_pacer(self, results),
            lease=SaverLease(table=self._table, owner=uuid4().hex),
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["save"].url,
            retry=self.retry,
            retention=timedelta(days=results.retention_days) if results.retention_days else None,
        )

    @property
    def chainer(self) -> Chainer:
        """The step of the export queue's handler for the next job."""
        return Chainer(
            table=self._table,
            s3=self.client("s3"),
            bucket=self.settings.inbox_bucket,
            retry=self.retry,
            settling=self._settling,
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
            table=self._table,
            sqs=self.client("sqs"),
            queue_url=self.settings.queues["export"].url,
            results_days=self.settings.results_retention_days,
            retry=self.retry,
        )

    @property
    def _save_starter(self) -> SaveStarter:
        return SaveStarter(
            table=self._table,
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
    def _upload_notes(self) -> UploadNotes:
        return UploadNotes(table=self._table)

    @property
    def _reconcile_period(self) -> timedelta:
        return timedelta(minutes=self.settings.reconcile_minutes)

    @property
    def _leases(self) -> Leases:
        return Leases(table=self._table, owner=uuid4().hex)

    @property
    def _starts(self) -> Starts:
        return Starts(table=self._table, run=uuid4().hex)

    @property
    def _table(self) -> Table:
        return Table(dynamodb=self.client("dynamodb"), name=self.settings.table, retry=self.retry)

    @property
    def _paced_table(self) -> Table:
        """The table for what is written of each row; the rest is little, and fits into what the share leaves."""
        return replace(self._table, pacer=_pacer(self)) if self.settings.write_share else self._table

    @property
    def _settling(self) -> timedelta:
        return timedelta(minutes=self.settings.object_settling_minutes)

    @property
    def _event_bus(self) -> EventBus:
        return EventBus(events=self.client("events"), name=self.settings.event_bus, retry=self.retry)

    @property
    def _retention(self) -> timedelta:
        return timedelta(days=self.settings.retention_days)


_WORKERS: Mapping[str, Callable[[Services], object]] = {
    "plan": lambda services: services.planner,
    "dispatch": lambda services: services.dispatcher,
    "ingest": lambda services: services.ingester,
    "process": lambda services: services.processor,
    "process_heavy": lambda services: services.heavy_processor,
    "finish": lambda services: services.finisher,
    "export": lambda services: services.exporter,
    "save": lambda services: services._save_starter,  # noqa: SLF001  the saver's clients, also without its table
    "dead_letters": lambda services: services.dead_letter_handler,
    "reconcile": lambda services: services.reconciler,
    "settle": lambda services: services.settler,
}
"""The step of each function's handler."""

HANDLERS = tuple(_WORKERS)
"""The functions, by their handlers' names."""


def prepare(environ: Mapping[str, str] = os.environ, client: Callable[[str], Any] = client) -> None:
    """Make the clients that this function's handler uses; does nothing outside Lambda, so a deploy loads no SDK.

    Call it at import: Lambda gives INIT a whole vCPU, a handler only the part that its memory buys.
    """
    function = environ.get("AWS_LAMBDA_FUNCTION_NAME", "").removeprefix(f"tally-{settings().stage}-")
    if function in _WORKERS:
        _WORKERS[function](Services(settings(), Retry(), client=client))  # dropped; the clients stay
