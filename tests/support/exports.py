"""What tests of fetched results share: S3 as far as fetching goes, and an output that nobody reads."""

import io
from dataclasses import dataclass
from typing import Any

from botocore.response import StreamingBody
from rich.console import Console

from tally.output import Output
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import client_error


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
