"""The proxy's process, and what it wrote down."""

import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tally.errors import OperatorError
from tally.local.localaws import HOST, Server
from tests.chaos.faults import TALLY, Fault, Rates

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0


@dataclass(slots=True)
class Traffic:
    """What one caller sent."""

    requests: int = 0
    reads: float = 0.0
    writes: float = 0.0
    faults: Counter[Fault] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """mitmproxy in reverse mode with the chaos script, on loopback."""

    program: Path
    repo: Path
    port: int
    folder: Path
    """Where its log and its own settings are."""

    @property
    def url(self) -> str:
        """What callers take for AWS."""
        return f"http://{HOST}:{self.port}"

    @contextmanager
    def running(self, *, server: Server, workers: Path, seed: int, rates: Rates) -> Iterator[None]:
        """Run it for the block; raises when it does not answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._traffic_file.unlink(missing_ok=True)
        settings = {
            "seed": seed,
            "rates": asdict(rates),
            "upstream": server.endpoint,
            "server": server.pid,
            "folder": str(workers),
            "log": str(self._traffic_file),
        }
        command = [
            str(self.program), "--quiet", "--mode", f"reverse:{server.endpoint}",
            "--listen-host", HOST, "--listen-port", str(self.port),
            "--set", f"confdir={self.folder / 'mitmproxy'}", "--set", "connection_strategy=lazy",
            "--scripts", str(Path(__file__).with_name("addon.py")),
        ]  # fmt: skip
        env = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", ""), "LANG": "C.UTF-8"}
        env |= {"PYTHONPATH": str(self.repo), "PYTHONDONTWRITEBYTECODE": "1", "CHAOS": json.dumps(settings)}
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._await(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def traffic(self) -> dict[str, Traffic]:
        """Return what was sent so far, by caller."""
        found: dict[str, Traffic] = {TALLY: Traffic()}
        for line in self._traffic_file.read_text(encoding="utf-8").splitlines():
            if not line.endswith("}"):
                continue  # being written at this moment
            request = json.loads(line)
            traffic = found.setdefault(request["caller"], Traffic())
            traffic.requests += 1
            traffic.reads += request["reads"]
            traffic.writes += request["writes"]
            traffic.faults[Fault(request["fault"])] += 1
        return found

    def complaints(self) -> str:
        """Return what it wrote to its log: nothing, unless the script failed."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip()

    @property
    def _traffic_file(self) -> Path:
        return self.folder / "requests.jsonl"

    @property
    def _log(self) -> Path:
        return self.folder / "proxy.log"

    def _await(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            time.sleep(0.05)
        raise OperatorError(f"The proxy does not answer on {self.url}: see {self._log}.", detail=self.complaints())


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
