"""Terraform's settings of the functions, read from the environment that Chalice gives them."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Self, TypeVar

import msgspec

from chalicelib.errors import SettingsError

T = TypeVar("T")


class Queue(msgspec.Struct, frozen=True):
    """URL and ARN of a queue."""

    url: str
    arn: str


class Trigger(msgspec.Struct, frozen=True):
    """The settings of the event source of a function, as the ``functions`` local of Terraform has them.

    ``maximum_concurrency`` is of each of its ``mappings``.
    """

    batch_size: int
    maximum_batching_window_seconds: int = 0
    maximum_concurrency: int | None = None
    mappings: int = 1

    @property
    def most_at_once(self) -> int:
        """The number of workers that may run at once, 1 if there is no limit."""
        return (self.maximum_concurrency or 1) * self.mappings


class ResultsTable(msgspec.Struct, frozen=True, kw_only=True):
    """The results table: ``write_share`` is the part of its write units that ``save`` takes, 0 where it has none.

    ``retention_days`` is how long an item stays, 0 for ever.
    """

    name: str
    write_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0
    retention_days: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def retention(self) -> timedelta | None:
        """The time that an item stays; None for ever."""
        return timedelta(days=self.retention_days) if self.retention_days else None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one stage, each in an environment variable that begins with ``TALLY_``.

    - ``stage``: the stage's name
    - ``table``: the name of the table
    - ``stream_arn``: its stream
    - ``inbox_bucket``: the bucket of uploads and results
    - ``event_bus``: the bus that events go to
    - ``queues``: JSON: URL and ARN of each queue
    - ``functions``: JSON: batch size, window, concurrency and number of mappings of each function that has an event
      source
    - ``retention_days``: how long rows and markers stay, from the batch's creation
    - ``export``: whether results are written to files
    - ``results_retention_days``: how long those stay; 0 for ever
    - ``chunk_rows``: rows of a chunk at most
    - ``chunk_bytes``: bytes of a chunk at most
    - ``reconcile_minutes``: minutes between two runs of ``reconcile``, and without progress before it repairs a batch
    - ``object_settling_minutes``: how old an object must be for a 404 to mean that it was deleted
    - ``write_share``: the part of a provisioned table's write units that rows may take; 0 does without pacing
    - ``results_table``: JSON: name, share of write units and retention of the results table; absent without one
    """

    stage: str
    table: str
    stream_arn: str
    inbox_bucket: str
    event_bus: str
    queues: dict[str, Queue]
    functions: dict[str, Trigger]
    retention_days: int
    export: bool
    results_retention_days: Annotated[int, msgspec.Meta(ge=0)]
    chunk_rows: int
    chunk_bytes: int
    reconcile_minutes: int
    object_settling_minutes: Annotated[int, msgspec.Meta(ge=0)]
    write_share: Annotated[float, msgspec.Meta(ge=0, le=1)]
    results_table: ResultsTable | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``TALLY_*``; raises SettingsError that names the variable and how to get it."""
        fields = msgspec.structs.fields(cls)
        values: dict[str, object] = {
            field.name: environ.get(f"TALLY_{field.name.upper()}")
            for field in fields
            if field.required or f"TALLY_{field.name.upper()}" in environ
        }
        missing = [f"TALLY_{name.upper()}" for name, value in values.items() if not value]
        if missing:
            raise SettingsError(
                f"{', '.join(missing)} not set: render the configuration first with "
                "`terraform -chdir=infra output -raw chalice_config > app/.chalice/config.json`, "
                "and name its stage to chalice (an unknown --stage deploys without settings)."
            )
        for name in {"queues", "functions", "results_table"} & values.keys():
            values[name] = _decoded(name, str(values[name]))
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"TALLY_* settings: {error}") from error

    @property
    def retention(self) -> timedelta:
        """The time that rows and markers stay, from the batch's creation."""
        return timedelta(days=self.retention_days)

    @property
    def settling(self) -> timedelta:
        """The age from which a 404 for an object means that it was deleted."""
        return timedelta(minutes=self.object_settling_minutes)

    @property
    def reconcile_period(self) -> timedelta:
        """The time between two runs of ``reconcile``, and without progress before it repairs a batch."""
        return timedelta(minutes=self.reconcile_minutes)


def running_function(stage: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the handler that this process runs; empty outside Lambda."""
    return environ.get("AWS_LAMBDA_FUNCTION_NAME", "").removeprefix(f"tally-{stage}-")


def _decoded(name: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SettingsError(f"TALLY_{name.upper()} is not JSON: {error}") from error
