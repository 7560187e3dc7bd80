"""The command about results by key: result shows one."""

import click

from chalicelib.clock import utc_now
from tally.batch.saving import require_result, result_as_json, show_result
from tally.commands.options import RESOURCES, command, find_stage
from tally.output import Output


@command(
    "result",
    click.argument("job"),
    click.argument("key"),
    click.option(
        "--results-table", default="", help="The results table's name, if Terraform's state is not on this machine."
    ),
    *RESOURCES,
)
def result(*, output: Output, stage: str, job: str, key: str, results_table: str, **resources: str) -> None:
    """Show the present result of a KEY of a JOB, from the newest file that has the key.

    Only a job that sets KEY saves its results by key, into the results table (docs/jobs.md).
    """
    found = require_result(find_stage(stage, **resources), results_table, job, key)
    now = utc_now()
    show_result(output, found, now)
    output.result(result_as_json(found, now))


COMMANDS = (result,)
