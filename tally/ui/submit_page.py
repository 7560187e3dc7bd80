"""The page that submits a file: dropped, tried without a stage, confirmed, uploaded."""

import asyncio
import contextlib
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from nicegui import events, ui

from chalicelib import jobs
from tally.batch.submit import send
from tally.commands import current
from tally.errors import OperatorError
from tally.look import duration
from tally.output import Output
from tally.stages.job_code import Standing
from tally.ui.actions import button, command_line
from tally.ui.console import Console
from tally.ui.frame import page
from tally.ui.trouble import Trouble

_TRIED_ROWS = 1000


def register(console: Console) -> None:
    """Have the console show the page, unless it only reads."""
    if not console.read_only:
        ui.page("/submit", title="Submit")(lambda: _Submit(console))


class _Submit:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._folder = tempfile.TemporaryDirectory(prefix="tally-ui-")
        self._file: Path | None = None
        ui.context.client.on_delete(self._folder.cleanup)
        names = jobs.names()
        with page(console, "Submit"):
            self._trouble = Trouble(console)
            ui.label("Submit a file").classes("text-xl font-bold")
            self._job = ui.select(names, value=names[0] if names else None, label="Job").classes("w-full max-w-md")
            self._job.on_value_change(self._job_changed)
            ui.upload(label="Drop a file here, or choose one", auto_upload=True, on_upload=self._dropped).props(
                "flat bordered"
            ).classes("w-full max-w-md")
            self._said = ui.column().classes("w-full gap-1").mark("tried")

    async def _dropped(self, event: events.UploadEventArguments) -> None:
        # The last part of the name alone: a browser may send a path, and an uploader anything.
        name = Path(event.file.name.replace("\\", "/")).name or "file"
        self._file = Path(self._folder.name) / name
        await event.file.save(self._file)
        job = name.partition(".")[0]
        if job in jobs.names() and job != self._job.value:
            self._job.set_value(job)  # which tries it
        else:
            await self._trouble.guarded(self._try)

    async def _job_changed(self) -> None:
        await self._trouble.guarded(self._try)

    async def _try(self) -> None:
        """Try the first rows in a process of its own: a job may do anything, and the console must go on."""
        file, job = self._file, self._job.value
        if file is None or not job:
            return
        self._said.clear()
        with self._said:
            ui.label(f"Trying up to {_TRIED_ROWS:,} rows of {file.name} without the stage...")
        tried = await tried_rows(job, file)
        self._said.clear()
        with self._said:
            self._show(job, file, tried)

    def _show(self, job: str, file: Path, tried: dict[str, Any]) -> None:
        ui.label("Dry run, without the stage").classes("font-bold")
        if "error" in tried:
            ui.label(str(tried["error"])).classes("text-negative tally-text").props("role=alert")
        else:
            for line in described(tried):
                ui.label(line).classes("tally-text")
        command_line(f"tally try {shlex.quote(job)} {shlex.quote(file.name)} --rows {_TRIED_ROWS}")
        stage = self._console.stage
        button(
            self._console,
            "Submit",
            f"{file.name} ({file.stat().st_size:,} bytes) is uploaded to stage {stage.name} for the job {job}.",
            f"tally submit {shlex.quote(file.name)} --job {shlex.quote(job)} --stage {shlex.quote(stage.name)}",
            lambda output: self._send(output, job, file),
        )

    def _send(self, output: Output, job: str, file: Path) -> None:
        stage = self._console.stage
        standing = current.standing_of(stage, job)
        if standing is Standing.MISSING:
            raise OperatorError(
                f"{current.problem_of(stage.name, job, standing)}, so that it would reject the file",
                hint=f"run `{current.deploy_command(stage)}`, then submit.",
            )
        if standing is Standing.DIFFERS:
            output.warn(current.problem_of(stage.name, job, standing))
        batch = send(output, stage, file, job, file.name)
        output.say(f"batch {batch}")
        self._console.list_feed.refresh()
        self._uploaded(batch)

    def _uploaded(self, batch: str) -> None:
        with self._said:
            ui.link(f"Open {batch}", f"/batch/{batch}").classes("text-lg").mark("open")


async def tried_rows(job: str, file: Path) -> dict[str, Any]:
    """Return what `tally try` says of the first rows of a file; ``error`` has its words where it says nothing else."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tally", "try", job, str(file), "--rows", str(_TRIED_ROWS), "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "10000"},
    )
    try:
        out, error = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    with contextlib.suppress(ValueError):
        found = json.loads(out)
        if isinstance(found, dict):
            return found
    return {"error": error.decode(errors="replace").strip() or f"exit status {process.returncode}"}


def described(tried: dict[str, Any]) -> list[str]:
    """Return what a dry run found, a line each; no value of a row is in it."""
    counts = {name: tried.get(name) for name in ("rows", "succeeded", "failed", "rejected")}
    lines = [", ".join(f"{count:,} {name}" for name, count in counts.items() if isinstance(count, int))]
    lines += [tried["reason"]] if tried.get("reason") else []
    lines += [f"{group['rows']:,} {group['outcome']}: {group['reason']}" for group in tried.get("reasons", ())]
    took = tried.get("estimate") or {}
    if "seconds" in took:
        lines.append(f"On a stage the file would take about {duration(took['seconds'])}.")
    return [line for line in lines if line]
