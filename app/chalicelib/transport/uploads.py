"""Uploads: S3's event of an object that arrived, and the same event again, so that another plan continues it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus

import msgspec

from chalicelib.store.batch import Source
from chalicelib.store.items import timestamp

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from chalicelib.retry import Retry

INBOX_PREFIX = "inbox/"
HAND_OVER_SECONDS = 20.0
"""Time left that is not enough for a read, with its retries, and a hundred chunks: another invocation continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One record of an S3 event. Without ``uploaded_at`` the object counts as old."""

    source: Source
    size: int
    uploaded_at: datetime | None = None


def version_id(given: str) -> str:
    """Return the id of an object version, empty in a bucket that keeps none: there S3 says null, or nothing."""
    return "" if given == "null" else given


def is_folder(key: str) -> bool:
    """Tell whether an object is the placeholder that a console makes for a folder: no upload."""
    return key.endswith("/")


def uploads(event: Mapping[str, Any]) -> Iterator[Upload]:
    """Read the uploads of an S3 event."""
    for record in event.get("Records", []):
        found = record["s3"]["object"]
        name = unquote_plus(found["key"])
        if is_folder(name):
            continue
        source = Source(
            bucket=record["s3"]["bucket"]["name"],
            key=name,
            version_id=version_id(found.get("versionId", "")),
            etag=found.get("eTag", "").strip('"'),
        )
        at = record.get("eventTime")
        yield Upload(
            source=source, size=int(found.get("size", 0)), uploaded_at=datetime.fromisoformat(at) if at else None
        )


def event_of(upload: Upload) -> dict[str, Any]:
    """Return the event that ``uploads`` reads this upload from."""
    source = upload.source
    found = {"key": quote_plus(source.key), "versionId": source.version_id, "eTag": source.etag, "size": upload.size}
    record: dict[str, Any] = {"s3": {"bucket": {"name": source.bucket}, "object": found}}
    if upload.uploaded_at:
        record["eventTime"] = timestamp(upload.uploaded_at)
    return {"Records": [record]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Asks for a plan of an upload in an invocation of its own, as S3 does: through Lambda's queue of events."""

    lambda_client: Callable[[], "LambdaClient"]
    function_name: str
    retry: "Retry"

    def __call__(self, upload: Upload) -> None:
        """Hand the event to Lambda and return once Lambda has it; asked twice it plans twice, which is one plan."""
        event = msgspec.json.encode(event_of(upload))
        self.retry(self.lambda_client().invoke, FunctionName=self.function_name, InvocationType="Event", Payload=event)
