"""Chalice's record against what lives: what was missing is added, what is gone is removed, what is another's stops."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chalice.config import Config, DeployedResources
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.executor import Executor
from chalice.deploy.planner import PlanStage, RemoteState

import app
from tally.deploy.record import DeployedRecord, reconcile
from tally.deploy.survey import Entry, Live, Sources, Survey
from tally.errors import OperatorError
from tests.unit.tally.deployed_stage import FUNCTION, PLACE, QUEUE, SOURCES, STAGE, Aws, by_name, trigger, whole

OLD_STREAM = SOURCES.stream.replace("stream/1", "stream/0")


@pytest.fixture(scope="module")
def chalices() -> list[Entry]:
    """Return what Chalice itself records of the app: its own model, plan and executor, with a client that says yes."""
    config = Config.create(
        chalice_stage=STAGE,
        chalice_app=app.app,
        app_name="tally",
        manage_iam_role=False,
        iam_role_arn="role",
        project_dir="",
    )
    resources = DependencyBuilder().build_dependencies(ApplicationGraphBuilder().build(config, STAGE))
    client: Any = SimpleNamespace(
        lambda_function_exists=lambda _name: False,
        create_function=lambda function_name, **_: f"{FUNCTION}{function_name.removeprefix('tally-test-')}",
        create_lambda_event_source=lambda function_name, **_: f"uuid-{function_name.removeprefix(FUNCTION)}",
        endpoint_dns_suffix=lambda *_: "amazonaws.com",
        get_or_create_rule_arn=lambda rule_name, **_: rule_name,
        **dict.fromkeys(
            (
                "delete_function_concurrency",
                "add_permission_for_s3_event",
                "connect_s3_bucket_to_lambda",
                "connect_rule_to_lambda",
                "add_permission_for_cloudwatch_event",
            ),
            lambda **_: None,
        ),
    )
    files: Any = SimpleNamespace(get_file_contents=lambda *_, **__: b"")
    plan = PlanStage(RemoteState(client, DeployedResources.empty()), files).execute(resources)
    executor = Executor(client, SimpleNamespace(write=lambda _text: None))  # type: ignore[arg-type]
    executor.execute(plan)
    return executor.resource_values


@pytest.fixture
def live() -> Live:
    return whole()


def test_a_record_made_from_what_lives_is_the_one_that_chalice_writes(chalices: list[Entry], live: Live) -> None:
    """Down to every key: Chalice and Terraform go on from it as if nothing had happened."""
    rebuilt = reconcile([], live, SOURCES)
    assert by_name(rebuilt) == by_name(chalices)
    assert len(rebuilt) == len(chalices) == 22


def test_a_record_that_is_true_stays_as_it_is(chalices: list[Entry], live: Live) -> None:
    assert by_name(reconcile(chalices, live, SOURCES)) == by_name(chalices)


def test_triggers_are_deleted_before_their_functions(live: Live) -> None:
    """Chalice deletes from the end of the record."""
    kinds = [entry["resource_type"] == "lambda_function" for entry in reconcile([], live, SOURCES)]
    assert kinds == sorted(kinds, reverse=True)


def test_what_a_killed_deployment_made_is_added(chalices: list[Entry], live: Live) -> None:
    """It had got as far as some functions and one mapping; the record is that of the deployment before, or none."""
    partly = replace(
        live, functions={"plan": FUNCTION + "plan", "ingest": FUNCTION + "ingest"}, triggers=live.triggers[:1], rules={}
    )
    assert list(by_name(reconcile([], partly, SOURCES))) == [
        "plan",
        "ingest",
        "ingest-sqs-event-source",
        "plan-s3event",
    ]
    older = [entry for entry in chalices if entry["name"] == "plan"]
    assert set(by_name(reconcile(older, partly, SOURCES))) == {
        "plan",
        "ingest",
        "ingest-sqs-event-source",
        "plan-s3event",
    }


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("ingest", {"functions": {}}),
        ("ingest-sqs-event-source", {"triggers": []}),
        ("dispatch-dynamodb-event-source", {"triggers": []}),
        ("plan-s3event", {"notified": {"inbox": {}}}),
        ("plan-s3event", {"notified": {}}),
        ("reconcile-event", {"rules": {}}),
    ],
)
def test_what_is_gone_is_removed(chalices: list[Entry], live: Live, name: str, gone: dict[str, Any]) -> None:
    """Chalice would stop at it when it deletes, and Terraform would make a mapping of its own in its stead."""
    assert name not in by_name(reconcile(chalices, replace(live, **gone), SOURCES))


def test_a_mapping_that_was_made_again_takes_the_place_of_the_recorded_one(chalices: list[Entry], live: Live) -> None:
    again = replace(live, triggers=[trigger("ingest", QUEUE + "ingest", "another")])
    assert by_name(reconcile(chalices, again, SOURCES))["ingest-sqs-event-source"]["event_uuid"] == "another"


def test_a_recorded_mapping_that_is_another_functions_is_not_taken_for_the_recorded_one(
    chalices: list[Entry], live: Live
) -> None:
    swapped = replace(live, triggers=[trigger("finish", QUEUE + "finished", "uuid-ingest")])
    known = by_name(reconcile(chalices, swapped, SOURCES))
    assert "ingest-sqs-event-source" not in known
    assert known["finish-sqs-event-source"]["event_uuid"] == "uuid-ingest"


def test_mappings_that_terraform_made_are_never_taken_for_chalices(live: Live) -> None:
    """Not even while Chalice's own is missing."""
    without = replace(live, triggers=[one for one in live.triggers if one.uuid != "uuid-dead_letters"])
    assert "dead_letters-sqs-event-source" not in by_name(reconcile([], without, SOURCES))


