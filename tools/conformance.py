"""Run a public suite of DynamoDB tests on the local AWS: ``make conformance`` writes docs/local-aws.md from it.

The suite is https://github.com/nubo-db/dynamodb-conformance (MIT), whose tests were run against DynamoDB itself first.
It is fetched at one commit; needs git, Node.js with npm, and half a minute. Only what Tally asks of DynamoDB is run.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from tally.local import localaws
from tally.stages.workspace import StageFolder

BEGIN = "<!-- written by make conformance -->"
END = "<!-- end of what make conformance writes -->"
REPO = Path(__file__).parents[1]
PAGE = REPO / "docs" / "local-aws.md"
CHECKOUT = REPO / ".tally" / "check" / "conformance"
SUITE = "https://github.com/nubo-db/dynamodb-conformance.git"
COMMIT = "0ba4393668860db921afa5728feffe68b55e3e93"

OPERATIONS = {
    "GetItem": ("tier1/getItem", "tier3/error-messages/getItem"),
    "BatchGetItem": ("tier1/batchGetItem", "tier3/error-messages/batchGetItem"),
    "Query": ("tier1/query", "tier3/error-messages/query", "tier3/validation-ordering/query"),
    "PutItem": ("tier1/putItem", "tier3/error-messages/putItem", "tier3/validation-ordering/putItem"),
    "UpdateItem": ("tier1/updateItem", "tier3/error-messages/updateItem", "tier3/validation-ordering/updateItem"),
    "DeleteItem": ("tier1/deleteItem", "tier3/error-messages/deleteItem", "tier3/validation-ordering/deleteItem"),
    "BatchWriteItem": ("tier1/batchWriteItem", "tier3/error-messages/batchWriteItem"),
    "both batches": ("tier3/validation-ordering/batchOperations",),
    "TransactWriteItems": ("tier2/transactions/transactWrite", "tier3/error-messages/transactWriteItems"),
    "DescribeTable": ("tier1/describeTable",),
    "streams": ("tier2/streams",),
    "failed conditions": ("tier3/error-messages/conditionalCheck",),
    "limits": ("tier3/limits",),
}
"""The operations that Tally calls, and the suite's tests of them; without older forms of requests."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the suite: its file, its claim, and its result."""

    file: str
    claim: str
    status: str
    seen: str

    @property
    def operation(self) -> str:
        """Return the operation of DynamoDB that it tests."""
        (found,) = [name for name, places in OPERATIONS.items() if self.file.startswith(places)]
        return found


def tests(report: Mapping[str, Any]) -> list[Case]:
    """Read the report that vitest writes as JSON."""
    return [
        Case(
            file=result["name"].partition("/tests/")[2],
            claim=case["fullName"],
            status=case["status"],
            seen=next(iter(case["failureMessages"]), "").partition("\n")[0],
        )
        for result in report["testResults"]
        for case in result["assertionResults"]
    ]


def table(found: Sequence[Case], *, engine: str, day: str) -> str:
    """Return the generated part of the page: the tests that ran, passed and failed."""
    lines = [
        BEGIN,
        "",
        f"Suite at commit `{COMMIT[:12]}`, {engine}, {day}: {_passed(found)} of {len(found)} tests pass.",
        "",
        "| what is tested | passed | failed | left out |",
        "|---|---|---|---|",
        *(_row(name, [test for test in found if test.operation == name]) for name in OPERATIONS),
        "",
        "What fails:",
        "",
        *(f"- {test.claim}" for test in found if test.status == "failed"),
        "",
        END,
    ]
    return "\n".join(lines)


def _row(name: str, found: Sequence[Case]) -> str:
    failed = sum(test.status == "failed" for test in found)
    return f"| {name} | {_passed(found)} | {failed} | {len(found) - _passed(found) - failed} |"


def _passed(found: Sequence[Case]) -> int:
    return sum(test.status == "passed" for test in found)


def run(suite: str) -> list[Case]:
    """Fetch the suite, run it on a local AWS of its own, and return the result of each test."""
    _need("git", "npm", "npx")
    CHECKOUT.mkdir(parents=True, exist_ok=True)
    if not (CHECKOUT / ".git").is_dir():
        _call("git", "init", "--quiet", ".")
    _say(f"fetching the suite from {suite}")
    _call("git", "fetch", "--quiet", "--depth", "1", suite, COMMIT)
    _call("git", "checkout", "--quiet", "--force", "FETCH_HEAD")
    _say("installing what it needs")
    _call("npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    with tempfile.TemporaryDirectory(prefix="tally-conformance-") as folder:
        stage = StageFolder(name="conformance", root=Path(folder))
        server = localaws.start(stage, port=None)
        try:
            _say(f"running it on {server.endpoint}")
            return tests(_run_on(server.endpoint, Path(folder) / "report.json"))
        finally:
            localaws.stop(stage)


def _run_on(endpoint: str, report: Path) -> dict[str, Any]:
    places = [f"tests/{place}" for places in OPERATIONS.values() for place in places]
    arguments = ("--no-install", "vitest", "run", "--reporter=json", f"--outputFile={report}", *places)
    environment = {**os.environ, "DYNAMODB_ENDPOINT": endpoint, "AWS_REGION": localaws.REGION}
    subprocess.run(["npx", *arguments], cwd=CHECKOUT, env=environment, capture_output=True, check=False)  # noqa: S603, S607
    if not report.exists():
        raise click.ClickException(f"The suite wrote no report: run npx {' '.join(arguments[1:4])} in {CHECKOUT}.")
    read: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return read


def _need(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            raise click.ClickException(f"{program} not found: install git, and Node.js 20 or newer with npm.")


def _call(*command: str) -> None:
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, encoding="utf-8", check=False)  # noqa: S603
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed in {CHECKOUT}:\n{done.stderr.strip()}")


def _say(progress: str) -> None:
    click.echo(f"{progress} ...", err=True)


def replaced(page: str, part: str) -> str:
    """Return the page with its generated part replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + part + after


@click.command()
@click.option("--suite", default=SUITE, show_default=True, help="Where git fetches the suite from.")
def main(suite: str) -> None:
    """Run the suite on the local AWS, write the table in docs/local-aws.md, and say what failed."""
    found = run(suite)
    engine = f"ministack {version('ministack')}"
    part = table(found, engine=engine, day=datetime.now(UTC).date().isoformat())
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), part), encoding="utf-8")
    for line in _summary(found):
        click.echo(line)


def _summary(found: Sequence[Case]) -> Iterator[str]:
    for test in found:
        if test.status == "failed":
            yield f"failed: {test.claim}\n        {test.seen}"
    yield f"{_passed(found)} of {len(found)} tests pass; the table is in {PAGE.relative_to(REPO)}."


if __name__ == "__main__":
    sys.exit(main())
