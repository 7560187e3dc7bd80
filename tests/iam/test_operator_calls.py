"""What each command, and the console, calls, compared with the rights that infra/examples/operator_rights gives."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import msgspec
import pytest
from botocore import xform_name
from botocore.session import Session

from chalicelib import jobs, services
from chalicelib.keys import Key, KeySource
from chalicelib.metrics import Metrics
from tally.commands import doctor, options
from tally.commands.help import ENTRIES
from tally.testing.configuration import INFRA
from tally.testing.jobs import in_place
from tally.testing.pipeline import Pipeline
from tests.iam.conftest import PoliciesOf
from tests.support.builders import deployed_job
from tests.support.calls import UNASKED, actions_of
from tests.support.correcting import JOB
from tests.support.operator_commands import Call, Operator
from tests.support.operator_history import Terminal, repair_what_was_lost, run_every_command, watch

pytestmark = pytest.mark.terraform

FOLDER = INFRA / "examples" / "operator_rights"
TALLY = INFRA.parent / "tally"
CALL = re.compile(r"""(?:\.|get_paginator\(")([a-z_]+)(?=[("),])""")
OF_OTHERS = {"deploy", "invoke", "local", "prove", "testing", "trial"}
"""Packages of `tally` that deploy stages, or run functions: their rights are those of the roles for that."""
DEPLOYS = {"tag_resource", "untag_resource"}
"""Calls of a deployment in the other packages."""
ACTS = {"audit --repair", "cancel", "dead --discard", "dead --redrive", "pause", "redrive", "resume", "submit"}
ELSEWHERE = {
    "demo": "a local stage",
    "deploy": "the deploy role",
    "destroy": "the deploy role",
    "down": "a local stage",
    "env": "no stage",
    "invoke": "runs a function here, with the rights of its role",
    "new": "no stage",
    "prove": "deploys a stage of its own",
    "sample": "no stage",
    "try": "no stage",
    "up": "a local stage",
    "verify": "no stage",
}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Return what was called by a history in which every command is run."""
    folder = tmp_path_factory.mktemp("operator")
    with pytest.MonkeyPatch.context() as patch, deployed_job(patch, folder, "sizes", JOB):
        exporting = msgspec.structs.replace(services.settings(), export=True)
        patch.setattr(services, "settings", lambda: exporting)
        patch.setattr(Metrics, "flush", lambda _self, _stage: None)
        made = Operator(Pipeline(patch))
        stage = made.stage()
        for module in (options, doctor):
            patch.setattr(module, "find", lambda *_arguments, **_options: stage)
        keyed = replace(jobs.require("sizes"), key=Key(name="kind", source=KeySource.ROW))
        with in_place(keyed):
            run_every_command(Terminal(made, folder))
            repair_what_was_lost(Terminal(made, folder))
        watch(made, stage)
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A statement of a policy, and what rights.json says of it."""

    part: str
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    commands: tuple[str, ...]
    uncalled: str

    def covers(self, call: Call) -> bool:
        """Tell whether it allows a call."""
        action, resource = call
        return action in self.actions and any(fnmatchcase(resource, pattern) for pattern in self.resources)


@pytest.fixture(scope="module")
def rights(policies_of: PoliciesOf) -> list[Right]:
    """Return what the policies grant, each statement with what rights.json says of it."""
    listed = {right["sid"]: right for right in json.loads((FOLDER / "rights.json").read_text(encoding="utf-8"))}
    return [
        Right(
            part=listed[statement.sid]["part"],
            sid=statement.sid,
            actions=statement.actions,
            resources=statement.resources,
            commands=tuple(listed[statement.sid]["commands"]),
            uncalled=listed[statement.sid].get("uncalled", ""),
        )
        for statement in policies_of(FOLDER)
    ]


def _callers(operator: Operator, right: Right) -> list[str]:
    """Return the commands that call a right, of those that have its part."""
    having = {"look": operator.called.keys(), "examine": {"doctor"}, "act": ACTS}[right.part]
    return sorted(command for command in having if any(map(right.covers, operator.called[command])))


def test_every_command_has_the_rights_of_its_part_and_needs_no_other(operator: Operator, rights: list[Right]) -> None:
    """Who looks calls nothing that changes anything, and `doctor` nothing beside what looks and examines."""
    for command, calls in operator.called.items():
        parts = {"look", *(["examine"] if command == "doctor" else []), *(["act"] if command in ACTS else [])}
        granted = [right for right in rights if right.part in parts]
        refused = [
            call for call in calls if call[0] not in UNASKED and not any(right.covers(call) for right in granted)
        ]
        assert refused == [], command


def test_every_right_names_the_commands_that_call_it(operator: Operator, rights: list[Right]) -> None:
    """No command is missing, and none is named that needs the right no more."""
    called = {right.sid: _callers(operator, right) for right in rights if not right.uncalled}
    assert called == {right.sid: list(right.commands) for right in rights if not right.uncalled}


def test_no_right_is_for_a_resource_or_an_action_that_nothing_calls(operator: Operator, rights: list[Right]) -> None:
    calls = {call for found in operator.called.values() for call in found}
    surplus = [
        (right.sid, part)
        for right in rights
        if not right.uncalled
        for part in (*right.actions, *right.resources)
        if not any(right.covers(call) and (call[0] == part or fnmatchcase(call[1], part)) for call in calls)
    ]
    assert surplus == []


def test_what_has_a_reason_not_to_be_called_is_not_called(operator: Operator, rights: list[Right]) -> None:
    """A reason that is true no more would hide a command that needs the right."""
    assert [
        right.sid for right in rights if right.uncalled and right.part != "prove" and _callers(operator, right)
    ] == []


def test_every_call_in_the_source_of_the_commands_is_made_here(operator: Operator) -> None:
    """A call that is new fails here until a command makes it, and so until a right has it."""
    services = {operation.partition(".")[0] for operation in operator.operations}
    known = {xform_name(name) for each in services for name in Session().get_service_model(each).operation_names}
    named = {
        name
        for path in TALLY.rglob("*.py")
        if path.relative_to(TALLY).parts[0] not in OF_OTHERS
        for name in CALL.findall(path.read_text(encoding="utf-8"))
    }
    assert (named & known) - {operation.partition(".")[2] for operation in operator.operations} == DEPLOYS


def test_a_prover_may_do_what_the_source_of_prove_does(operator: Operator, rights: list[Right]) -> None:
    """Its own rights are those that neither the other parts nor a deployment has."""
    services = ("cloudwatch", "lambda", "logs", "s3", "sns", "sqs")
    named = {name for path in (TALLY / "prove").rglob("*.py") for name in CALL.findall(path.read_text("utf-8"))}
    called = {
        action
        for service in services
        for name in Session().get_service_model(service).operation_names
        if (method := xform_name(name)) in named
        for action in actions_of(service, method, {})
    }
    others = {action for right in rights if right.part != "prove" for action in right.actions}
    own = {action for right in rights if right.part == "prove" for action in right.actions}
    assert called - others <= own <= called


def test_every_command_on_a_stage_is_run_here(operator: Operator) -> None:
    assert {command.partition(" ")[0] for command in operator.called} == ENTRIES.keys() - ELSEWHERE.keys()
