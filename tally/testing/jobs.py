"""Replace a job by another, and silence logs, while a test or a trial runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from chalicelib import jobs
from chalicelib.jobs import Job
from chalicelib.logs import logger


@contextmanager
def in_place(job: Job) -> Iterator[None]:
    """Let every step find this job by its name."""
    find, names = jobs.find, jobs.names

    def found(name: str) -> Job | None:
        return job if name == job.name else find(name)

    def known() -> list[str]:
        return sorted({*names(), job.name})

    jobs.find, jobs.names = found, known  # type: ignore[assignment]  # the cached ones, which come back
    try:
        yield
    finally:
        jobs.find, jobs.names = find, names


def job_of(job: str | ModuleType | Job) -> Job:
    """Return a job by its name, or from its module; raises LookupError if there is none of that name."""
    if isinstance(job, Job):
        return job
    if isinstance(job, ModuleType):
        return jobs.job_of(job.__name__.rpartition(".")[2], job)
    found = jobs.find(job)
    if found is None:
        raise LookupError(f"no job {job!r} in app/chalicelib/jobs: {', '.join(jobs.names())}")
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the functions' log lines off the output while the block runs."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)
