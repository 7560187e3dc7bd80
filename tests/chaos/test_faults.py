"""The proxy's decisions and words, without the proxy."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.chaos import wire
from tests.chaos.faults import TALLY, Call, Fault, Policy, Rates

TRANSACTION = Call(TALLY, "dynamodb", "TransactWriteItems")
SEND = Call(TALLY, "sqs", "SendMessageBatch")
PUTS = {"RequestItems": {"t": [{"PutRequest": {"Item": {"pk": {"S": str(n)}}}} for n in range(5)]}}


def _faults(policy: Policy, call: Call, times: int) -> list[Fault]:
    return [policy.decide(call)[0] for _ in range(times)]


def test_a_seed_tells_each_caller_the_same_story_however_calls_interleave() -> None:
    """The n-th call of a kind meets the same fault, no matter who calls in between."""
    other = Call("atomic", "dynamodb", "UpdateItem")
    alone = _faults(Policy(seed=7, rates=Rates()), TRANSACTION, 200)
    policy = Policy(seed=7, rates=Rates())
    mixed = []
    for _ in range(200):
        mixed.append(policy.decide(TRANSACTION)[0])
        policy.decide(other)
    assert mixed == alone
    assert alone != _faults(Policy(seed=8, rates=Rates()), TRANSACTION, 200)


def test_rates_are_met() -> None:
    """Of many calls about as many meet a fault as was asked for."""
    found = Counter(_faults(Policy(seed=1, rates=Rates()), TRANSACTION, 20_000))
    assert 0.04 < found[Fault.ERROR_AFTER] / 20_000 < 0.06
    assert 0.015 < found[Fault.CONFLICT] / 20_000 < 0.025
    assert found[Fault.DUPLICATE] == found[Fault.PARTIAL] == 0


def test_without_rates_there_are_no_faults() -> None:
    """A run without faults is possible."""
    none = Rates(**dict.fromkeys(Rates.__dataclass_fields__, 0.0))
    assert set(_faults(Policy(seed=1, rates=none), SEND, 500)) == {Fault.NONE}


@pytest.mark.parametrize("call", [Call(TALLY, "dynamodb", "GetItem"), Call(TALLY, "s3", "GetObject")], ids=str)
def test_a_read_is_never_ambiguous(call: Call) -> None:
    """Only what writes or sends can have been applied without an answer."""
    faults = {fault for fault, _ in Policy(seed=1, rates=Rates()).odds(call)}
    assert faults.isdisjoint({Fault.ERROR_AFTER, Fault.CONFLICT, Fault.DUPLICATE})


def test_a_lone_counter_without_transactions_meets_no_conflict() -> None:
    """AWS itself would not show it."""
    odds = dict(Policy(seed=1, rates=Rates()).odds(Call("atomic", "dynamodb", "UpdateItem")))
    assert Fault.CONFLICT not in odds
    assert Fault.KILL_AFTER not in odds


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [
        ({"X-Amz-Target": "DynamoDB_20120810.PutItem"}, "/", Call(TALLY, "dynamodb", "PutItem")),
        (
            {"x-amz-target": "DynamoDB_20120810.PutItem", "user-agent": "Boto3/1 counter/set"},
            "/",
            Call("set", "dynamodb", "PutItem"),
        ),
        ({"X-Amz-Target": "AmazonSQS.SendMessageBatch"}, "/", SEND),
        ({}, "/2015-03-31/event-source-mappings/", Call(TALLY, "lambda", "ListEventSourceMappings")),
        ({}, "/bucket/key", Call(TALLY, "s3", "GetObject")),
    ],
)
def test_a_call_is_known_by_its_headers(headers: dict[str, str], path: str, expected: Call) -> None:
    """The JSON services say their operation, S3 and Lambda have paths."""
    assert wire.call_of("GET", path, headers) == expected


def test_a_conflict_names_one_action_and_leaves_the_others_alone() -> None:
    """As DynamoDB does: reasons in the order of the request, clean ones with the code None."""
    body = json.dumps({"TransactItems": [{}, {}, {}]}).encode()
    reply = wire.conflict(TRANSACTION, random.Random(1), body)
    document = json.loads(reply.body)
    assert reply.status == 400
    assert document["__type"].endswith("#TransactionCanceledException")
    assert sorted(reason["Code"] for reason in document["CancellationReasons"]) == [
        "None",
        "None",
        "TransactionConflict",
    ]


def test_what_was_held_back_of_a_batch_is_owned_up_to() -> None:
    """What is handed on and what is called unprocessed make up what was asked for."""
    call = Call(TALLY, "dynamodb", "BatchWriteItem")
    kept: dict[str, Any] = json.loads(json.dumps(PUTS))
    held = wire.hold_back(call, kept, random.Random(3))
    answer = wire.own_up(call, PUTS, held, {"UnprocessedItems": {}})
    parts = kept["RequestItems"]["t"] + answer["UnprocessedItems"]["t"]
    assert kept["RequestItems"]["t"]
    assert sorted(map(str, parts)) == sorted(map(str, PUTS["RequestItems"]["t"]))


def test_events_that_were_held_back_fail_in_their_places() -> None:
    """PutEvents answers entry by entry."""
    call = Call(TALLY, "events", "PutEvents")
    asked = {"Entries": [{"Detail": name} for name in "abc"]}
    answer = wire.own_up(call, asked, [1], {"Entries": [{"EventId": "1"}, {"EventId": "3"}], "FailedEntryCount": 0})
    assert [entry.get("EventId", entry.get("ErrorCode")) for entry in answer["Entries"]] == [
        "1",
        "InternalFailure",
        "3",
    ]
    assert answer["FailedEntryCount"] == 1


def test_a_message_that_stands_alone_can_be_held_back_too() -> None:
    """SQS may refuse all of a batch with a 200."""
    asked = {"Entries": [{"Id": "0", "MessageBody": "x"}]}
    kept: dict[str, Any] = json.loads(json.dumps(asked))
    held = wire.hold_back(SEND, kept, random.Random(1))
    assert kept["Entries"] == []
    assert [entry["Id"] for entry in wire.own_up(SEND, asked, held, {})["Failed"]] == ["0"]


def test_a_cancelled_transaction_is_billed() -> None:
    """Failed conditions cost as much as writes, and nobody says so in the answer."""
    answer = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"}
    assert wire.units(TRANSACTION, {"TransactItems": [{}, {}]}, 400, answer) == (0.0, 4.0)
    assert wire.units(TRANSACTION, {}, 200, {"ConsumedCapacity": [{"CapacityUnits": 4.0}]}) == (0.0, 4.0)
