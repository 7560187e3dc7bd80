"""The jobs: one module each, named as the S3 prefix under which its files arrive (``inbox/<job>/``).

A job module defines ``Row``, a subclass of ``chalicelib.rows.Row`` with one field a column, and
``process(row: Row)``, whose return value (anything msgspec encodes to JSON) is kept as the row's result.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from chalicelib.errors import FixItError
from chalicelib.rows import Row, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to do with the rows of a file."""

    name: str
    schema: Schema
    process: Callable[[Any], object]


@cache
def names() -> list[str]:
    """Return the names of the jobs in this package, sorted; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


@cache
def find(name: str) -> Job | None:
    """Return a job by name, None if there is none; raises FixItError if its module is not a job."""
    if name not in names():
        return None
    module = importlib.import_module(f"{__name__}.{name}")
    row, process = getattr(module, "Row", None), getattr(module, "process", None)
    if not (isinstance(row, type) and issubclass(row, Row) and row is not Row and callable(process)):
        raise FixItError(
            f"chalicelib/jobs/{name}.py must define Row, a subclass of chalicelib.rows.Row, and process(row)"
        )
    return Job(name=name, schema=Schema.of(row), process=process)


def require(name: str) -> Job:
    """Return a job that a batch was planned for; raises FixItError if this deployment no longer has it."""
    job = find(name)
    if job is None:
        raise FixItError(f"a batch needs the job '{name}', which this deployment does not have: deploy it again")
    return job
