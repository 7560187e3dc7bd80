"""The web server of a console: on loopback, behind its guard, until it is interrupted."""

import contextlib
import socket
import webbrowser

import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui

from tally.errors import ExitCode, OperatorError
from tally.ui import batch_page, batches_page, stage_page, submit_page
from tally.ui.console import Console
from tally.ui.guard import Guard

HOST = "127.0.0.1"
DEFAULT_PORT = 8321
_RECONNECT_SECONDS = 15
"""How long a page may be out of touch, on a machine that is busy or asleep, before it has to load again."""
_END_SECONDS = 2
"""How long a page's open connection may delay the end."""


def listen(port: int | None) -> socket.socket:
    """Return a socket of loopback: on a port, or on the default one, or a free one where that is taken."""
    wanted = (port,) if port is not None else (DEFAULT_PORT, 0)
    for each in wanted:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, each))
            listener.listen()
        except OSError:
            listener.close()
        else:
            return listener
    raise OperatorError(
        f"Port {port} of {HOST} is taken", hint="name another one, or leave --port out.", code=ExitCode.USAGE
    )


def address(console: Console, listener: socket.socket) -> str:
    """Return the address to open; it has the token."""
    return f"http://{HOST}:{listener.getsockname()[1]}/?token={console.token}"


def serve(console: Console, listener: socket.socket, *, opens: bool) -> None:
    """Serve a console until SIGINT or SIGTERM."""
    for page in (batches_page, batch_page, stage_page, submit_page):
        page.register(console)
    site = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(site, title="Tally", language="en-US", dark=None, show_welcome_message=False)
    if opens:
        nicegui_app.on_startup(lambda: webbrowser.open(address(console, listener)))
    guarded = Guard(site, token=console.token, port=listener.getsockname()[1])
    config = uvicorn.Config(
        guarded, log_level="warning", access_log=False, timeout_graceful_shutdown=_END_SECONDS, server_header=False
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once it has ended
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        console.stopped.set()
        listener.close()
