"""How much the console asks of AWS while somebody looks: a few requests a second, whatever there is to see."""

import threading
from dataclasses import replace
from typing import Any

from botocore.config import Config

from tally.errors import ExitCode, OperatorError
from tally.stages.gate import Gate
from tally.stages.stage import Stage

MAX_REQUESTS_A_SECOND = 3
_IMPATIENT = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=10)


def paced(stage: Stage, gate: Gate, stopped: threading.Event | None = None) -> Stage:
    """Return the same stage with clients of its own, each of whose requests, retries too, passes the gate.

    They give up early, for a page says what is wrong and tries again, and Ctrl-C waits for them. Once the console is
    stopped every request raises OperatorError.
    """
    made = replace(stage, client_config=_IMPATIENT)

    def wait(**_event: Any) -> None:
        if stopped is not None and stopped.is_set():
            raise OperatorError("The console was stopped", code=ExitCode.INTERRUPTED)
        gate.wait()

    # Before it is signed, for a signature is of its second; clients copy the session's handlers when they are made.
    made.session.events.register_first("request-created", wait)
    return made
