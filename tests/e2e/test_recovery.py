"""What was lost is found, and a batch that is held stands still: by command, and by the schedule."""

import json
import os
import signal
from contextlib import suppress
from typing import Any

import pytest

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts
from tests.chaos.workers import workers
from tests.e2e.conftest import STAGE, Tally, standstill, wait_for

pytestmark = pytest.mark.e2e
ROWS = 2_000
CONTENT = b"office_id,user_count,contract_count\n" + b"A,1,2\n" * ROWS


def _client(tally: Tally, service: str) -> Any:
    server = tally.stage.server
    assert server is not None
    return tally.stage.session.client(service, endpoint_url=server.endpoint)  # type: ignore[call-overload]


def _variables(tally: Tally, function: str) -> dict[str, str]:
    configuration = tally.stage.functions.get_function_configuration(FunctionName=f"tally-{STAGE}-{function}")
    return dict(configuration["Environment"]["Variables"])


def _work_queue(tally: Tally) -> str:
    return str(json.loads(_variables(tally, "plan")["TALLY_QUEUES"])["work"]["url"])


def _depth(tally: Tally) -> int:
    names = ["ApproximateNumberOfMessages"]
    answer = _client(tally, "sqs").get_queue_attributes(QueueUrl=_work_queue(tally), AttributeNames=names)
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def test_lost_messages_are_sent_again_by_a_repair(tally: Tally) -> None:
    """The work queue is emptied in mid-run: nothing would ever bring those rows back but a recount."""
    with standstill(tally):
        batch_id = tally.submit("lost.csv", CONTENT)
        wait_for(lambda: _depth(tally) >= 1, what="work")
        _client(tally, "sqs").purge_queue(QueueUrl=_work_queue(tally))
    assert tally.json("audit", batch_id, "--repair", "--watch")
    assert tally.ended(batch_id).counts == Counts(succeeded=ROWS)
    assert tally.json("audit", batch_id)["exact"] is True


def test_killed_workers_and_lost_messages_are_repaired_by_the_schedule(tally: Tally) -> None:
    """All workers of the local AWS are killed and messages taken away; reconcile runs as its rule would run it."""
    rules = _client(tally, "events").list_rules(NamePrefix=f"tally-{STAGE}-reconcile")["Rules"]
    assert [(rule["State"], rule["ScheduleExpression"]) for rule in rules] == [("ENABLED", "rate(5 minutes)")]
    _impatient(tally)
    with standstill(tally):
        batch_id = tally.submit("killed.csv", CONTENT)
        sqs, url = _client(tally, "sqs"), _work_queue(tally)
        wait_for(lambda: _depth(tally) >= 1, what="work")
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=3).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert _kill_workers(tally) > 0
    batch = wait_for(lambda: _reconciled(tally, batch_id), what=f"reconcile to end {batch_id}", seconds=900)
    assert batch.counts == Counts(succeeded=ROWS)
    assert tally.json("audit", batch_id)["exact"] is True


def _impatient(tally: Tally) -> None:
    """Let reconcile look into a batch that has not moved for a minute, as a stage with that setting would."""
    tally.stage.functions.update_function_configuration(
        FunctionName=f"tally-{STAGE}-reconcile",
        Environment={"Variables": _variables(tally, "reconcile") | {"TALLY_RECONCILE_MINUTES": "1"}},
    )


def _kill_workers(tally: Tally) -> int:
    """Kill the workers of this stage's own server; returns how many there were."""
    server = tally.stage.server
    assert server is not None
    found = workers(server.pid, str(tally.workspace.stage(STAGE).tmp))
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def _reconciled(tally: Tally, batch_id: str) -> Any:
    tick = {
        **dict.fromkeys(("version", "account", "region", "time", "id"), ""),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "detail": {},
        "resources": [],
    }
    tally.stage.functions.invoke(FunctionName=f"tally-{STAGE}-reconcile", Payload=json.dumps(tick).encode())
    batch = tally.reader.batch(batch_id)
    return batch if batch and batch.status.final else None


def test_a_paused_batch_stands_still_and_a_cancelled_one_ends(tally: Tally) -> None:
    """Both take hold with the next message; what was paused continues to its exact end."""
    with standstill(tally):
        paused, cancelled = (tally.submit(f"{name}.csv", CONTENT) for name in ("paused", "cancelled"))
        wait_for(lambda: _depth(tally) >= 2, what="work")
        tally.json("pause", paused)
        tally.json("cancel", cancelled)
    ended = tally.ended(cancelled)
    assert (ended.status, ended.counts) == (BatchStatus.COMPLETED_WITH_FAILURES, Counts(failed=ROWS))
    assert tally.json("audit", cancelled)["exact"] is True
    held = tally.reader.progress(paused)
    assert held is not None
    assert held.counts == Counts()
    tally.json("resume", paused)
    assert tally.ended(paused).counts == Counts(succeeded=ROWS)
    assert tally.json("audit", paused)["exact"] is True
