"""Results of the commands about the files of results, results by key, and events."""

from typing import Annotated, Any

from msgspec import Meta

from tally.results.fields import Id, Line, Result, Row, Time


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
    """The state of the results of a batch's last attempt."""

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


class Exported(Result):
    """The place of the files of results."""

    bucket: str
    prefix: Annotated[str, Meta(description="What the keys of all files begin with.")]
    manifest: Annotated[str, Meta(description="The key of manifest.json, which names the others.")]
    expires_at: Annotated[str | None, Meta(description="When the stage deletes them; null for never.")]


class UnsavedRow(Result):
    """A row that succeeded and is not in the results table."""

    id: Row
    line: Line
    code: Annotated[str, Meta(description="no_key, key_not_text, key_too_long, too_large or not_storable.")]
    reason: Annotated[str, Meta(description="Why, for people.")]


class Saving(Result):
    """The progress of saving a batch's last results into the results table."""

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
