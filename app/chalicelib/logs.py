"""The logger: one JSON line an event, a constant dotted name and fields, never a payload."""

import os

from aws_lambda_powertools import Logger

logger = Logger(service="tally", level=os.environ.get("TALLY_LOG_LEVEL", "INFO"))
