"""Rows that hang, kill their worker or raise, and messages that are lost: the batch ends by itself, or is mended."""

import json
import random

import pytest

from chalicelib.items import BatchStatus, Counts
from tests.e2e.conftest import STAGE, Tally, wait_for

pytestmark = pytest.mark.e2e

_JOB = """
import os
import time

from chalicelib import rows

ATTEMPTS = 2
BROKEN = "MENDED" not in os.environ


class Row(rows.Row, kw_only=True):
    number: int
    kind: str


def process(row: Row) -> int:
    if BROKEN and row.kind == "hangs":
        time.sleep(3600)
    if BROKEN and row.kind == "crashes":
        os._exit(1)
    if BROKEN and row.kind == "raises":
        raise ValueError("broken")
    return row.number
"""


def test_poison_rows_fail_alone_and_a_redrive_mends_them(tally: Tally) -> None:
    """Of 1,000 rows 3 hang, 2 crash the process and 5 raise: these 10 fail, and succeed once the cause is mended."""
    kinds = ["fine"] * 990 + ["hangs"] * 3 + ["crashes"] * 2 + ["raises"] * 5
    random.Random(1).shuffle(kinds)
    tally.deploy_job("poison", _JOB)
    content = "number,kind\n" + "".join(f"{number},{kind}\n" for number, kind in enumerate(kinds))
    batch_id = tally.submit("poison.csv", content.encode(), job="poison")
    batch = tally.ended(batch_id, seconds=420)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.counts == Counts(succeeded=990, failed=10)
    reasons = [row["why"].split(":")[0] for row in tally.json("rows", batch_id, "--outcome", "failed")]
    assert sorted(reasons) == ["ValueError"] * 5 + ["dead-lettered"] * 5
    assert tally.json("audit", batch_id)["exact"] is True

    _mend(tally)
    tally.json("redrive", batch_id)
    batch = tally.ended(batch_id, attempt=2)
    assert batch.status is BatchStatus.COMPLETED
    assert batch.counts == Counts(succeeded=1000)
    assert tally.json("audit", batch_id)["exact"] is True


def _mend(tally: Tally) -> None:
    """Mend the cause as quickly as a deployment would: the job looks at its environment."""
    functions, name = tally.stage.functions, f"tally-{STAGE}-process"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables | {"MENDED": "yes"}})


def test_lost_messages_are_sent_again_by_a_repair(tally: Tally) -> None:
    """The work queue is emptied in mid-run: nothing would ever bring those rows back but a recount."""
    functions = tally.stage.functions
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"tally-{STAGE}-process")["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    batch_id = tally.submit("lost.csv", b"office_id,user_count,contract_count\n" + b"A,1,2\n" * 2000)
    sqs = tally.stage.session.client("sqs", endpoint_url=tally.stage.server.endpoint)  # type: ignore[union-attr]
    environment = functions.get_function_configuration(FunctionName=f"tally-{STAGE}-plan")["Environment"]["Variables"]
    url = json.loads(environment["TALLY_QUEUES"])["work"]["url"]
    wait_for(lambda: _depth(sqs, url) >= 1, what="work")
    sqs.purge_queue(QueueUrl=url)
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert tally.json("audit", batch_id, "--repair", "--watch")
    batch = tally.ended(batch_id)
    assert batch.counts == Counts(succeeded=2000)
    assert tally.json("audit", batch_id)["exact"] is True


def _depth(sqs: object, url: str) -> int:
    names = ["ApproximateNumberOfMessages"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)  # type: ignore[attr-defined]
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
