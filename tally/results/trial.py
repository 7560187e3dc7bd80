"""Results of `tally try`."""

from typing import Annotated, Any

from msgspec import Meta

from tally.results.costs import Cost
from tally.results.fields import Code, HoldName, Line, Result
from tally.results.rows import TopReason


class TriedExample(Result):
    """A row of a group."""

    line: Line
    reason: str


class TriedReason(TopReason):
    """Rows that failed, or were rejected, for the same reason."""

    share: Annotated[float, Meta(description="Of all rows that did not succeed.")]
    codes: list[Code]
    example: TriedExample


class FirstResult(Result):
    """One of the first rows that succeeded."""

    line: Line
    result: Annotated[Any, Meta(description="What `process` returned.")]


class RowSeconds(Result):
    """Durations of `process` for a row, in seconds; 0 if it never ran."""

    p50: float
    p99: float
    longest: float
    mean: float


class Estimate(Cost):
    """The estimate for the whole file on a stage with the default settings."""

    scaled: Annotated[bool, Meta(description="Whether only a part was tried, so that the rest is taken to be like it.")]
    share_tried: Annotated[float, Meta(description="The part of the file's bytes that was tried.")]
    seconds: Annotated[float, Meta(description="From upload to event.")]
    seconds_of_retries: Annotated[float, Meta(description="Those in which rows wait for their next try.")]
    limited_by: Annotated[str, Meta(description="What most of the seconds are spent on.")]
    concurrency: Annotated[dict[str, int], Meta(description="How many of each function run at once.")]


class Tried(Result):
    """`tally try`."""

    job: str
    file: str
    rows: Annotated[int, Meta(description="That were tried.")]
    succeeded: int
    failed: int
    rejected: int
    whole: Annotated[bool, Meta(description="Whether every row of the file was tried.")]
    interrupted: bool
    reason: Annotated[str, Meta(description="Why a stage would reject the file; else empty.")]
    hold: HoldName
    reasons: Annotated[list[TriedReason], Meta(description="The groups of reasons, the largest first.")]
    results: Annotated[list[FirstResult], Meta(description="At most five.")]
    calls: Annotated[int, Meta(description="How often `process` was called.")]
    row_seconds: RowSeconds
    estimate: Annotated[Estimate | None, Meta(description="Null if no row was tried.")]


class Cell(Result):
    """A cell of a row, as it is cleaned."""

    column: Annotated[str, Meta(description="As the header says; empty for a cell beyond it.")]
    cell: str


class TriedRow(Result):
    """`tally try --line`."""

    job: str
    file: str
    line: Line
    cells: list[Cell]
    fields: Annotated[dict[str, str], Meta(description="What the cells were parsed to, as Python shows it.")]
    outcome: Annotated[str | None, Meta(description="succeeded, failed or rejected.")]
    code: Code
    reason: str
    result: Annotated[Any, Meta(description="What `process` returned.")]
    tries: int | None
    heavy: bool
    traceback: Annotated[str, Meta(description="Of the last try, from the job on.")]
