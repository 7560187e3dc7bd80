"""Reasons in groups: what is a value, what is not, and that groups part the rows."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.store.items import Outcome
from chalicelib.store.marker import MAX_REASON_CHARACTERS
from tally.batch import reasons as module
from tally.batch.reasons import VALUE, Grouping, Reason, Reasons, matches, normal

WORDS = st.sampled_from(["ValueError:", "no", "rate", "for", "17", "'x y'", "USD", "EUR", "*", "column 2 'a b':", "\n"])
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(WORDS, max_size=8).map(" ".join),
    st.from_regex(r"ValueError: no [a-h]{1,2} for [A-H]{1,2} in [a-z]{3}", fullmatch=True),
)


def grouping(*texts: str, outcome: Outcome = Outcome.FAILED) -> Grouping:
    reasons = Reasons()
    for text in texts:
        reasons.add(Reason(outcome=outcome, text=text))
    return reasons.grouped()


def patterns(*texts: str) -> list[str]:
    return [group.pattern for group in grouping(*texts).groups]


@given(st.lists(st.tuples(st.sampled_from([Outcome.FAILED, Outcome.REJECTED]), TEXTS), max_size=60))
def test_groups_part_the_rows_and_a_pattern_matches_each_of_its_rows(rows: list[tuple[Outcome, str]]) -> None:
    """Of any reasons: each belongs to one group, of its outcome, and the counts add up."""
    reasons = Reasons()
    for outcome, text in rows:
        reasons.add(Reason(outcome=outcome, text=text))
    found = reasons.grouped()
    counts = dict.fromkeys((group.key for group in found.groups), 0)
    assert len(counts) == len(found.groups)
    for outcome, text in rows:
        key = found.group_of(outcome, text)
        assert key is not None
        assert key[0] is outcome
        assert matches(key[1], text)
        counts[key] += 1
    assert counts == {group.key: group.rows for group in found.groups}
    assert found.rows == len(rows)


@given(st.lists(TEXTS, max_size=40), st.randoms())
def test_groups_do_not_depend_on_the_order_of_rows(texts: list[str], random: object) -> None:
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [(group.key, group.rows) for group in grouping(*texts).groups] == [
        (group.key, group.rows) for group in grouping(*shuffled).groups
    ]


@given(TEXTS, TEXTS, TEXTS)
def test_a_star_stands_for_any_text(before: str, value: str, after: str) -> None:
    """Blanks alone are no text."""
    assume(normal(value))
    assert matches(f"{before}*{after}", f"{before}{value}{after}")


@pytest.mark.parametrize(
    ("one", "other", "pattern"),
    [
        ("ValueError: no rate on 2024-01-02", "ValueError: no rate on 2025-11-30", "ValueError: no rate on *"),
        ("ValueError: bad 'O'Brien'", "ValueError: bad 'x, y'", "ValueError: bad *"),
        ('KeyError: "it\'s"', "KeyError: 'id'", "KeyError: *"),
        ("ValueError: -1.5e3 is below 0", "ValueError: -7 is below 0", "ValueError: * is below *"),
        ("x: [1, 2]", "x: [1, 2, 3]", "x: [*]"),
        ("HTTPError: 503 at https://a.b/c", "HTTPError: 502 at https://d.e/f", "HTTPError: * at *"),
        ("E: no user a@b.org.", "E: no user c@d.org.", "E: no user *."),
        (
            "line 3: the row is 1,234,567 bytes long, at most 400,000 can be kept",
            "line 40: the row is 500,000 bytes long, at most 400,000 can be kept",
            "line *: the row is * bytes long, at most * can be kept",
        ),
        (
            "line 3, column 2 'weight (kg)': expected float, got 'NA'",
            "line 9, column 2 'weight (kg)': expected float, got 'it's; 'so'",
            "line *, column 2 'weight (kg)': expected float, got *",
        ),
        (
            "row 1 from line 2: the object was deleted before its rows were read",
            "row 500 from line 2: the object was deleted before its rows were read",
            "row * from line *: the object was deleted before its rows were read",
        ),
        ("E: bad '" + "a b" * 400, "E: bad '" + "c d e" * 400, "E: bad *"),
    ],
)
def test_reasons_that_differ_in_values_are_one(one: str, other: str, pattern: str) -> None:
    assert patterns(one[:MAX_REASON_CHARACTERS], other[:MAX_REASON_CHARACTERS]) == [pattern]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: bad amount", "ValueError: bad date"),
        ("ValueError: bad", "TypeError: bad"),
        ("line 3, column 2 'a': empty", "line 3, column 3 'b': empty"),
        ("line 3, column 2 'a': empty", "line 3, column 2 'a': empty; column 3 'b': empty"),
        ("x: not UTF-8", "x: not UTF-16"),
    ],
)
def test_reasons_that_differ_in_what_they_are_about_are_two(one: str, other: str) -> None:
    assert len(patterns(one, other)) == 2


def test_a_word_that_takes_many_forms_is_a_value() -> None:
    """Nobody quotes a currency, or a name."""
    currencies = [a + b for a in "ABCD" for b in "PQRS"]
    rates = [f"ValueError: no exchange rate for {currency}" for currency in currencies]
    names = [f"LookupError: customer {a} {b} is not known" for a in currencies for b in currencies[:7]]
    assert patterns(*rates, *names, "ValueError: no exchange rate at all") == [
        "LookupError: customer * * is not known",
        "ValueError: no exchange rate for *",
        "ValueError: no exchange rate at all",
    ]


def test_columns_and_exceptions_are_told_apart_however_many_there_are() -> None:
    columns = [f"line 2, column {at} 'name {at}': empty" for at in range(30)]
    errors = [f"{name}Error: it is so" for name in "ABCDEFGHIJ"]
    assert len(patterns(*columns, *errors)) == 40


def test_a_name_before_a_colon_is_a_value_and_an_exception_within_is_none() -> None:
    names = [a + b for a in "ABCD" for b in "PQRS"]
    unknown = [f"LookupError: customer {name}: not known" for name in names]
    heavy = [f"line {at}, heavy(): {name}Error: it is so" for at, name in enumerate("ABCDEFGH")]
    assert len(patterns(*unknown)) == 1
    assert len(patterns(*heavy)) == 8


def test_sentences_with_little_in_common_stay_apart() -> None:
    texts = [f"ValueError: {a} {b} {a}{b}" for a, b in zip("abcdefghij", "klmnopqrst", strict=True)]
    assert len(patterns(*texts)) == 10


def test_memory_is_bounded_and_the_groups_still_part_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SENTENCES", 3)
    texts = [f"{letter}: {letter}" for letter in "abcdefg"]
    found = grouping(*texts)
    assert (found.groups[0].pattern, found.groups[0].rows) == (VALUE, 4)
    assert found.rows == 7
    assert found.group_of(Outcome.FAILED, "g: g") == (Outcome.FAILED, VALUE)


def test_a_pattern_is_one_line_that_a_terminal_can_show() -> None:
    (pattern,) = patterns("ValueError: a\n\tb\x1b[31mc" + "d" * 999)
    assert pattern == normal(pattern)
    assert pattern.isprintable()
    assert len(pattern) <= 202


def test_a_long_reason_with_many_stars_is_compared_at_once() -> None:
    """A regular expression of so many stars would take hours."""
    assert not matches("*a" * 300 + "b", "a" * 1000)


def test_the_same_reason_of_another_outcome_is_another_group() -> None:
    reasons = Reasons()
    reasons.add(Reason(outcome=Outcome.FAILED, text="x", code="raised", row="0:1", line=2))
    reasons.add(Reason(outcome=Outcome.REJECTED, text="x", code="invalid"), rows=2)
    found = reasons.grouped()
    assert [(group.outcome, group.rows, group.codes) for group in found.groups] == [
        (Outcome.REJECTED, 2, ("invalid",)),
        (Outcome.FAILED, 1, ("raised",)),
    ]
    assert found.groups[1].example.row == "0:1"
    assert found.find(Outcome.FAILED, " x ") == found.groups[1]
    assert found.group_of(Outcome.SUCCEEDED, "x") is None
