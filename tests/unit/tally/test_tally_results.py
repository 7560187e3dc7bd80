"""The output of commands with --json fits their schemas: every command, each with a real output."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from chalicelib.store.items import Counts
from tally import results
from tally.batch.audit import Audit
from tally.batch.reader import Progress
from tally.cli import run, tally
from tally.commands import batches as batch_commands
from tally.commands import doctor as doctor_commands
from tally.commands import options
from tally.commands import stages as stage_commands
from tally.doctor.finding import ok
from tally.errors import ExitCode
from tally.local import demo, sample
from tally.local.localaws import Server
from tally.output import Output
from tally.prove import probe
from tally.stages.stage import Resources, Stage
from tally.testing.environment import VARIABLES
from tests.unit.tally import finished_batch
from tests.unit.tally.batch.test_tally_cost import COST
from tests.unit.tally.batch.test_tally_idle import PLANNED
from tools import schemas

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOCAL = Stage(
    name="test",
    resources=Resources(table=finished_batch.TABLE, inbox_bucket="inbox", standing=PLANNED),
    server=Server(pid=1, port=2),
)
ELSEWHERE = {"queues", "dead", "logs", "result", "results", "verify", "error"}
"""Their tests print results, too, and all of these are checked likewise (conftest.py)."""


def test_every_command_has_a_schema_and_errors_have_one() -> None:
    assert sorted(results.RESULTS) == sorted([*tally.commands, "error"])


def test_the_schemas_in_the_documentation_are_current() -> None:
    assert schemas.stale() == [], "run `make docs`"


def test_the_example_of_an_error_in_the_documentation_is_one() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (schemas.FOLDER.parent / "json.md").read_text("utf-8"), re.DOTALL)
    results.check("error", json.loads(example))


@pytest.mark.parametrize("name", sorted(results.RESULTS))
def test_a_schema_is_whole(name: str) -> None:
    schema = results.schema(name)
    text = json.dumps(schema)
    for kind in schema.get("$defs", {}):
        assert f'"#/$defs/{kind}"' in text
    assert schema["title"] == f"tally {name} --json"


@pytest.mark.parametrize("wrong", [{"id": "b"}, {"id": "b", "stage": 1}, {"id": "b", "stage": "s", "more": 1}])
def test_a_field_that_is_missing_of_another_type_or_not_documented_is_found(wrong: Any) -> None:
    results.check("submit", {"id": "b", "stage": "s"})
    with pytest.raises(msgspec.ValidationError):
        results.check("submit", wrong)


def test_an_error_is_what_its_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nonsense", "--json"]) is ExitCode.USAGE
    results.check("error", json.loads(capsys.readouterr().out))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, finished: "DynamoDBClient", tmp_path: Path) -> dict[str, list[list[str]]]:
    """Return how to run each command, on a stage with a batch that has ended; what needs AWS or tools is in memory."""
    vars(LOCAL).update(dynamodb=finished, logs=_no_logs())
    monkeypatch.setenv("TALLY_HOME", str(tmp_path))
    monkeypatch.setattr(options, "find", lambda *_arguments, **_options: LOCAL)
    monkeypatch.setattr(doctor_commands, "find", lambda *_arguments, **_options: LOCAL)
    monkeypatch.setattr("tally.doctor.examine", lambda *_arguments, **_options: [ok("queue", "q", "well")])
    monkeypatch.setattr(batch_commands, "send", lambda *_arguments: "b")
    monkeypatch.setattr("tally.tools.chalice.ChaliceProject.environment", lambda _self: VARIABLES)
    monkeypatch.setattr(stage_commands, "_stack", lambda *_arguments, **_options: _stack())
    planned = SimpleNamespace(summary="1 to add.", changes=["+ a"])
    monkeypatch.setattr(stage_commands, "plan_for_aws", lambda *_arguments, **_options: planned)
    monkeypatch.setattr(stage_commands, "deploy_to_aws", lambda *_arguments, **_options: LOCAL)
    remains = SimpleNamespace(functions=["plan"], resources=[1])
    monkeypatch.setattr(stage_commands, "destroy_in_aws", lambda *_arguments, **_options: remains)
    probed = probe.Result(name="p", expected="e", seen="s", verdict=probe.Verdict.PASSED, seconds=1.0)
    monkeypatch.setattr("tally.prove.prover.Prover.run", lambda *_arguments, **_options: [probed])
    monkeypatch.setattr(stage_commands, "Demo", lambda **_options: _demonstrate)
    file = tmp_path / "a.csv"
    file.write_text("{}")
    offices = tmp_path / "offices.csv"
    offices.write_text("office_id,user_count,contract_count\nA,2,5\nB,x,1\n", encoding="utf-8")
    batch = [["audit"], ["pause"], ["resume"], ["cancel"], ["redrive"], ["status"], ["status", "--no-cost"], ["tune"]]
    batch += [["wait"], ["cost"], ["rows"], ["failures"], ["row", "--row", "0:0"], ["row", "--row", "0:1"]]
    every = [[name, "b", *more] for name, *more in batch]
    every += [
        ["submit", str(file), "--job", "transactions"],
        ["list"],
        ["events"],
        ["cost"],
        ["doctor"],
        ["prove"],
        ["prove", "--clean"],
    ]
    monkeypatch.setattr("tally.ui.server.serve", lambda *_arguments, **_options: None)
    monkeypatch.setattr("tally.ui.server.listen", lambda _port: SimpleNamespace(getsockname=lambda: ("127.0.0.1", 1)))
    every += [["ui"], ["up"], ["down"], ["env"], ["demo"], ["deploy"], ["deploy", "--plan"], ["destroy"]]
    table = tmp_path / "table.csv"
    table.write_text("a\n1\n")
    every += [["new", "table_of_a_test", "--from", str(table), "--dry-run"]]
    every += [["invoke"], ["invoke", "process"], ["sample", "--out", str(tmp_path / "s.csv"), "--rows", "9"]]
    every += [["try", "offices", str(offices)], ["try", "offices", str(offices), "--line", "3"]]
    return {name: [arguments for arguments in every if arguments[0] == name] for name in {one[0] for one in every}}


def _no_logs() -> Any:
    def pages(**_request: Any) -> Iterator[Any]:
        raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        yield

    return SimpleNamespace(get_paginator=lambda _name: SimpleNamespace(paginate=pages))


def _stack() -> Any:
    down = {"stage": "test", "stopped": 1, "console": 2, "removed": "/a"}
    return SimpleNamespace(up=lambda _port: LOCAL, down=lambda: down)


def _demonstrate(**_options: Any) -> ExitCode:
    """End as a demo does."""
    batch = finished_batch.BATCH
    audited = Audit(batch=batch, chunks=1, counts=Counts(), differences=())
    expected = sample.Expected(rows=1, succeeded=1, failed=0, rejected=0)
    shown = demo.report(Progress(batch=batch, chunks={}), audited, expected, ["none"]) | {
        "cost": COST.as_json(),
        "console": None,
    }
    Output.make(as_json=True).result(shown)
    return ExitCode.OK


@pytest.mark.parametrize("name", sorted({*tally.commands} - ELSEWHERE))
def test_what_a_command_prints_is_what_its_schema_says(
    name: str,
    commands: dict[str, list[list[str]]],
    results_have_their_schema: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in commands[name]:
        run([*arguments, "--json"])
        shown = json.loads(capsys.readouterr().out)
        results.check(name, shown)
    assert name in results_have_their_schema
