"""The forms that results can be written in."""

from enum import StrEnum

LINE_COLUMN = "tally_line"
REASON_COLUMN = "tally_reason"
"""Stand before a row in failed.csv; where that is corrected and uploaded they say nothing of the row."""


class Form(StrEnum):
    """What the results of a batch are written as."""

    JSONL = "jsonl"  # an object a line
