"""Results of the commands that help to write a job."""

from typing import Annotated

from msgspec import Meta

from tally.results.fields import Result


class Source(Result):
    """A file of a job."""

    path: Annotated[str, Meta(description="Below the repository.")]
    source: str


class Column(Result):
    """A column of the file, and the field that takes it."""

    header: Annotated[str, Meta(description="As it is in the file; made up where that has none.")]
    field: str
    type: str
    missing: Annotated[int, Meta(description="Cells that mean nothing.")]
    doubts: Annotated[list[str], Meta(description="What was not sure of the column.")]


class New(Result):
    """`tally new`: what was found in a file, and the job that was written after it."""

    job: str
    written: Annotated[bool, Meta(description="False with --dry-run.")]
    module: Source
    test: Source
    format: Annotated[str, Meta(description="csv or jsonl.")]
    delimiter: Annotated[str | None, Meta(description="Null for JSON lines.")]
    encoding: str
    header: Annotated[bool, Meta(description="Whether the names of the columns are in the file.")]
    nulls: Annotated[list[str], Meta(description="Cells that mean nothing, beside the empty one.")]
    rows: Annotated[int, Meta(description="Rows that were looked at.")]
    whole: Annotated[bool, Meta(description="Whether these are all of the file's.")]
    unfit: Annotated[int, Meta(description="CSV records that no job would take, for example with a cell too few.")]
    columns: list[Column]
    doubts: Annotated[list[str], Meta(description="What was not sure of the file.")]
