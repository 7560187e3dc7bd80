"""The jobs: one module each, named as the S3 prefix under which its files arrive (``inbox/<job>/``).

A job module defines ``Row``, a subclass of ``chalicelib.rows.Row`` with one field a column, and
``process(row: Row)``, whose return value (anything msgspec encodes to JSON) is kept as the row's result.

It may also define

- ``ATTEMPTS``: how often ``process`` is tried on a row (default 3); ``errors.PermanentError`` fails it at once,
- ``heavy(row: Row) -> bool``: which rows go to the heavy queue, one a message, with more time and memory,
- ``FAILURE_LIMIT``: after more failed rows than this the batch stops; a number of rows, or a share such as ``"5%"``,
- ``CHUNK_ROWS``: how many rows a chunk has at most, from 1 to 2,000, in place of the stage's ``chunk_rows``,
- ``FORMAT``: ``"jsonl"`` for a JSON object on each line (default ``"csv"``),
- ``DELIMITER``: what parts cells, such as ``";"`` (default ``","``),
- ``ENCODING``: such as ``"utf-16"`` or ``"latin-1"`` (default ``"utf-8"``),
- ``NULLS``: cells, or texts of JSON, that mean nothing, such as ``{"NA", "-"}``, beside the empty cell and null,
- ``EXTRA``: ``"ignore"`` leaves out columns that no field matches, ``"keep"`` keeps them in ``row.extra``, and
  ``"reject"``, the default, rejects the file, or of JSON lines the row,
- ``HEADER``: the names of the columns in order, for files without a header,
- ``EXPORT``: ``"csv"`` writes results as CSV, with the cells of the file and the fields of the type that ``process``
  says it returns; ``False`` writes no files of results when a batch ends (default ``"jsonl"``),
- ``KEY``: the column, or the field of the result, by which results are put into the stage's results table,
- ``THEN``: the job that takes the results of a batch as its own file when the batch completes, such as ``"letters"``,
- ``THEN_WITH_FAILURES``: ``True`` hands on the results of the other rows also if rows failed or were rejected.
"""

import builtins
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import ModuleType
from typing import Any

from chalicelib.chaining import Then
from chalicelib.errors import FatalError
from chalicelib.files.dialect import Dialect
from chalicelib.files.form import Form
from chalicelib.headers import HeaderError
from chalicelib.keys import Key
from chalicelib.rows import Row, Schema


def never_heavy(_row: Row) -> bool:
    """Say of every row that it is like any other."""
    return False


