"""The table of operators' rights in docs/deploy.md, from the list of infra/examples/operator_rights.

``python -m tools.operator_rights`` writes it; with ``--check`` it exits with 1 if it is not current.
"""

import json
from collections.abc import Iterator

import click

from tools.generated import REPO, between, write

PAGE = REPO / "docs" / "deploy.md"
RIGHTS = REPO / "infra" / "examples" / "operator_rights" / "rights.json"
PLACES = {
    "alarm_topic": "the topic of the alarms",
    "alarms": "alarms named `tally-STAGE-*`",
    "any": "`*`",
    "bucket": "the bucket",
    "bus": "the event bus",
    "completions": "the queue `completions`",
    "copies": "the queue `dead-letters`",
    "corrections": "`corrections/*` of the bucket",
    "dead_letters": "queues of dead letters",
    "dispatch": "the function `dispatch`",
    "functions": "the functions",
    "inbox": "`inbox/*` of the bucket",
    "index": "the table's index `batches`",
    "keys": "keys of yours",
    "log_groups": "the functions' log groups",
    "mailbox": "the queue `prove-mailbox`",
    "plan": "the function `plan`",
    "process": "the function `process`",
    "queues": "queues of work, and `completions`",
    "results": "`results/*` of the bucket",
    "results_table": "the results table",
    "roles": "the functions' roles",
    "schedule": "the rule of `reconcile`",
    "table": "the table",
    "uploads": "`inbox/*` and `unpacked/*` of the bucket",
}
"""What people call the resources of the list."""


def table() -> str:
    """Return the table; raises KeyError for a resource that has no name here."""
    return "\n".join(["| policy | rights | on | for |", "|---|---|---|---|", *_rows()])


def _rows() -> Iterator[str]:
    for right in json.loads(RIGHTS.read_text(encoding="utf-8")):
        actions = ", ".join(f"`{action}`" for action in right["actions"])
        places = ", ".join(PLACES[name] for name in right["resources"])
        commands = ", ".join(command if command == "all" else f"`{command}`" for command in right["commands"])
        yield f"| {right['part']} | {actions} | {places} | {commands} |"


def current() -> str:
    """Return the page as it ought to be."""
    return between(PAGE, table())


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the table is not current.")
def main(*, check: bool) -> None:
    """Write the table of operators' rights."""
    write({PAGE: current()}, check=check)


if __name__ == "__main__":
    main()
