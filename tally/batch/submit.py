"""Uploading a file into the inbox, and knowing the batch that it becomes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Source
from tally.output import Output
from tally.stages.stage import Stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

INBOX = "inbox"


def inbox_key(job: str, name: str) -> str:
    """Return the key under which a file is taken for a job."""
    return f"{INBOX}/{job}/{name}"


def upload(s3: "S3Client", file: Path, bucket: str, key: str, sent: Callable[[int], None]) -> Source:
    """Upload a file, in parts if it is large, and return the object version that it became.

    ``sent`` is told of bytes as they go. Somebody else's upload under the same key between ours and the look at
    its version would be taken for ours: give each upload a name of its own.
    """
    s3.upload_file(str(file), bucket, key, Callback=sent)
    head = s3.head_object(Bucket=bucket, Key=key)
    return Source(bucket=bucket, key=key, version_id=head.get("VersionId", ""), etag=head["ETag"].strip('"'))


def send(output: Output, stage: Stage, file: Path, job: str, name: str) -> str:
    """Upload a file with a progress bar and return the id of the batch that it becomes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=output.console, disable=not output.live, transient=True) as progress:
        task = progress.add_task(f"upload {name}", total=file.stat().st_size)
        key = inbox_key(job, name)
        source = upload(stage.s3, file, stage.resources.inbox_bucket, key, lambda sent: progress.advance(task, sent))
    output.say(f"uploaded s3://{source.bucket}/{source.key}")
    return str(batch_id(job, source))
