"""What axe-core finds wrong with a page, and where the focus is."""

import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest


def script() -> str:
    """Return axe-core; skips where it is not installed, and fails where CI should have installed it."""
    try:
        found = distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")
    except PackageNotFoundError:
        message = "axe-core is not installed: `make venv` does"
        if os.environ.get("TALLY_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    return Path(str(found)).read_text(encoding="utf-8")


def violations(browser: Any) -> str:
    """Return what axe-core finds wrong with the page, a line for each element."""
    browser.driver.execute_script(script())
    found = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, e => done({violations:"
        " [{id: String(e), help: '', nodes: []}]}))"
    )
    return "\n".join(
        f"{rule['id']}: {rule['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for rule in found["violations"]
        for node in (rule["nodes"] or [{"html": ""}])
    )
