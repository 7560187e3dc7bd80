"""Results of the commands about batches."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Id = Annotated[str, Meta(description="A batch's whole id.")]
Time = Annotated[str, Meta(description="ISO 8601, UTC.")]
Row = Annotated[str, Meta(description="CHUNK:ROW, as --row and --rows take it.")]
Line = Annotated[int | None, Meta(description="Where the row begins in the file; null if that is not known.")]
Code = Annotated[str, Meta(description="Why the row failed, for programs; empty if it succeeded.")]
OutcomeName = Annotated[str, Meta(description="succeeded, failed or rejected.")]
Pattern = Annotated[str, Meta(description="A reason whose values are taken out; * stands for one.")]
HoldName = Annotated[str, Meta(description="paused, cancelled, threshold, or empty.")]

Parent = Annotated[str, Meta(description="The batch of whose results it is made, or empty.")]
Then = Annotated[str, Meta(description="The job that takes its results, or should have; empty until that is decided.")]
Child = Annotated[str, Meta(description="The batch that its results became, or empty.")]
NotChained = Annotated[
    str,
    Meta(
        description="Why they became none, or empty: "
        "failures, stopped, no_results, no_job, unfit, too_deep or file_gone."
    ),
]


class Result(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a command prints: nothing but these fields, all of them unless they say when they are left out."""


class Source(Result):
    """The object that a batch was made of."""

    bucket: str
    key: str
    version: str


class Unpacking(Result):
    """How far a gzip file is unpacked."""

    bytes_read: int


class Waiting(Result):
    """Rows that raised and wait for their next try."""

    rows: int
    reason: str


class Function(Result):
    """What a function took."""

    invocations: float
    gb_seconds: float


class Messages(Result):
    """Messages of the work queues."""

    count: int
    estimated: bool


class Cost(Result):
    """What a batch took and cost."""

    rows: int
    chunks: int
    sampled_chunks: int
    write_units: float
    write_units_per_row: float
    read_units: float
    requests: Annotated[dict[str, float], Meta(description="Requests by service.")]
    results_bytes: Annotated[int, Meta(description="Of the files of results of all attempts, 0 where there are none.")]
    redriven_rows: int
    work_messages: Messages
    job_seconds: float
    functions: Annotated[dict[str, Function], Meta(description="By the handler's name.")]
    dollars: Annotated[dict[str, float], Meta(description="Dollars by service.")]
    dollars_total: float
    dollars_per_million_rows: float
    prices_of: Annotated[str, Meta(description="The day that the prices were looked up.")]


class Standing(Result):
    """Something that costs while nothing runs."""

    name: str
    amount: str
    dollars_a_month: float


class BatchCost(Cost):
    """`tally cost ID`."""

    id: Id


class StageCost(Result):
    """`tally cost` without a batch: what a stage costs while nothing runs."""

    stage: str
    items: list[Standing]
    dollars_a_month: float
    prices_of: str


class Submitted(Result):
    """`tally submit` without --watch."""

    id: Id
    stage: str


class Fetched(Result):
    """`tally results`: the files of an export, and where they are."""

    id: Id
    attempt: int
    folder: Annotated[str | None, Meta(description="The folder that they are in now; null for one file.")]
    file: Annotated[str | None, Meta(description="The one file that has all results; null for a folder.")]
    files: int
    rows: int
    succeeded: int
    failed: int
    rejected: int
    formula_rows: Annotated[
        int,
        Meta(description="Rows of CSV files with a cell that a spreadsheet takes for a formula."),
    ]
    expires_at: Annotated[str | None, Meta(description="When the stage deletes its files; null for never.")]


class Announced(Result):
    """`tally events`: an event; with --follow each is a document of its own, one a line of the output."""

    at: Annotated[str, Meta(description="When what it tells of was done: ISO 8601, UTC.")]
    detail_type: Annotated[str, Meta(description="Batch Completed, Batch Stopped, Batch Rejected or Batch Exported.")]
    detail: Annotated[dict[str, Any], Meta(description="As subscribers got it: docs/schemas/events has what is in it.")]


