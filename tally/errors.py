"""Exit codes, and errors that say what to do."""

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Every exit status of ``tally``."""

    OK = 0  # done, and as hoped
    NOT_AS_HOPED = (
        1  # the batch ended with failures or was rejected, the audit differs, doctor or prove found a failure
    )
    USAGE = 2  # wrong arguments, or no such batch, job or file
    ENVIRONMENT = 3  # a tool or credentials missing, port taken, disk full, stack not up, deployment failed
    UNEXPECTED = 4  # AWS, or Tally itself, answered what was not foreseen
    TIMED_OUT = 5  # --timeout passed before the batch ended; the batch is still running
    TO_LOOK_AT = 6  # doctor: nothing has failed, but something is to be looked at, or could not be checked
    INTERRUPTED = 130  # Ctrl-C


EXIT_CODES_HELP = """\b
Exit status:
  0    done, and as hoped
  1    the batch ended with failures or was rejected, the audit differs,
       or doctor or prove found a failure
  2    wrong arguments, or no such batch, job or file
  3    a tool or credentials missing, port taken, disk full, stack not up,
       deployment failed
  4    unexpected error of AWS or of Tally itself
  5    --timeout passed before the batch ended (the batch is still running)
  6    doctor found something to look at, or could not make a check
  130  interrupted
"""


_HINTS = {
    ExitCode.OK: "Nothing is to be done.",
    ExitCode.NOT_AS_HOPED: "The error says what differs.",
    ExitCode.USAGE: "`tally COMMAND --help` shows what a command takes.",
    ExitCode.ENVIRONMENT: "`tally doctor` examines the stage; the error says what is missing here.",
    ExitCode.UNEXPECTED: "Run it again with --debug: it shows where.",
    ExitCode.TIMED_OUT: "The batch still runs: `tally status ID --watch` continues to watch it.",
    ExitCode.TO_LOOK_AT: "The findings say what to look at.",
    ExitCode.INTERRUPTED: "Run it again: what was done stays done.",
}
"""What to do after an error without a hint of its own."""


class OperatorError(Exception):
    """An error for the operator, in one line that says what, where and what to do.

    ``hint`` ends that line and says what to do, unless ``message`` does already. ``detail`` is the output of a tool
    that failed, shown below that line.
    """

    def __init__(
        self, message: str, *, hint: str = "", code: ExitCode = ExitCode.ENVIRONMENT, detail: str = ""
    ) -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.code = code
        self.detail = detail

    def as_json(self) -> dict[str, Any]:
        """Return the error for ``--json``; one without a hint has the hint of its exit status."""
        return {
            "error": self.message,
            "hint": self.hint or _HINTS[self.code],
            "exit_status": int(self.code),
            "detail": self.detail,
        }


class TerraformError(OperatorError):
    """Terraform refused or failed; its state says what exists, so the next apply continues from there."""


class ChaliceError(OperatorError):
    """Chalice failed; what it created before is not on record (it writes its state at the very end)."""
