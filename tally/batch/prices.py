"""Prices, and the price of a million rows by service, from measured counts.

Every price that Tally knows is here, of one day and one region, without the free tiers: another stage of the account
may have used them up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

CHECKED = "2026-11-26"
"""us-east-1. The day when these were looked up; they change."""

WRITE_UNIT = 0.625e-6
READ_UNIT = 0.125e-6
SQS_REQUEST = 0.40e-6
LAMBDA_REQUEST = 0.20e-6
LAMBDA_GB_SECOND = 0.0000166667
S3_GET = 0.0004e-3
S3_LIST = 0.005e-3
S3_PUT = 0.005e-3
S3_GB_MONTH = 0.023
TABLE_GB_MONTH = 0.25
WRITE_UNIT_HOUR = 0.00065
READ_UNIT_HOUR = 0.00013
"""Of a table with provisioned capacity, whether it is used or not."""
LOG_GB = 0.50 + 0.03
"""Taken in, and kept for a month."""
ALARM_MONTH = 0.10
"""For each metric of an alarm: metric math saves nothing, and a composite alarm costs 0.50 beside its alarms."""
METRIC_MONTH = 0.30
"""A custom metric, by the hours in which it is written."""
DASHBOARD_MONTH = 3.00
KEY_MONTH = 1.00
"""A KMS key; one more for each of its first two rotations."""
KMS_REQUEST = 3e-6
TRANSITION = 25e-6
"""Of a standard workflow, Distributed Map's parent included: one for each child that it starts."""
EXPRESS_REQUEST = 1e-6
EXPRESS_GB_SECOND = 0.00001667
DURABLE_OPERATION = 8e-6
"""Of a durable function: each item of a map is one at least; the data that it writes is billed beside it."""
GLUE_DPU_HOUR = 0.44
FARGATE_VCPU_HOUR = 0.04048
FARGATE_GB_HOUR = 0.004445
"""Prices of the services that docs/comparison.md compares with."""

MILLION = 1_000_000
GB = 10**9
MONTH_DAYS = 30
MONTH_HOURS = 24 * MONTH_DAYS
MONTH_MINUTES = 60 * MONTH_HOURS
ITEM_OVERHEAD_BYTES = 100
"""Bytes that DynamoDB adds to each stored item."""
SQS_STEP_BYTES = 65_536
"""SQS bills a request for each 64 KB that it takes or gives."""
INVOCATION_LOG_BYTES = 350
"""Lambda's own lines about an invocation, START, END and REPORT, with the 26 bytes that each line is billed more."""
LOG_LINE_BYTES = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The average use of one row."""

    write_units: float
    read_units: float
    sqs_requests: float
    invocations: float
    gb_seconds: float
    s3_gets: float = 0.0
    s3_puts: float = 0.0
    results_gb_months: float = 0.0
    stored_gb_months: float = 0.0
    log_gb: float = 0.0

    def dollars(self) -> dict[str, float]:
        """Return the price of a million rows, by service."""
        return {
            "DynamoDB": MILLION * (self.write_units * WRITE_UNIT + self.read_units * READ_UNIT),
            "DynamoDB storage": MILLION * self.stored_gb_months * TABLE_GB_MONTH,
            "SQS": MILLION * self.sqs_requests * SQS_REQUEST,
            "Lambda": MILLION * (self.invocations * LAMBDA_REQUEST + self.gb_seconds * LAMBDA_GB_SECOND),
            "S3": MILLION * (self.s3_gets * S3_GET + self.s3_puts * S3_PUT + self.results_gb_months * S3_GB_MONTH),
            "logs": MILLION * self.log_gb * LOG_GB,
        }


def distributed_map(gb_seconds: float, rows_a_child: int) -> Mapping[str, dict[str, float]]:
    """Return what a million rows cost in a Distributed Map, whose children call one Lambda function a row or a batch.

    ``gb_seconds`` is a row's own time in the job: the same as in Tally's ``process``, so that the price is of the
    counting. One transition starts a child; a standard child has two of its own (it enters its task and it ends), an
    express one is billed by request and time. No result goes to a table: it ends in the map's result file in S3.
    """

    def lambda_(batches: float) -> float:
        return batches * LAMBDA_REQUEST + MILLION * gb_seconds * LAMBDA_GB_SECOND

    batches = MILLION / rows_a_child
    # An express child is billed for at least 64 MB and 100 ms.
    express = EXPRESS_REQUEST + 0.1 * (64 / 1024) * EXPRESS_GB_SECOND
    return {
        "Distributed Map, standard": {"Step Functions": MILLION * 3 * TRANSITION, "Lambda": lambda_(MILLION)},
        "Distributed Map, express": {
            "Step Functions": MILLION * (TRANSITION + express),
            "Lambda": lambda_(MILLION),
        },
        f"Distributed Map, express, {rows_a_child} rows a child": {
            "Step Functions": batches * (TRANSITION + express),
            "Lambda": lambda_(batches),
        },
    }
