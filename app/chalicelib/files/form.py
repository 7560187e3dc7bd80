"""The forms that results can be written in, and the columns of Tally's own in files of rows."""

from enum import StrEnum

LINE_COLUMN = "tally_line"
REASON_COLUMN = "tally_reason"
"""Stand before a row in failed.csv; where that is corrected and uploaded they say nothing of the row."""
OUTCOME_COLUMN = "tally_outcome"
RESULT_COLUMN = "tally_result"
CODE_COLUMN = "tally_code"
TRIES_COLUMN = "tally_tries"
CHUNK_COLUMN = "tally_chunk"
ROW_COLUMN = "tally_row"
CORRECTED_COLUMN = "tally_corrected"

OUR_COLUMNS = frozenset(
    {
        LINE_COLUMN,
        REASON_COLUMN,
        OUTCOME_COLUMN,
        RESULT_COLUMN,
        CODE_COLUMN,
        TRIES_COLUMN,
        CHUNK_COLUMN,
        ROW_COLUMN,
        CORRECTED_COLUMN,
    }
)
"""In a file that is uploaded they are no columns of the job's: results may be the input of another job."""


class Form(StrEnum):
    """The form of a batch's results."""

    JSONL = "jsonl"  # an object a line
    CSV = "csv"  # the cells of the input, the outcome, and the fields of the result
