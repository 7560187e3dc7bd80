"""Running one handler here, in this process, on the stage's own data: breakpoints work."""

import importlib
import sys
import time
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tally.errors import ExitCode, OperatorError

_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeContext:
    """What Lambda hands to a handler beside the event, with a deadline that is real."""

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
        """Milliseconds until the handler would be stopped."""
        return max(0, int((self.deadline - self.clock()) * 1000))


def invoke(
    app: Path,
    handler: str,
    event: Any,
    *,
    stage: str,
    variables: Mapping[str, str],
    environ: MutableMapping[str, str],
) -> Any:
    """Import ``app.py`` with the stage's variables in ``environ`` and return what the handler returns.

    What the handler raises is raised. The sources are the repository's, not the stage's copy, so that an edit
    counts at once.
    """
    environ.update(variables)
    environ.setdefault("AWS_LAMBDA_FUNCTION_NAME", f"tally-{stage}-{handler}")
    if str(app) not in sys.path:
        sys.path.insert(0, str(app))
    module = importlib.import_module("app")
    function = getattr(module, handler, None)
    if not callable(function):
        known = sorted(name for name in vars(module) if type(vars(module)[name]).__name__ == "EventSourceHandler")
        raise OperatorError(f"{app}/app.py has no handler {handler!r}: {', '.join(known)}.", code=ExitCode.USAGE)
    return function(event, FakeContext(function_name=f"tally-{stage}-{handler}"))
