"""Fixtures of the command line's tests: a table of its own for each, in process."""

import json
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import click
import pytest
from moto import mock_aws
from rich.console import Console

from tally.batch.reader import Reader
from tally.commands import options
from tally.output import Output
from tally.results import RESULTS, check
from tally.stages.stage import Resources, Stage
from tests.support.tables import make_table
from tests.unit.tally import finished_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = finished_batch.TABLE


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> "Iterator[DynamoDBClient]":
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        make_table(client, TABLE)
        yield client


@pytest.fixture
def reader(dynamodb: "DynamoDBClient") -> Reader:
    return Reader(dynamodb=dynamodb, table=TABLE)


@pytest.fixture
def finished(dynamodb: "DynamoDBClient") -> "DynamoDBClient":
    """Return a table with a batch that has ended, two chunks of it with a row of each outcome in either."""
    finished_batch.write(dynamodb)
    return dynamodb


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return the stage that every command finds; a test puts the clients that it needs into ``vars(stage)``."""
    stage = Stage(name="test", resources=Resources(table=TABLE, inbox_bucket="inbox"))
    vars(stage)["functions"] = SimpleNamespace(get_function=lambda **_: {})  # which say nothing of their jobs
    monkeypatch.setattr(options, "find", lambda *_arguments, **_options: stage)
    return stage


@pytest.fixture
def said() -> StringIO:
    return StringIO()


@pytest.fixture
def output(said: StringIO) -> Output:
    return Output(console=Console(file=said, width=240, soft_wrap=True), as_json=False)


@pytest.fixture(autouse=True)
def results_have_their_schema(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Check every result that a command prints in a test; returns the names of the commands that printed one."""
    printed: set[str] = set()
    write = Output.result

    def checked(output: Output, data: Any) -> None:
        context = click.get_current_context(silent=True)
        name = (context.info_name if context else None) or ""
        if output.as_json and name in RESULTS:
            check(name, json.loads(json.dumps(data, default=str)))
            printed.add(name)
        write(output, data)

    monkeypatch.setattr(Output, "result", checked)
    return printed
