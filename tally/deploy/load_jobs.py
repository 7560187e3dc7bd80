"""Load every job of a checkout, in a process of its own: ``python load_jobs.py APP RESULT SECONDS``.

A job may raise, print, exit or never return while it is imported. Errors are written to ``RESULT``, one line of JSON
each: the file, the line in it, and the message. For a job with ``KEY`` its place is written too.
"""

import ast
import faulthandler
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WORD = re.compile(r"\w+")


def load_all(app: Path, result: Path, seconds: float) -> None:
    """Load the jobs one by one; after ``seconds`` for one job the process ends, its stack on stderr."""
    faulthandler.enable()
    sys.path.insert(0, str(app))
    os._exit = _exit  # type: ignore[assignment]  # ending without a word would not name the file
    from chalicelib import chaining, jobs  # noqa: PLC0415  of the checkout

    folder = app / "chalicelib" / "jobs"
    with result.open("w", encoding="utf-8") as written:

        def write(**line: Any) -> None:
            written.write(json.dumps(line) + "\n")
            written.flush()

        for path in misnamed(folder):
            what = "this is no job's name: a letter, then letters, digits and _ (rename it; _helper.py is no job)"
            write(file=path.name, line=1, what=what)
        for name in jobs.names():
            write(loading=_file(folder, name).name)
            faulthandler.dump_traceback_later(seconds, exit=True)
            key = None
            try:
                job = jobs.require(name)
                chaining.require_sound(job, jobs.find)
                if job.key:
                    key = _defined(_file(folder, name)).get("KEY", 1)
            except BaseException as error:  # noqa: BLE001  any error of its module, also an exit
                path, line, what = broken(_file(folder, name), error)
                write(file=path.name, line=line, what=what)
            finally:
                faulthandler.cancel_dump_traceback_later()
            write(loaded=name, key=key)


def misnamed(folder: Path) -> Iterator[Path]:
    """Return modules whose names cannot be names of jobs and do not begin with _, as helpers' do."""
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_") and not (path.stem.isascii() and path.stem.isidentifier()):
            yield path


def _exit(status: int) -> None:
    raise SystemExit(status)


def _file(folder: Path, name: str) -> Path:
    package = folder / name / "__init__.py"
    return package if package.is_file() else folder / f"{name}.py"


def broken(module: Path, error: BaseException) -> tuple[Path, int, str]:
    """Return the error of a job's import: the file in the jobs' folder, the line, and the message."""
    path, line = _place(module, error)
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    return path, line, f"{type(error).__name__}: {what}"


def _place(path: Path, error: BaseException) -> tuple[Path, int]:
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename), error.lineno or 1
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if path.parent in Path(frame.filename).parents and Path(frame.filename) != path.parent / "__init__.py"
    ]
    if own:
        return Path(own[-1].filename), own[-1].lineno or 1
    # An error about the whole module: the line of the first of the module's names in the message.
    defined = _defined(path)
    return path, next((defined[word] for word in _WORD.findall(str(error)) if word in defined), defined.get("Row", 1))


def _defined(path: Path) -> dict[str, int]:
    """Return the names that a module defines, with their lines."""
    lines: dict[str, int] = {}
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                lines[node.name] = node.lineno
            case ast.Assign():
                lines |= {target.id: node.lineno for target in node.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                lines[name] = node.lineno
    return lines


if __name__ == "__main__":
    load_all(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
