"""Names of batches: `@`, a beginning, an end; what fits several is not guessed at."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Source
from tally.batch.names import resolve
from tally.batch.reader import Reader
from tally.cli import run
from tally.errors import ExitCode, OperatorError
from tally.stages.stage import Stage
from tests.unit.tally import finished_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def store(dynamodb: "DynamoDBClient", ids: Sequence[str]) -> None:
    """Store batches, the last of them the newest."""
    for day, each in enumerate(ids, start=1):
        batch = replace(finished_batch.BATCH, id=each, created_at=f"2026-03-{day:02d}T00:00:00.000000+00:00")
        finished_batch.put(dynamodb, batch.to_item())


IDS = ("offices-aa11", "offices-bb22", "weather-aa33")


@pytest.mark.parametrize(
    ("name", "named"),
    [("offices-b", "offices-bb22"), ("weather", "weather-aa33"), ("22", "offices-bb22"), ("@", "weather-aa33")],
)
def test_a_beginning_an_end_and_the_newest_name_a_batch(
    name: str, named: str, dynamodb: "DynamoDBClient", reader: Reader
) -> None:
    store(dynamodb, IDS)
    assert resolve(lambda: reader, name) == named


def test_a_name_that_fits_several_batches_lists_them(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    store(dynamodb, IDS)
    with pytest.raises(OperatorError, match="'offices' fits 2 batches") as raised:
        resolve(lambda: reader, "offices")
    assert {*IDS[:2]} <= set(raised.value.hint.replace(",", " ").replace(".", " ").split())
    assert IDS[2] not in raised.value.hint


def test_an_id_that_begins_another_names_itself(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    store(dynamodb, ["a-1", "a-12"])
    assert resolve(lambda: reader, "a-1") == "a-1"


def test_a_whole_id_is_not_looked_up_so_that_a_batch_can_be_watched_before_it_is_planned() -> None:
    whole = batch_id("a job", Source(bucket="b", key="k", version_id="v", etag="e"))

    def refuse() -> Reader:
        raise AssertionError

    assert resolve(refuse, whole) == whole


def test_the_newest_of_no_batch_says_how_to_make_one(reader: Reader) -> None:
    with pytest.raises(OperatorError, match=r"No batch in .* yet: `tally submit"):
        resolve(lambda: reader, "@")


def test_a_name_that_fits_nothing_stays_as_it_is(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    store(dynamodb, IDS)
    assert [resolve(lambda: reader, name) for name in ("nonsense", "")] == ["nonsense", ""]


def test_a_command_takes_a_short_name_and_says_which_batch_it_means(
    dynamodb: "DynamoDBClient", stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    store(dynamodb, IDS)
    vars(stage)["dynamodb"] = dynamodb
    assert run(["status", "@"]) is ExitCode.OK
    assert capsys.readouterr().out.startswith("batch weather-aa33\n")
    assert run(["status", "@", "--json"]) is ExitCode.OK
    assert json.loads(capsys.readouterr().out)["id"] == "weather-aa33"


def test_a_name_that_fits_several_is_2_and_json_if_asked_for(
    dynamodb: "DynamoDBClient", stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    store(dynamodb, IDS)
    vars(stage)["dynamodb"] = dynamodb
    assert run(["cancel", "offices", "--json"]) is ExitCode.USAGE
    shown = json.loads(capsys.readouterr().out)
    assert shown["error"] == "'offices' fits 2 batches"
    assert "offices-aa11" in shown["hint"]
