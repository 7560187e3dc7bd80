"""A column's values in summary, and the type that takes all of them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tally.draft.hints import hint_of
from tally.draft.kinds import TOKENS, Kind, kind_of_json, kind_of_text

_STRONG = frozenset({"NA", "N/A", "#N/A", "<NA>", "NULL", "(null)", "\\N"})
"""Tokens that mean nothing also among other texts."""
_SETTLED = 5_000
"""So many texts, and more than half of the values, make a column text, whatever comes later."""
_MAX_CHOICES = 12
_ROWS_FOR_A_CHOICE = 20
_MAX_CHOICE_CHARACTERS = 40
_KEPT_TEXTS = 50
_MOST = 0.5
_MAX_SHOWN = 30

_MONEY = re.compile(
    r"(^|_)(price|amount|cost|fee|total|balance|salary|revenue|tax|paid|payment|eur|usd|gbp|chf)s?($|_)"
)
_NAMES_OF_CODES = re.compile(r"(^|_)(zip|zipcode|postal|postcode|plz|phone|mobile|fax|ssn|isbn|ean|iban|fips)($|_)")
_NAMES_OF_IDS = re.compile(r"(^|_)(id|key|code|number|no|nr)$")
_COUNTRY = re.compile("[A-Z]{2}")
_MIN_COUNTRIES = 10


@dataclass(slots=True)
class Observed:
    """The values seen in a column, in bounded memory."""

    cells: int = 0
    empty: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    texts: dict[str, None] = field(default_factory=dict)
    examples: dict[Kind, str] = field(default_factory=dict)
    choices: Counter[str] | None = field(default_factory=Counter)
    distinct: set[int] | None = field(default_factory=set)
    """The hashes of the values, until a value comes twice."""

    def add(self, values: Sequence[str]) -> None:
        """Add clean cells of a CSV file."""
        counts = Counter(values)
        self.cells += len(values)
        self.empty += counts.pop("", 0)
        settled = self._settled
        for value, count in counts.items():
            if value in TOKENS:
                self.tokens[value] += count
            else:
                self._see(Kind.TEXT if settled else kind_of_text(value), value, count)

    def add_json(self, values: Iterable[Any]) -> None:
        """Add JSON values; null counts as empty, and so does a missing field, which the caller passes as None."""
        for value in values:
            self.cells += 1
            if value is None:
                self.empty += 1
            elif isinstance(value, str) and value in TOKENS:
                self.tokens[value] += 1
            else:
                self._see(kind_of_json(value), value if isinstance(value, str) else str(value), 1)

    @property
    def _settled(self) -> bool:
        texts = self.kinds[Kind.TEXT]
        return texts > _SETTLED and texts > self.kinds.total() * _MOST

    def _see(self, kind: Kind, value: str, count: int) -> None:
        self.kinds[kind] += count
        self.examples.setdefault(kind, value)
        if kind is Kind.TEXT and len(self.texts) < _KEPT_TEXTS:
            self.texts[value] = None
        if self.choices is not None:
            self.choices[value] += count
            if len(self.choices) > _MAX_CHOICES:
                self.choices = None
        if self.distinct is not None:
            seen = hash(value)
            if count > 1 or seen in self.distinct:
                self.distinct = None
            else:
                self.distinct.add(seen)

    def nothing(self) -> frozenset[str]:
        """Return the tokens that mean nothing in this column."""
        found = frozenset(self.tokens)
        if not self.kinds or _is_text(self):
            if self.kinds and _are_countries(self):
                return frozenset()
            return found & _STRONG
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """The type of a column as it is written, without None; its doubts; and values for a made-up row."""

    annotation: str
    nullable: bool
    missing: int
    doubts: tuple[str, ...]
    example: Any


_EXAMPLES: dict[Kind, Any] = {
    Kind.INT: 1,
    Kind.FLOAT: 1.5,
    Kind.DECIMAL: "9.99",
    Kind.BOOL: True,
    Kind.DATE: "2026-01-31",
    Kind.DATETIME: "2026-01-31T12:00:00",
    Kind.TIME: "12:00:00",
    Kind.CODE: "001",
    Kind.TEXT: "text",
    Kind.ANY: [],
}


def type_of(seen: Observed, nulls: frozenset[str], attribute: str, *, whole: bool, is_json: bool = False) -> Type:
    """Return the type that takes every value seen; a wide one where a narrow one might refuse other values."""
    missing = seen.empty + sum(count for token, count in seen.tokens.items() if token in nulls)
    words = {token: count for token, count in seen.tokens.items() if token not in nulls}
    kinds = Counter(seen.kinds)
    if words:
        kinds[Kind.TEXT] += sum(words.values())
    doubts: list[str] = []
    example: Any = None
    if not kinds:
        annotation, example = Kind.TEXT.value, "text"
        doubts.append(f"none of {seen.cells:,} rows has a value: it was taken for text")
    elif choices := _choices(seen, words, kinds, whole=whole):
        annotation, example = f"Literal[{', '.join(map(quoted, choices))}]", choices[0]
        doubts.append("any other value rejects its row")
    else:
        kind = _kind(kinds, attribute, is_json=is_json)
        annotation, example = ("str" if kind is Kind.CODE else kind.value), _EXAMPLES[kind]
        doubts += _doubts(seen, kinds, kind, attribute)
    taken = [f"'{token}'" for token in sorted(seen.tokens) if token in nulls]
    if taken and _is_text(seen) and seen.kinds:
        doubts.append(f"{' and '.join(taken)} was taken for nothing, {missing - seen.empty:,} times")
    return Type(
        annotation=annotation, nullable=missing > 0 or not kinds, missing=missing, doubts=tuple(doubts), example=example
    )


def quoted(text: str) -> str:
    """Return a string literal as the formatter writes it: in double quotes unless the text has more of those."""
    written = "".join(
        f"\\{character}" if character == "\\" else character if character.isprintable() else _escaped(character)
        for character in text
    )
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + written.replace(quote, f"\\{quote}") + quote


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _kind(kinds: Counter[Kind], attribute: str, *, is_json: bool) -> Kind:
    found = {kind for kind, count in kinds.items() if count}
    if len(found) == 1 and Kind.FLOAT not in found:
        return found.pop()
    if found <= {Kind.INT, Kind.FLOAT}:
        return Kind.DECIMAL if _MONEY.search(attribute) and not is_json else Kind.FLOAT
    if found <= {Kind.INT, Kind.FLOAT, Kind.DECIMAL}:
        return Kind.DECIMAL
    return Kind.ANY if is_json and found != {Kind.TEXT} and not found <= _TEXTS else Kind.TEXT


_TEXTS = {Kind.TEXT, Kind.DATE, Kind.DATETIME, Kind.TIME, Kind.CODE}


def _is_text(seen: Observed) -> bool:
    kind = _kind(seen.kinds, "", is_json=False)
    return kind in {Kind.TEXT, Kind.CODE}


def _are_countries(seen: Observed) -> bool:
    """Tell whether texts are country codes of two capitals, among which NA is Namibia."""
    return len(seen.texts) >= _MIN_COUNTRIES and all(_COUNTRY.fullmatch(text) for text in seen.texts)


def _choices(seen: Observed, words: dict[str, int], kinds: Counter[Kind], *, whole: bool) -> list[str]:
    """Return the values of a text column that has few of them in many rows; empty otherwise."""
    if seen.choices is None or {kind for kind, count in kinds.items() if count} != {Kind.TEXT}:
        return []
    counts = Counter(seen.choices) + Counter(words)
    least_rows, least_each = (100, 5) if whole else (10_000, 100)
    enough = counts.total() >= max(least_rows, _ROWS_FOR_A_CHOICE * len(counts))
    few = 1 < len(counts) <= _MAX_CHOICES and enough and min(counts.values()) >= least_each
    return sorted(counts) if few and all(len(value) <= _MAX_CHOICE_CHARACTERS for value in counts) else []


def _doubts(seen: Observed, kinds: Counter[Kind], kind: Kind, attribute: str) -> Iterator[str]:
    if kind is Kind.INT and seen.choices is not None and set(seen.choices) == {"0", "1"}:
        yield "only 0 and 1: bool takes them, too"
    elif kind is Kind.INT and _NAMES_OF_CODES.search(attribute):
        yield "make it str if it may begin with 0 in other files"
    elif kind is Kind.INT and _NAMES_OF_IDS.search(attribute) and seen.distinct is not None:
        yield "an id? make it str if other files may have letters or zeros before it"
    elif kind is Kind.CODE or (kind is Kind.TEXT and Kind.CODE in kinds and not kinds[Kind.TEXT]):
        yield f"digits such as '{seen.examples[Kind.CODE]}' are kept as text: nothing of them is lost"
    elif kind is Kind.ANY:
        yield "values of several kinds, lists or objects: see that process takes them all"
    elif kind is Kind.TEXT:
        hint = hint_of(list(seen.texts), attribute) or _mixed(seen, kinds)
        if hint:
            yield hint


def _mixed(seen: Observed, kinds: Counter[Kind]) -> str:
    """Return the kind of most values, where a few are of another kind."""
    typed = {kind: count for kind, count in kinds.items() if count and kind is not Kind.TEXT}
    if sum(typed.values()) < kinds.total() * _MOST:
        return ""
    names = " or ".join(sorted({"digits" if kind is Kind.CODE else kind.removeprefix("dt.") for kind in typed}))
    if not kinds[Kind.TEXT]:
        return f"mixed, {names}: it was taken for text"
    odd = next(iter(seen.texts), next(iter(seen.tokens), ""))
    return (
        f"{names}, but {kinds[Kind.TEXT]:,} of {kinds.total():,} values are not, such as '{odd[:_MAX_SHOWN]}'; "
        "with that type their rows are rejected"
    )
