"""The meanings of colours: one each, and never without a word of the same meaning."""

from enum import StrEnum


class Meaning(StrEnum):
    """The meaning of a word or a number; the value is its style."""

    AS_HOPED = "green"
    FAILED = "red"
    REJECTED = "magenta"  # never was valid: not to be run again
    TO_WAIT_FOR = "cyan"  # will be done without anybody's help
    TO_LOOK_AT = "yellow"
    ASIDE = "dim"  # says less than what stands beside it
    PLAIN = ""


_WORDS = {
    Meaning.AS_HOPED: ("succeeded", "completed", "ok", "passed", "exact"),
    Meaning.FAILED: ("failed", "completed_with_failures", "missing", "error"),
    Meaning.REJECTED: ("rejected",),
    Meaning.TO_WAIT_FOR: ("waiting", "planning", "unpacking", "running"),
    Meaning.TO_LOOK_AT: (
        "warning", "unknown", "interrupted", "paused", "cancelled", "threshold", "only on AWS", "refused", "not run",
    ),
    Meaning.ASIDE: ("skipped",),
}  # fmt: skip
_MEANINGS = {word: meaning for meaning, words in _WORDS.items() for word in words}


def meaning_of(text: str) -> Meaning:
    """Return the meaning of an outcome, a status or a verdict; of ``running, paused`` that of the last word."""
    parts = (part.strip() for part in reversed(text.split(",")))
    return next((_MEANINGS[part] for part in parts if part in _MEANINGS), Meaning.PLAIN)
