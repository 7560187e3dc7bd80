"""`tally doctor` on a real stage: a healthy one has no failure, and each deliberate defect is named."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.items import batch_pk
from tally import doctor
from tally.doctor import Finding, State
from tally.stages.expected import Expected
from tests.e2e.conftest import Tally, wait_for

pytestmark = pytest.mark.e2e

STAGE = "doctored"
_TROUBLE = {State.UNKNOWN, State.WARNING, State.FAILED}


class Ward:
    """The stage, and what is done to it. Every defect is repaired when its block ends."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.stage = tally.stage
        found = Expected.read(self.stage.resources.expected)
        assert found is not None
        self.expected = found

    def troubles(self) -> dict[str, Finding]:
        """Return what doctor finds wrong, by the name of the check."""
        return {found.check: found for found in doctor.examine(self.stage) if found.state in _TROUBLE}

    def subscribe(self) -> str:
        """Have the queue of completions hear of alarms, and return the subscription."""
        topic = self.expected.alarm_topic_arn
        target = self.expected.queues["completions"].dlq_arn.removesuffix("-dlq")
        answer = self.stage.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=target, ReturnSubscriptionArn=True
        )
        return str(answer["SubscriptionArn"])

    def mapping(self, handler: str) -> Mapping[str, Any]:
        """Return the only mapping of a function."""
        name = f"tally-{STAGE}-{handler}"
        (found,) = self.stage.functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        return found

    @contextmanager
    def mapping_with(self, handler: str, **broken: Any) -> Iterator[None]:
        """Give the mapping of a function other settings for the block."""
        whole = self.mapping(handler)
        update = self.stage.functions.update_event_source_mapping
        update(UUID=whole["UUID"], **broken)
        try:
            yield
        finally:
            update(UUID=whole["UUID"], **{name: whole.get(name, name == "Enabled") for name in broken})

    @contextmanager
    def undone(self, broken: Callable[[], object], repaired: Callable[[], object]) -> Iterator[None]:
        """Break something for the block."""
        broken()
        try:
            yield
        finally:
            repaired()


@pytest.fixture(scope="module")
def doctored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Bring up a stage with alarms, to which somebody listens."""
    tally = Tally(home=tmp_path_factory.mktemp("doctored"), repo=Path(__file__).resolve().parents[2], name=STAGE)
    try:
        up = tally.run("up", "--var", "alarms=true")
        assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
        ward = Ward(tally)
        ward.subscribe()
        assert ward.troubles() == {}
        yield ward
    finally:
        tally.run("down")


@pytest.fixture
def ward(doctored: Ward) -> Iterator[Ward]:
    """Return the stage, which is healthy again after each test: so each finding is of its own defect."""
    yield doctored
    assert doctored.troubles() == {}


def test_a_healthy_stage_has_no_trouble_and_exit_status_0(ward: Ward) -> None:
    """Every check was made, and nothing changed by it."""
    done = ward.tally.run("doctor", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["worst"]) == (0, "ok")
    assert {found["check"].partition(".")[0] for found in said["findings"]} >= {
        "account", "mapping", "inbox", "schedule", "function", "role", "table", "stream", "queue", "dead_letters",
        "alarms", "batch",
    }  # fmt: skip


def test_the_command_says_failed_and_what_to_do_with_exit_status_1(ward: Ward) -> None:
    """One line a check, also for people."""
    with ward.mapping_with("process", Enabled=False):
        done = ward.tally.run("doctor")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert done.returncode == 1
    assert "mapping.enabled: process <- tally-doctored-work" in line
    assert f"-> aws lambda update-event-source-mapping --uuid {ward.mapping('process')['UUID']} --enabled" in line


def test_a_plan_tells_what_has_drifted(ward: Ward) -> None:
    """--deep: the mapping has other filters than Terraform's."""
    with ward.mapping_with("dispatch", FilterCriteria={}):
        said = json.loads(ward.tally.run("doctor", "--deep", "--json").stdout)
    (drift,) = [found for found in said["findings"] if found["check"] == "drift"]
    assert drift["state"] == "warning"
    assert "to change" in drift["saw"]


