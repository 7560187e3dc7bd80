"""The parts that results of several commands share: their base, and the types of common fields."""

from typing import Annotated

import msgspec
from msgspec import Meta

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
    """The base of every command's result: exactly its fields; a field says if it may be left out."""
