"""Load a job from this checkout, with an error that names file and line if it is broken."""

from pathlib import Path

from chalicelib import chaining, jobs
from tally.deploy.load_jobs import broken
from tally.errors import ExitCode, OperatorError

_SHOWN = "app/chalicelib/jobs"


def load(name: str) -> jobs.Job:
    """Return a job by name; raises OperatorError if there is none, or if its module is broken."""
    files = [path for folder in jobs.__path__ for path in Path(folder).glob(f"{name}.py")]
    if name not in jobs.names():
        known = ", ".join(jobs.names())
        problem = f"There is no job {name!r} in {_SHOWN}; there is {known}."
        if files:
            problem = f"{_SHOWN}/{name}.py is there, but that is no job's name: a letter, then letters, digits and _."
        raise OperatorError(problem, code=ExitCode.USAGE)
    try:
        job = jobs.require(name)
        chaining.require_sound(job, jobs.find)
    except (Exception, SystemExit) as error:
        module = files[0] if files else Path(jobs.__path__[0]) / name / "__init__.py"
        path, line, what = broken(module, error)
        raise OperatorError(
            f"The job does not load: {_SHOWN}/{path.name}:{line}: {what}", code=ExitCode.USAGE
        ) from error
    return job
