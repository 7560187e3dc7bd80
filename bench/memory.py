"""The memory of a plan, in a process of its own: ``python -m bench.memory BUCKET KEY ETAG SIZE``.

A plan holds a few blocks of its object and the chunk that is being cut, whatever the object's size. So two objects are
compared that are both larger than that.
"""

import os
import shutil
import subprocess
import sys

import boto3
import psutil

from bench.line import Line
from bench.samples import Sample
from chalicelib.files.boundaries import split
from chalicelib.files.source import ObjectReader
from chalicelib.retry import Retry
from chalicelib.store.batch import Source
from tally.batch.submit import upload
from tally.local import localaws
from tally.stages.stage import Stage

_TIMES = 4


def planning_memory(stage: Stage, sample: Sample) -> Line:
    """Cut a sample, and one that is four times as large, and compare the largest resident sizes."""
    larger = sample.file.with_name(f"{_TIMES}-times-{sample.file.name}")
    with larger.open("wb") as target:
        for _ in range(_TIMES):
            with sample.file.open("rb") as source:
                shutil.copyfileobj(source, target)
    try:
        found = [_measured(stage, Sample(file=file, expected=sample.expected)) for file in (sample.file, larger)]
    finally:
        larger.unlink()
    (small, small_size), (large, large_size) = found
    return Line(
        name=f"memory of a plan, {large_size / 1e6:.0f} MB / {small_size / 1e6:.0f} MB",
        value=large / small,
        unit="x",
        most=1.1,
        raw={"MB resident": f"{small}>{large}"},
    )


def _measured(stage: Stage, sample: Sample) -> tuple[int, int]:
    assert stage.server is not None
    size = sample.file.stat().st_size
    key = f"bench/{sample.file.name}"  # not the inbox: nothing is to process it
    source = upload(stage.s3, sample.file, stage.resources.inbox_bucket, key, lambda _: None)
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", source.bucket, source.key, source.etag, str(size)],
        env=localaws.environment(stage.server, os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    stage.s3.delete_object(Bucket=source.bucket, Key=source.key)
    return int(done.stdout), size


def _cut(bucket: str, key: str, etag: str, size: int) -> int:
    """Cut an object into chunks; returns the largest memory of this process in megabytes."""
    source = Source(bucket=bucket, key=key, version_id="", etag=etag)
    reader = ObjectReader(s3=boto3.client("s3"), source=source, retry=Retry())
    most = 0
    ranges = split(reader.blocks(0, size), max_rows=1000, max_bytes=262_144, offset=0, first_line=1)
    for number, _ in enumerate(ranges):
        if number % 20 == 0:
            most = max(most, psutil.Process().memory_info().rss)
    return most // 2**20


if __name__ == "__main__":
    _, bucket, key, etag, size = sys.argv
    print(_cut(bucket, key, etag, int(size)))
