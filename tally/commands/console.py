"""The command that serves the web console: options, call, show."""

import click

from tally.commands.options import RESOURCES, command, find_stage, workspace
from tally.errors import OperatorError
from tally.local.console import INSTALL
from tally.output import Output


@command(
    "ui",
    click.option("--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1; 8321, or a free one, by default."),
    click.option("--open", "opens", is_flag=True, help="Open a browser."),
    click.option("--read-only", is_flag=True, help="Show no action that changes anything."),
    click.option(
        "--show-data", is_flag=True, help="Show data of rows: cells, results, values in reasons, dead letters."
    ),
    *RESOURCES,
)
def console(
    *,
    output: Output,
    stage: str,
    port: int | None,
    opens: bool,
    read_only: bool,
    show_data: bool,
    table: str,
    bucket: str,
) -> None:
    """Serve a web console of a stage on this machine, until Ctrl-C.

    Nothing is deployed. The console acts with your own credentials, listens on loopback only, and lets in only browsers
    that have the token in its address.
    """
    try:
        # It takes two seconds to import, and needs an extra that may not be installed.
        from tally.ui import server  # noqa: PLC0415
        from tally.ui.console import Console  # noqa: PLC0415
    except ImportError as error:
        raise OperatorError(
            f"The console needs NiceGUI, which is not installed ({error})",
            hint=INSTALL,
        ) from error
    made = Console(
        stage=find_stage(stage, table, bucket), workspace=workspace(), read_only=read_only, show_data=show_data
    )
    listener = server.listen(port)
    address = server.address(made, listener)
    output.command(f"Console of stage {stage}: {address}")
    output.say("Anybody on this machine who has the address gets in. Ctrl-C ends the console.")
    output.result({"stage": stage, "url": address, "read_only": read_only, "show_data": show_data})
    server.serve(made, listener, opens=opens)
    output.say("The console has ended.")


COMMANDS = [console]
