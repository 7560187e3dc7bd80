"""Least privilege: a batch runs to its end with every right enforced, and with one of them less it visibly does not."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.items import Counts
from tests.e2e.conftest import VARIABLES, Tally, wait_for

pytestmark = pytest.mark.e2e

FUNCTIONS = ("plan", "dispatch", "ingest", "process", "process_heavy", "finish", "bury", "settle", "reconcile")
OFFICES = b"office_id,user_count,contract_count\nA,1,2\nB,x,1\nC,1,1\n"
AFTER = Counts(succeeded=2, rejected=1)


def _policy(tally: Tally, function: str) -> Any:
    role = f"tally-{tally.name}-{function}"
    document = tally.stage.client("iam").get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]
    return json.loads(document) if isinstance(document, str) else document


def _set_policy(tally: Tally, function: str, policy: Any) -> None:
    role = f"tally-{tally.name}-{function}"
    tally.stage.client("iam").put_role_policy(RoleName=role, PolicyName=role, PolicyDocument=json.dumps(policy))


@pytest.fixture(scope="module")
def enforced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tally]:
    """Bring a stage up that enforces IAM, and take it down at the end."""
    made = Tally(home=tmp_path_factory.mktemp("iam"), repo=Path(__file__).resolve().parents[2], name="iam")
    try:
        up = made.run("up", "--iam", *VARIABLES)
        assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
        for function in FUNCTIONS:
            policy = _policy(made, function)
            # The local AWS asks for a right that AWS does not have: there SendMessageBatch needs SendMessage.
            for statement in policy["Statement"]:
                if "sqs:SendMessage" in statement["Action"]:
                    statement["Action"].append("sqs:SendMessageBatch")
            _set_policy(made, function, policy)
        # A message that failed comes again at once, so that a right that is back is seen to be enough.
        sqs = made.stage.client("sqs")
        for queue in ("ingest", "work", "heavy", "finished"):
            url = sqs.get_queue_url(QueueName=f"tally-{made.name}-{queue}")["QueueUrl"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})
        yield made
    finally:
        made.run("down")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_names_every_right_and_its_own_stage(enforced: Tally, function: str) -> None:
    """No wildcard action; a resource is named by its ARN, and it is of this stage, but where AWS has none."""
    for statement in _policy(enforced, function)["Statement"]:
        assert not any("*" in action for action in statement["Action"])
        if statement["Action"] == ["lambda:ListEventSourceMappings"]:
            continue
        for resource in statement["Resource"]:
            name = f"tally-{enforced.name}"
            assert any(f"{before}{name}{after}" in f"{resource}$" for before in ":/" for after in ("-", "/", "$"))


def test_a_batch_runs_to_its_end_with_every_right_enforced(enforced: Tally) -> None:
    """Rows that succeed and one that is rejected."""
    assert enforced.ended(enforced.submit("whole.csv", OFFICES)).counts == AFTER


@pytest.mark.parametrize(
    ("function", "right"),
    [
        ("plan", "s3:GetObject"),
        ("dispatch", "sqs:SendMessageBatch"),
        ("ingest", "dynamodb:BatchWriteItem"),
        ("process", "dynamodb:GetItem"),
        ("finish", "dynamodb:PutItem"),
        ("settle", "dynamodb:UpdateItem"),
    ],
)
def test_without_one_right_the_batch_stands_still_and_says_why(enforced: Tally, function: str, right: str) -> None:
    """The function's log says that it was refused; once the right is back, the batch goes on by itself."""
    began = int(time.time() * 1000)
    whole = _policy(enforced, function)
    less = {
        **whole,
        "Statement": [
            {**s, "Action": kept} for s in whole["Statement"] if (kept := [a for a in s["Action"] if a != right])
        ],
    }
    _set_policy(enforced, function, less)
    try:
        batch_id = enforced.submit(f"without-{function}.csv", OFFICES)
        group = f"/aws/lambda/tally-{enforced.name}-{function}"
        wait_for(lambda: _denied(enforced, group, began), what=f"{function} to be refused {right}", seconds=60)
        batch = enforced.reader.batch(batch_id)
        assert batch is None or not batch.status.final
    finally:
        _set_policy(enforced, function, whole)
    assert enforced.ended(batch_id, seconds=90).counts == AFTER


def _denied(tally: Tally, group: str, began: int) -> bool:
    pages = tally.stage.logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=began)
    return any(
        "AccessDenied" in event["message"] or "not authorized" in event["message"]
        for page in pages
        for event in page["events"]
    )
