"""The site of the pages: Sphinx reads the repository's own Markdown. ``make site`` builds it into build/site."""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

REPO = Path(__file__).parents[2]

NAVIGATION = {
    "Begin": ["docs/tutorial", "docs/concepts", "docs/jobs", "docs/deploy"],
    "Decide": ["docs/comparison", "docs/faq", "docs/performance", "docs/measuring"],
    "Understand": ["docs/how-it-stays-exact", "docs/architecture", "docs/proof", "docs/contention"],
    "Look up": [
        "docs/glossary",
        "docs/command-line",
        "docs/cli",
        "docs/settings",
        "docs/events",
        "docs/results",
        "docs/bad-input",
        "docs/failures",
        "docs/json",
    ],
    "Operate": ["docs/console", "docs/runbook", "docs/debugging", "docs/capacity", "docs/adopting", "docs/local-aws"],
    "Infrastructure": ["infra/README", "infra/modules/*/README", "infra/examples/*/README"],
    "Project": ["CHANGELOG", "CONTRIBUTING", "SECURITY", "docs/releasing", "docs/adr/*"],
}
"""The site's menu. Pages of docs/ that it does not name are in "Look up", after those that it names."""

_named = {page for pages in NAVIGATION.values() for page in pages}
_others = [f"docs/{path.stem}" for path in sorted(REPO.glob("docs/*.md"))]
NAVIGATION["Look up"] += [page for page in _others if page not in _named]

project = "Tally"
author = "Tally's authors"
project_copyright = author
version = release = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

_LINK = re.compile(r"(?P<text>\[[^\]\n]*\])\((?P<target>[^)#:\s]+)\)")

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/adr/*.md", "infra/README.md", "infra/*/*/README.md"]
exclude_patterns = [".*", "**/.*", "build"]

myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"Tally {release}"
html_extra_path = ["extra"]  # index.html, which leads to the first page
html_static_path = ["static"]
html_css_files = ["tally.css"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_copy_source = False
html_show_sphinx = False


def _add_navigation(_app: Sphinx, page: str, content: list[str]) -> None:
    """Put the menu at the end of the first page, where no reader of the Markdown sees it."""
    if page == root_doc:
        content[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
            for caption, pages in NAVIGATION.items()
        )


def _link_folders(_app: Sphinx, page: str, content: list[str]) -> None:
    """Lead links to folders, which a forge shows, to the folder's README; of one without, keep the text alone."""
    folder = (REPO / page).parent

    def led(found: re.Match[str]) -> str:
        target = folder / found["target"]
        if not target.is_dir():
            return found[0]
        return (
            f"{found['text']}({found['target'].rstrip('/')}/README.md)"
            if (target / "README.md").exists()
            else found["text"]
        )

    content[0] = _LINK.sub(led, content[0])


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", _add_navigation)
    app.connect("source-read", _link_folders)
