"""The site of the pages: Sphinx reads the repository's own Markdown. ``make docs-site`` builds it into build/site."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

REPO = Path(__file__).parents[2]

NAVIGATION = {
    "Begin": ["docs/tutorial", "docs/jobs", "docs/deploy"],
    "Understand": ["docs/concepts", "docs/glossary", "docs/how-it-stays-exact", "docs/architecture", "docs/proof"],
    "Look up": ["docs/cli", "docs/settings", "docs/bad-input", "docs/failures", "docs/json", "docs/performance"],
    "Operate": ["docs/runbook", "docs/adopting", "docs/debugging"],
    "Infrastructure": ["infra/README", "infra/modules/*/README", "infra/examples/*/README"],
    "Project": ["CHANGELOG", "CONTRIBUTING", "docs/adr/*"],
}
"""The site's menu. Pages of docs/ that it does not name are in "Look up", after those that it names."""

_named = {page for pages in NAVIGATION.values() for page in pages}
_others = [f"docs/{path.stem}" for path in sorted(REPO.glob("docs/*.md"))]
NAVIGATION["Look up"] += [page for page in _others if page not in _named]

project = "Tally"
author = "Tally's authors"
project_copyright = author
version = release = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/adr/*.md", "infra/README.md", "infra/*/*/README.md"]
exclude_patterns = [".*", "**/.*", "build"]

myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"Tally {release}"
html_copy_source = False
html_show_sphinx = False


def _add_navigation(_app: Sphinx, page: str, content: list[str]) -> None:
    """Put the menu at the end of the first page, where no reader of the Markdown sees it."""
    if page == root_doc:
        content[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
            for caption, pages in NAVIGATION.items()
        )


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", _add_navigation)
