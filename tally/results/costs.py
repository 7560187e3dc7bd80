"""Results of `tally cost`, and the cost that other commands show."""

from typing import Annotated

from msgspec import Meta

from tally.results.fields import Id, Result


class Function(Result):
    """The use of a function."""

    invocations: float
    gb_seconds: float


class Messages(Result):
    """Messages of the work queues."""

    count: int
    estimated: bool


class Cost(Result):
    """The use and the cost of a batch."""

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
