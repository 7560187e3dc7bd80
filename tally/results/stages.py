"""Results of the commands that make stages, and of those for developers."""

from typing import Annotated, Any

from msgspec import Meta

from tally.results.batches import Audited, Progress
from tally.results.costs import Cost
from tally.results.fields import Result


class Up(Result):
    """`tally up`, and `tally deploy`: what a stage's resources are called."""

    stage: str
    endpoint: Annotated[str | None, Meta(description="Where the local AWS is; null in AWS.")]
    table: str
    inbox_bucket: str
    event_bus: str
    completions_queue_url: str


class Removed(Result):
    """`tally down`: a stage that is gone."""

    stage: str
    stopped: Annotated[int | None, Meta(description="The process of the local AWS, if it ran.")]
    console: Annotated[int | None, Meta(description="The process of the console that the demo left, if it ran.")]
    removed: Annotated[str | None, Meta(description="The folder, if there was one.")]


class Planned(Result):
    """`tally deploy --plan`."""

    stage: str
    summary: str
    changes: list[str]


class Destroyed(Result):
    """`tally destroy`: what was there."""

    stage: str
    functions: list[str]
    resources: int


class Sampled(Result):
    """`tally sample`: the file, and the outcomes to expect."""

    rows: int
    succeeded: int
    failed: int
    rejected: int
    file: str


class Expected(Result):
    """The outcomes that a sample must give."""

    rows: int
    succeeded: int
    failed: int
    rejected: int


class Demonstrated(Progress):
    """`tally demo`."""

    audit: Audited
    expected: Annotated[Expected | None, Meta(description="Null for a file of your own.")]
    problems: Annotated[list[str], Meta(description="What is not as it had to be.")]
    cost: Cost
    console: Annotated[str | None, Meta(description="The address of the console that was left running; has its token.")]


Environment = Annotated[
    dict[str, str], Meta(description="`tally env`: variables by name; of a local stage also `log`, a file.")
]


class Change(Result):
    """A call of a handler that changes something in AWS."""

    service: str
    operation: str
    request: Annotated[dict[str, Any], Meta(description="As it is sent; binary values are base64.")]
    refused: Annotated[str, Meta(description="The error code of AWS, or empty.")]


class Invoked(Result):
    """`tally invoke HANDLER`."""

    handler: str
    stage: Annotated[str | None, Meta(description="Null in memory.")]
    dry_run: bool
    event: Annotated[Any, Meta(description="What the handler got.")]
    answer: Annotated[Any, Meta(description="What it returned; null if it raised.")]
    error: Annotated[str, Meta(description="What it raised, or empty; the exit status is 1 then.")]
    changes: Annotated[list[Change], Meta(description="In order; of a dry run, none of them was made.")]
    logs: Annotated[list[Any], Meta(description="What it logged: an object for a line of JSON, else text.")]


class Handler(Result):
    """`tally invoke`: a handler of app.py."""

    handler: str
    does: str
    takes: str
    sample: Annotated[str, Meta(description="A file with an event for it, from the repository's root.")]


class Console(Result):
    """`tally ui`, as it begins to serve."""

    stage: str
    url: Annotated[str, Meta(description="The address to open; it has the token.")]
    read_only: bool
    show_data: bool
