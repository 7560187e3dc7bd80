"""Chains of jobs: which job takes another's results, and why a chain cannot work."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, get_type_hints

from msgspec import inspect

from chalicelib.columns import compared, listed
from chalicelib.errors import FatalError
from chalicelib.files.dialect import Extra, Format
from chalicelib.files.encodings import UTF_8

if TYPE_CHECKING:
    from chalicelib.jobs import Job
    from chalicelib.rows import Schema

MAX_JOBS = 10
"""Jobs of one chain. More are mostly a loop, made by a deployment without Tally's checks."""

_OPAQUE = (inspect.AnyType, inspect.CustomType, inspect.DictType, inspect.ExtType, inspect.RawType, inspect.UnionType)
"""Result types that may be an object with any fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """The job that takes a job's results; ``with_failures`` says that it takes them also if rows did not succeed."""

    job: str
    with_failures: bool = False

    @classmethod
    def of(cls, name: str, attributes: Mapping[str, Any]) -> Self | None:
        """Read it off the attributes of a job's module, None if it says none; raises FatalError."""
        job, with_failures = attributes.get("THEN"), attributes.get("THEN_WITH_FAILURES", False)
        if not isinstance(with_failures, bool):
            raise FatalError(f"jobs/{name}.py: THEN_WITH_FAILURES must be True or False")
        if job is None:
            if with_failures:
                raise FatalError(f"jobs/{name}.py: THEN_WITH_FAILURES is for THEN: add it, or remove this")
            return None
        if not (isinstance(job, str) and job):
            raise FatalError(f'jobs/{name}.py: THEN must be the name of a job, such as "other"')
        if job == name:
            raise FatalError(f"jobs/{name}.py: THEN is the job itself, which would never end: name another")
        return cls(job=job, with_failures=with_failures)


def require_sound(job: "Job", find: "Callable[[str], Job | None]") -> None:
    """Raise FatalError if the results of a job cannot become the input of those that follow it.

    A job further on that does not load ends the check: that is its own error.
    """
    if job.then is None:
        return
    where = f"jobs/{job.name}.py"
    following = list(_following(job, find))
    if not following:
        return
    names = [job.name, *(each.name for each in following)]
    if names[-1] == job.name:
        raise FatalError(f"{where}: THEN leads back to the job, and would never end: {' -> '.join(names)}")
    if len(names) > MAX_JOBS:
        raise FatalError(f"{where}: THEN begins a chain of more than {MAX_JOBS} jobs: {' -> '.join(names)}")
    child = following[0]
    obstacle = unfit(child)
    if obstacle:
        raise FatalError(f"{where}: THEN is '{child.name}', and jobs/{child.name}.py {obstacle}")
    problem = _mismatch(job, child.schema)
    if problem:
        raise FatalError(f"{where}: THEN is '{child.name}', and what process returns {problem}")


def unfit(child: "Job") -> str:
    """Say why a job cannot take results, and what to do; empty if it can."""
    layout = child.schema.dialect.layout
    if layout.format is not Format.JSONL:
        return f'reads {layout.format.upper()}, while results are JSON lines: set FORMAT = "jsonl" there'
    if layout.encoding != UTF_8:
        return f"reads {layout.encoding}, while results are UTF-8: remove ENCODING there"
    return ""


def _following(job: "Job", find: "Callable[[str], Job | None]") -> "Iterator[Job]":
    """Return the jobs after a job, up to where they repeat; raises FatalError if the first is none."""
    seen: set[str] = set()
    link = job
    while link.then and link.name not in seen and len(seen) < MAX_JOBS:
        seen.add(link.name)
        try:
            child = find(link.then.job)
        except Exception:  # noqa: BLE001  any error of its module is reported where that job is loaded
            return
        if child is None:
            if link is job:
                raise FatalError(f"jobs/{job.name}.py: THEN is '{link.then.job}', and there is no such job")
            return
        yield child
        if child.name == job.name:
            return
        link = child


def _mismatch(job: "Job", child: "Schema") -> str:
    """Say what of a declared result never fits the columns of the next job; empty if nothing is certain."""
    try:
        found = inspect.type_info(get_type_hints(job.process, include_extras=True)["return"])
    except Exception:  # noqa: BLE001  no annotation, or one that msgspec cannot read, says nothing
        return ""
    if isinstance(found, inspect.Metadata):
        found = found.type
    if isinstance(found, _OPAQUE):
        return ""
    fields = _fields(found)
    if fields is None:
        return "is no JSON object with named fields: return a Struct or a dict"
    matched = {name: child.matches.get(compared(name)) for name in fields}
    missing = sorted(child.required.difference(name for name in matched.values() if name))
    if missing:
        return f"lacks {listed(missing, ', ')}"
    unknown = [f"'{name}'" for name, certain in fields.items() if certain and matched[name] is None]
    if unknown and child.dialect.extra is Extra.REJECT:
        return f'has unknown {listed(unknown, ", ")}: add a field there, or set EXTRA = "ignore"'
    return ""


def _fields(found: inspect.Type) -> dict[str, bool] | None:
    """Return the names of a type's fields in JSON, each with whether it is always there; None if it is no object."""
    match found:
        case inspect.StructType(array_like=False):
            may_be_left_out = found.cls.__struct_config__.omit_defaults
            tag = {found.tag_field: True} if found.tag_field else {}
            return tag | {each.encode_name: each.required or not may_be_left_out for each in found.fields}
        case inspect.DataclassType():
            return {each.encode_name: True for each in found.fields}
        case inspect.TypedDictType():
            return {each.encode_name: each.required for each in found.fields}
    return None
