"""Lost uploads: compare the inbox with the batches, and plan uploads that should have a batch and have none."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock, utc_now
from chalicelib.logs import logger
from chalicelib.steps.plan import batch_id_of
from chalicelib.store.batch import Source
from chalicelib.store.items import BATCH_SK, batch_pk
from chalicelib.transport.uploads import INBOX_PREFIX, Upload, is_folder, version_id

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef, ObjectVersionTypeDef

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table
    from chalicelib.store.uploads import InboxCursor, UploadNotes

_MAX_PAGES = 10
"""Pages of a thousand versions that a sweep lists: seconds of the time that reconcile has for all its work, and, with
ten thousand batches to look up every five minutes, 36 cents a day at most."""
_MAX_HANDED_OVER = 100
"""Uploads that a sweep has planned: an outage that lost thousands must not flood ``plan`` when it is over."""
_MAX_AGE = timedelta(days=7)
"""Older versions were looked at by earlier sweeps, and would be looked up in vain each time. A version is as old as the
beginning of its multipart upload, which may take this long (``multipart_upload_days``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The object versions that a sweep has seen, and those of them that it handed over to be planned."""

    seen: int = 0
    handed_over: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LostUploads:
    """Sweeps the inbox. ``patience`` is how old an upload must be: until then its event may be on its way."""

    table: "Table"
    notes: "UploadNotes"
    s3: "S3Client"
    bucket: str
    hand_over: Callable[[Upload], None]
    patience: timedelta
    retry: "Retry"
    clock: Clock = utc_now

    def sweep(self) -> Swept:
        """Have lost uploads planned, in a bounded number of pages; the next sweep continues, then begins again.

        Only versions count that are younger than the first sweep of the stage. Two sweeps at once hand an upload over
        twice, which is one batch.
        """
        cursor = self.notes.cursor()
        seen = handed_over = 0
        for _ in range(_MAX_PAGES):
            page = self._list(cursor)
            versions = page.get("Versions", [])
            seen += len(versions)
            room = _MAX_HANDED_OVER - handed_over
            lost = self._lost(self._due(versions, cursor))
            for name, upload in lost[:room]:
                self._hand_over(name, upload)
            handed_over += min(len(lost), room)
            if len(lost) > room:
                break  # the next sweep takes this page again, and leaves alone what was handed over
            following = _following(cursor, page)
            if following != cursor:
                self.notes.move(following)
            cursor = following
            if not page["IsTruncated"]:
                break
        return Swept(seen=seen, handed_over=handed_over)

    def _list(self, cursor: "InboxCursor") -> "ListObjectVersionsOutputTypeDef":
        # S3 refuses an empty version marker.
        after: Any = {"KeyMarker": cursor.key} if cursor.key else {}
        after |= {"VersionIdMarker": cursor.version} if cursor.version else {}
        return self.retry(self.s3.list_object_versions, Bucket=self.bucket, Prefix=INBOX_PREFIX, **after)

    def _due(self, versions: "Iterable[ObjectVersionTypeDef]", cursor: "InboxCursor") -> list[Upload]:
        """Return the uploads of a page whose event should have come."""
        now = self.clock()
        oldest = max(cursor.since, now - _MAX_AGE)
        return [
            self._upload(version)
            for version in versions
            if oldest <= version["LastModified"] <= now - self.patience and not is_folder(version["Key"])
        ]

    def _upload(self, version: "ObjectVersionTypeDef") -> Upload:
        source = Source(
            bucket=self.bucket,
            key=version["Key"],
            version_id=version_id(version["VersionId"]),
            etag=version["ETag"].strip('"'),
        )
        return Upload(source=source, size=version["Size"], uploaded_at=version["LastModified"])

    def _lost(self, uploads: "Iterable[Upload]") -> list[tuple[str, Upload]]:
        """Return those of the uploads that have no batch and were not handed over lately, by the id of their batch."""
        wanted = {batch_id_of(upload): upload for upload in uploads}
        planned = {item["pk"]["S"] for item in self.table.get_all((batch_pk(name), BATCH_SK) for name in wanted)}
        missing = [name for name in wanted if batch_pk(name) not in planned]
        waiting = self.notes.handed_over(missing)
        return [(name, wanted[name]) for name in missing if name not in waiting]

    def _hand_over(self, batch_id: str, upload: Upload) -> None:
        self.hand_over(upload)
        # Dying before this is written means that the next sweep hands the upload over once more.
        self.notes.note_hand_over(batch_id)
        logger.warning("upload.lost", batch_id=batch_id, key=upload.source.key)


def _following(cursor: "InboxCursor", page: "ListObjectVersionsOutputTypeDef") -> "InboxCursor":
    """Return the cursor behind a page: where the next round begins, if it was the last one."""
    return replace(cursor, key=page.get("NextKeyMarker", ""), version=page.get("NextVersionIdMarker", ""))