_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
"""A job's name goes into batch ids and S3 keys as it is; other modules of the package are none."""
_MAX_CHUNK_ROWS = 2_000
"""A chunk's item has a bit for each row, and costs twice as much to write once it is over 1 KB."""
_LIMIT = re.compile(r"None|\d+|\d+(\.\d+)?%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A module of the user's: the row type, the function, and the settings."""

    name: str
    schema: Schema
    process: Callable[[Any], object]
    attempts: int = 3
    heavy: Callable[[Any], bool] = never_heavy
    failure_limit: int | str | None = None
    chunk_rows: int | None = None
    export: Form | None = Form.JSONL
    key: Key | None = None
    then: Then | None = None

    def most_failures(self, rows: int) -> int | None:
        """Return how many of so many rows may fail before the batch stops; None if all may."""
        if isinstance(self.failure_limit, str):
            return int(rows * Decimal(self.failure_limit.removesuffix("%")) / 100)
        return self.failure_limit


@cache
def names() -> list[str]:
    """Return the names of the jobs in this package, sorted; imports none of them."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if _NAME.fullmatch(name))


@cache
def find(name: str) -> Job | None:
    """Return a job by name, None if there is none; raises FatalError if its module is not a job."""
    return job_of(name, _module(name)) if name in names() else None


def job_of(name: str, module: ModuleType) -> Job:
    """Return the job that a module defines; raises FatalError if it defines none."""
    row, process = getattr(module, "Row", None), getattr(module, "process", None)
    if not (isinstance(row, type) and issubclass(row, Row) and row is not Row and callable(process)):
        raise FatalError(
            f"chalicelib/jobs/{name}.py must define Row, a subclass of chalicelib.rows.Row, and process(row)"
        )
    schema = _schema(name, row, Dialect.of(name, vars(module)))
    job = Job(
        name=name,
        schema=schema,
        process=process,
        attempts=getattr(module, "ATTEMPTS", 3),
        heavy=getattr(module, "heavy", never_heavy),
        failure_limit=getattr(module, "FAILURE_LIMIT", None),
        chunk_rows=getattr(module, "CHUNK_ROWS", None),
        export=_form(name, getattr(module, "EXPORT", True)),
        key=_key(name, getattr(module, "KEY", None), schema, process),
        then=Then.of(name, vars(module)),
    )
    if not (isinstance(job.attempts, int) and job.attempts >= 1 and callable(job.heavy)):
        raise FatalError(f"jobs/{name}.py: ATTEMPTS must be a number from 1, heavy a function of a row")
    if not _LIMIT.fullmatch(str(job.failure_limit)):
        raise FatalError(f'jobs/{name}.py: FAILURE_LIMIT must be a number of rows or a share such as "5%"')
    if job.chunk_rows is not None and not _is_size(job.chunk_rows):
        raise FatalError(f"jobs/{name}.py: CHUNK_ROWS must be a number of rows from 1 to {_MAX_CHUNK_ROWS:,}")
    if job.key and not job.export:
        raise FatalError(f"jobs/{name}.py: KEY needs files of results, and EXPORT = False writes none")
    for function in ("process", "heavy"):
        if wrong := _misfit(getattr(job, function)):
            raise FatalError(f"jobs/{name}.py: {function} {wrong}")
    return job


def _misfit(function: Callable[[Any], object]) -> str:
    """Say why a call with one row returns no value, empty if it does: every row would fail, or be heavy."""
    if inspect.iscoroutinefunction(function):
        return "is async, and it is called as a plain function: call asyncio.run in it"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "has a yield, and its results are not iterated over: return one value"
    try:
        taken = inspect.signature(function, follow_wrapped=False)  # of a decorated one, what the decorator takes
    except ValueError:  # one in C does not tell
        return ""
    try:
        taken.bind(None)
    except TypeError:
        return f"must take one row, and takes {taken}"
    return ""


def _schema(name: str, row: type[Row], dialect: Dialect) -> Schema:
    try:
        schema = Schema.of(row, dialect)
    except FatalError as error:
        raise FatalError(f"jobs/{name}.py: {error}") from error
    if dialect.header:
        try:
            schema.header(dialect.header, 1)
        except HeaderError as error:
            raise FatalError(f"jobs/{name}.py: HEADER does not fit Row: {error}") from error
    return schema


def _form(name: str, value: object) -> Form | None:
    """Return what a job's results are written as, None if they are not."""
    if value is False:
        return None
    if value is True:
        return Form.JSONL
    if isinstance(value, str) and value in list(Form):
        return Form(value)
    forms = " or ".join(f'"{form}"' for form in Form)
    raise FatalError(f"jobs/{name}.py: EXPORT must be False or {forms}")


def _key(name: str, value: object, schema: Schema, process: Callable[[Any], object]) -> Key | None:
    try:
        return Key.of(value, schema, process)
    except FatalError as error:
        raise FatalError(f"jobs/{name}.py: {error}") from error


def _is_size(rows: object) -> bool:
    return isinstance(rows, int) and not isinstance(rows, bool) and 1 <= rows <= _MAX_CHUNK_ROWS


def _module(name: str) -> ModuleType:
    """Import a job. That binds its name here: one called ``find`` or ``sorted`` must not replace these."""
    full = f"{__name__}.{name}"
    own = globals().get(name, getattr(builtins, name, None))
    module = importlib.import_module(full)
    if own is not None and getattr(own, "__name__", "") != full:
        globals()[name] = own
    return module


def require(name: str) -> Job:
    """Return a job that a batch was planned for; raises FatalError if this deployment no longer has it."""
    job = find(name)
    if job is None:
        raise FatalError(f"a batch needs the job '{name}', which this deployment does not have: deploy it again")
    return job
