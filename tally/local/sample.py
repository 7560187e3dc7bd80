"""Made-up bank transactions: a file for the ``transactions`` job whose outcomes are known beforehand."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

HEADER = (
    "transaction_id,account_id,booked_at,value_date,amount,currency,direction,counterparty_name,counterparty_iban,"
    "category,country,channel,merchant_code,reference,note,risk_score"
)
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK", "DKK", "PLN", "CZK")
"""Currencies with a rate in the job."""
UNKNOWN_CURRENCY = "XXX"

_EVERY = 100
"""One row in a hundred is bad."""
_FLUSH_ROWS = 5_000
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS = 300
# The last three need cleaning: blanks around and inside, a letter in two code points, a control character.
_NAMES = (
    "Kovac & Daughters", "Blue Harbour Foods", "\u00c5kerlund Bygg AB", "Caf\u00e9 Lumi\u00e8re", "Nordlys Energi",
    '"Weaver, Finch and Partners"', "Municipal Water Works", "Zielony Ogr\u00f3d", "Hotel Seeblick", "Orchard Books",
    "  Padded   Trading Ltd ", "Re\u0301sidence du Parc", "Bell\x07 Tower Clinic",
)  # fmt: skip
_CATEGORIES = ("groceries", "salary", "rent", "utilities", "travel", "health", "insurance", "leisure", "fees")
_COUNTRIES = ("DE", "FR", "NL", "SE", "PL", "CH", "GB", "US", "JP", "CZ")
_CHANNELS = ("card", "transfer", "cash", "direct_debit")
_NOTES = (
    "",
    "",
    "",
    "",
    "paid in full",
    '"first line\nsecond line"',
    '"he said ""soon"""',
    " seen  twice ",
    "\u00fcber Nacht",
)
_OFFSETS = ("Z", "+01:00", "+02:00", "-05:00")

Cells = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The outcomes to expect of a sample."""

    rows: int
    succeeded: int
    failed: int
    rejected: int


def _too_short(cells: Cells) -> bytes:
    return ",".join(cells[:-3]).encode()


def _too_long(cells: Cells) -> bytes:
    return ",".join([*cells, "surplus"]).encode()


def _not_utf8(cells: Cells) -> bytes:
    cells[7] = "Cr\u00eaperie Andr\u00e9"
    cells[14] = ""
    return ",".join(cells).encode("latin-1")


def _no_amount(cells: Cells) -> bytes:
    cells[4] = "12;50"
    return ",".join(cells).encode()


def _empty(cells: Cells) -> bytes:
    return ("," * (len(cells) - 1)).encode()


def _no_currency(cells: Cells) -> bytes:
    cells[5] = "euro"
    return ",".join(cells).encode()


def _no_direction(cells: Cells) -> bytes:
    cells[6] = "sideways"
    return ",".join(cells).encode()


def _header_again(_cells: Cells) -> bytes:
    return HEADER.encode()


def _no_rate(cells: Cells) -> bytes:
    cells[5] = UNKNOWN_CURRENCY
    return ",".join(cells).encode()


REJECTED: tuple[Callable[[Cells], bytes], ...] = (
    _too_short, _too_long, _not_utf8, _no_amount, _empty, _no_currency, _no_direction, _header_again,
)  # fmt: skip
"""Changes that make a row invalid, so that ingest rejects it."""
FAILED: tuple[Callable[[Cells], bytes], ...] = (_no_rate, _no_rate)
"""Changes that make a valid row fail in the job's function."""
BAD = (*FAILED, *REJECTED)


def expected(rows: int) -> Expected:
    """Return the outcomes to expect of a sample of this many rows; bad rows follow a schedule."""
    bad = rows // _EVERY
    failed = sum(BAD[number % len(BAD)] in FAILED for number in range(bad))
    return Expected(rows=rows, succeeded=rows - bad, failed=failed, rejected=bad - failed)


def write(target: BinaryIO, rows: int, *, seed: int = 1) -> Expected:
    """Write a sample in bounded memory and return the outcomes to expect; the same seed writes the same bytes."""
    target.write(HEADER.encode() + b"\n")
    lines: list[bytes] = []
    for line in _lines(rows, random.Random(seed)):
        lines.append(line)
        if len(lines) == _FLUSH_ROWS:
            target.write(b"\n".join(lines) + b"\n")
            lines.clear()
    if lines:
        target.write(b"\n".join(lines) + b"\n")
    return expected(rows)


def write_file(path: Path, rows: int, *, seed: int = 1) -> Expected:
    """Write a sample into a file, and its folders if they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        return write(target, rows, seed=seed)


def _lines(rows: int, rng: random.Random) -> Iterator[bytes]:
    days = [(_FIRST_DAY + timedelta(days=day)).date() for day in range(_DAYS)]
    bad_place = 0
    for number in range(rows):
        if number % _EVERY == 0:
            bad_place = number + rng.randrange(_EVERY)
        cells = _cells(number, rng, days)
        # The last, incomplete hundred has no bad row, so that the schedule holds for any number of rows.
        if number == bad_place and number // _EVERY < rows // _EVERY:
            yield BAD[number // _EVERY % len(BAD)](cells)
        else:
            yield ",".join(cells).encode()


def _cells(number: int, rng: random.Random, days: list[date]) -> Cells:
    dice = int(rng.random() * 1_000_000_007)  # one call for all the choices: this runs a million times
    day = dice % _DAYS
    channel = _CHANNELS[dice % 4]
    seconds = dice % 86_400
    cents = dice % 250_000 + 1
    return [
        f"T{number:010d}",
        f"A{dice % 90_000_000:08d}",
        f"{days[day]}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{_OFFSETS[dice % 4]}",
        str(days[min(day + 1, _DAYS - 1)]),
        f"{cents // 100}.{cents % 100:02d}" if dice % 7 else str(cents),
        CURRENCIES[dice // 3 % len(CURRENCIES)],
        "credit" if dice % 5 == 0 else "debit",
        _NAMES[dice // 7 % len(_NAMES)],
        f"DE{dice % 100:02d}37040044{dice % 10_000_000_000:010d}" if dice % 3 else "",
        _CATEGORIES[dice // 11 % len(_CATEGORIES)],
        _COUNTRIES[dice // 13 % len(_COUNTRIES)],
        channel,
        f"{dice % 10_000:04d}" if channel == "card" else "",
        f"INV-{dice % 100_000}" if dice % 2 else "",
        _NOTES[dice // 17 % len(_NOTES)],
        f"0.{dice % 1000:03d}" if dice % 4 else "",
    ]
