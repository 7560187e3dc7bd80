"""Run external tools so that an interrupt reaches them once and no process is left behind."""

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

_GRACE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Finished:
    """The exit status and the output of a tool."""

    returncode: int
    stdout: str
    stderr: str


def _ignore(_line: str) -> None:
    """Drop a line of output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs commands in one environment, and appends their output to a log.

    ``keep_open`` are file descriptors that the tools inherit: with the stage's lock among them, the stage
    stays locked while a tool still runs whose parent was killed.
    """

    env: Mapping[str, str]
    log: Path
    keep_open: tuple[int, ...] = ()
    on_line: Callable[[str], None] = _ignore

    def __call__(self, argv: Sequence[str], *, cwd: Path) -> Finished:
        """Run a command to its end and return its output; the caller judges a non-zero exit status.

        An interrupt is forwarded once (Terraform gives up its state at the second) and waited for.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
            # A process group of its own keeps the terminal's Ctrl-C from reaching the tool beside our own signal.
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                errors="replace",
                process_group=0,
                pass_fds=self.keep_open,
            )
            try:
                stdout = self._follow(process)
                returncode = process.wait()
            except BaseException:
                _stop(process)
                raise
            finally:
                if process.stdout:
                    process.stdout.close()
            stderr.seek(0)
            finished = Finished(returncode, stdout, stderr.read())
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(argv)}\n{finished.stdout}{finished.stderr}[exit status {finished.returncode}]\n")
        return finished

    def _follow(self, process: subprocess.Popen[str]) -> str:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            self.on_line(line.rstrip())
        return "".join(lines)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
