"""The forms that results can be written in."""

from enum import StrEnum


class Form(StrEnum):
    """What the results of a batch are written as."""

    JSONL = "jsonl"  # an object a line
