"""Which worker process of the local AWS made a request, and its end. Standard library only.

A worker is known by three things together: it is a child of the stage's server, its command line names a file in
that stage's own temporary folder, and the request's connection is its.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

_PROC = Path("/proc")


def kill_caller(port: int, *, server: int, folder: str) -> int | None:
    """End the worker whose connection has this local port, at once; returns its process id, None if none is known."""
    pid = _owner(port, workers(server, folder))
    if pid is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


def workers(server: int, folder: str) -> list[int]:
    """Return the process ids of a server's workers."""
    shown = subprocess.run(
        ["ps", "-ww", "-A", "-o", "pid=,ppid=,command="], capture_output=True, encoding="utf-8", check=False
    ).stdout
    found = (line.split(None, 2) for line in shown.splitlines())
    return [int(row[0]) for row in found if len(row) > 2 and row[1] == str(server) and folder in row[2]]


def _owner(port: int, candidates: list[int]) -> int | None:
    if not (_PROC / "net" / "tcp").exists():
        return _owner_by_lsof(port, candidates)
    socket = _socket(port)
    return next((pid for pid in candidates if socket and socket in _sockets(pid)), None)


def _socket(port: int) -> str:
    """Return the name that /proc/<pid>/fd has for the socket that is bound to a local port; empty if there is none."""
    for line in (_PROC / "net" / "tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        local, inode = fields[1], fields[9]
        if int(local.rpartition(":")[2], 16) == port and inode != "0":
            return f"socket:[{inode}]"
    return ""


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # the process may end meanwhile
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return found


def _owner_by_lsof(port: int, candidates: list[int]) -> int | None:
    """Ask lsof, where there is no /proc."""
    if shutil.which("lsof") is None:
        return None
    shown = subprocess.run(
        ["lsof", "-nP", "-t", f"-iTCP@127.0.0.1:{port}"], capture_output=True, encoding="utf-8", check=False
    ).stdout
    return next((int(line) for line in shown.split() if int(line) in candidates), None)
