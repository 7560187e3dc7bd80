"""What a page says while its stage does not answer, and how it recovers once it does."""

import os
from collections.abc import Awaitable, Callable, Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from nicegui import run, ui

from chalicelib.store.batch import Listing
from tally.errors import OperatorError
from tally.stages.stage import Stage, find
from tally.ui.actions import explained
from tally.ui.console import Console

_NO_CREDENTIALS = (
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_REFUSED = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
"""What AWS answers to credentials that it does not take."""
_DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
_NO_TABLE = "ResourceNotFoundException"


class Trouble:
    """A line that says why a page shows nothing new, and what to do, until the stage answers again.

    ``retries`` tells whether the page tries again by itself.
    """

    def __init__(self, console: Console, *, retries: bool = True) -> None:
        self._console, self._generation = console, console.generation
        self._next = " The page tries again." if retries else ""
        self._label = ui.label().classes("text-negative tally-text").props("role=alert").mark("trouble")
        self._label.set_visibility(False)

    async def guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work; an error of it is shown, and the page tries again at its next tick."""
        if self._generation != self._console.generation:
            ui.navigate.reload()  # what this page reads from is another stage's, or has credentials that are no good
            return
        try:
            await work()
        except Exception as error:  # noqa: BLE001  a page that stays says what is wrong; one that stops says nothing
            self._label.set_text(f"{await run.io_bound(said_of, self._console, error)}{self._next}")
            self._label.set_visibility(True)
        else:
            self._label.set_visibility(False)


def said_of(console: Console, error: Exception) -> str:
    """Return what happened and what to do.

    Where the credentials or the place of the stage may have changed since, it is found again; if it answers then, the
    console uses what was found.
    """
    stage = console.stage
    for cause in _causes(error):
        code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""
        if isinstance(cause, _NO_CREDENTIALS) or code in _REFUSED:
            _find_again(console)
            return (
                f"AWS does not take your credentials ({code or cause}). Renew them, for instance with `aws sso login`: "
                "the console takes them from your profile by itself. If they are environment variables, start it again."
            )
        if isinstance(cause, ClientError) and code in _DENIED:
            return (
                f'You have no right to call {cause.operation_name}: {cause}. docs/deploy.md, "Rights of operators", '
                "lists the rights."
            )
        if isinstance(cause, ClientError) and code == _NO_TABLE:
            deploy = "up" if stage.server else "deploy"
            return (
                f"There is no table {stage.resources.table}: stage {stage.name} is not deployed, or was taken down. "
                f"`tally {deploy}{console.at}` deploys it."
            )
        if isinstance(cause, NoConnectionError | HTTPClientError):
            return _find_again(console) or f"The stage does not answer ({cause}). Check network, proxy and region."
    return explained(error)


def _causes(error: BaseException) -> Iterator[ClientError | BotoCoreError]:
    """Yield what AWS or the SDK said that an error came of."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ClientError | BotoCoreError):
            yield cause
        cause = cause.__cause__


def _find_again(console: Console) -> str:
    """Find the stage again and have the console use it if it answers; return why there is none, empty otherwise."""
    stage = console.stage
    try:
        found = _found(console, stage)
        if found.server is not None and found.server == stage.server:
            return ""
        console.probe(found).repository.table.newest(Listing.OPEN, limit=1)
    except OperatorError as error:
        return str(error)
    except Exception:  # noqa: BLE001  it still does not answer: what the page asked for says why
        return ""
    console.use(stage, found)
    return ""


def _found(console: Console, stage: Stage) -> Stage:
    if stage.server and not console.workspace.stage(stage.name).exists:
        # Without its folder the name would be looked for in AWS, where another stage may have it.
        raise OperatorError(f"The local stage {stage.name} was taken down", hint=f"run `tally up{console.at}`.")
    named = dict(zip(stage.named[::2], stage.named[1::2], strict=True))
    return find(
        console.workspace,
        stage.name,
        table=named.get("--table", ""),
        bucket=named.get("--bucket", ""),
        environ=os.environ,
    )