@pytest.mark.parametrize(
    ("handler", "broken", "check"),
    [
        ("process", {"Enabled": False}, "mapping.enabled"),
        ("dispatch", {"FilterCriteria": {}}, "mapping.filters"),
        ("settle", {"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}}, "mapping.filters"),
        ("finish", {"FunctionResponseTypes": []}, "mapping.partial_batch_response"),
        ("dispatch", {"BisectBatchOnFunctionError": False}, "mapping.bisect"),
        ("settle", {"MaximumRetryAttempts": 3}, "mapping.retries"),
        ("settle", {"DestinationConfig": {"OnFailure": {}}}, "mapping.destination"),
        ("ingest", {"ScalingConfig": {"MaximumConcurrency": 9}}, "mapping.concurrency"),
        ("finish", {"BatchSize": 3}, "mapping.batch_size"),
        ("finish", {"MaximumBatchingWindowInSeconds": 7}, "mapping.window"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mapping_with_another_setting_is_named(
    ward: Ward, handler: str, broken: Mapping[str, Any], check: str
) -> None:
    """By its function, and no other mapping is."""
    with ward.mapping_with(handler, **broken):
        troubles = ward.troubles()
    assert set(troubles) == {check}
    assert troubles[check].subject.startswith(f"{handler} <- ")


def test_a_right_that_was_taken_away_is_named(ward: Ward) -> None:
    """By function, action and resource."""
    role, iam = f"tally-{STAGE}-settle", ward.stage.client("iam")
    whole = iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]
    fewer = json.loads(json.dumps(whole))
    for statement in fewer["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != "dynamodb:UpdateItem"] or [
            "s3:None"
        ]

    def put(policy: object) -> None:
        iam.put_role_policy(RoleName=role, PolicyName=role, PolicyDocument=json.dumps(policy))

    with ward.undone(lambda: put(fewer), lambda: put(whole)):
        troubles = ward.troubles()
    assert set(troubles) == {"role.right"}
    assert "settle may not dynamodb:UpdateItem on arn:" in troubles["role.right"].saw


def test_a_queue_without_a_dead_letter_queue_is_named(ward: Ward) -> None:
    """Its redrive policy is gone."""
    sqs, url = ward.stage.client("sqs"), ward.expected.queues["work"].url
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    with ward.undone(*_attributes(ward, url, RedrivePolicy=("", policy))):
        troubles = ward.troubles()
    assert set(troubles) == {"queue.dlq"}
    assert troubles["queue.dlq"].subject == f"tally-{STAGE}-work"


def test_a_queue_that_shows_messages_too_early_is_named(ward: Ward) -> None:
    """A message would be worked on twice at once."""
    url = ward.expected.queues["finished"].url
    with ward.undone(*_attributes(ward, url, VisibilityTimeout=("5", "180"))):
        troubles = ward.troubles()
    assert set(troubles) == {"queue.visibility"}


def test_a_dead_letter_that_waits_is_named(ward: Ward) -> None:
    """With the section of the runbook."""
    sqs, url = ward.stage.client("sqs"), ward.expected.queues["completions"].dlq_url
    with ward.undone(lambda: sqs.send_message(QueueUrl=url, MessageBody="{}"), lambda: sqs.purge_queue(QueueUrl=url)):
        troubles = ward.troubles()
    assert set(troubles) == {"dead_letters"}
    assert "section completions-dead-letters" in troubles["dead_letters"].action


def test_alarms_without_a_subscriber_are_named(ward: Ward) -> None:
    """With the command that subscribes."""
    sns, topic = ward.stage.client("sns"), ward.expected.alarm_topic_arn
    (one,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    with ward.undone(lambda: sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"]), ward.subscribe):
        troubles = ward.troubles()
    assert set(troubles) == {"alarms.subscriber"}
    assert f"aws sns subscribe --topic-arn {topic}" in troubles["alarms.subscriber"].action


def test_an_inbox_without_versions_is_named(ward: Ward) -> None:
    """An upload over a file would change the rows of a batch under way."""
    s3, bucket = ward.stage.s3, ward.expected.inbox_bucket

    def put(status: Any) -> None:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    with ward.undone(lambda: put("Suspended"), lambda: put("Enabled")):
        troubles = ward.troubles()
    assert set(troubles) == {"inbox.versioning"}


def test_an_inbox_that_notifies_nobody_is_named(ward: Ward) -> None:
    """Uploads would wait for reconcile."""
    with _notification(ward, {}):
        troubles = ward.troubles()
    assert set(troubles) == {"inbox.notification"}
    assert "it does not notify" in troubles["inbox.notification"].saw


def test_an_inbox_that_notifies_of_other_keys_is_named(ward: Ward) -> None:
    """The prefix is another one."""
    whole = ward.stage.s3.get_bucket_notification_configuration(Bucket=ward.expected.inbox_bucket)
    other = json.loads(json.dumps(whole["LambdaFunctionConfigurations"]))
    other[0]["Filter"]["Key"]["FilterRules"][0]["Value"] = "elsewhere/"
    with _notification(ward, {"LambdaFunctionConfigurations": other}):
        troubles = ward.troubles()
    assert set(troubles) == {"inbox.notification"}
    assert "'elsewhere/'" in troubles["inbox.notification"].saw


def test_an_inbox_that_may_become_public_is_named(ward: Ward) -> None:
    """The block is gone."""
    s3, bucket = ward.stage.s3, ward.expected.inbox_bucket
    whole = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    with ward.undone(
        lambda: s3.delete_public_access_block(Bucket=bucket),
        lambda: s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=whole),
    ):
        troubles = ward.troubles()
    assert set(troubles) == {"inbox.public_access"}


def test_a_schedule_that_is_disabled_is_named(ward: Ward) -> None:
    """Nothing would find a batch that stands still."""
    events, rule = ward.stage.client("events"), f"tally-{STAGE}-reconcile-event"
    with ward.undone(lambda: events.disable_rule(Name=rule), lambda: events.enable_rule(Name=rule)):
        troubles = ward.troubles()
    assert set(troubles) == {"schedule.enabled"}


def test_a_function_with_another_timeout_is_named(ward: Ward) -> None:
    """With both values."""
    with _function(ward, "process", Timeout=5):
        troubles = ward.troubles()
    assert set(troubles) == {"function.timeout"}
    assert troubles["function.timeout"].saw == "it is 5 s, not 60 s"


def test_a_batch_that_stands_still_is_named(ward: Ward) -> None:
    """Its repairs move nothing, as reconcile has noted."""
    with ward.mapping_with("ingest", Enabled=False):
        batch = ward.tally.submit("still.csv", b"office_id,user_count,contract_count\nA,1,1\n", job="offices")
        wait_for(lambda: (found := ward.tally.reader.batch(batch)) and found.chunks, what="its plan")
        noted = {"snapshot": {"S": "?"}, "since": {"N": "1"}, "repairs": {"N": "2"}, "expires_at": {"N": "9999999999"}}
        ward.stage.dynamodb.put_item(
            TableName=ward.expected.table_name, Item={"pk": {"S": batch_pk(batch)}, "sk": {"S": "watch"}, **noted}
        )
        found = ward.troubles().get("batch.standing")
    assert found is not None
    assert found.subject == batch
    ward.tally.ended(batch)


def test_a_table_without_its_stream_is_named(doctored: Ward) -> None:
    """Comes last: AWS gives the table another stream, which only a deployment has the functions follow."""
    dynamodb, table = doctored.stage.dynamodb, doctored.expected.table_name
    dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    assert "stream.enabled" in doctored.troubles()
    dynamodb.update_table(
        TableName=table, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    assert "stream.arn" in doctored.troubles()


def _attributes(ward: Ward, url: str, **changes: tuple[str, str]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what sets attributes of a queue to the first of their values, and what to the second."""
    sqs = ward.stage.client("sqs")

    def put(which: int) -> object:
        return sqs.set_queue_attributes(QueueUrl=url, Attributes={name: both[which] for name, both in changes.items()})

    return lambda: put(0), lambda: put(1)


def _notification(ward: Ward, broken: Any) -> AbstractContextManager[None]:
    """Give the inbox another notification for the block."""
    s3, bucket = ward.stage.s3, ward.expected.inbox_bucket
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    whole: Any = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    put = s3.put_bucket_notification_configuration
    return ward.undone(
        lambda: put(Bucket=bucket, NotificationConfiguration=broken),
        lambda: put(Bucket=bucket, NotificationConfiguration=whole),
    )


def _function(ward: Ward, handler: str, **broken: Any) -> AbstractContextManager[None]:
    """Give a function another configuration for the block."""
    name, api = f"tally-{STAGE}-{handler}", ward.stage.functions
    whole: Any = api.get_function_configuration(FunctionName=name)

    def put(settings: Any) -> None:
        api.update_function_configuration(FunctionName=name, **settings)
        api.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    return ward.undone(lambda: put(broken), lambda: put({setting: whole[setting] for setting in broken}))
