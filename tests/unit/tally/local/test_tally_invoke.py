"""Calling a handler here; and the sample events, which must be what the handlers take."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode
from chalicelib.transport.streams import changes
from chalicelib.transport.uploads import uploads
from tally.errors import ExitCode, OperatorError
from tally.local.invoke import FakeContext, invoke
from tally.testing.configuration import delivers

EVENTS = Path(__file__).parents[3] / "events"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "app", raising=False)
    (tmp_path / "app.py").write_text(
        "import os\n"
        "def plan(event, context):\n"
        "    return [event, os.environ.get('TALLY_TABLE'), context.get_remaining_time_in_millis() > 1000]\n"
    )
    return tmp_path


def test_a_handler_gets_the_event_a_deadline_and_the_variables_are_set(app: Path) -> None:
    environ: dict[str, str] = {}
    returned = invoke(app, "plan", {"a": 1}, stage="local", variables={"TALLY_TABLE": "t"}, environ=environ)
    assert returned[0] == {"a": 1}
    assert returned[2] is True
    assert environ == {"TALLY_TABLE": "t", "AWS_LAMBDA_FUNCTION_NAME": "tally-local-plan"}
    sys.modules.pop("app", None)


def test_an_unknown_handler_is_wrong_usage(app: Path) -> None:
    with pytest.raises(OperatorError, match="no handler 'nonsense'") as unknown:
        invoke(app, "nonsense", {}, stage="local", variables={}, environ={})
    assert unknown.value.code is ExitCode.USAGE
    sys.modules.pop("app", None)


def test_the_time_left_runs_out() -> None:
    times = iter([0.0, 59.5, 61.0])
    context = FakeContext(function_name="f", deadline=60.0, clock=lambda: next(times))
    assert [context.get_remaining_time_in_millis() for _ in range(3)] == [60_000, 500, 0]


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


@pytest.mark.parametrize(
    ("name", "kind"), [("ingest", ChunkMessage), ("process", WorkMessage), ("finish", FinishedMessage)]
)
def test_the_bodies_of_the_queue_events_are_messages(name: str, kind: type[Any]) -> None:
    assert all(decode(record["body"], kind) for record in event(name)["Records"])


def test_the_s3_event_is_an_upload_for_a_job() -> None:
    (upload,) = uploads(event("plan"))
    assert upload.source.key == "inbox/transactions/march 2026.csv"


def test_the_stream_events_are_those_that_the_filters_let_through() -> None:
    """A chunk that is planned, then one whose rows are read; and one of which nothing remains."""
    planned, ready = changes(event("dispatch"))
    states = [Chunk.from_item(change.new).state for change in (planned, ready)]
    assert (states, planned.old) == ([ChunkState.PLANNED, ChunkState.READY], {})
    (done,) = changes(event("settle"))
    assert Chunk.from_item(done.new).complete
    assert not Chunk.from_item(done.old).complete
    for name in ("dispatch", "settle"):
        assert all(delivers(name, record) for record in event(name)["Records"])
