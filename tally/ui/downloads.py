"""Downloads: the results of a batch as one file, and its failed.csv, from the stage's bucket through the console."""

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from nicegui import app
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from chalicelib.store.exports import Export, Exports
from tally.exported.fetch import fetch_result, read_manifest, require_export
from tally.exported.single import blocks_of
from tally.stages.services import table
from tally.ui.actions import explained
from tally.ui.console import Console
from tally.ui.report import Report

_BLOCK_BYTES = 1_048_576
_TYPE = "application/octet-stream"
"""Whatever the file holds, a browser saves it and shows nothing of it."""


def register(console: Console) -> None:
    """Have the console serve the files of results, if it shows data: they hold what was uploaded."""

    def results(batch_id: str, attempt: int) -> Response:
        return _answer(console, batch_id, attempt, failed=False)

    def failed(batch_id: str, attempt: int) -> Response:
        return _answer(console, batch_id, attempt, failed=True)

    app.add_api_route("/download/{batch_id}/{attempt}/results", results, methods=["GET"], response_model=None)
    app.add_api_route("/download/{batch_id}/{attempt}/failed", failed, methods=["GET"], response_model=None)


def address(export: Export, *, failed: bool = False) -> str:
    """Return where the console serves a file of an export."""
    return f"/download/{quote(export.batch_id)}/{export.attempt}/{'failed' if failed else 'results'}"


def export_of(console: Console, batch_id: str, attempt: int) -> Export:
    """Return the export of an attempt; raises OperatorError, which says why there is none, or not yet."""
    batch = console.reader.require(batch_id)
    return require_export(Exports(table=table(console.stage)), batch, attempt, timeout=0)


def _answer(console: Console, batch_id: str, attempt: int, *, failed: bool) -> Response:
    if not console.show_data:
        return PlainTextResponse("Refused: files hold data; `tally ui --show-data` serves them.\n", status_code=403)
    try:
        export = export_of(console, batch_id, attempt)
        name, blocks = _failed(console, export) if failed else _results(console, export)
        # The first bytes before the answer begins: what is wrong with the files is an answer then, not half a file.
        first = next((block for block in blocks if block), b"")
    except Exception as error:  # noqa: BLE001  the browser shows it
        return PlainTextResponse(f"{explained(error)}\n", status_code=404)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return StreamingResponse(chain([first], blocks), media_type=_TYPE, headers=headers)


def _results(console: Console, export: Export) -> tuple[str, Iterator[bytes]]:
    stage = console.stage
    blocks = blocks_of(Report.begin(), stage.s3, stage.resources.inbox_bucket, export)
    return f"{export.batch_id}-attempt-{export.attempt}.{export.form}", blocks


def _failed(console: Console, export: Export) -> tuple[str, Iterator[bytes]]:
    s3, bucket = console.stage.s3, console.stage.resources.inbox_bucket
    part = read_manifest(s3, bucket, export)[0].failed

    def blocks() -> Iterator[bytes]:
        # From disk, once it is there and has the right SHA-256.
        with tempfile.TemporaryDirectory(prefix="tally-ui-") as folder:
            place = Path(folder) / part.name
            fetch_result(s3, bucket, export, part, place, lambda _bytes: None)
            with place.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    yield block

    return f"{export.batch_id}-attempt-{export.attempt}-{part.name}", blocks()