class Verified(Result):
    """`tally verify`."""

    id: Id
    attempt: int
    rows: int
    whole: Annotated[bool, Meta(description="Whether every row is there once and in order, and nothing was changed.")]
    problems: Annotated[list[str], Meta(description="What is wrong, a sentence each, with the name of its file.")]


class ResultsState(Result):
    """Where the results of a batch's last attempt are."""

    state: Annotated[
        str,
        Meta(
            description="later (the batch has not ended), none (rejected, or results are turned off), writing, written "
            "or expired."
        ),
    ]
    files: Annotated[int, Meta(description="How many there will be beside the manifest; 0 where none is begun.")]
    files_written: int
    exported_at: Annotated[str, Meta(description="When the manifest was announced; empty before.")]
    place: Annotated[str, Meta(description="The folder as s3://bucket/prefix/; empty where there is none.")]
    expires_at: Annotated[str | None, Meta(description="When the files are deleted; null for never, or none.")]


class Progress(Result):
    """Where a batch stands."""

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


class UnsavedRow(Result):
    """A row that succeeded and is not in the results table."""

    id: Row
    line: Line
    code: Annotated[str, Meta(description="no_key, key_not_text, key_too_long, too_large or not_storable.")]
    reason: Annotated[str, Meta(description="Why, for people.")]


class Saving(Result):
    """How far the results of a batch's last attempt are put into the results table."""

    key: Annotated[str, Meta(description="The column, or field of the result, that the job's KEY names.")]
    rows: Annotated[int, Meta(description="That succeeded, and are to be saved.")]
    saved: int
    superseded: Annotated[int, Meta(description="Whose key is in a newer row, of the file or of a newer one.")]
    unsaved: Annotated[int, Meta(description="That the table cannot take.")]
    write_units: Annotated[int, Meta(description="Of the results table, that saving has taken.")]
    begun_at: Time
    saved_at: Annotated[str, Meta(description="Empty until all of them are.")]
    unsaved_rows: Annotated[list[UnsavedRow], Meta(description="At most 1,000 of those that are not saved.")]


class KeyedResult(Result):
    """`tally result`."""

    job: str
    key: str
    result: Annotated[Any, Meta(description="What the job returned.")]
    batch: Id
    attempt: int
    line: Line
    created_at: Annotated[str, Meta(description="When the batch of its file was made: ISO 8601, UTC.")]
    age_seconds: Annotated[float, Meta(description="Since then.")]
    expires_at: Annotated[int | None, Meta(description="In seconds since 1970; null for never.")]


class Status(Progress):
    """`tally status`, and `tally submit --watch`. `cost` is null until the end, left out with --no-cost.

    `saving` is null where no results are saved by key.
    """

    saving: Saving | None
    reasons: Annotated[list[TopReason], Meta(description="At most five of each outcome.")]
    cost: Cost | UnsetType | None = UNSET


class Exported(Result):
    """Where the files of results are."""

    bucket: str
    prefix: Annotated[str, Meta(description="What the keys of all files begin with.")]
    manifest: Annotated[str, Meta(description="The key of manifest.json, which names the others.")]
    expires_at: Annotated[str | None, Meta(description="When the stage deletes them; null for never.")]


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
    """What `tally redrive --from` found in the file."""

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
    """What a row waits for that raised."""

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


class Difference(Result):
    """Something that does not agree."""

    where: str
    what: str


class Repairs(Result):
    """What --repair did."""

    planned_again: bool
    chunks_sent: int
    rows_sent: int
    counters_repaired: Annotated[list[str], Meta(description="What was wrong, in words.")]
    chunks_closed: int
    completed: bool
    events_published: int
    pieces_sent: Annotated[int, Meta(description="How many files of the results were asked for again.")]


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


class Durations(Result):
    """How long rows took, in milliseconds."""

    rows: int
    mean: float
    sigma: float
    p99: float
    longest: int


class Setting(Result):
    """What a function should have."""

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
