"""Loading a job from this checkout: what is wrong with one is an error with file and line."""

import traceback
from pathlib import Path

from chalicelib import jobs
from chalicelib.errors import TallyError
from tally.errors import ExitCode, OperatorError

FOLDER = Path(jobs.__file__).parent
_SHOWN = "app/chalicelib/jobs"


def load(name: str) -> jobs.Job:
    """Return a job by name; raises OperatorError if there is none, or if its module is broken."""
    if name not in jobs.names():
        known = ", ".join(jobs.names())
        problem = f"{_SHOWN}/{name}.py is there, but that is no job's name: a letter, then letters, digits and _."
        if not (FOLDER / f"{name}.py").is_file():
            problem = f"There is no job {name!r} in {_SHOWN}; there is {known}."
        raise OperatorError(problem, code=ExitCode.USAGE)
    try:
        return jobs.require(name)
    except TallyError as error:  # its words name the file and what it lacks
        raise _broken(str(error)) from error
    except SyntaxError as error:
        where = f"{_shown(error.filename or '')}, line {error.lineno}"
        raise _broken(f"{where}: {type(error).__name__}: {error.msg}", detail=(error.text or "").strip()) from error
    except (Exception, SystemExit) as error:
        folders = {Path(folder) for folder in jobs.__path__}
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).parent in folders and "__init__" not in frame.filename]
        where = f"{_shown(own[-1].filename)}, line {own[-1].lineno}" if own else f"{_SHOWN}/{name}.py"
        detail = (own[-1].line or "") if own else ""
        raise _broken(f"{where}: {type(error).__name__}: {error}", detail=detail) from error


def _broken(what: str, *, detail: str = "") -> OperatorError:
    return OperatorError(f"the job does not load: {what}", detail=detail, code=ExitCode.USAGE)


def _shown(filename: str) -> str:
    path = Path(filename)
    return f"{_SHOWN}/{path.name}" if path.parent == FOLDER else filename
