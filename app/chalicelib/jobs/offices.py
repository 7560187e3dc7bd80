"""The daily report of offices: how many contracts each user of an office has on average."""

from typing import Annotated

import msgspec

from chalicelib import rows

Count = Annotated[int, msgspec.Meta(ge=0)]


class Row(rows.Row):
    """One office on one day."""

    office_id: Annotated[str, msgspec.Meta(min_length=1)]
    user_count: Count
    contract_count: Count


class Result(msgspec.Struct, frozen=True):
    """The figure of an office; None where it has no users."""

    office_id: str
    contracts_per_user: float | None


def process(row: Row) -> Result:
    """Compute the figure, rounded to two places."""
    figure = round(row.contract_count / row.user_count, 2) if row.user_count else None
    return Result(office_id=row.office_id, contracts_per_user=figure)
