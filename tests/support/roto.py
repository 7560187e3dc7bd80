"""The second DynamoDB engine that the table is held to: a roto server (PyPI ``roto-aws``) in memory, on loopback."""

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOST = "127.0.0.1"


def binary() -> str | None:
    """Return the path of the server, None where its package has no wheel for this machine."""
    return shutil.which("roto-server", path=str(Path(sys.executable).parent))


@contextmanager
def running(program: str) -> Iterator[str]:
    """Run a server on a free port, until it listens and no longer than the block; gives its URL."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    command = [program, "--ephemeral", "--host", _HOST, "--port", str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env={}
    ) as server:
        assert server.stdout
        # What it logs has to be read to its end, or the pipe is full at some time and the server stops.
        log = threading.Thread(target=server.stdout.read, daemon=True)
        try:
            listens = any("listening on" in line for line in server.stdout)  # ends with the server
            assert listens, f"{program} ended with {server.wait()} before it listened on port {port}"
            log.start()
            yield f"http://{_HOST}:{port}"
            server.terminate()
            log.join()
        finally:
            server.kill()
