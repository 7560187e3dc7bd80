"""The sources of a stage that is proved: a copy of ``infra/`` and ``app/`` with faults and jobs of its own."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from tally.errors import OperatorError
from tally.prove.injected import Plan
from tally.stages.workspace import SOURCES, Workspace, mirror

_OWN = Path(__file__).parent
_INSTALL = "\nfrom chalicelib.injected import install\n\ninstall()  # this copy is of `tally prove`\n"
_BEFORE = "\nfrom chalicelib."
"""The first of Tally's own imports in app.py: each of them may take the function that makes clients."""


def make(workspace: Workspace, root: Path, plan: Plan) -> Workspace:
    """Return a workspace below ``root`` with the sources of ``workspace`` and the plan's faults."""
    own = existing(root)
    for name in SOURCES:
        mirror(workspace.repo / name, own.repo / name)
    library = own.repo / "app" / "chalicelib"
    shutil.copyfile(_OWN / "injected.py", library / "injected.py")
    (library / "injected.json").write_text(json.dumps(asdict(plan), indent=2), encoding="utf-8")
    for job in (_OWN / "jobs").glob("prove_*.py"):
        shutil.copyfile(job, library / "jobs" / job.name)
    app = own.repo / "app" / "app.py"
    source = app.read_text(encoding="utf-8")
    if _BEFORE not in source:
        raise OperatorError(
            f"{workspace.repo}/app/app.py has no line with {_BEFORE.strip()!r}, before which the faults are put",
            hint="put such a line back, or prove from an unchanged checkout.",
        )
    app.write_text(source.replace(_BEFORE, _INSTALL + _BEFORE, 1), encoding="utf-8")
    if not own.terraform_data.exists():
        # No run shall download Terraform's provider again.
        workspace.terraform_data.mkdir(parents=True, exist_ok=True)
        own.terraform_data.symlink_to(workspace.terraform_data, target_is_directory=True)
    return own


def existing(root: Path) -> Workspace:
    """Return the workspace below ``root``, even if it is incomplete."""
    return Workspace(repo=root / "checkout", home=root)
