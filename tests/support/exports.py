"""Exports for tests of fetched results, the part of S3 that fetching uses, and an output that nobody reads."""

import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from botocore.response import StreamingBody
from rich.console import Console

from chalicelib import services
from chalicelib.files.form import Form
from chalicelib.store.exports import Export
from tally.output import Output
from tally.testing import environment
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import client_error
from tally.testing.pipeline import Pipeline
from tests.unit.tally.finished_batch import BATCH

NOW = datetime(2026, 11, 26, 8, 30, tzinfo=UTC)
ENDED = replace(BATCH, published_attempt=1, expires_at=int(datetime(2026, 12, 26, 8, tzinfo=UTC).timestamp()))
EXPORT = Export(
    batch_id="b",
    attempt=1,
    prefix="results/transactions/b/attempt-1/",
    form=Form.JSONL,
    status="completed",
    completed_at="2026-11-26T08:00:00.000000+00:00",
    counts=BATCH.counts,
    chunks=300,
    chunks_per_part=50,
    results_expire_at="2027-02-24T08:00:00.000000+00:00",
    written=3,
)
WRITTEN = replace(EXPORT, written=7, exported_at="2026-11-26T08:12:40.000000+00:00")


def exporting(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Return all handlers over AWS in memory, of a stage that writes files of results."""
    environment.handlers()
    as_set = msgspec.structs.replace(services.settings(), export=True)
    monkeypatch.setattr(services, "settings", lambda: as_set)
    return Pipeline(monkeypatch)


def silent_output() -> Output:
    """Return an output that nobody reads."""
    return Output(console=Console(file=io.StringIO()), as_json=False)


@dataclass
class Downloads:
    """S3 as far as fetching goes; ``asked`` are the keys that were asked for."""

    s3: MemoryS3
    asked: list[str]

    def get_object(self, *, Key: str, VersionId: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        self.asked.append(Key)
        versions = [version for key, version in self.s3.objects if key == Key]
        if not versions:
            raise client_error("NoSuchKey", 404)
        body = self.s3.objects[Key, VersionId or versions[-1]]
        return {"Body": StreamingBody(io.BytesIO(body), len(body))}


class Found:
    """Stands for the table, which has an export or none."""

    def __init__(self, export: Export | None) -> None:
        self.export = export

    def find(self, _batch_id: str, _attempt: int) -> Export | None:
        return self.export
