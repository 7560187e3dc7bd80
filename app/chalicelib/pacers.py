"""The pacers of this process: an invocation waits for what those before it wrote."""

from typing import TYPE_CHECKING

from chalicelib.retry import Retry
from chalicelib.settings import ResultsTable, Settings, running_function
from chalicelib.store.pacing import Pacer, Share

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_WRITERS = ((1 / 2, ("ingest",)), (1 / 2, ("finish", "dead_letters")))
"""The functions that write for each row, and their part of it. Rows are larger than their outcomes, which a
transaction bills twice: on the sample ingest writes 46 units a thousand rows, finish 30. Other jobs return more."""

_made: dict[str, Pacer] = {}
"""By table: a process has one part of a table's capacity, however many invocations it serves."""


def rows_pacer(settings: Settings, dynamodb: "DynamoDBClient") -> Pacer:
    """Return the pacer for what this function writes of each row."""
    if settings.table not in _made:
        share = settings.write_share * _part(settings, running_function(settings.stage))
        _made[settings.table] = _pacer(dynamodb, settings.table, share)
    return _made[settings.table]


def results_pacer(results: ResultsTable, dynamodb: "DynamoDBClient") -> Pacer:
    """Return the pacer for the results table: one saver works at a time, so the whole share is its own."""
    if results.name not in _made:
        unpaced = Pacer(units_per_second=lambda: float("inf"))
        _made[results.name] = _pacer(dynamodb, results.name, results.write_share) if results.write_share else unpaced
    return _made[results.name]


def _pacer(dynamodb: "DynamoDBClient", table: str, share: float) -> Pacer:
    # A retry of its own: that of this invocation is out of time in the next.
    return Pacer(units_per_second=Share(dynamodb=dynamodb, table=table, share=share, retry=Retry()).units_per_second)


def _part(settings: Settings, function: str) -> float:
    """Return one worker's part of what rows may take: the part of its function, divided by all that may run at once."""
    part, names = next((found for found in _WRITERS if function in found[1]), _WRITERS[-1])
    return part / sum(settings.functions[name].most_at_once for name in names)
