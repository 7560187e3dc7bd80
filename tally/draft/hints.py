"""Hints for a column of text: advice for values that no type takes as they are written."""

import re
from collections.abc import Sequence

from tally.draft.kinds import Kind, kind_of_text

_SLASHED = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?: .*)?")
_MONTHS = 12
_MAX_DATE_CHARACTERS = 30
_LONG_YEAR = 4
_WRITTEN = (
    (re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"), "numbers with commas: float(row.{}.replace(',', ''))"),
    (re.compile(r"[+-]?\d+,\d+"), "numbers with a decimal comma: float(row.{}.replace(',', '.'))"),
    (
        re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?|[+-]?\d+,\d+"),
        "numbers with points and a decimal comma: float(row.{}.replace('.', '').replace(',', '.'))",
    ),
    (
        re.compile(r"[+-]?\d{1,3}([ \u00a0\u202f]\d{3})+(,\d+)?|[+-]?\d+(,\d+)?"),
        "numbers with spaces and a decimal comma: float(''.join(row.{}.split()).replace(',', '.'))",
    ),
    (re.compile(r"[+-]?\d+(\.\d+)? ?%"), "percentages: float(row.{}.rstrip(' %')) / 100"),
    (
        re.compile(r"[+-]?[$\u20ac\u00a3] ?\d[\d.,]*|[+-]?\d[\d.,]* ?([$\u20ac\u00a3]|[A-Z]{3})"),
        "sums of money with their currency, kept as text",
    ),
    (
        re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[+-]\d\d"),
        "times without seconds or with a short offset: dt.datetime.fromisoformat(row.{})",
    ),
    (
        re.compile(r"\d{4}([/.])\d{1,2}\1\d{1,2}(?: .*)?"),
        "dates that are not written as 2026-01-31: dt.datetime.strptime(row.{}, '%Y/%m/%d') or the like",
    ),
    (
        re.compile(r"(?i)(?=.*\d).*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*"),
        "dates with the name of the month? dt.datetime.strptime(row.{}, '%d %b %Y') or the like",
    ),
)


def hint_of(texts: Sequence[str], attribute: str) -> str:
    """Return a hint on a column from some of its texts, for use in ``process``; empty if no hint fits all."""
    if not texts or any(len(text) > _MAX_DATE_CHARACTERS for text in texts):
        return ""
    dates = [match for text in texts if (match := _SLASHED.fullmatch(text))]
    if len(dates) == len(texts):
        return _hint_of_dates(dates, attribute)
    for pattern, hint in _WRITTEN:
        if all(pattern.fullmatch(text) or kind_of_text(text) is not Kind.TEXT for text in texts):
            return hint.format(attribute)
    return ""


def _hint_of_dates(dates: Sequence[re.Match[str]], attribute: str) -> str:
    first, second = (max(int(match[group]) for match in dates) for group in (1, 3))
    mark = dates[0][2]
    year = "%Y" if len(dates[0][4]) == _LONG_YEAR else "%y"
    days, months = f"%d{mark}%m{mark}{year}", f"%m{mark}%d{mark}{year}"
    if first <= _MONTHS and second <= _MONTHS:
        return f"dates, but days or months first? dt.datetime.strptime(row.{attribute}, '{days}' or '{months}')"
    return f"dates: dt.datetime.strptime(row.{attribute}, '{days if first > _MONTHS else months}')"
