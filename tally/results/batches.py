"""Results of the commands about a whole batch."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from tally.results.costs import Cost
from tally.results.fields import Child, HoldName, Id, NotChained, Parent, Result, Then, Time
from tally.results.files import Exported, ResultsState, Saving
from tally.results.rows import TopReason


class Source(Result):
    """The object that a batch was made of."""

    bucket: str
    key: str
    version: str


class Unpacking(Result):
    """The progress of unpacking a gzip file."""

    bytes_read: int


class Waiting(Result):
    """Rows that raised and wait for their next try."""

    rows: int
    reason: str


class LostRuns(Result):
    """Runs over rows of open chunks that seem to have died: the worker crashed, or ran out of time or memory."""

    runs: Annotated[int, Meta(description="Without the newest over each message, which may still run.")]
    chunks: Annotated[list[int], Meta(description="The chunks of their rows.")]
    last_tried_at: Annotated[str, Meta(description="When the rows of such a message were last tried; else empty.")]


class Submitted(Result):
    """`tally submit` without --watch."""

    id: Id
    stage: str


class Progress(Result):
    """The progress of a batch."""

    id: Id
    job: str
    status: Annotated[
        str, Meta(description="unpacking, planning, running, completed, completed_with_failures or rejected.")
    ]
    hold: HoldName
    reason: Annotated[str, Meta(description="Why the file was rejected, or why the batch ended; else empty.")]
    source: Source
    size: Annotated[int, Meta(description="Bytes of the file.")]
    unpacking: Unpacking | None
    rows: Annotated[int, Meta(description="Rows found, so far while it is planned.")]
    succeeded: int
    failed: int
    rejected: int
    waiting: Waiting
    chunks: int
    planned: Annotated[bool, Meta(description="Whether every chunk is known.")]
    chunks_closed: int
    attempt: Annotated[int, Meta(description="1, and one more with each redrive.")]
    created_at: Time
    completed_at: Annotated[str, Meta(description="Empty while it runs.")]
    results: ResultsState
    rows_expire_at: Annotated[str, Meta(description="When rows and their outcomes may be deleted. ISO 8601, UTC.")]
    parent: Parent
    parent_attempt: Annotated[int | None, Meta(description="The attempt whose results they are; null without parent.")]
    then: Then
    child: Child
    not_chained: NotChained


class Status(Progress):
    """`tally status`, and `tally submit --watch`. `cost` is null until the end, left out with --no-cost.

    `saving` is null where no results are saved by key.
    """

    saving: Saving | None
    reasons: Annotated[list[TopReason], Meta(description="At most five of each outcome.")]
    lost_runs: LostRuns
    cost: Cost | UnsetType | None = UNSET


class Waited(Progress):
    """`tally wait`; `exported` is null without --exported, and for a file that was rejected."""

    exported: Exported | None


class LeftOut(Result):
    """A line of a corrected file that cannot run."""

    line: Annotated[int, Meta(description="Where it begins in that file.")]
    kind: Annotated[
        Literal["unreadable", "unnamed", "invalid", "twice", "too_large", "unknown", "succeeded", "pending"],
        Meta(description="Why, for programs: docs/failures.md says what each means."),
    ]
    what: Annotated[str, Meta(description="Why, for people.")]


class Corrections(Result):
    """The content of the file of `tally redrive --from`."""

    dry_run: Annotated[bool, Meta(description="Nothing was changed: `rows` would run.")]
    rows: Annotated[int, Meta(description="Rows that run again as they were corrected.")]
    already: Annotated[int, Meta(description="Rows that an earlier run with this file took back.")]
    left_out: Annotated[int, Meta(description="Lines that cannot run, with --skip-invalid.")]
    problems: Annotated[list[LeftOut], Meta(description="The first 50 of these.")]
    key: Annotated[str, Meta(description="The object with the corrected rows in the inbox, empty without one.")]
    sha256: str


class Redriven(Result):
    """`tally redrive`."""

    id: Id
    redriven: Annotated[int, Meta(description="Rows that run, or are read, again.")]
    attempt: int
    lifted: Annotated[str, Meta(description="The hold that was lifted, or empty.")]
    corrected: Corrections | UnsetType = UNSET
    """With --from."""


class Followed(Progress):
    """`tally redrive --watch`."""

    redriven: int
    lifted: str
    corrected: Corrections | UnsetType = UNSET
    """With --from."""


class Listed(Result):
    """`tally list`: a batch."""

    id: Id
    job: str
    status: str
    hold: HoldName
    rows: int
    succeeded: int
    failed: int
    rejected: int
    created: Annotated[str, Meta(description="To the second, UTC.")]
    file: Annotated[str, Meta(description="The key in the inbox.")]
    reason: str
    parent: Parent
    parent_attempt: int | None
    then: Then
    child: Child
    not_chained: NotChained


class Difference(Result):
    """Something that does not agree."""

    where: str
    what: str


class Repairs(Result):
    """The repairs of --repair."""

    planned_again: bool
    chunks_sent: int
    rows_sent: int
    counters_repaired: Annotated[list[str], Meta(description="What was wrong, in words.")]
    chunks_closed: int
    completed: bool
    events_published: int
    pieces_sent: Annotated[int, Meta(description="How many files of the results were asked for again.")]
    chain_asked: Annotated[bool, Meta(description="Whether the next job was asked again to take the results.")]


class Audited(Result):
    """`tally audit`; `repairs` is there with --repair."""

    id: Id
    status: str
    exact: Annotated[bool, Meta(description="Whether every counter says what the markers say.")]
    chunks: int
    markers: Annotated[int, Meta(description="Rows in markers.")]
    pending: int
    succeeded: int
    failed: int
    rejected: int
    differences: list[Difference]
    repairs: Repairs | UnsetType = UNSET


class Held(Result):
    """`tally pause`, `resume` and `cancel`."""

    id: Id
    changed: bool
    status: str
    hold: HoldName
