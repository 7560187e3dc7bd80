"""The background console of the demo: one `tally ui` process for a local stage.

Its record is its own output, and its process is found by its command line. So the next command finds a console even if
the command that started it was killed, and never ends a process only because it has a recorded id.
"""

import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import urlsplit

from tally.errors import ExitCode, OperatorError
from tally.local.localaws import environment, recorded, tail
from tally.stages.stage import Stage
from tally.stages.workspace import StageFolder, Workspace, fingerprint

INSTALL = "`make venv` installs it in a checkout, `pip install 'tally[ui]'` elsewhere."
"""What to do if the console's library is missing."""
PROGRAM = ("-m", "tally", "ui", "--json", "--stage")
"""The command that serves a console; the stage's name follows."""

_LIBRARY = "nicegui"
_MARK = "tally-console"
_MADE_OF = "tally-console-of"
_READY_SECONDS = 60
_STOP_SECONDS = 5
_ANSWER_SECONDS = 5
_POLL_SECONDS = 0.1
_ENDINGS = (signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A console that runs in the background; ``url`` has its token."""

    pid: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    made_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConsole:
    """The background console of one local stage; to start or stop it, hold the stage's lock."""

    folder: StageFolder
    workspace: Workspace
    environ: Mapping[str, str]
    program: Sequence[str] = PROGRAM
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, workspace: Workspace, name: str, environ: Mapping[str, str]) -> Self:
        """Return the console of a stage."""
        return cls(folder=workspace.stage(name), workspace=workspace, environ=environ)

    def start(self, stage: Stage) -> Running:
        """Return the console of the stage as deployed now: the running one, if it fits and answers, else a new one.

        Raises OperatorError where NiceGUI is missing, and when the console ends or does not answer in a minute.
        """
        if importlib.util.find_spec(_LIBRARY) is None:
            raise OperatorError("The console needs NiceGUI, which is not installed", hint=INSTALL)
        made_of = self._made_of(stage)
        found = self._processes()
        if len(found) == 1 and found[0].made_of == made_of and (running := self._running(found[0].pid)):
            return running
        self.stop()
        return self._start(made_of)

    def stop(self) -> list[int]:
        """End every background console of the stage; returns their process ids."""
        found = [each.pid for each in self._processes()]
        left = found
        for ending in _ENDINGS:
            _signal(left, ending)
            for _ in range(round(_STOP_SECONDS / _POLL_SECONDS)):
                left = [each.pid for each in self._processes()]
                if not left:
                    # Each leads a process group, which includes the dry runs of its pages: none outlives it.
                    _signal(found, signal.SIGKILL)
                    self.folder.console.unlink(missing_ok=True)
                    return found
                self.sleep(_POLL_SECONDS)
        raise OperatorError(
            f"The console (process {left[0]}) does not end: end it with `kill -9 {left[0]}`.", code=ExitCode.UNEXPECTED
        )

    def _start(self, made_of: str) -> Running:
        self.folder.console_log.parent.mkdir(parents=True, exist_ok=True)
        with _only_for_me(self.folder.console) as record, _only_for_me(self.folder.console_log) as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    *_mark(self.folder).split(),
                    "-X",
                    f"{_MADE_OF}={made_of}",
                    *self.program,
                    self.folder.name,
                ],
                cwd=self.workspace.repo,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=record,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(round(_READY_SECONDS / _POLL_SECONDS)):
            if process.poll() is not None:
                raise OperatorError(
                    f"The console ended at once (exit status {process.returncode}): see {self.folder.console_log}.",
                    detail=tail(self.folder.console_log),
                )
            if running := self._running(process.pid):
                # It outlives this command on purpose: Popen's destructor would warn that it still runs.
                process.returncode = 0
                return running
            self.sleep(_POLL_SECONDS)
        self.stop()
        process.wait()
        raise OperatorError(f"The console did not answer in {_READY_SECONDS} s.", detail=tail(self.folder.console_log))

    def _running(self, pid: int) -> Running | None:
        """Return the console of a process, if its record is whole and it answers a request."""
        url = _read_url(self.folder.console)
        return Running(pid=pid, url=url) if url and _answers(url) else None

    def _environment(self) -> dict[str, str]:
        # The environment of tools on a local AWS, with PYTHONPATH, which may be how `tally` is found.
        server = recorded(self.folder)
        kept = environment(server, self.environ) if server else dict(self.environ)
        path = {name: self.environ[name] for name in ("PYTHONPATH",) if name in self.environ}
        return kept | path | {"TALLY_HOME": str(self.workspace.home)}

    def _processes(self) -> list[_Process]:
        """Return the background consoles of the stage: one, or more after an interrupted bring-up."""
        listed = subprocess.run(
            ["ps", "-axww", "-o", "pid=,pgid=,uid=,command="],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        ).stdout
        found = []
        for line in listed.splitlines():
            before, mark, after = line.partition(f" {_mark(self.folder)} -X {_MADE_OF}=")
            if not mark:
                continue
            pid, group, owner = before.split()[:3]
            # A process that a console has just forked still has its command line, but leads no group.
            if pid == group and int(owner) == os.getuid():
                found.append(_Process(pid=int(pid), made_of=after.split()[0]))
        return found

    def _made_of(self, stage: Stage) -> str:
        """Return a digest of a console's input: the stage as it is now, and the sources of both."""
        sources = [self.workspace.repo / name for name in ("tally", "app")]
        return fingerprint(sources, sys.version, version(_LIBRARY), repr(stage.server), repr(stage.resources))


def _mark(folder: StageFolder) -> str:
    # The interpreter ignores an unknown -X option, and `ps` shows it: this is how the process is known as ours. A
    # digest, because some `ps` write a question mark for what is not ASCII in a path.
    return f"-X {_MARK}={hashlib.sha256(os.fsencode(folder.root)).hexdigest()[:20]}"


def _signal(groups: Sequence[int], number: signal.Signals) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _only_for_me(path: Path) -> BinaryIO:
    """Return a new file that only its owner may read, because it will contain an address with a token."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _read_url(record: Path) -> str:
    """Return the address that a console has printed; empty if it has not, or if the file is torn."""
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _answers(url: str) -> bool:
    """Tell whether a console accepts its token; http.client uses no proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        return connection.getresponse().status == HTTPStatus.SEE_OTHER
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
