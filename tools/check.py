"""Run the parts of `make check`: targets of make, several at once, each with an output of its own."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import click

from tools.generated import REPO

LOGS = REPO / ".tally" / "check" / "logs"
_NICE = "5"
"""What every part but the first yields to it: the first waits for stages, which must not be slow when it looks."""
_SHOWN = 40
"""Lines of a failed part's output that are printed; all of it is in its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The result of a part, and when it began and ended: in seconds since the first one began."""

    part: str
    returncode: int
    began: float
    ended: float

    @property
    def seconds(self) -> int:
        """The seconds that it took."""
        return round(self.ended - self.began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Runs parts, ``at_once`` of them together and in their order; what each writes goes into a file in ``logs``.

    The first part has priority over the others on the processors.
    """

    command: tuple[str, ...]
    logs: Path
    at_once: int
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    def __call__(self, parts: Sequence[str]) -> list[Ended]:
        """Run all parts to their ends, also when one fails, and return how they ended, in the order of the parts."""
        self.logs.mkdir(parents=True, exist_ok=True)
        started = self.clock()
        with ThreadPoolExecutor(self.at_once) as pool:
            running: list[Future[Ended]] = [
                pool.submit(self._run, part, started, nice="0" if part == parts[0] else _NICE) for part in parts
            ]
            try:
                for future in as_completed(running):
                    ended = future.result()
                    how = "ok" if ended.returncode == 0 else "FAILED"
                    self.say(f"{how:6} {ended.part} ({ended.seconds} s)")
            finally:
                pool.shutdown(cancel_futures=True)  # an interrupt reaches the parts that run: begin no other
        return [future.result() for future in running]

    def log(self, part: str) -> Path:
        """Return where the output of a part is."""
        return self.logs / f"{part}.log"

    def _run(self, part: str, started: float, *, nice: str) -> Ended:
        began = self.clock() - started
        with self.log(part).open("wb") as log:
            done = subprocess.run(  # noqa: S603  # make, as it was started
                ["nice", "-n", nice, *self.command, part],  # noqa: S607  # POSIX has it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        return Ended(part=part, returncode=done.returncode, began=began, ended=self.clock() - started)

    def summary(self, ended: Sequence[Ended]) -> list[str]:
        """Return the last lines of each failed part, and a table of all parts."""
        lines = []
        for each in ended:
            if each.returncode:
                log = self.log(each.part)
                written = log.read_text(encoding="utf-8", errors="replace").splitlines()
                lines += [f"--- {each.part} failed; the end of {log}:", *written[-_SHOWN:], ""]
        width = max(len(each.part) for each in ended)
        lines.append(f"{'part':{width}}  result  seconds  from   to")
        for each in ended:
            how = "FAILED" if each.returncode else "ok"
            lines.append(f"{each.part:{width}}  {how:6}  {each.seconds:7}  {each.began:4.0f} {each.ended:4.0f}")
        failed = sum(each.returncode != 0 for each in ended)
        whole = max(each.ended for each in ended)
        lines.append(f"{len(ended) - failed} of {len(ended)} parts hold, in {whole:.0f} s.")
        return lines


@click.command()
@click.argument("parts", nargs=-1, required=True)
@click.option("--at-once", type=click.IntRange(1), default=2, show_default=True, help="Parts to run at once.")
def main(parts: tuple[str, ...], at_once: int) -> None:
    """Run PARTS, targets of make, and say how each ended; exit with 1 if one failed."""
    check = Check(
        command=("make", "--no-print-directory"),
        logs=LOGS,
        at_once=at_once,
        say=click.echo,
    )
    click.echo(f"{len(parts)} parts, {at_once} at once; what they write is in {LOGS}.")
    ended = check(parts)
    for line in check.summary(ended):
        click.echo(line)
    sys.exit(any(each.returncode for each in ended))


if __name__ == "__main__":
    main()