def test_a_mapping_of_an_old_stream_stays_on_record_until_it_is_retired(live: Live) -> None:
    """Terraform has adopted it: removed while it exists, a plan would want it gone."""
    old = replace(live, triggers=[trigger("dispatch", OLD_STREAM)])
    assert by_name(reconcile([], old, SOURCES))["dispatch-dynamodb-event-source"]["stream_arn"] == OLD_STREAM


def test_of_an_old_and_a_present_mapping_the_present_one_is_recorded(live: Live) -> None:
    both = replace(live, triggers=[trigger("settle", OLD_STREAM, "old"), trigger("settle", SOURCES.stream, "new")])
    assert by_name(reconcile([], both, SOURCES))["settle-dynamodb-event-source"]["event_uuid"] == "new"


def test_two_mappings_that_could_be_chalices_stop_with_the_names_of_both(live: Live, chalices: list[Entry]) -> None:
    """Unless the record names one of them."""
    twice = replace(live, triggers=[*live.triggers, trigger("ingest", QUEUE + "ingest", "second")])
    with pytest.raises(OperatorError, match=r"tally-test-ingest has more than one .*uuid-ingest of .* and second of"):
        reconcile([], twice, SOURCES)
    assert by_name(reconcile(chalices, twice, SOURCES)) == by_name(chalices)


def test_kinds_that_tally_does_not_make_are_left_on_record(live: Live) -> None:
    topic = {"name": "own-sns-subscription", "resource_type": "sns_event", "lambda_arn": FUNCTION + "plan"}
    assert topic in reconcile([topic], live, SOURCES)


@pytest.fixture
def aws(live: Live) -> Aws:
    return Aws(live)


@pytest.fixture
def record(tmp_path: Path, aws: Aws, said: StringIO) -> DeployedRecord:
    survey = Survey(place=PLACE, client=aws.client, sleep=aws.sleep)
    return DeployedRecord(
        path=tmp_path / ".chalice" / "deployed" / "test.json", survey=survey, say=lambda text: print(text, file=said)
    )


def test_a_lost_record_is_rebuilt_and_each_resource_said_in_a_line(
    record: DeployedRecord, chalices: list[Entry], said: StringIO
) -> None:
    """As Chalice reads it; of neighbours whose name begins alike nothing gets in."""
    assert record.repair(SOURCES)
    assert by_name(record.entries()) == by_name(chalices)
    read_by_chalice = Config.create(project_dir=str(record.path.parents[2])).deployed_resources(STAGE)
    assert set(read_by_chalice.resource_names()) == set(by_name(chalices))
    assert "added ingest-sqs-event-source (uuid-ingest)." in said.getvalue()
    assert len(said.getvalue().splitlines()) == len(chalices)


def test_a_true_record_is_left_alone(record: DeployedRecord, said: StringIO) -> None:
    record.repair(SOURCES)
    before, said_before = record.path.read_bytes(), said.getvalue()
    assert not record.repair(SOURCES)
    assert (record.path.read_bytes(), said.getvalue()) == (before, said_before)


@pytest.mark.parametrize("torn", ["", '{"resources": [{"na', "{}", "[]"])
def test_a_torn_record_is_rebuilt(record: DeployedRecord, chalices: list[Entry], said: StringIO, torn: str) -> None:
    """Terraform reads it too, and would stop at it."""
    record.path.parent.mkdir(parents=True)
    record.path.write_text(torn)
    record.repair(SOURCES)
    assert "test.json cannot be read: rebuilding it" in said.getvalue()
    assert by_name(record.entries()) == by_name(chalices)


def test_a_torn_record_of_a_stage_without_functions_becomes_an_empty_one(record: DeployedRecord, aws: Aws) -> None:
    aws.empty()
    record.path.parent.mkdir(parents=True)
    record.path.write_text("{")
    record.repair(SOURCES)
    assert json.loads(record.path.read_text())["resources"] == []


def test_a_stage_that_never_was_gets_no_record(record: DeployedRecord, aws: Aws) -> None:
    aws.empty()
    assert not record.repair(Sources())
    assert not record.path.exists()


def test_what_is_gone_is_removed_and_said(record: DeployedRecord, aws: Aws, said: StringIO) -> None:
    record.repair(SOURCES)
    aws.mappings = [mapping for mapping in aws.mappings if mapping["UUID"] != "uuid-finish"]
    del aws.notified["inbox"]
    assert record.repair(SOURCES)
    assert {"finish-sqs-event-source", "plan-s3event"}.isdisjoint(by_name(record.entries()))
    assert "removed finish-sqs-event-source (uuid-finish), which is gone." in said.getvalue()


