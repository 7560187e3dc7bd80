"""The page docs/settings.md: every setting with its default, read from the code and from Terraform.

``python -m tools.settings_page`` writes it; with ``--check`` it exits with 1 if the page is not current.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from types import ModuleType

import click

from chalicelib import clients, jobs, retry
from chalicelib.files import dialect, records
from chalicelib.jobs import Job
from chalicelib.settings import Settings
from chalicelib.steps import begin_export, dead_letters, failed_plans, process, run, unpack
from chalicelib.store import items
from chalicelib.transport import messages
from tally.testing import configuration
from tools.generated import REPO, write
from tools.terraform_readmes import ROOT, Module, cell

PAGE = REPO / "docs" / "settings.md"

_HEAD = """# Settings and retries

Written by `make docs` from the code and from Terraform, so every default here is the one that is deployed.

| what you want to change | where |
|---|---|
| how rows of one kind of file are read and processed | the module of the [job](#settings-of-a-job) |
| sizes, retention, limits, alarms of a stage | a variable of the [stage](#settings-of-a-stage) |
| timeout, memory and concurrency of one function | `function_overrides` of the [function](#settings-of-a-function) |
| which stage a command acts on | the [environment](#settings-of-the-command-line) |

All but the last take effect with the next deployment. `tally deploy --stage dev --var chunk_rows=500` sets a variable,
`--var-file` takes a file of them. A local stage takes `tally up --var`.
"""
_RETRIES = """## Retries, layer by layer

Each layer handles what the one before it gave up on. No layer can count a row twice.
"""
_RETRIES_END = """An outcome that comes late, or twice, finds the row's bit set and does nothing: see
[how it stays exact](how-it-stays-exact.md).
"""
_LISTED = re.compile(r"^- ``(\w+)[^`]*``: (.*?)(?=^- |\Z)", re.MULTILINE | re.DOTALL)
_FUNCTION_SETTINGS = (
    "timeout_seconds",
    "memory_mb",
    "batch_size",
    "window_seconds",
    "maximum_concurrency",
    "parallelization_factor",
)
_ENVIRONMENT = (
    ("`TALLY_STAGE`", "`local`", "The stage that a command acts on; `--stage` wins."),
    ("`TALLY_TABLE`, `TALLY_INBOX_BUCKET`", "from Terraform's state", "The table and the bucket of the stage."),
    ("`TALLY_HOME`", "`.tally` of the checkout", "Where local stages are kept."),
    ("`AWS_PROFILE`, `AWS_REGION` and others", "", "As the AWS SDK reads them. A local stage needs none."),
    ("`NO_COLOR`, `TERM`, `COLUMNS`", "", "Colours off; `dumb` for plain lines; the width of tables in a pipe."),
)


def page() -> str:
    """Return the whole page."""
    parts = [
        _HEAD,
        "## Settings of a job\n",
        "Names in the module of the job. [Writing jobs](jobs.md) has examples.\n",
        _table("| setting | default | what it does |", _job_rows(), of="settings of a job"),
        "## Settings of a stage\n",
        "Variables of `infra/`; [infra/README.md](../infra/README.md) has types and rules.\n",
        _table("| variable | default | what it is |", _variable_rows(), of="variables of a stage"),
        "## Settings of a function\n",
        "Set in `infra/functions.tf`; `function_overrides` changes single ones. A dash is Lambda's own, or no limit.\n",
        _table("| function | " + " | ".join(_FUNCTION_SETTINGS) + " |", _function_rows(), of="functions"),
        "The visibility timeout of a queue is six times its function's timeout, and its window.\n",
        "## Settings of the command line\n",
        _table("| variable | default | what it is |", iter(_ENVIRONMENT), of="variables of the command line"),
        "## Environment of the functions\n",
        "Terraform sets these; change the variables of the stage instead. `tally env` prints them.\n",
        _table("| variable | what it is |", _environment_rows(), of="variables of the functions"),
        _RETRIES,
        _table("| layer | retries | default | set in |", _retry_rows()),
        _RETRIES_END,
        "## Fixed limits\n",
        "These cannot be set: other parts rely on them.\n",
        _table("| limit | value | set in |", _limit_rows()),
    ]
    return "\n".join(parts).rstrip() + "\n"


def job_settings() -> dict[str, str]:
    """Return the settings of a job and their meanings, as ``chalicelib.jobs`` describes them."""
    return _listed(jobs)


def environment() -> dict[str, str]:
    """Return the functions' environment variables and their meanings, as ``chalicelib.settings`` describes them."""
    return {f"TALLY_{name.upper()}": text for name, text in _listed(Settings).items()} | {
        "TALLY_LOG_LEVEL": "least level that is logged"
    }


def _listed(of: object) -> dict[str, str]:
    """Return the names that a docstring lists, and the meaning of each."""
    described = inspect.cleandoc(of.__doc__ or "")
    return {name: " ".join(text.replace("``", "`").split()) for name, text in _LISTED.findall(described)}


def _job_rows() -> Iterator[tuple[str, ...]]:
    classes = (Job, dialect.Layout, dialect.Dialect)
    defaults = {each.name: each.default for of in classes for each in fields(of) if each.default is not MISSING}
    for name, text in job_settings().items():
        value = defaults.get(name.lower())
        shown = f"`{value!s}`" if isinstance(value, int | str) else "none"
        yield f"`{name}`", shown, _sentence(text)


def _variable_rows() -> Iterator[tuple[str, ...]]:
    return ((f"`{each.name}`", each.default, cell(each.description)) for each in Module.load(ROOT).inputs)


def _function_rows() -> Iterator[tuple[str, ...]]:
    defaults = configuration.local("function_defaults", configuration.INFRA / "functions.tf")
    for name, settings in defaults.items():
        shown = []
        for setting in _FUNCTION_SETTINGS:
            value = str("-" if (found := settings.get(setting)) is None else found)
            _, conditional, limit = value.removesuffix("}").partition("? null :")
            shown.append(f"-, or {limit.strip()} with `provisioned_capacity`" if conditional else value)
        yield (f"`{name}`", *shown)


def _retry_rows() -> Iterator[tuple[str, ...]]:
    adoption = configuration.INFRA / "adoption.tf"
    records_tries = configuration.local("stream_retry_attempts", adoption)
    waits = configuration.default("reconcile_minutes")
    plan_minutes = ", ".join(str(factor * waits) for factor in failed_plans.WAITS)
    yield "AWS SDK", "one request", f"{clients.ATTEMPTS} quick tries", _of(clients)
    yield (
        "Tally's requests",
        "throttling, conflicts, 500s, lost answers",
        f"{retry.ATTEMPTS} attempts within the function's time, full jitter up to {retry.CAP_SECONDS:g} s",
        _of(retry),
    )
    yield "a row", "a row that raises", f"{_default(Job, 'attempts')} tries (`ATTEMPTS`)", "the job"
    yield (
        "between tries of a row",
        "",
        f"a random delay from {process.BASE_DELAY_SECONDS} s, doubled each time, up to {process.CAP_DELAY_SECONDS} s",
        _of(process),
    )
    yield (
        "a message",
        "a worker that died, timed out or was throttled",
        f"{configuration.default('max_receive_count')} deliveries (`max_receive_count`), of `heavy` at least 10",
        "`infra/variables_processing.tf`",
    )
    yield (
        "a dead letter that killed no worker",
        "throttled deliveries, an outage",
        f"sent again {dead_letters.MAX_RETURNS} times, after {dead_letters.RETURN_SECONDS} s each",
        _of(dead_letters),
    )
    yield "a stream record", "`dispatch` or `settle` raised", f"{records_tries} tries", "`infra/adoption.tf`"
    yield "an upload's event", "`plan` raised", "2 more tries by Lambda", "`infra/adoption.tf`"
    yield (
        "an upload",
        "`plan` failed three times",
        f"planned again {plan_minutes} minutes after each failure, then `rejected`",
        _of(failed_plans),
    )
    yield (
        "anything that was lost",
        "a batch without progress",
        f"every {waits} minutes (`reconcile_minutes`)",
        "`infra/variables_processing.tf`",
    )
    yield "an operator", "rows that failed", "`tally redrive`", ""


def _limit_rows() -> Iterator[tuple[str, ...]]:
    yield "a CSV record or a line", f"{records.MAX_RECORD_BYTES:,} bytes", _of(records)
    yield "a row as it is kept", f"{items.MAX_ITEM_BYTES:,} bytes of JSON", _of(items)
    yield "a message, and so the result of a row", f"{messages.MAX_MESSAGE_BYTES:,} bytes", _of(messages)
    yield "a gzip upload, unpacked", f"{unpack.MAX_BYTES:,} bytes", _of(unpack)
    yield (
        "a connection to AWS",
        f"{clients.CONNECT_SECONDS} s to open, {clients.READ_SECONDS} s without a byte",
        _of(clients),
    )
    yield "a message of slow rows is split", f"over {run.SPLIT_SECONDS:g} s", _of(run)
    yield "outcomes are sent on", f"every {run.FLUSH_SECONDS:g} s", _of(run)
    yield "a paused row looks again", f"after {process.PAUSED_DELAY_SECONDS} s", _of(process)
    yield "chunks of one file of results", f"{begin_export.CHUNKS_PER_PART}", _of(begin_export)


def _environment_rows() -> Iterator[tuple[str, ...]]:
    return ((f"`{name}`", _sentence(text)) for name, text in environment().items())


def _sentence(text: str) -> str:
    return cell(text[:1].upper() + text[1:].rstrip(",.") + ".")


def _default(of: type[Job], name: str) -> object:
    return next(each.default for each in fields(of) if each.name == name)


def _of(module: ModuleType) -> str:
    path = inspect.getfile(module)
    return f"`app/chalicelib/{path.rpartition('/chalicelib/')[2]}`"


def _table(head: str, rows: Iterator[Sequence[str]], *, of: str = "") -> str:
    """Return a table; a comment above it names the kind of its names."""
    above = [f"<!-- all {of} -->"] if of else []
    ruler = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([*above, head, ruler, *(f"| {' | '.join(row)} |" for row in rows), ""])


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the page is not current.")
def main(*, check: bool) -> None:
    """Write docs/settings.md."""
    write({PAGE: page()}, check=check)


if __name__ == "__main__":
    main()
