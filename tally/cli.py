"""The command line: the group, its errors and exit statuses. The commands are in ``tally.commands``."""

import errno
import signal
import sys
import traceback
from types import FrameType

import click
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from chalicelib.errors import FormatError, NotFoundError, RetryableError, TallyError
from chalicelib.steps.redrive import NotRedrivableError
from tally.commands import announced as announced_commands
from tally.commands import batches as batch_commands
from tally.commands import console as console_commands
from tally.commands import doctor as doctor_commands
from tally.commands import invoke as invoke_commands
from tally.commands import logs as log_commands
from tally.commands import new as new_commands
from tally.commands import operations as operation_commands
from tally.commands import prove as prove_commands
from tally.commands import queues as queue_commands
from tally.commands import result as keyed_commands
from tally.commands import results as result_commands
from tally.commands import stages as stack_commands
from tally.commands import trial as trial_commands
from tally.commands.help import GroupedCommands
from tally.errors import EXIT_CODES_HELP, ExitCode, OperatorError
from tally.output import print_error, print_json

_WHERE = "--debug shows where"
_OF_THE_DISK = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there and in TMPDIR, then run it again."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "name another place, or change its rights."),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG), "name another place."),
}
"""What to do about an error of this machine's files, by its number."""


@click.group(
    cls=GroupedCommands,
    commands=[
        *stack_commands.COMMANDS,
        *doctor_commands.COMMANDS,
        *prove_commands.COMMANDS,
        *batch_commands.COMMANDS,
        *operation_commands.COMMANDS,
        *result_commands.COMMANDS,
        *keyed_commands.COMMANDS,
        *announced_commands.COMMANDS,
        *queue_commands.COMMANDS,
        *log_commands.COMMANDS,
        *console_commands.COMMANDS,
        *new_commands.COMMANDS,
        *trial_commands.COMMANDS,
        *invoke_commands.COMMANDS,
    ],
    epilog=EXIT_CODES_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="tally")
def tally() -> None:
    """Process files row by row on AWS serverless, or on this machine, and know when every row is done.

    Every command takes --stage (or TALLY_STAGE; "local" by default). A stage that `tally up` made on this machine is
    local; any other is in AWS. ID is a batch's id, or its beginning or end if no other batch has the same, or @ for the
    newest batch.
    """


def main() -> None:
    """Run the command line and exit with one of ``ExitCode``; without --debug no traceback is shown."""
    signal.signal(signal.SIGTERM, _interrupt)  # so that tools are ended and marks are left as with Ctrl-C
    sys.exit(run(sys.argv[1:]))


def run(
    arguments: list[str],
    *,
    command: click.Command = tally,
    name: str = "tally",
    explained: type[Exception] = Exception,  # the last resort: nothing may end in a traceback
) -> ExitCode:
    """Run one command and return its exit status; an error is written to stderr.

    With ``--json`` an error is also the JSON on stdout, so that there is always one document to read. Errors that are
    not ``explained`` are raised: a developer's tool wants their traceback.
    """
    try:
        returned = command.main(args=arguments, prog_name=name, standalone_mode=False)
        return ExitCode(returned) if isinstance(returned, int) else ExitCode.OK
    except click.ClickException as error:
        error.show()
        return _failed(_misused(error), arguments)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _failed(OperatorError("interrupted", code=ExitCode.INTERRUPTED), arguments)
    except explained as error:
        if "--debug" in arguments:
            traceback.print_exc()
        known = explain(error)
        print_error(known)
        return _failed(known, arguments)


def _failed(error: OperatorError, arguments: list[str]) -> ExitCode:
    if "--json" in arguments:
        print_json(error.as_json())
    return error.code


def _misused(error: click.ClickException) -> OperatorError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{context.command_path} --help` shows what it takes." if context else ""
    return OperatorError(error.format_message(), hint=hint, code=ExitCode.USAGE)


def explain(error: Exception) -> OperatorError:
    """Return an error in the operator's words, with a hint."""
    match error:
        case OperatorError():
            return error
        case NoCredentialsError() | NoRegionError():
            return OperatorError(
                str(error), hint="configure AWS (AWS_PROFILE, AWS_REGION), or `tally up` for a local stage."
            )
        case EndpointConnectionError():
            return OperatorError(str(error), hint="check that the stage is up, and that AWS_REGION is right.")
        case ClientError() | BotoCoreError():
            return OperatorError(f"AWS: {error}", hint=_WHERE, code=ExitCode.UNEXPECTED)
        case TallyError():
            return _explain_library(error)
        case _:
            return _explain_other(error)


def _explain_other(error: Exception) -> OperatorError:
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        where = f": {error.filename}" if error.filename else ""
        return OperatorError(f"{error.strerror}{where}", hint=_OF_THE_DISK[error.errno], code=ExitCode.ENVIRONMENT)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return OperatorError(text, hint=_WHERE, code=ExitCode.UNEXPECTED)


def _explain_library(error: TallyError) -> OperatorError:
    if isinstance(error, NotRedrivableError | FormatError | NotFoundError):
        return OperatorError(str(error), code=ExitCode.USAGE)
    if isinstance(error, RetryableError):
        return OperatorError(f"AWS did not accept a request: {error}", hint="run this again.", code=ExitCode.UNEXPECTED)
    if isinstance(error.__cause__, ClientError | BotoCoreError):
        return explain(error.__cause__)
    return OperatorError(str(error), hint=_WHERE, code=ExitCode.UNEXPECTED)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
