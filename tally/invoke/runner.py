"""Run one handler of ``app.py`` in this process, with the caller's clients; breakpoints work."""

import contextlib
import importlib
import io
import logging
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from chalicelib import services
from chalicelib.logs import logger
from chalicelib.services import settings as cached_settings
from chalicelib.settings import Settings
from tally.errors import OperatorError
from tally.invoke.watched import Log, Watched

_SECONDS = 60.0
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeContext:
    """The context that Lambda passes beside the event, with a real deadline."""

    function_name: str
    deadline: float = field(default_factory=lambda: time.monotonic() + _SECONDS)
    clock: Callable[[], float] = time.monotonic
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    log_group_name: str = ""
    log_stream_name: str = ""

    @property
    def invoked_function_arn(self) -> str:
        """An ARN that names the function."""
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the deadline."""
        return max(0, int((self.deadline - self.clock()) * 1000))


@dataclass(frozen=True, slots=True)
class Ran:
    """The answer of a handler, or its exception with the traceback."""

    answer: Any = None
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs handlers with the clients of ``client``, and a stage's ``variables`` and ``settings``.

    The sources in ``app`` are the repository's, not the stage's copy, so that an edit counts at once.
    """

    app: Path
    settings: Settings
    variables: Mapping[str, str]
    client: Callable[[str], Any]
    environ: MutableMapping[str, str] = field(default_factory=lambda: os.environ)

    def run(self, handler: str, event: Any, log: Log) -> Ran:
        """Return the handler's answer or exception; its changes and log lines go to ``log`` as they happen.

        Raises OperatorError unchanged if a client refuses a call.
        """
        function_name = f"tally-{self.settings.stage}-{handler}"
        watched: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in watched:
                watched[service] = Watched(service, self.client(service), log)
            return watched[service]

        def of(context: Any) -> services.Services:
            return services.Services.with_clients(context, self.settings, client)

        level = self.variables.get("TALLY_LOG_LEVEL", "INFO")
        with _changed(self.environ, self.variables):
            function = getattr(self._module(), handler)
            # Set only now: with it app.py would make clients of its own when it is imported.
            self.environ["AWS_LAMBDA_FUNCTION_NAME"] = function_name
            with mock.patch.object(services.Services, "of", of), _logging_to(log, level):
                try:
                    return Ran(answer=function(event, FakeContext(function_name=function_name)))
                except OperatorError:
                    raise
                except Exception as error:  # noqa: BLE001  what the handler raises is the result
                    return Ran(error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())

    def _module(self) -> ModuleType:
        """Import ``app.py``, whose decorators read the environment."""
        cached_settings.cache_clear()  # by its own name: a test may have put others in its place
        if str(self.app) not in sys.path:
            sys.path.insert(0, str(self.app))
        return importlib.import_module("app")


@contextlib.contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """Send all output of the block to stderr: of this process, of jobs, and of child processes."""
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    try:
        os.dup2(_STDERR, _STDOUT)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)


@contextlib.contextmanager
def _changed(environ: MutableMapping[str, str], variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block; afterwards restore the whole environment."""
    before = dict(environ)
    environ.pop("AWS_LAMBDA_FUNCTION_NAME", None)
    environ.update(variables)
    try:
        yield
    finally:
        for name in environ.keys() - before.keys():
            del environ[name]
        environ.update(before)


class _Lines(io.TextIOBase):
    """Takes the text of a stream handler, and passes it on line by line."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line

    def write(self, text: str) -> int:
        """Pass on the lines of a log record, which arrives whole."""
        for line in text.splitlines():
            self._line(line)
        return len(text)


@contextlib.contextmanager
def _logging_to(log: Log, level: str) -> Iterator[None]:
    """Send the block's log lines to one log alone; use it while importing ``app.py``, for Chalice adds a handler."""
    before, handlers = logger.log_level, list(logger.handlers)
    own = logging.StreamHandler(_Lines(log.line))
    own.setFormatter(handlers[0].formatter)
    logger.handlers[:] = [own]
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(before)
