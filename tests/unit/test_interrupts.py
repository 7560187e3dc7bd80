"""Tests that interrupt what they start hold in the background, too, where a shell has interrupts ignored."""

import subprocess
import sys
from pathlib import Path

_REPO = Path(__file__).parents[2]
_RUN = """
import signal, subprocess, sys
import tests.conftest

waiting = "import signal; print(flush=True); signal.pause()"
with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
    started.stdout.readline()
    started.send_signal(signal.SIGINT)
    try:
        assert started.wait(60) == -signal.SIGINT
    finally:
        started.kill()
"""


def test_what_a_test_starts_can_be_interrupted_where_the_run_itself_cannot() -> None:
    """As in `make test &`: a shell that reads its commands from a file ignores interrupts for what it puts there."""
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    done = subprocess.run(
        [*ignoring, sys.executable, "-c", _RUN], cwd=_REPO, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
