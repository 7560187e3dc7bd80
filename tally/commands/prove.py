"""The command that proves a stage: options, call, show."""

import os
from pathlib import Path

import click

from chalicelib.clock import utc_now
from tally.commands.options import VARIABLES, command, parse, workspace
from tally.errors import ExitCode
from tally.output import Output
from tally.prove import report
from tally.prove.injected import Plan
from tally.prove.probe import Verdict
from tally.prove.probes import PROBES
from tally.prove.prover import Prover

_NAMES = click.Choice([probe.name for probe in PROBES])
_ROWS = click.IntRange(100, 1_000_000)
_SECONDS = click.FloatRange(min=1)


@command(
    "prove",
    click.option(
        "--aws", "on_aws", is_flag=True, help="Prove in the AWS account of your credentials, not on a local AWS."
    ),
    click.option("--probe", "chosen", multiple=True, type=_NAMES, help="Run only this probe; may be repeated."),
    click.option("--rows", type=_ROWS, default=20_000, show_default=True, help="Rows of the large probes."),
    click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same faults."),
    click.option(
        "--timeout", "patience", type=_SECONDS, default=600.0, show_default=True, help="Seconds that a batch may take."
    ),
    click.option(
        "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file, in Markdown."
    ),
    click.option("--clean", is_flag=True, help="Only remove what an earlier run of this stage left."),
    click.option("--yes", is_flag=True, help="Do not ask."),
    VARIABLES,
)
def prove(
    *,
    output: Output,
    stage: str,
    on_aws: bool,
    chosen: tuple[str, ...],
    rows: int,
    seed: int,
    patience: float,
    out: Path | None,
    clean: bool,
    yes: bool,
    variables: tuple[str, ...],
) -> ExitCode:
    """Prove on a stage of its own that every row is counted once: deploy it, run probes under faults, remove it.

    Its functions inject faults into themselves: lost answers, errors, throttles, duplicates, dead workers. Exit 0:
    every probe that could be made passed. --stage names the stage to make, "prove" by default.
    """
    prover = Prover(
        workspace=workspace(),
        name="prove" if stage == "local" else stage,
        on_aws=on_aws,
        output=output,
        environ=os.environ,
        variables=parse(variables),
        confirm=lambda question: yes or click.confirm(question, err=True),
        plan=Plan(seed=seed),
    )
    if clean:
        removed = prover.clean()
        output.say(f"Stage {prover.name}: {'removed' if removed else 'nothing to remove'}.")
        output.result({"stage": prover.name, "removed": removed})
        return ExitCode.OK
    probes = [probe for probe in PROBES if not chosen or probe.name in chosen]
    results = prover.run(probes, rows=rows, patience=patience)
    report.show(output, results)
    if out:
        report.write(out, prover.name, "In AWS" if on_aws else "On a local AWS", results, utc_now())
        output.say(f"The report is in {out}.")
    ended = report.passed(results)
    output.result({"stage": prover.name, "passed": ended, "probes": [result.as_json() for result in results]})
    if any(result.verdict is Verdict.NOT_RUN for result in results):
        return ExitCode.INTERRUPTED
    return ExitCode.OK if ended else ExitCode.NOT_AS_HOPED


COMMANDS = [prove]
