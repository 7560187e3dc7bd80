"""The four that a table is held to: the fake of unit tests, moto, the local AWS, and a second engine, roto."""

import socket
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from chalicelib.store.table import Table
from tally.local import localaws
from tally.stages.workspace import StageFolder
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support import builders, roto
from tests.support.tables import ENGINES, make_table

TABLE = "tally-test"
_CONFIG = Config(
    proxies={},
    connect_timeout=2,
    read_timeout=10,
    parameter_validation=False,  # as in the functions: the service is what is asked here, not the SDK
)


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a local AWS of this session's own on a free port of loopback, as ``tally up`` does; gives its URL."""
    folder = StageFolder(name="contract", root=tmp_path_factory.mktemp("localaws"))
    server = localaws.start(folder, port=None)
    try:
        yield server.endpoint
    finally:
        localaws.stop(folder)
    with socket.socket() as probe:
        assert probe.connect_ex((localaws.HOST, server.port)) != 0, "the server is still there"


@pytest.fixture(scope="session")
def roto_server() -> Iterator[str]:
    """Run a roto server of this session's own; gives its URL."""
    program = roto.binary()
    if program is None:
        pytest.skip("no second DynamoDB engine: roto-aws has no wheel for this machine")
    with roto.running(program) as url:
        yield url


@pytest.fixture(params=ENGINES)
def dynamodb(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give an empty table's client, one kind after the other."""
    if request.param == "memory":
        yield MemoryDynamoDB()
    elif request.param == "moto":
        with mock_aws():
            yield _with_a_table(boto3.client("dynamodb", region_name="us-east-1", config=_CONFIG))
    else:
        url = request.getfixturevalue("local_aws" if request.param == "local AWS" else "roto_server")
        client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=url, config=_CONFIG)
        yield _with_a_table(client)
        client.delete_table(TableName=TABLE)
        client.close()


@pytest.fixture
def table(dynamodb: Any) -> Table:
    """Give the table that is held to the contract."""
    return builders.table(dynamodb)


def _with_a_table(client: Any) -> Any:
    make_table(client, TABLE)
    return client
