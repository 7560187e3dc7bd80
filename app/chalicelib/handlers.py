"""The functions of a stage, and the clients that each of them has before its first event."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.clients import client
from chalicelib.retry import Retry
from chalicelib.services import Services, settings
from chalicelib.settings import running_function

_STEPS: Mapping[str, Callable[[Services], object]] = {
    "plan": lambda services: services.planner,
    "dispatch": lambda services: services.dispatcher,
    "ingest": lambda services: services.ingester,
    "process": lambda services: services.processor,
    "process_heavy": lambda services: services.heavy_processor,
    "finish": lambda services: services.finisher,
    "export": lambda services: services.exporter,
    "save": lambda services: services.save_starter,  # the saver's clients, also without its table
    "dead_letters": lambda services: services.dead_letter_handler,
    "reconcile": lambda services: services.reconciler,
    "settle": lambda services: services.settler,
}
"""The step of each function's handler."""

HANDLERS = tuple(_STEPS)
"""The functions, by their handlers' names."""


def prepare(environ: Mapping[str, str] = os.environ, client: Callable[[str], Any] = client) -> None:
    """Make the clients that this function's handler uses; does nothing outside Lambda, so a deploy loads no SDK.

    Call it at import: Lambda gives INIT a whole vCPU, a handler only the part that its memory buys.
    """
    function = running_function(settings().stage, environ)
    if function in _STEPS:
        _STEPS[function](Services(settings(), Retry(), client=client))  # dropped; the clients stay
