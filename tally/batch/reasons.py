"""Reasons in groups: one sentence with different values is one reason. Pure: knows no table and no terminal.

Each reason is read alone first: ``*`` stands for quoted text and for words with digits, and names of columns stay. Then
sentences are compared: a word with many forms, where most others are equal, is a value too. So the groups depend on
every added reason, and are made after the last one.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from chalicelib.store.items import Outcome
from chalicelib.store.marker import MAX_REASON_CHARACTERS

VALUE = "*"
"""Stands for a value in a pattern."""
MAX_FORMS = 5
"""A word that takes more forms than this is a value, if at least half of its sentence is equal."""
MAX_SENTENCES = 10_000
"""Sentences that are kept apart; all others share one pattern, so that memory is bounded."""
MAX_SAMPLES = 3
"""Rows that a group names."""
_MAX_PATTERN_CHARACTERS = 200
"""A longer sentence is cut here: its end mostly quotes a value."""

_BLANKS = re.compile(r"[\x00-\x20\x7f-\x9f\s]+")
_COLUMN = r"(?P<column>column \d+(?: '.*?'(?=: ))?|field '.*?'(?=: ))"
_GOT = r"got '.*?'(?=; column \d|; field '|; and \d|$)"
_QUOTED = r"""(?<!\w)(?P<quote>['"`]).*?(?P=quote)(?!\w)"""
_THOUSANDS = r"(?<![\w.,])[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w,])"
_WORD = r"""(?P<word>[^ '"`()\[\]{}<>,;=]+)"""
_PARTS = re.compile(f"{_COLUMN}|{_GOT}|{_QUOTED}|{_THOUSANDS}|{_WORD}")
_UNCLOSED = re.compile(r"""(?<!\w)['"`](?!.*['"`](?!\w)).*$""")
"""A quote that a reason's cut has left open."""
_IS_VALUE = re.compile(r"\d|@|://")
_NAMES = re.compile(r"(?:utf-?(?:8|16|32)|latin-1|iso-8859-\d+|u?int\d+|float\d+|base64|sha256|md5)", re.IGNORECASE)
"""Words with digits that are not values."""
_EXCEPTION = re.compile(r"(?:Error|Exception):$")
_REPEATED = re.compile(r"\*(?:[ ,]+\*)+")
_JOINED = "\0"
"""Stands for a blank in the name of a column while a sentence is taken apart; no reason has one by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """The reason of one row, for grouping; ``row`` is the row's name, ``line`` is 0 if it is not known."""

    outcome: Outcome
    text: str
    code: str = ""
    row: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one outcome whose reasons have one pattern.

    ``example`` is the first row that was added, ``samples`` are the first few.
    """

    outcome: Outcome
    pattern: str
    rows: int
    example: Reason
    codes: tuple[str, ...] = ()
    samples: tuple[Reason, ...] = ()

    @property
    def key(self) -> tuple[Outcome, str]:
        """The outcome and the pattern, which no other group shares."""
        return (self.outcome, self.pattern)


@dataclass(slots=True)
class _Sentence:
    samples: list[Reason] = field(default_factory=list)
    rows: int = 0
    codes: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Reasons:
    """Takes reasons one by one, in bounded memory."""

    _sentences: dict[tuple[Outcome, str], _Sentence] = field(default_factory=dict)

    def add(self, reason: Reason, rows: int = 1) -> None:
        """Take the reason of a row, or of several."""
        key = (reason.outcome, _sentence(reason.text))
        if key not in self._sentences and len(self._sentences) >= MAX_SENTENCES:
            key = (reason.outcome, VALUE)
        found = self._sentences.setdefault(key, _Sentence())
        found.rows += rows
        if len(found.samples) < MAX_SAMPLES:
            found.samples.append(reason)
        if reason.code:
            found.codes.add(reason.code)

    def grouped(self) -> "Grouping":
        """Return the groups of what was added."""
        patterns: dict[tuple[Outcome, str], str] = {}
        for outcome in Outcome:
            sentences = [sentence for of, sentence in self._sentences if of is outcome]
            patterns |= {(outcome, sentence): pattern for sentence, pattern in _patterns(sentences).items()}
        members: dict[tuple[Outcome, str], list[_Sentence]] = defaultdict(list)
        for key, sentence in self._sentences.items():
            members[key[0], patterns[key]].append(sentence)
        groups = [
            Group(
                outcome=outcome,
                pattern=pattern,
                rows=sum(each.rows for each in found),
                example=found[0].samples[0],
                samples=tuple(sample for each in found for sample in each.samples)[:MAX_SAMPLES],
                codes=tuple(sorted(set().union(*(each.codes for each in found)))),
            )
            for (outcome, pattern), found in members.items()
        ]
        # The pattern decides between groups of one size, so that the same rows are numbered the same.
        groups.sort(key=lambda group: (-group.rows, group.outcome, group.pattern))
        return Grouping(groups=tuple(groups), patterns=patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The groups of reasons, the largest first; every reason that was added belongs to exactly one."""

    groups: tuple[Group, ...]
    patterns: Mapping[tuple[Outcome, str], str]

    @property
    def rows(self) -> int:
        """Rows of all groups."""
        return sum(group.rows for group in self.groups)

    def find(self, outcome: Outcome, pattern: str) -> Group | None:
        """Return the group that has a pattern."""
        wanted = (outcome, normal(pattern))
        return next((group for group in self.groups if group.key == wanted), None)

    def group_of(self, outcome: Outcome, reason: str) -> tuple[Outcome, str] | None:
        """Return the key of a reason's group; None for a sentence that was never added."""
        pattern = self.patterns.get((outcome, _sentence(reason)))
        if pattern is None and len(self.patterns) >= MAX_SENTENCES:
            pattern = self.patterns.get((outcome, VALUE))
        return None if pattern is None else (outcome, pattern)


def matches(pattern: str, reason: str) -> bool:
    """Tell whether a whole reason fits a pattern, in which ``*`` is any text, in time linear in the reason."""
    text = normal(reason)
    first, *rest = normal(pattern).split(VALUE)
    if not rest:
        return text == first
    if not text.startswith(first):
        return False
    at, (*between, last) = len(first), rest
    for part in between:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - at >= len(last) and text.endswith(last)


def pattern_of(reason: str) -> str:
    """Return a reason with ``*`` for each value that shows by itself: quoted text, and words with digits."""
    return _sentence(reason).replace(_JOINED, " ")


def normal(text: str) -> str:
    """Return a text on one line, with single blanks and without control characters."""
    return _BLANKS.sub(" ", text).strip()


@lru_cache(maxsize=1024)
def _sentence(reason: str) -> str:
    """Return a reason with ``*`` for each value that shows by itself; column names stay joined."""
    text = normal(reason)
    if len(reason) >= MAX_REASON_CHARACTERS:
        text = _UNCLOSED.sub(VALUE, text)
    masked = _REPEATED.sub(VALUE, _PARTS.sub(_masked, text))
    if len(masked) > _MAX_PATTERN_CHARACTERS:
        masked = masked[:_MAX_PATTERN_CHARACTERS].rpartition(" ")[0] + " " + VALUE
        masked = _REPEATED.sub(VALUE, masked)
    return masked


def _masked(part: re.Match[str]) -> str:
    if part["column"]:
        return part["column"].replace(" ", _JOINED)
    word = part["word"]
    if not word:
        return "got " + VALUE if part[0].startswith("got ") else VALUE
    bare = word.rstrip(".:!?")
    if not _IS_VALUE.search(bare) or _NAMES.fullmatch(bare):
        return word
    return VALUE + word[len(bare) :]


def _patterns(sentences: Iterable[str]) -> dict[str, str]:
    """Return the pattern of each sentence, compared with all others of the same number of words."""
    alike: dict[int, dict[tuple[str, ...], str]] = defaultdict(dict)
    for sentence in sentences:
        words = tuple(sentence.split(" "))
        alike[len(words)][words] = sentence
    return {
        found[words]: pattern.replace(_JOINED, " ")
        for found in alike.values()
        for members, pattern in _divided(list(found))
        for words in members
    }


def _divided(sentences: Sequence[tuple[str, ...]]) -> Iterator[tuple[list[tuple[str, ...]], str]]:
    """Divide sentences of the same number of words by the words that tell them apart, until only values differ."""
    pending = [list(sentences)]
    while pending:
        group = pending.pop()
        forms = [Counter(words) for words in zip(*group, strict=True)]
        few = [at for at, found in enumerate(forms) if len(found) > 1 and _tells(at, found)]
        if few:
            at = min(few, key=lambda at: len(forms[at]))
            parts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
            for words in group:
                parts[words[at]].append(words)
            pending += parts.values()
            continue
        many = [at for at, found in enumerate(forms) if len(found) > 1]
        common = next(
            ((at, word) for at in many for word, times in forms[at].most_common(1) if 2 * times >= len(group)), None
        )
        if common:
            at, word = common
            pending += [[words for words in group if (words[at] == word) is has] for has in (True, False)]
        elif 2 * len(many) > len(forms):  # they have too little in common to be one sentence
            yield from (([words], " ".join(words)) for words in group)
        else:
            pattern = (VALUE if at in many else word for at, word in enumerate(group[0]))
            yield group, " ".join(pattern)


def _tells(at: int, forms: Mapping[str, int]) -> bool:
    """Tell whether the words at a place are not values: few forms, or names of columns or exceptions."""
    return len(forms) <= MAX_FORMS or any(
        _JOINED in word or _EXCEPTION.search(word) or (at == 0 and word.endswith(":")) for word in forms
    )
