"""The help of the command line: commands in groups by purpose, each with an example."""

from dataclasses import dataclass
from enum import StrEnum

import click


class Group(StrEnum):
    """The purpose of a command."""

    RUN = "Run"
    LOOK = "Look"
    ACT = "Act"
    OPERATE = "Operate"
    DEVELOP = "Develop"
    OTHER = "Other"  # a command that is not below


@dataclass(frozen=True, slots=True)
class Entry:
    """The group of a command in the help, and an example of its use."""

    group: Group
    example: str


ENTRIES = {
    "submit": Entry(Group.RUN, "tally submit offices.csv --job offices --watch"),
    "demo": Entry(Group.RUN, "tally demo --rows 1000"),
    "up": Entry(Group.RUN, "tally up"),
    "down": Entry(Group.RUN, "tally down"),
    "ui": Entry(Group.LOOK, "tally ui --open"),
    "list": Entry(Group.LOOK, "tally list --limit 5"),
    "status": Entry(Group.LOOK, "tally status @ --watch"),
    "failures": Entry(Group.LOOK, "tally failures @"),
    "rows": Entry(Group.LOOK, "tally rows @ --outcome rejected"),
    "row": Entry(Group.LOOK, "tally row @ --line 4711"),
    "results": Entry(Group.LOOK, "tally results @ -o results"),
    "result": Entry(Group.LOOK, "tally result reports office-17"),
    "verify": Entry(Group.LOOK, "tally verify results --source offices.csv"),
    "events": Entry(Group.LOOK, "tally events --follow --json"),
    "cost": Entry(Group.LOOK, "tally cost @"),
    "redrive": Entry(Group.ACT, "tally redrive @ --reason 'ValueError: no exchange rate for *' --watch"),
    "wait": Entry(Group.ACT, "tally wait @ --exported --timeout 600"),
    "pause": Entry(Group.ACT, "tally pause offices-3f"),
    "resume": Entry(Group.ACT, "tally resume offices-3f"),
    "cancel": Entry(Group.ACT, "tally cancel offices-3f"),
    "audit": Entry(Group.ACT, "tally audit @ --repair"),
    "deploy": Entry(Group.OPERATE, "tally deploy --stage dev --plan"),
    "destroy": Entry(Group.OPERATE, "tally destroy --stage dev"),
    "doctor": Entry(Group.OPERATE, "tally doctor --stage dev --deep"),
    "prove": Entry(Group.OPERATE, "tally prove --aws --out report.md"),
    "queues": Entry(Group.OPERATE, "tally queues --stage dev"),
    "dead": Entry(Group.OPERATE, "tally dead work-dlq --show"),
    "logs": Entry(Group.OPERATE, "tally logs --batch @ --level warning --follow"),
    "tune": Entry(Group.OPERATE, "tally tune @"),
    "new": Entry(Group.DEVELOP, "tally new weather --from weather.csv"),
    "try": Entry(Group.DEVELOP, "tally try offices offices.csv --rows 1000"),
    "env": Entry(Group.DEVELOP, 'eval "$(tally env)"'),
    "invoke": Entry(Group.DEVELOP, "tally invoke process --of @ --dry-run"),
    "sample": Entry(Group.DEVELOP, "tally sample --rows 5000 --out sample.csv"),
}

_UNKNOWN = Entry(Group.OTHER, "")


class GroupedCommands(click.Group):
    """A command group whose help lists its commands by purpose."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's own
        """Write a section for each group that has commands, in the order of ``ENTRIES``."""
        order = list(ENTRIES)
        names = sorted(self.commands, key=lambda name: order.index(name) if name in ENTRIES else len(order))
        for group in Group:
            members = [name for name in names if ENTRIES.get(name, _UNKNOWN).group is group]
            if members:
                with formatter.section(group.value):
                    # The whole first sentence, which the formatter wraps: click itself would cut it.
                    formatter.write_dl([(name, self.commands[name].get_short_help_str(200)) for name in members])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its help ends with its example."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name in ENTRIES and not command.epilog:
            command.epilog = f"\b\nExample:\n  {ENTRIES[cmd_name].example}"
        return command
