"""`tally` in a real pseudo-terminal: resized while it runs, interrupted, without colours, without anything."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte
import pytest

from tally.errors import ExitCode
from tests.support.screen import lines_on

ROOT = Path(__file__).parents[4]
PATIENCE_SECONDS = 120.0
"""A program that does not get there fails its test; one that does is not waited for any longer."""
COUNTERS = [
    "succeeded",
    "1 failed",
    "0 rejected",
    "0 waiting for a retry",
    "rows/s",
    "ETA",
    "elapsed",
    "1 failed: PermanentError: no rate",
]
WATCH = ("status", "@", "--watch", "--interval", "0.1")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in os.environ if not re.match("COLUMNS|LINES|.*COLOR|TERM|LC_|TTY_", name)}
    paths = os.pathsep.join([str(ROOT / "app"), str(ROOT)])
    return {**kept, "PYTHONPATH": paths, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **variables}


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.watched", *arguments]


class Terminal:
    """A terminal with a program in it."""

    def __init__(self, width: int, height: int = 30, *arguments: str, **variables: str) -> None:
        self.master, slave = pty.openpty()
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self._set_size(width, height)
        self.process = subprocess.Popen(
            program(*(arguments or WATCH)),
            env=environment(**variables),
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )

    def resize(self, width: int, height: int = 30) -> None:
        self.screen.resize(height, width)
        self._set_size(width, height)

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def until(self, shown: Callable[[list[str]], bool]) -> list[str]:
        """Return the screen once it shows something; what the program writes meanwhile is drawn."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not shown(self.lines):
            assert time.monotonic() < deadline, self.lines
            self._read()
        return self.lines

    def end(self) -> int:
        """Return the exit status, once all that was written is drawn."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.lines
            self._read()
        while self._read():
            pass
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 0.1)
        if ready:
            data = os.read(self.master, 65_536)
            self.written += data
            self.stream.feed(data)
        return bool(ready)

    def _set_size(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


@contextmanager
def terminal(width: int, height: int = 30, *arguments: str, **variables: str) -> Iterator[Terminal]:
    opened = Terminal(width, height, *arguments, **variables)
    try:
        yield opened
    finally:
        opened.close()


def drawn(width: int) -> Callable[[list[str]], bool]:
    """Tell whether a whole picture, and nothing else that looks like a part of one, is on the screen."""

    def shown(lines: list[str]) -> bool:
        bars = [line for line in lines if "\u2591" in line]
        said = "\n".join(lines)
        whole = all(said.count(counter) >= 1 for counter in COUNTERS) and said.count("elapsed") == 1
        return whole and len(bars) == 1 and len(bars[0]) <= width and "  66 %" in bars[0]

    return shown


def test_a_terminal_that_is_resized_while_a_batch_is_watched_shows_one_whole_picture() -> None:
    with terminal(100) as opened:
        opened.until(drawn(100))
        for width in (60, 80, 40, 200, 60):
            opened.resize(width)
            lines = opened.until(drawn(width))
            assert any(re.fullmatch(r"batch watched-[0-9a-f]{20}", line) for line in lines)
        opened.press(b"\x03")
        assert opened.end() == ExitCode.INTERRUPTED


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_ctrl_c_leaves_the_terminal_sane_and_says_how_to_come_back(width: int) -> None:
    with terminal(width) as opened:
        opened.until(drawn(width))
        assert opened.screen.cursor.hidden
        opened.press(b"\x03")
        assert opened.end() == ExitCode.INTERRUPTED
        said = "".join(line if len(line) == width else f"{line}\n" for line in opened.lines)
        assert re.search(r"interrupted: batch (watched-\w+) continues without being watched", said)
        assert re.search(r"`tally status watched-\w{20} --watch --stage test`", said)
        assert not [line for line in opened.lines if "\u2591" in line]  # nothing of the picture is left
        assert not opened.screen.cursor.hidden
        assert termios.tcgetattr(opened.slave) == opened.before


def test_a_terminated_watch_shows_the_cursor_again() -> None:
    with terminal(80) as opened:
        opened.until(drawn(80))
        opened.process.send_signal(signal.SIGTERM)
        assert opened.end() == ExitCode.INTERRUPTED
        assert not opened.screen.cursor.hidden


def test_no_color_is_drawn_without_colours() -> None:
    with terminal(80, NO_COLOR="1") as opened:
        opened.until(drawn(80))
        opened.press(b"\x03")
        opened.end()
        coloured = re.compile(rb"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38;|4[0-7])[0-9;]*m")
        assert not coloured.search(opened.written)


def test_a_dumb_terminal_gets_lines_and_no_control_codes() -> None:
    with terminal(80, 60, TERM="dumb") as opened:
        opened.until(lambda lines: any(line.startswith("running: 4 of 6 rows") for line in lines))
        opened.press(b"\x03")
        assert opened.end() == ExitCode.INTERRUPTED
        assert b"\x1b" not in opened.written


def test_a_terminal_without_utf_8_gets_a_bar_of_ascii() -> None:
    with terminal(80, PYTHONIOENCODING="latin-1") as opened:
        opened.until(lambda lines: any(re.fullmatch(r"#{26}-{14}   66 %", line) for line in lines))
        opened.press(b"\x03")
        assert opened.end() == ExitCode.INTERRUPTED


def run_piped(*arguments: str, **variables: str) -> Any:
    return subprocess.run(
        program(*arguments),
        env=environment(**variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"COLUMNS": "60"}], ids=str)
def test_a_pipe_gets_a_line_for_a_change_and_nothing_to_redraw(variables: dict[str, str]) -> None:
    """Even where colours are forced: those are all that is left of what steers a terminal."""
    ended = run_piped(*WATCH, "--timeout", "1", **variables)
    assert ended.returncode == ExitCode.TIMED_OUT
    said = COLOUR.sub("", ended.stdout)
    assert "\x1b" not in said
    assert "\r" not in said
    batch, change = said.splitlines()
    assert re.fullmatch(r"batch watched-\w{20}", batch)
    assert change.startswith("running: 4 of 6 rows: 3 succeeded, 1 failed, 0 rejected")


def test_a_pipe_gets_a_row_of_a_table_as_a_line() -> None:
    """So that grep finds it."""
    head, row = run_piped("list").stdout.splitlines()
    assert head.split()[:3] == ["id", "job", "status"]
    assert row.startswith("watched-")
    assert row.endswith("inbox/watched/day.csv")


INTERRUPTED = """
import signal
from rich.console import Console
from tally.look import Redrawn

class Interrupted:
    begun, ended = False, False

    def __rich_console__(self, console, options):
        yield "first"
        if not self.begun:
            self.begun = True
            signal.raise_signal(signal.SIGINT)
        yield "last"
        self.ended = True

picture = Interrupted()
with Redrawn(Console(force_terminal=True, width=80, height=24), again=lambda: None) as redrawn:
    redrawn.show("whole")
    try:
        redrawn.show(picture)
    except KeyboardInterrupt:
        assert picture.ended, "interrupted before its end"
    else:
        raise SystemExit("not interrupted")
"""


def test_an_interrupt_in_the_middle_of_a_picture_comes_once_it_is_drawn() -> None:
    """Else what removes it at the end does not know what is on the screen.

    In a process of its own: a worker of xdist runs its tests in a thread, and an interrupt ends it.
    """
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    written = ended.stdout.decode()
    assert lines_on(80, written) == []
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is shown again
