"""The table of prices in docs/comparison.md, from what ``make bench`` measured and the prices that ``tally cost`` uses.

``python -m tools.price_table`` writes it; with ``--check`` it exits with 1 if it is not current.
"""

import math
import re

import click

from tally.batch import prices
from tools.generated import REPO, between, write

PAGE = REPO / "docs" / "comparison.md"
BENCH = REPO / "docs" / "performance.md"
MILLIONS = (1, 10, 100)
_DOLLARS = re.compile(r"^\| dollars a million rows: (?P<name>[^|]+) \| (?P<dollars>[0-9.]+) \$ \|", re.MULTILINE)
_JOB_SECONDS = re.compile(
    r"^\| pipeline / the job alone, 1,000,000 rows .*job alone s (?P<seconds>[0-9.]+)", re.MULTILINE
)
_HOUR = 3600
_LEAST_SECONDS = 60
"""Glue and Fargate bill at least a minute."""
_GLUE_DPUS = 2
_VCPUS_A_DPU = 4
_FARGATE_GB = 2
_CENT = 0.01
_BATCH_ROWS = 1000
"""As in the bench's Distributed Map of batches."""


def glue(job_seconds: float) -> float:
    """Return the price of the smallest Spark job, if it were as fast as the job alone; its start is not billed."""
    seconds = max(_LEAST_SECONDS, job_seconds / (_GLUE_DPUS * _VCPUS_A_DPU))
    return _GLUE_DPUS * prices.GLUE_DPU_HOUR * seconds / _HOUR


def fargate(job_seconds: float) -> float:
    """Return the price of AWS Batch on Fargate: tasks of one processor, each busy for a minute or more."""
    tasks = max(1, math.floor(job_seconds / _LEAST_SECONDS))
    hours = max(_LEAST_SECONDS * tasks, job_seconds) / _HOUR
    return hours * (prices.FARGATE_VCPU_HOUR + _FARGATE_GB * prices.FARGATE_GB_HOUR)


def durable(rows: float, *, rows_an_operation: int) -> float:
    """Return the price of the operations of durable functions that map over rows, at the least."""
    return rows / rows_an_operation * prices.DURABLE_OPERATION


def table(bench: str) -> str:
    """Return the table; raises ClickException if the page of the bench lacks a figure."""
    measured = {found["name"]: float(found["dollars"]) for found in _DOLLARS.finditer(bench)}
    job = _JOB_SECONDS.search(bench)
    if not measured or job is None:
        raise click.ClickException(f"{BENCH.name} has no dollars a million rows, or no time of the job alone.")
    rows = [(name, [dollars * millions for millions in MILLIONS]) for name, dollars in measured.items()]
    for size, name in ((1, "an operation a row"), (_BATCH_ROWS, f"{_BATCH_ROWS} rows an operation")):
        dollars = [durable(millions * prices.MILLION, rows_an_operation=size) for millions in MILLIONS]
        rows.append((f"durable functions, {name}, at least", dollars))
    seconds = [float(job["seconds"]) * millions for millions in MILLIONS]
    rows.append(("AWS Glue, 2 DPU", [glue(each) for each in seconds]))
    rows.append(("AWS Batch on Fargate, 1 vCPU and 2 GB a task", [fargate(each) for each in seconds]))
    head = "| | " + " | ".join(f"{millions} million rows" for millions in MILLIONS) + " |"
    lines = [f"| {name} | " + " | ".join(map(_shown, dollars)) + " |" for name, dollars in rows]
    ruler = "|---|" + "---|" * len(MILLIONS)
    return "\n".join([f"Prices of us-east-1, {prices.CHECKED}.\n", head, ruler, *lines])


def _shown(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= _CENT else "under $0.01"


def current() -> str:
    """Return the page with a current table."""
    return between(PAGE, table(BENCH.read_text(encoding="utf-8")))


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the table is not current.")
def main(*, check: bool) -> None:
    """Write the table of prices."""
    write({PAGE: current()}, check=check)


if __name__ == "__main__":
    main()
