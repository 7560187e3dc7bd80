"""Digests of each job's code: on this disk, and in a stage, whose functions have them in their tags.

A digest is of the job's module and of all modules of ``app/`` that it imports, so that a change of another job does not
affect it. It is the same on every machine. Chalice removes unknown tags from a function when it deploys it, so an
interrupted deployment leaves no wrong digest.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.bounds import grouped

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_TAG = "tally-jobs-"
_MAX_TAG_CHARACTERS = 256
_MAX_TAGS = 30
"""Fewer than the fifty that a function may have."""
_DIGITS = 12
_IN_DOUBT = "-"
"""In place of the digest of a job whose deployed version is unknown: no code has this digest."""
_MORE = "+"
"""In place of a job's name: not all jobs fit into the tags."""
_TAGGED = "process"
"""The function that runs the jobs; a deployment that ends well has given all functions the same code."""


class Standing(StrEnum):
    """The relation of a stage's version of a job to this disk's."""

    SAME = "same"
    DIFFERS = "differs"
    MISSING = "missing"  # it is on this disk, and the stage does not have it
    UNKNOWN = "unknown"  # not on this disk, or the stage does not say


def digests(app: Path) -> dict[str, str]:
    """Return the digest of each job's code, by the job's name."""
    folder = app / "chalicelib" / "jobs"
    files = {path.stem: path for path in folder.glob("*.py")} | {
        path.parent.name: path for path in folder.glob("*/__init__.py")
    }
    return {name: _digest(app, path) for name, path in sorted(files.items()) if not name.startswith("_")}


def compare(job: str, on_disk: Mapping[str, str], deployed: Mapping[str, str] | None) -> Standing:
    """Return how a stage's version of a job compares with this disk's; None if the stage's is unknown."""
    if deployed is None or job not in on_disk:
        return Standing.UNKNOWN
    if job not in deployed:
        return Standing.UNKNOWN if _MORE in deployed else Standing.MISSING
    return Standing.SAME if deployed[job] == on_disk[job] else Standing.DIFFERS


def deployed(functions: "LambdaClient", stage: str) -> dict[str, str] | None:
    """Return the digests of the jobs that a stage runs; None if it has none, or the caller may not see them."""
    try:
        tags = functions.get_function(FunctionName=_function(stage)).get("Tags", {})
    except (ClientError, BotoCoreError):
        return None
    values = [value for name, value in tags.items() if name.startswith(_TAG)]
    pairs = (pair.partition("=") for value in values for pair in value.split())
    return {name: digest for name, _, digest in pairs} if values else None


def note(functions: "LambdaClient", stage: str, found: Mapping[str, str]) -> None:
    """Write into a stage's tags which jobs it runs: after every function has their code.

    A job without a digest may be of any version.
    """
    arn = functions.get_function_configuration(FunctionName=_function(stage))["FunctionArn"]
    pairs = [f"{name}={digest or _IN_DOUBT}" for name, digest in sorted(found.items())]
    fitting = [pair for pair in pairs if len(pair) < _MAX_TAG_CHARACTERS]
    groups = list(grouped(fitting, size=lambda pair: len(pair) + 1, max_bytes=_MAX_TAG_CHARACTERS))
    tags = {f"{_TAG}{number}": " ".join(group) for number, group in enumerate(groups[:_MAX_TAGS], start=1)}
    if len(fitting) < len(pairs) or len(groups) > _MAX_TAGS:
        tags[f"{_TAG}more"] = f"{_MORE}={_IN_DOUBT}"
    functions.tag_resource(Resource=arn, Tags=tags or {f"{_TAG}1": ""})


def withdraw(functions: "LambdaClient", stage: str) -> None:
    """Remove the digests from a stage's tags while a deployment changes its jobs; fine if it has no functions yet."""
    try:
        found = functions.get_function(FunctionName=_function(stage))
    except functions.exceptions.ResourceNotFoundException:
        return
    if names := [name for name in found.get("Tags", {}) if name.startswith(_TAG)]:
        functions.untag_resource(Resource=found["Configuration"]["FunctionArn"], TagKeys=names)


def _function(stage: str) -> str:
    return f"tally-{stage}-{_TAGGED}"


def _digest(app: Path, module: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(_needed(app, module)):
        content = path.read_bytes().replace(b"\r\n", b"\n")  # as a checkout on Windows has it
        whole.update(f"{path.relative_to(app).as_posix()} {len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()[:_DIGITS]


def _needed(app: Path, module: Path) -> set[Path]:
    """Return the files of a module, and of all that it imports from the same sources."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += (file for name in _imported(app, path) for file in _files(app, name))
    return found


def _imported(app: Path, path: Path) -> Iterator[str]:
    """Return the names that a module imports: of ``from a import b`` both ``a`` and ``a.b``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # the preflight of a deployment says so
    package = list(path.relative_to(app).parts[:-1])
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=named, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                full = ".".join([*base, *([named] if named else [])])
                yield full
                yield from (f"{full}.{alias.name}" for alias in names)


def _files(app: Path, name: str) -> Iterator[Path]:
    """Return the file of a module of these sources; none for a package that only lists the jobs, which all import."""
    path = app.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if name and file.is_file() and file != app / "chalicelib" / "jobs" / "__init__.py":
            yield file
