"""S3 over one file on this disk: reads of an upload, and a place for its unpacked bytes."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from chalicelib.steps.unpack import UNPACKED_PREFIX


class DiskS3:
    """Reads byte ranges of ``file`` for any key; unpacked bytes go into ``scratch``, part after part.

    Any thread may call it. It has the operations of S3 that a plan and a read of a chunk use.
    """

    def __init__(self, file: Path, scratch: Path) -> None:
        self._file = file
        self._scratch = scratch
        self.requests = 0

    def get_object(self, *, Key: str, Range: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Return a range, as far as the file has it."""
        self.requests += 1
        start, end = map(int, Range.removeprefix("bytes=").split("-"))
        path = self._scratch if Key.startswith(UNPACKED_PREFIX) else self._file
        with path.open("rb") as file:
            data = os.pread(file.fileno(), end + 1 - start, start)
        return {"Body": BytesIO(data), "ContentRange": f"bytes {start}-{end}"}

    def put_object(self, *, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Store the unpacked bytes as a whole."""
        self.requests += 1
        self._scratch.write_bytes(Body)
        return {"ETag": '"1"'}

    def create_multipart_upload(self, **_: Any) -> dict[str, Any]:
        """Begin an empty upload."""
        self._scratch.write_bytes(b"")
        return {"UploadId": "1"}

    def upload_part(self, *, Body: bytes, PartNumber: int, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Store the next part."""
        self.requests += 1
        with self._scratch.open("ab") as file:
            file.write(Body)
        return {"ETag": f'"{PartNumber}"', "ChecksumCRC32": "AAAAAA=="}

    def complete_multipart_upload(self, **_: Any) -> dict[str, Any]:
        """Return the etag that names the object."""
        return {"ETag": '"1"'}

    def abort_multipart_upload(self, **_: Any) -> None:
        """Delete the unpacked bytes."""
        self._scratch.unlink(missing_ok=True)
