"""Bank transactions: normalise each to euros, with a fee and a risk band."""

from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Literal

import msgspec

from chalicelib import rows
from chalicelib.errors import PermanentError

_EUROS = {
    "EUR": Decimal(1),
    "USD": Decimal("0.92"),
    "GBP": Decimal("1.17"),
    "CHF": Decimal("1.05"),
    "JPY": Decimal("0.0061"),
    "SEK": Decimal("0.088"),
    "NOK": Decimal("0.086"),
    "DKK": Decimal("0.134"),
    "PLN": Decimal("0.23"),
    "CZK": Decimal("0.040"),
}
"""Fixed sample rates: a real job would read the day's own."""
_FEES = {"card": Decimal("0.009"), "transfer": Decimal("0.001"), "cash": Decimal("0.02"), "direct_debit": Decimal(0)}
_CENT = Decimal("0.01")
_MOST = Decimal(10**12)
_HIGH_RISK = 0.8

Code = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Country = Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]


class Row(rows.Row, kw_only=True):
    """One transaction as the bank exports it."""

    transaction_id: Annotated[str, msgspec.Meta(pattern="^T[0-9]{10}$")]
    account_id: Annotated[str, msgspec.Meta(pattern="^A[0-9]{8}$")]
    booked_at: Annotated[datetime, msgspec.Meta(tz=True)]
    value_date: date
    amount: Decimal
    currency: Code
    direction: Literal["credit", "debit"]
    counterparty_name: str
    counterparty_iban: str | None = None
    category: str
    country: Country
    channel: Literal["card", "transfer", "cash", "direct_debit"]
    merchant_code: Annotated[str, msgspec.Meta(pattern="^[0-9]{4}$")] | None = None
    reference: str | None = None
    note: str | None = None
    risk_score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse an amount that is no sum of money; the direction says its sign."""
        if not (self.amount.is_finite() and 0 < self.amount < _MOST and self.amount == self.amount.quantize(_CENT)):
            raise ValueError(f"amount must be above 0, below {_MOST:,} and in whole cents, got {self.amount}")


class Result(msgspec.Struct, frozen=True):
    """The result for a transaction: money in euros, to the cent, signed by direction."""

    id: str
    eur: Decimal
    fee: Decimal
    high_risk: bool


def process(row: Row) -> Result:
    """Convert one transaction; raises PermanentError for a currency without a rate: trying again finds none either."""
    rate = _EUROS.get(row.currency)
    if rate is None:
        raise PermanentError(f"no exchange rate for {row.currency}")
    eur = (row.amount * rate).quantize(_CENT, ROUND_HALF_EVEN)
    return Result(
        id=row.transaction_id,
        eur=eur if row.direction == "credit" else -eur,
        fee=(eur * _FEES[row.channel]).quantize(_CENT, ROUND_HALF_EVEN),
        high_risk=(row.risk_score or 0) >= _HIGH_RISK,
    )
