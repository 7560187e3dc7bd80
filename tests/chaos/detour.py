"""The detour: the functions' requests go to the proxy, everybody else's straight to the local AWS.

Set on the deployed functions, not in what Chalice deploys: Chalice puts a stage's variables into its own environment
before it makes its clients, so that its own requests would take the detour too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tally.stages.stage import Stage

_VARIABLE = "AWS_ENDPOINT_URL"


@contextmanager
def functions(stage: "Stage", url: str) -> Iterator[None]:
    """Send the requests of every function of a stage to ``url`` while the block runs."""
    _set(stage, {_VARIABLE: url})
    try:
        yield
    finally:
        _set(stage, {})


def _set(stage: "Stage", more: dict[str, str]) -> None:
    pages = stage.functions.get_paginator("list_functions").paginate()
    named = [each for page in pages for each in page["Functions"] if is_of(stage, each["FunctionName"])]
    for each in named:
        variables = {name: value for name, value in each["Environment"]["Variables"].items() if name != _VARIABLE}
        stage.functions.update_function_configuration(
            FunctionName=each["FunctionName"], Environment={"Variables": variables | more}
        )


def is_of(stage: "Stage", function: str) -> bool:
    """Tell whether a function is one of the stage's."""
    return function.startswith(f"tally-{stage.name}-")
