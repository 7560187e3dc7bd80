"""The local AWS: which process is ours, which port is free, what of the caller's environment comes in."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.loaders import Loader, create_loader

from tally.errors import OperatorError
from tally.local import localaws
from tally.local.localaws import Server
from tally.stages.workspace import StageFolder


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    (tmp_path / "local").mkdir()
    return StageFolder(name="local", root=tmp_path / "local")


def test_a_taken_port_is_named_together_with_what_to_do(folder: StageFolder) -> None:
    with socket.socket() as taken:
        taken.bind((localaws.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OperatorError, match=rf"Port {port} of 127\.0\.0\.1 is taken.*--port"):
            localaws.start(folder, port=port)
    assert not folder.server.exists()


def test_a_process_that_was_given_the_recorded_id_since_is_left_alone(folder: StageFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        folder.server.write_text(f'{{"pid": {stranger.pid}, "port": 4566}}')
        assert localaws.stop(folder) is None
        assert localaws.running(folder) is None
        assert stranger.poll() is None
        stranger.communicate(b"\n")


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": 1}'])
def test_a_torn_record_counts_as_no_server(folder: StageFolder, record: str) -> None:
    folder.server.write_text(record)
    assert localaws.running(folder) is None
    assert localaws.stop(folder) is None


def test_tools_see_the_local_aws_and_nothing_of_the_callers_own() -> None:
    mine = {
        "PATH": "/bin",
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL_S3": "https://elsewhere",
        "TF_WORKSPACE": "prod",
        "TF_VAR_stage": "prod",
        "PIP_INDEX_URL": "https://mirror",
        "NO_PROXY": "internal",
    }
    seen = localaws.environment(Server(pid=1, port=4567), mine)
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4567"
    assert seen["AWS_CONFIG_FILE"] == os.devnull
    assert seen["PIP_INDEX_URL"] == "https://mirror"
    assert seen["NO_PROXY"] == "internal,127.0.0.1,localhost"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "TF_WORKSPACE", "TF_VAR_stage"} & seen.keys()


@pytest.mark.e2e
def test_a_started_server_is_known_as_ours_and_ends_when_told_to(folder: StageFolder) -> None:
    server = localaws.start(folder, port=None)
    try:
        assert localaws.running(folder) == server
    finally:
        assert localaws.stop(folder) == server
    assert localaws.running(folder) is None
    assert localaws.stop(folder) is None


def test_what_chalice_waits_for_it_asks_for_often_and_as_long_as_ever(folder: StageFolder) -> None:
    """By the SDK's own models but for the steps; of all other services the SDK's stand."""
    own = Loader()
    quick = create_loader(str(localaws.models(folder)))
    before, after = (loader.load_service_model("lambda", "waiters-2")["waiters"] for loader in (own, quick))
    assert before.keys() == after.keys()
    for name, waiter in after.items():
        assert waiter["delay"] < 1
        assert waiter["delay"] * waiter["maxAttempts"] == before[name]["delay"] * before[name]["maxAttempts"]
        assert waiter["acceptors"] == before[name]["acceptors"]
    assert quick.load_service_model("lambda", "service-2") == own.load_service_model("lambda", "service-2")
    assert quick.list_available_services("service-2") == own.list_available_services("service-2")
