"""The sweep of the inbox over lists of object versions as S3 gives them: in memory, moto, and the local AWS."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from chalicelib.steps import lost_uploads
from chalicelib.steps.lost_uploads import LostUploads
from chalicelib.store.batch import Source
from chalicelib.store.table import Table
from chalicelib.store.uploads import UploadNotes
from chalicelib.transport.uploads import Upload
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import RETRY, Time

BUCKET = "tally-contract-inbox"
KEYS = ["inbox/offices/a.csv", "inbox/offices/b ü+%.csv", "inbox/offices/c.csv"]


@pytest.fixture
def s3(request: pytest.FixtureRequest, dynamodb: Any) -> Iterator[Any]:
    """Give an empty bucket with versions, of the kind that the table is of."""
    if isinstance(dynamodb, MemoryDynamoDB):
        yield MemoryS3()
        return
    url = dynamodb.meta.endpoint_url
    client = boto3.client(
        "s3", region_name="us-east-1", endpoint_url=None if "amazonaws" in url else url, config=Config(proxies={})
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            client.delete_object(Bucket=BUCKET, Key=found["Key"], VersionId=found["VersionId"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


class _SmallPages:
    """Lists two versions at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def list_object_versions(self, **request: Any) -> Any:
        return self._client.list_object_versions(**request, MaxKeys=2)


def _uploaded(s3: Any, key: str, content: bytes) -> Upload:
    answer = s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    if isinstance(s3, MemoryS3):
        s3.modified[key, answer["VersionId"]] = datetime.now(UTC)
    source = Source(bucket=BUCKET, key=key, version_id=answer["VersionId"], etag=answer["ETag"].strip('"'))
    return Upload(source=source, size=len(content))


def test_each_version_of_the_inbox_is_found_as_its_event_would_have_named_it(
    s3: Any, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, a page a sweep, over keys that S3 encodes, several versions, and a file that was deleted."""
    monkeypatch.setattr(lost_uploads, "_MAX_PAGES", 1)
    handed_over: list[Upload] = []
    time = Time()
    time.now = datetime.now(UTC) - timedelta(hours=1)
    sweeper = LostUploads(
        table=table,
        notes=UploadNotes(table=table, clock=time),
        s3=_SmallPages(s3),  # type: ignore[arg-type]
        bucket=BUCKET,
        hand_over=handed_over.append,
        patience=timedelta(minutes=10),
        retry=RETRY,
        clock=time,
    )
    assert sweeper.sweep().seen == 0
    wanted = [_uploaded(s3, key, content) for content in (b"old", b"newer") for key in KEYS]
    for key in ("inbox/offices/", "unpacked/offices/a.csv"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    if not isinstance(s3, MemoryS3):
        s3.delete_object(Bucket=BUCKET, Key=KEYS[1])
    time.now = datetime.now(UTC) + timedelta(minutes=11)
    sweeps = 0
    while len(handed_over) < len(wanted):
        sweeper.sweep()
        sweeps += 1
        assert sweeps <= 5
    assert all(upload.uploaded_at for upload in handed_over)
    named = [replace(upload, uploaded_at=None) for upload in handed_over]
    assert sorted(named, key=str) == sorted(wanted, key=str)
    for _ in range(5):
        sweeper.sweep()
    assert len(handed_over) == len(wanted)
