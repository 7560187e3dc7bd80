"""Debugging on a stage: dry runs of a real batch, and Chalice's own ways, as docs/debugging.md has them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.handlers import HANDLERS
from tests.e2e.conftest import Tally

pytestmark = pytest.mark.e2e

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs" / "debugging.md").read_text(encoding="utf-8")
CONTENT = b"office_id,user_count,contract_count\na,2,5\nb,none,1\nc,4,9\n"


def typed(tally: Tally, heading: str, position: int = 0) -> subprocess.CompletedProcess[str]:
    """Run an example of the page in a shell, for the stage of these tests, as in an activated environment."""
    _, _, section = PAGE.partition(f"## {heading}\n")
    block = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)[position]
    script = block.replace(".tally/local", str(tally.home / tally.name)).replace("local", tally.name)
    scripts = Path(sys.executable).parent
    environ = tally.environ | {"PATH": f"{scripts}:{tally.environ['PATH']}", "AWS_PROFILE": "of-somebody-else"}
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=REPO, env=environ, capture_output=True, encoding="utf-8", check=False
    )


def test_the_test_client_of_chalice_runs_a_handler_with_what_env_sets(tally: Tally) -> None:
    """Also where the caller has a profile of their own, which the local AWS knows nothing of."""
    done = typed(tally, "With Chalice alone")
    assert done.returncode == 0, done.stderr
    assert "answer None" in done.stdout
    assert "batches.reconciled" in done.stdout


def test_chalice_invoke_calls_the_deployed_function(tally: Tally) -> None:
    done = typed(tally, "With Chalice alone", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "null"


def test_env_sets_what_the_functions_get_and_says_it_as_json(tally: Tally) -> None:
    """Whatever Terraform renders, down to the last variable."""
    said = tally.json("env")
    config = json.loads((tally.home / tally.name / "app" / ".chalice" / "config.json").read_text("utf-8"))
    rendered = config["stages"][tally.name]["environment_variables"]
    assert {name: said[name] for name in rendered} == rendered
    shell = subprocess.run(
        ["bash", "-c", f'eval "$(cat)"; "{sys.executable}" -c "import json, os; print(json.dumps(dict(os.environ)))"'],
        input=tally.run("env").stdout,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    seen = json.loads(shell.stdout)
    assert {name: seen[name] for name in said if name != "log"} == {name: said[name] for name in said if name != "log"}


def test_a_dry_run_of_a_real_batch_shows_what_was_done_and_changes_nothing(tally: Tally) -> None:
    """Every handler that a batch comes to, as if it had not come yet; the audit and the batch are as before."""
    batch = tally.submit("debugged.csv", CONTENT)
    tally.ended(batch)
    before = tally.json("status", batch, "--no-cost")
    for handler in set(HANDLERS) - {"reconcile", "process_heavy", "save"}:
        shown = tally.json("invoke", handler, "--of", batch, "--dry-run", "--again")
        assert (shown["dry_run"], shown["stage"], shown["error"]) == (True, tally.name, "")
        assert shown["changes"], handler
        assert not [change for change in shown["changes"] if change["refused"]], handler
    assert tally.json("status", batch, "--no-cost") == before
    assert tally.run("audit", batch).returncode == 0


def test_a_real_run_is_a_delivery_that_came_twice(tally: Tally) -> None:
    batch = tally.submit("twice.csv", CONTENT)
    tally.ended(batch)
    for handler in ("plan", "dispatch", "ingest", "process", "finish", "settle", "export"):
        shown = tally.json("invoke", handler, "--of", batch[-20:])
        assert (shown["dry_run"], shown["error"]) == (False, "")
    assert tally.run("audit", batch).returncode == 0
    counts = tally.reader.require(batch).counts
    assert (counts.succeeded, counts.failed, counts.rejected) == (2, 0, 1)


def test_a_batch_that_is_not_there_is_named(tally: Tally) -> None:
    done = tally.run("invoke", "process", "--of", "offices-00112233445566778899", "--dry-run")
    assert done.returncode == 2
    assert "No batch offices-00112233445566778899" in done.stderr
    assert "`tally list` shows them" in done.stderr
