"""Results of the commands about rows: which they are, why they failed, how long they took."""

from typing import Annotated, Any

from msgspec import Meta

from tally.results.fields import Code, Id, Line, OutcomeName, Pattern, Result, Row, Time


class TopReason(Result):
    """One of the reasons that most rows have."""

    outcome: OutcomeName
    reason: Pattern
    rows: int


class ExampleRow(Result):
    """A row of a group."""

    id: Row
    line: Line
    reason: str


class ReasonGroup(TopReason):
    """Rows that failed, or were rejected, for the same reason."""

    group: Annotated[int, Meta(description="Its number now, as `tally redrive --group` takes it.")]
    share: Annotated[float, Meta(description="Of all rows that did not succeed.")]
    codes: list[Code]
    example: ExampleRow
    redrive: Annotated[str, Meta(description="The command that runs it again, or reads it again if it was rejected.")]


class Failures(Result):
    """`tally failures`."""

    id: Id
    rows: Annotated[int, Meta(description="That did not succeed.")]
    groups: list[ReasonGroup]


class ListedRow(Result):
    """`tally rows`: a row."""

    id: Row
    chunk: int
    row: int
    line: Line
    counted_at: Time
    code: Code
    tries: int
    duration_ms: int
    outcome: OutcomeName
    reason: Annotated[str, Meta(description="Why, for people; empty if it succeeded.")]
    result: Annotated[Any, Meta(description="What the job returned; null if it did not succeed.")]
    traceback: str


class WaitingRow(Result):
    """The next try of a row that raised."""

    attempt: int
    reason: str


class FoundRow(Result):
    """`tally row`."""

    batch: Id
    id: Row
    line: Line
    cells: Annotated[dict[str, Any], Meta(description="The cells by field, as they were cleaned.")]
    outcome: Annotated[str | None, Meta(description="succeeded, failed, rejected; null while it has none.")]
    code: Code
    reason: str
    result: Annotated[Any, Meta(description="What `process` returned.")]
    tries: int | None
    duration_ms: int | None
    traceback: str
    counted_at: Annotated[str, Meta(description="Empty while it has no outcome.")]
    waiting: WaitingRow | None
    heavy: bool
    attempt: int


class Durations(Result):
    """Durations of rows, in milliseconds."""

    rows: int
    mean: float
    sigma: float
    p99: float
    longest: int


class Setting(Result):
    """Recommended settings of a function."""

    timeout_seconds: int
    enough: Annotated[bool, Meta(description="False where Lambda's limit is too short for a single row.")]
    visibility_seconds: int


class Tuned(Result):
    """`tally tune`; null is where the sample says too little."""

    chunks: int
    dead_lettered: int
    light: Durations | None
    heavy: Durations | None
    process: Setting | None
    process_heavy: Setting | None
    routed: Setting | None
    routing_pays: bool
    heavy_above_ms: float
    shares: Annotated[dict[str, float], Meta(description="Which share of all rows took longer than what is named.")]
