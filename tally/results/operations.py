"""Results of the commands that look at a stage's parts, and of any command that fails."""

from typing import Annotated

from msgspec import Meta

from tally.results.fields import Result, Time


class Failed(Result):
    """The result of any command that fails, in place of its own."""

    error: Annotated[str, Meta(description="What went wrong, and where.")]
    hint: Annotated[str, Meta(description="What to do.")]
    exit_status: Annotated[int, Meta(description="The exit status of the process, as in `tally --help`.")]
    detail: Annotated[str, Meta(description="The words of a tool that failed, or empty.")]


class Queue(Result):
    """A queue; null is what is not known, and all of a queue that does not exist."""

    name: str
    queue: Annotated[str, Meta(description="Its name in SQS.")]
    url: str
    visible: Annotated[int | None, Meta(description="Messages that wait for a worker.")]
    in_flight: Annotated[int | None, Meta(description="Messages that are with a worker.")]
    delayed: Annotated[int | None, Meta(description="Messages that are not to be seen yet.")]
    oldest_seconds: Annotated[float | None, Meta(description="How long the oldest waits, as CloudWatch measured it.")]
    dead_letters: Annotated[int | None, Meta(description="Messages in its dead-letter queue, if it has one.")]


class Queues(Result):
    """`tally queues`."""

    stage: str
    queues: list[Queue]


class Letter(Result):
    """A dead letter; null is what it does not say."""

    id: str
    sent_at: str | None
    receives: int
    batch: str | None
    chunk: int | None
    why: str
    body: str


class DeadQueue(Result):
    """A queue of dead letters, and what the command did about them."""

    name: str
    url: str
    waiting: Annotated[int | None, Meta(description="Letters before the command; null if there is no such queue.")]
    section: Annotated[str, Meta(description="The section of docs/runbook.md that says what to do.")]
    letters: Annotated[list[Letter], Meta(description="With --show.")]
    redriven: int
    discarded: Annotated[list[str], Meta(description="The ids of the dead letters that were deleted.")]


class Dead(Result):
    """`tally dead`."""

    stage: str
    queues: list[DeadQueue]


class Logged(Result):
    """`tally logs`: a line; with --follow each is a document of its own, one a line of the output."""

    at: Time
    function: str
    level: Annotated[str, Meta(description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")]
    message: Annotated[str, Meta(description="The line as it was logged, mostly JSON itself.")]


class Finding(Result):
    """The result of a check."""

    check: str
    subject: str
    state: Annotated[str, Meta(description="ok, skipped, unknown, warning or failed.")]
    saw: str
    action: str


class Examined(Result):
    """`tally doctor`."""

    stage: str
    worst: str
    findings: list[Finding]


class Probe(Result):
    """The result of a probe."""

    probe: str
    expected: str
    seen: str
    verdict: str
    seconds: float


class Proved(Result):
    """`tally prove`."""

    stage: str
    passed: Annotated[bool, Meta(description="Whether every probe that could be made passed, and one could.")]
    probes: list[Probe]


class Cleaned(Result):
    """`tally prove --clean`."""

    stage: str
    removed: bool