def test_the_notification_of_a_bucket_that_the_stage_no_longer_has_stays_on_record(
    record: DeployedRecord, aws: Aws
) -> None:
    """Chalice takes it back from there, once it has put one on the new bucket."""
    record.repair(SOURCES)
    aws.notified["new"] = []
    record.repair(replace(SOURCES, bucket="new"))
    assert by_name(record.entries())["plan-s3event"]["bucket"] == "inbox"


@pytest.mark.parametrize(
    ("arn", "how"),
    [
        (
            "arn:aws:lambda:us-east-1:111111111111:function:tally-test-plan",
            "belongs to account 111111111111, region us-east-1",
        ),
        (
            "arn:aws:lambda:eu-west-1:000000000000:function:tally-test-plan",
            "belongs to account 000000000000, region eu-west-1",
        ),
        ("arn:aws:lambda:us-east-1:000000000000:function:tally-prod-plan", "tally-prod-plan belongs to another stage"),
    ],
)
def test_a_record_of_another_place_stops_before_anything_is_asked(
    record: DeployedRecord, aws: Aws, arn: str, how: str
) -> None:
    """Nothing in it is gone; it is elsewhere."""
    record.path.parent.mkdir(parents=True)
    entry = {"name": "plan", "resource_type": "lambda_function", "lambda_arn": arn}
    record.path.write_text(json.dumps({"resources": [entry]}))
    before = record.path.read_bytes()
    with pytest.raises(OperatorError, match=how):
        record.repair(SOURCES)
    assert record.path.read_bytes() == before


@pytest.mark.parametrize("elsewhere", ["us-east-1:111111111111", "eu-west-1:000000000000"])
def test_credentials_of_another_place_than_terraforms_state_stop(record: DeployedRecord, elsewhere: str) -> None:
    """There everything seems gone: the record would be emptied, and a destruction would forget a stage that lives."""
    record.repair(SOURCES)
    before = record.path.read_bytes()
    with pytest.raises(OperatorError, match=r"by Terraform's state .* use those that deployed it"):
        record.repair(replace(SOURCES, stream=SOURCES.stream.replace("us-east-1:000000000000", elsewhere)))
    assert record.path.read_bytes() == before


def test_a_mapping_that_is_being_deleted_is_waited_for(record: DeployedRecord, aws: Aws) -> None:
    """Terraform takes it for alive, and refuses to give it up; Lambda refuses to make another beside it."""
    record.repair(SOURCES)
    aws.polls_while_deleting = 3
    aws.delete_event_source_mapping(UUID="uuid-ingest")
    record.repair(SOURCES)
    assert "ingest-sqs-event-source" not in by_name(record.entries())
    assert len(aws.slept) == 3


def test_a_mapping_that_is_deleted_for_ever_is_an_error(record: DeployedRecord, aws: Aws) -> None:
    aws.polls_while_deleting = 1_000
    aws.delete_event_source_mapping(UUID="uuid-ingest")
    with pytest.raises(OperatorError, match="has been deleting event source mappings of stage test for 300 s"):
        record.repair(SOURCES)


def test_mappings_of_a_replaced_table_are_retired(record: DeployedRecord, aws: Aws, said: StringIO) -> None:
    """Recorded or not; nothing else goes."""
    record.repair(SOURCES)
    replaced = replace(SOURCES, stream=SOURCES.stream.replace("stream/1", "stream/2"))
    record.retire(replaced)
    gone = {mapping["UUID"] for mapping in aws.mappings if mapping["State"] == "Deleting"}
    assert gone == {"uuid-dispatch", "uuid-settle"}
    record.repair(replaced)
    assert {"dispatch-dynamodb-event-source", "settle-dynamodb-event-source"}.isdisjoint(by_name(record.entries()))
    assert "settle: deleting its mapping uuid-settle" in said.getvalue()


def test_an_old_queues_mapping_goes_only_once_the_new_one_is_there(record: DeployedRecord, aws: Aws) -> None:
    """Before that it is Chalice's to replace, so that the queue is never without its reader."""
    record.repair(SOURCES)
    renamed = replace(SOURCES, queues=(SOURCES.queues - {f"{QUEUE}ingest"}) | {f"{QUEUE}ingest2"})
    record.retire(renamed)
    assert all(mapping["State"] == "Enabled" for mapping in aws.mappings)
    aws.mappings.append({**aws.mappings[0], "UUID": "new", "EventSourceArn": f"{QUEUE}ingest2"})
    record.retire(renamed)
    record.repair(renamed)
    assert by_name(record.entries())["ingest-sqs-event-source"]["event_uuid"] == "new"


def test_every_mapping_of_the_stage_can_be_deleted_and_no_other(record: DeployedRecord, aws: Aws) -> None:
    """Terraform's own too; those of a stage whose name begins alike stay."""
    assert record.delete_triggers() == 13
    assert [mapping["FunctionArn"] for mapping in aws.mappings] == [f"{FUNCTION}two-ingest"]
