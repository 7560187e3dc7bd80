"""Short names of batches: ``@`` for the newest, the beginning of an id, or its end."""

import re
from collections.abc import Callable

from tally.batch.reader import Reader
from tally.errors import ExitCode, OperatorError

NEWEST = "@"

_WHOLE = re.compile(r".+-[0-9a-f]{20}")
"""An id as ``plan`` makes it. It is not looked up, so a batch can be named before it is planned."""
_PASSED_OVER = 20
"""How many of the newest batches may be of another version of Tally before ``@`` finds none."""
_MAX_LISTED = 10


def resolve(reader: Callable[[], Reader], name: str) -> str:
    """Return the id of the batch that a name stands for; a name that fits no batch is returned as it is.

    Raises OperatorError when it fits several, which it lists, and for ``@`` when there is no batch.
    """
    if not name or _WHOLE.fullmatch(name):
        return name
    if name == NEWEST:
        return _newest(reader())
    known = reader().ids()
    if name in known:
        return name
    fitting = [known_id for known_id in known if known_id.startswith(name) or known_id.endswith(name)]
    if len(fitting) > 1:
        listed = ", ".join(fitting[:_MAX_LISTED])
        more = f" and {len(fitting) - _MAX_LISTED:,} more" if len(fitting) > _MAX_LISTED else ""
        raise OperatorError(
            f"{name!r} fits {len(fitting):,} batches",
            hint=f"write more of the id: {listed}{more}.",
            code=ExitCode.USAGE,
        )
    return fitting[0] if fitting else name


def _newest(reader: Reader) -> str:
    newest = reader.newest(_PASSED_OVER).batches
    if not newest:
        raise OperatorError(
            f"No batch in {reader.table} yet", hint="`tally submit FILE --job JOB` makes one.", code=ExitCode.USAGE
        )
    return newest[0].id
