"""The AWS of a local stage: one ministack process on loopback, known by its process id and command line."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from botocore.loaders import Loader

from tally.errors import ExitCode, OperatorError
from tally.stages.workspace import StageFolder

HOST = "127.0.0.1"
REGION = "us-east-1"
CREDENTIAL = "test"
"""Access key and secret alike: the local AWS takes any."""

_READY_SECONDS = 30
_STOP_SECONDS = 5
_READY_POLL_SECONDS = 0.25
_OK = 200
# Variables of the caller that would send the tools to another AWS, workspace or stage.
_FOREIGN_PREFIXES = ("AWS_", "TF_VAR_", "TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR", "PYTHONPATH", "TALLY_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A local AWS that was started; it may have ended since."""

    pid: int
    port: int
    certificate: str = ""
    """The file to trust, of a server that enforces policies; empty for one that does not, and speaks plain HTTP."""

    @property
    def endpoint(self) -> str:
        """The URL of every service."""
        return f"{'https' if self.certificate else 'http'}://{HOST}:{self.port}"


def environment(server: Server, environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which tools see only the local AWS, and no profile of the caller."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN_PREFIXES)}
    unproxied = ",".join(filter(None, [environ.get("NO_PROXY") or environ.get("no_proxy", ""), HOST, "localhost"]))
    return kept | {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIAL,
        "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **({"AWS_CA_BUNDLE": server.certificate} if server.certificate else {}),
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
    }


def recorded(folder: StageFolder) -> Server | None:
    """Return the recorded server of a stage, or None; it may have ended."""
    try:
        return Server(**json.loads(folder.server.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def running(folder: StageFolder) -> Server | None:
    """Return the stage's server if its process lives and answers."""
    server = recorded(folder)
    return server if server and _is_ours(server.pid, folder) and _ready(server) else None


def start(
    folder: StageFolder, *, port: int | None, iam: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Server:
    """Start a server for the stage and return it once it answers; ``port`` None takes a free one.

    With ``iam`` it refuses what no policy allows, as AWS does, and keeps a trail of the calls (CloudTrail). It then
    speaks TLS, for the policies of queues and bucket deny all else.

    Raises when the port is taken or the server ends before it answers.
    """
    if port is not None and _port_taken(port):
        raise OperatorError(
            f"Port {port} of {HOST} is taken: name another one with --port, leave --port out to get a free one, "
            f"or stop what listens there (lsof -iTCP:{port} -sTCP:LISTEN)."
        )
    for directory in (folder.tmp, folder.server_log.parent):
        directory.mkdir(parents=True, exist_ok=True)
    chosen = port or _free_port()
    with folder.server_log.open("ab") as log:
        process = subprocess.Popen(
            _command(folder),
            cwd=folder.root,
            env=_server_environment(folder, chosen, iam=iam),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    certificate = str(folder.tmp / "ministack-tls" / "server.crt") if iam else ""
    server = Server(pid=process.pid, port=chosen, certificate=certificate)
    folder.server.write_text(json.dumps(asdict(server)), encoding="utf-8")
    for _ in range(_READY_SECONDS * 20):
        if process.poll() is not None:
            raise OperatorError(
                f"The local AWS ended at once (exit status {process.returncode}): see {folder.server_log}.",
                detail=tail(folder.server_log),
            )
        if _ready(server):
            # The server outlives this command on purpose: Popen's destructor would warn that it still runs.
            process.returncode = 0
            return server
        sleep(0.05)
    stop(folder)
    raise OperatorError(
        f"The local AWS did not answer on {server.endpoint} in {_READY_SECONDS} s",
        hint=f"run this again; if it does not help, see {folder.server_log}.",
        detail=tail(folder.server_log),
    )


def models(folder: StageFolder) -> Path:
    """Write the SDK's waiters with the short waits of a local AWS; return the directory for AWS_DATA_PATH.

    A function is ready here in half a second. Chalice asks as often as the SDK's own model says, which is every five.
    """
    loader = Loader()
    version = loader.determine_latest_version("lambda", "waiters-2")
    waiters = loader.load_service_model("lambda", "waiters-2", version)
    for waiter in waiters["waiters"].values():
        waiter["maxAttempts"] = int(waiter["maxAttempts"] * waiter["delay"] / _READY_POLL_SECONDS)
        waiter["delay"] = _READY_POLL_SECONDS
    directory = folder.root / "models"
    written = directory / "lambda" / version / "waiters-2.json"
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(waiters), encoding="utf-8")
    return directory


def stop(folder: StageFolder, *, sleep: Callable[[float], None] = time.sleep) -> Server | None:
    """End the stage's server with the workers of its functions; return it, or None if there was none.

    A process that merely has the recorded id, which may have been given away since, is left alone.
    """
    server = recorded(folder)
    if server is None or not _is_ours(server.pid, folder):
        return None
    for signum, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signum)
        for _ in range(patience * 20):
            if not _is_ours(server.pid, folder):
                # The workers are in the server's group; one that ignored the first signal must not outlive it.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(server.pid, signal.SIGKILL)
                return server
            sleep(0.05)
    raise OperatorError(
        f"The local AWS (process {server.pid}) does not end: end it with `kill -9 {server.pid}`.",
        code=ExitCode.UNEXPECTED,
    )


def tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _command(folder: StageFolder) -> list[str]:
    # The interpreter ignores an unknown -X option, and `ps` shows it: this is how the process is known as ours.
    return [sys.executable, "-X", f"tally-stage={folder.root}", "-m", "ministack"]


def _server_environment(folder: StageFolder, port: int, *, iam: bool) -> dict[str, str]:
    # The functions get all of it, so of the caller's own only the variables that find programs are kept.
    inherited = {
        name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "DYLD_LIBRARY_PATH") if name in os.environ
    }
    trail = {"CLOUDTRAIL_RECORDING": "1", "CLOUDTRAIL_MAX_EVENTS": "100000"}
    enforced = {"AUTH": "true", "USE_SSL": "1", **trail} if iam else {}
    return (
        inherited
        | enforced
        | {
            "LANG": "C.UTF-8",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "LOG_LEVEL": "WARNING",
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "TMPDIR": str(folder.tmp),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    )


def _is_ours(pid: int, folder: StageFolder) -> bool:
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, encoding="utf-8", check=False
    ).stdout
    return "ministack" in shown and f"tally-stage={folder.root} " in shown


def _ready(server: Server) -> bool:
    try:
        trusted = ssl.create_default_context(cafile=server.certificate or None)
        # An opener without proxies: loopback must never be asked for through one.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        with opener.open(f"{server.endpoint}/_ministack/ready", timeout=5) as answer:
            return bool(answer.status == _OK)
    except (OSError, urllib.error.URLError):
        return False


def _port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
