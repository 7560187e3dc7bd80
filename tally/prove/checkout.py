"""The sources of a stage that proves itself: a copy of ``infra/`` and ``app/`` with faults and jobs of its own."""

import shutil
from pathlib import Path

from tally.errors import OperatorError
from tally.stages.workspace import SOURCES, Workspace, mirror

_OWN = Path(__file__).parent
_INSTALL = "from chalicelib.injected import install\n\ninstall()  # this copy is of `tally prove`\n"
_BEFORE = "from chalicelib.logs import logger\n"
"""The first import of app.py that is Tally's own; no client has been made by then."""


def make(workspace: Workspace, root: Path) -> Workspace:
    """Return a workspace below ``root`` whose sources are those of ``workspace``, with the faults in them."""
    checkout = root / "checkout"
    for name in SOURCES:
        mirror(workspace.repo / name, checkout / name)
    library = checkout / "app" / "chalicelib"
    shutil.copyfile(_OWN / "injected.py", library / "injected.py")
    for job in (_OWN / "jobs").glob("prove_*.py"):
        shutil.copyfile(job, library / "jobs" / job.name)
    app = checkout / "app" / "app.py"
    source = app.read_text(encoding="utf-8")
    if _BEFORE not in source:
        raise OperatorError(f"{workspace.repo}/app/app.py has no line {_BEFORE.strip()!r}: the faults have no place.")
    app.write_text(source.replace(_BEFORE, _INSTALL + _BEFORE, 1), encoding="utf-8")
    return Workspace(repo=checkout, home=root)
