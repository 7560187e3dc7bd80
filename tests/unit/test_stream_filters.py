"""The filters on the table's stream: what Terraform keeps from a function would have asked nothing of it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.steps.settle import Settler
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import FORMAT
from chalicelib.transport.streams import changes
from tally.testing.configuration import INFRA, delivers, stream_patterns
from tally.testing.memory_aws import MemoryEvents, MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Requests, bus_of, dispatcher, table

SAMPLES = json.loads((INFRA / "tests" / "fixtures" / "stream.json").read_text(encoding="utf-8"))


def _calls(function: str, record: Mapping[str, Any]) -> list[str]:
    """Return the requests that a function makes when it gets a record unfiltered."""
    sqs, dynamodb, events = Requests(MemorySQS()), Requests(MemoryDynamoDB()), Requests(MemoryEvents())
    found = changes({"Records": [record]})
    if function == "dispatch":
        dispatcher(sqs).dispatch(found)
    else:
        Settler(table=table(dynamodb), bus=bus_of(events)).settle(found)
    return [operation for client in (sqs, dynamodb, events) for operation, _ in client.made]


@pytest.mark.parametrize("function", ["dispatch", "settle"])
@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["what"] for sample in SAMPLES])
def test_a_record_that_is_filtered_out_would_have_asked_for_nothing(function: str, sample: dict[str, Any]) -> None:
    """Terraform's own tests hold the filters to the same samples."""
    assert delivers(function, sample["record"]) == (function in sample["to"])
    if function not in sample["to"]:
        assert _calls(function, sample["record"]) == []


def test_every_state_of_a_chunk_is_among_the_samples() -> None:
    images = [sample["record"]["dynamodb"].get("NewImage", {}) for sample in SAMPLES]
    assert {image["state"]["S"] for image in images if "state" in image} == set(ChunkState)


def test_settle_gets_batches_of_the_format_that_it_knows() -> None:
    (pattern,) = (found for found in stream_patterns("settle") if "format" in found["dynamodb"]["NewImage"])
    assert pattern["dynamodb"]["NewImage"]["format"] == {"N": [str(FORMAT)]}
