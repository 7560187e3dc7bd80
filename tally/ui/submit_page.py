"""The page that submits a file: dropped, tried without a stage, confirmed, uploaded."""

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from nicegui import events, ui
from nicegui.elements.upload_files import FileUpload

from chalicelib import jobs
from tally.batch.submit import send
from tally.commands import current
from tally.errors import OperatorError
from tally.look import duration
from tally.output import Output
from tally.stages.job_code import Standing
from tally.ui.actions import button, command_line
from tally.ui.chooser import name_of, named
from tally.ui.console import Console
from tally.ui.frame import page
from tally.ui.trouble import Trouble

_TRIED_ROWS = 1000
_MAX_BYTES = 1 << 30
"""The file is kept on this machine three times while it arrives; what it takes of memory does not grow."""
_REFUSED = {"max-files": "one file is taken at a time", "max-file-size": f"it is larger than {_MAX_BYTES >> 30} GB"}
_NAMES_OF_REFUSED = "(refused) => emit(refused.map((each) => [each.failedPropValidation, each.file.name]))"
_NAMES_OF_FAILED = "(found) => emit(found.files.map((file) => file.name))"


def register(console: Console) -> None:
    """Have the console show the page, unless it only reads."""
    if not console.read_only:
        ui.page("/submit", title="Submit")(lambda: _Submit(console))


class _Submit:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._folder = tempfile.TemporaryDirectory(prefix="tally-ui-")
        self._file: Path | None = None
        self._just_refused = False
        ui.context.client.on_delete(self._folder.cleanup)
        names = jobs.names()
        with page(console, "Submit"):
            self._trouble = Trouble(console, retries=False)
            self._left_out = ui.label().classes("text-negative tally-text").props("role=alert")
            ui.label("Submit a file").classes("text-xl font-bold")
            self._job = ui.select(names, value=names[0] if names else None, label="Job").classes("w-full max-w-md")
            self._job.on_value_change(self._job_changed)
            self._upload = ui.upload(
                multiple=True, max_files=1, max_file_size=_MAX_BYTES, auto_upload=True, on_upload=self._dropped
            )
            self._upload.props("flat bordered").classes("w-full max-w-md")
            named(self._upload, "Drop a file here, or choose one")
            self._upload.on("rejected", self._refused, js_handler=_NAMES_OF_REFUSED)
            self._upload.on("failed", self._unreadable, js_handler=_NAMES_OF_FAILED)
            ui.label(
                f"One file of up to {_MAX_BYTES >> 30} GB. A larger one goes from the disk to the stage: "
                f"tally submit FILE --job JOB --stage {shlex.quote(console.stage.name)}"
            ).classes("text-sm opacity-70 tally-text")
            self._said = ui.column().classes("w-full gap-1").mark("tried")

    def _refused(self, event: events.GenericEventArguments) -> None:
        """Say what of a drop is not taken, and why; what is taken comes after it."""
        self._left_out.set_text(" ".join(f"{name}: left out, {_REFUSED.get(why, why)}." for why, name in event.args))
        self._just_refused = True

    def _unreadable(self, event: events.GenericEventArguments) -> None:
        names = ", ".join(event.args)
        self._left_out.set_text(f"{names}: the browser could not read it. A folder cannot be submitted, only a file.")
        self._upload.reset()

    async def _dropped(self, event: events.UploadEventArguments) -> None:
        if not self._just_refused:
            self._left_out.set_text("")
        self._just_refused = False
        self._upload.reset()  # so that the next file, or this one again, is taken
        await self._trouble.guarded(lambda: self._take(event.file))

    async def _take(self, dropped: FileUpload) -> None:
        """Keep a file, and no longer the one before it, in a folder of its own; then try it."""
        self._said.clear()
        before, self._file = self._file, None
        if before is not None:
            shutil.rmtree(before.parent, ignore_errors=True)
        file = Path(tempfile.mkdtemp(dir=self._folder.name)) / name_of(dropped.name)
        await dropped.save(file)
        self._file = file
        job = file.name.partition(".")[0]
        if job in jobs.names() and job != self._job.value:
            self._job.set_value(job)  # which tries it
        else:
            await self._try()

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
        if (file, job) != (self._file, self._job.value):
            return  # another file or job was chosen meanwhile, and is tried
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
        stage, unfit = self._console.stage, tried.get("error") or tried.get("reason")
        size = f"{file.stat().st_size:,} bytes"
        warning = "The dry run found that no row of it can be processed. " if unfit else ""
        button(
            self._console,
            "Submit anyway" if unfit else "Submit",
            f"{warning}{file.name} ({size}) is uploaded to stage {stage.name} for the job {job}.",
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
