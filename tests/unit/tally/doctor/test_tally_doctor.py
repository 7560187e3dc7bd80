"""Doctor on answers that the local AWS does not give: missing rights, another account, measurements."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tally import doctor
from tally.cli import run as run_command
from tally.doctor import account, alarms, examination, functions, queues, roles, storage, triggers
from tally.doctor.examination import Group
from tally.doctor.finding import Finding, State, failed, ok
from tally.doctor.patient import Check, Patient
from tally.errors import ExitCode, OperatorError
from tally.stages import expected
from tally.stages.stage import Resources, Stage

ACCOUNT = "111122223333"
SQS = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:tally-test-"
STREAM = f"arn:aws:dynamodb:eu-central-1:{ACCOUNT}:table/tally-test/stream/1"
LAMBDA = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:tally-test-"
URL = f"https://sqs.eu-central-1.amazonaws.com/{ACCOUNT}/tally-test-"
TOPIC = f"arn:aws:sns:eu-central-1:{ACCOUNT}:tally-test-alarms"
NOW = datetime(2026, 11, 26, tzinfo=UTC)

Answer = Mapping[str, Any] | Callable[..., Any] | Exception


class Client:
    """A client that answers each operation with what it is told, and keeps what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.meta = SimpleNamespace(region_name="eu-central-1")

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.asked.append((operation, request))
            answer = self.answers[operation]
            if isinstance(answer, Exception):
                raise answer
            return answer(**request) if callable(answer) else answer

        return call

    def get_paginator(self, operation: str) -> Any:
        """Return what gives the answer as the only page."""
        return SimpleNamespace(paginate=lambda **request: iter([getattr(self, operation)(**request)]))


def error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, operation)


MAPPING = expected.Mapping(
    function="process",
    source_arn=SQS + "work",
    batch_size=1,
    window_seconds=0,
    maximum_concurrency=50,
    filters=[],
    stream=None,
)
UNLIMITED = expected.Mapping(
    function="finish",
    source_arn=SQS + "finished",
    batch_size=10,
    window_seconds=0,
    maximum_concurrency=None,
    filters=[],
    stream=None,
)
READER = expected.Mapping(
    function="settle",
    source_arn=STREAM,
    batch_size=10,
    window_seconds=0,
    maximum_concurrency=None,
    filters=['{"a": 1}'],
    stream=expected.StreamReader(parallelization_factor=1, maximum_retry_attempts=100, on_failure_arn=SQS + "f"),
)
LIST = expected.Statement(
    sid="List",
    actions=["s3:ListBucketVersions"],
    resources=["arn:aws:s3:::inbox"],
    condition={"StringEquals": {"s3:prefix": ["inbox/"]}},
)
READ = expected.Statement(sid="Read", actions=["s3:GetObject"], resources=["arn:aws:s3:::inbox/inbox/*"])
EXPECTED = expected.Expected(
    account_id=ACCOUNT,
    region="eu-central-1",
    table_name="tally-test",
    stream_arn=STREAM,
    inbox_bucket="inbox",
    alarm_topic_arn=TOPIC,
    reconcile_minutes=5,
    queue_age_seconds=3600,
    iterator_age_seconds=600,
    functions={
        "process": expected.Function(
            timeout_seconds=60,
            memory_mb=512,
            role_arn=f"arn:aws:iam::{ACCOUNT}:role/tally-test-process",
            statements=[READ, LIST],
        ),
        "finish": expected.Function(timeout_seconds=30, memory_mb=256, role_arn="role/finish", statements=[]),
    },
    mappings=[MAPPING, UNLIMITED, READER],
    queues={
        "work": expected.Queue(
            url=URL + "work",
            dlq_url=URL + "work-dlq",
            dlq_arn=SQS + "work-dlq",
            max_receive_count=5,
            visibility_floor=60,
        )
    },
    failure_queues={},
)
LIVE = {
    "UUID": "uuid",
    "State": "Enabled",
    "FunctionArn": LAMBDA + "process",
    "EventSourceArn": SQS + "work",
    "BatchSize": 1,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig": {"MaximumConcurrency": 50},
}


def found(
    check: Check, *, local: bool = False, packages: Callable[[], set[str]] = set, **clients: Client
) -> list[Finding]:
    """Return what a check finds, without what is as it should be."""
    named = {{"functions": "lambda"}.get(name, name): client for name, client in clients.items()}
    patient = Patient(stage="test", local=local, expected=EXPECTED, clients=named, clock=lambda: NOW, packages=packages)
    return [finding for finding in examination.run(Group("group", check), patient) if finding.state is not State.OK]


def test_credentials_of_another_account_end_the_examination() -> None:
    """All else would be about another stage."""
    clients = {"sts": Client(get_caller_identity={"Account": "999", "Arn": "arn:who"})}
    findings = doctor.examine(_stage(clients))
    assert [(one.check, one.state) for one in findings] == [("account.credentials", State.FAILED)]
    assert f"of account 999, the stage is in {ACCOUNT}" in findings[0].saw


def test_credentials_that_have_expired_end_the_examination_and_are_no_crash() -> None:
    clients = {"sts": Client(get_caller_identity=error("ExpiredToken", "GetCallerIdentity"))}
    (finding,) = doctor.examine(_stage(clients))
    assert (finding.check, finding.state) == ("account.credentials", State.UNKNOWN)


def test_another_region_is_named() -> None:
    functions_client = Client()
    functions_client.meta.region_name = "us-east-1"
    sts = Client(get_caller_identity={"Account": ACCOUNT, "Arn": "arn:who"})
    (finding,) = found(account.credentials, sts=sts, functions=functions_client)
    assert (finding.check, finding.action) == ("account.region", "set AWS_REGION=eu-central-1")


def test_an_unknown_expectation_is_a_finding() -> None:
    """Terraform's outputs are of a stage that an older version deployed, or are not at hand."""
    (finding,) = doctor.examine(Stage(name="test", resources=Resources(table="t", inbox_bucket="b")))
    assert (finding.check, finding.state) == ("account.expectation", State.UNKNOWN)


def test_an_expectation_of_another_version_is_refused() -> None:
    with pytest.raises(OperatorError, match="another version of Tally"):
        expected.Expected.read('{"region": "x"}')


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "AuthorizationError"])
def test_a_missing_right_is_unknown_and_hides_no_other_check(code: str) -> None:
    s3 = Client(get_bucket_versioning=error(code, "GetBucketVersioning"))
    patient = Patient(stage="test", local=False, expected=EXPECTED, clients={"s3": s3})
    ended: list[int] = []
    groups = [Group("inbox.versioning", storage.versioning), Group("other", lambda _: [ok("other", "x", "y")])]
    findings = examination.run_all(groups, patient, ended.append)
    assert [(one.check, one.state) for one in findings] == [
        ("inbox.versioning", State.UNKNOWN),
        ("other", State.OK),
    ]
    assert "no right to call GetBucketVersioning" in findings[0].saw
    assert len(ended) == len(groups)


@pytest.mark.parametrize("raised", [EndpointConnectionError(endpoint_url="x"), KeyError("odd"), error("Odd", "Get")])
def test_what_nobody_foresaw_is_unknown(raised: Exception) -> None:
    """The findings before it stay."""

    def check(_patient: Patient) -> Any:
        yield failed("first", "x", "y", "z")
        raise raised

    assert [finding.state for finding in found(check)] == [State.FAILED, State.UNKNOWN]


def test_a_small_quota_is_named_with_what_has_no_limit() -> None:
    limit = {"AccountLimit": {"UnreservedConcurrentExecutions": 10}}
    (finding,) = found(account.quotas, functions=Client(get_account_settings=limit))
    assert finding.state is State.WARNING
    assert "67 functions may run at once" in finding.saw
    assert "more of finish, which have no maximum, of 10" in finding.saw


def test_mappings_that_are_missing_surplus_or_double_are_named() -> None:
    """The stream's and finish's are missing, process has two, and one is of a queue that nobody knows."""
    live = [LIVE, {**LIVE, "UUID": "second"}, {**LIVE, "UUID": "third", "EventSourceArn": SQS + "old"}]
    client = Client(list_event_source_mappings={"EventSourceMappings": live})
    assert [finding.check for finding in found(triggers.mappings, functions=client)] == [
        "mapping.double",
        "mapping.missing",
        "mapping.missing",
        "mapping.surplus",
    ]


def test_mappings_of_a_stage_whose_name_begins_alike_are_not_looked_at() -> None:
    live = [{**LIVE, "FunctionArn": LAMBDA + "two-process", "State": "Disabled"}]
    client = Client(list_event_source_mappings={"EventSourceMappings": live})
    assert {finding.check for finding in found(triggers.mappings, functions=client)} == {"mapping.missing"}


def test_a_denied_call_is_named_and_conditions_are_simulated_with_their_values() -> None:
    def simulate(**request: Any) -> Any:
        decisions = {"s3:GetObject": "allowed", "s3:ListBucketVersions": "implicitDeny"}
        actions = request["ActionNames"]
        return {"EvaluationResults": [{"EvalActionName": a, "EvalDecision": decisions[a]} for a in actions]}

    iam = Client(simulate_principal_policy=simulate)
    (finding,) = found(roles.rights, iam=iam)
    assert (finding.check, finding.state) == ("role.right", State.FAILED)
    assert finding.saw == "process may not s3:ListBucketVersions on arn:aws:s3:::inbox"
    requests = [request for _, request in iam.asked]
    assert [request["ResourceArns"] for request in requests] == [
        ["arn:aws:s3:::inbox/inbox/doctor"],
        ["arn:aws:s3:::inbox"],
    ]
    assert requests[1]["ContextEntries"] == [
        {"ContextKeyName": "s3:prefix", "ContextKeyType": "string", "ContextKeyValues": ["inbox/"]}
    ]


def test_a_results_table_that_is_gone_is_named_and_one_that_is_not_wanted_is_not_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Client(describe_table=error("ResourceNotFoundException", "DescribeTable"))
    assert found(storage.results_table, dynamodb=gone) == []
    wanted = msgspec.structs.replace(EXPECTED, results_table_name="tally-test-results")
    monkeypatch.setitem(globals(), "EXPECTED", wanted)
    (finding,) = found(storage.results_table, dynamodb=gone)
    assert (finding.check, finding.state, finding.subject) == (
        "results_table.status",
        State.FAILED,
        "tally-test-results",
    )
    assert found(storage.results_table, dynamodb=Client(describe_table={"Table": {"TableStatus": "ACTIVE"}})) == []


def test_a_reader_far_behind_the_stream_is_named() -> None:
    points = {"Datapoints": [{"Maximum": 1000.0}, {"Maximum": 700_000.0}]}
    (finding,) = found(storage.iterator_age, cloudwatch=Client(get_metric_statistics=points))
    assert (finding.check, finding.saw) == ("stream.age", "700 s behind the stream")


def test_a_local_stage_measures_nothing() -> None:
    (finding,) = found(storage.iterator_age, local=True)
    assert finding.state is State.SKIPPED


def test_an_old_message_is_named() -> None:
    attributes = {"ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "1"}
    points = {"Datapoints": [{"Maximum": 4000.0}]}
    (finding,) = found(
        queues.backlog,
        sqs=Client(get_queue_attributes={"Attributes": attributes}),
        cloudwatch=Client(get_metric_statistics=points),
    )
    assert (finding.check, finding.saw) == ("queue.age", "3 waiting, 1 worked on or delayed, the oldest for 4,000 s")


def test_a_dead_letter_queue_that_is_gone_is_named() -> None:
    def attributes(**request: Any) -> Any:
        if request["QueueUrl"].endswith("-dlq"):
            raise error("AWS.SimpleQueueService.NonExistentQueue", "GetQueueAttributes")
        policy = {"deadLetterTargetArn": SQS + "work-dlq", "maxReceiveCount": 5}
        return {"Attributes": {"VisibilityTimeout": "360", "RedrivePolicy": json.dumps(policy)}}

    (finding,) = found(queues.redrive, sqs=Client(get_queue_attributes=attributes))
    assert (finding.check, finding.saw) == ("queue.dlq", "its dead-letter queue tally-test-work-dlq does not exist")


def test_a_subscription_that_nobody_confirmed_is_named() -> None:
    sns = Client(list_subscriptions_by_topic={"Subscriptions": [{"SubscriptionArn": "PendingConfirmation"}]})
    (finding,) = found(alarms.subscribers, sns=sns)
    assert "none confirmed" in finding.saw


def test_alarms_that_tell_nobody_or_ring_are_named() -> None:
    """An alarm of another stage, whose name begins alike, is not."""
    own = [
        {"AlarmName": "a", "AlarmActions": [TOPIC], "ActionsEnabled": False, "StateValue": "OK"},
        {"AlarmName": "b", "AlarmActions": [TOPIC], "StateValue": "ALARM", "AlarmDescription": "See the runbook."},
        {"AlarmName": "c", "AlarmActions": ["another"], "StateValue": "ALARM"},
    ]
    findings = found(alarms.alarms, cloudwatch=Client(describe_alarms={"MetricAlarms": own}))
    assert [(one.check, one.action) for one in findings] == [
        ("alarms.muted", "aws cloudwatch enable-alarm-actions --alarm-names a"),
        ("alarms.alarm", "See the runbook."),
    ]


def test_functions_of_two_packages_are_named() -> None:
    def configuration(**request: Any) -> Any:
        wanted = EXPECTED.functions[request["FunctionName"].removeprefix("tally-test-")]
        settings = {"Timeout": wanted.timeout_seconds, "MemorySize": wanted.memory_mb, "Role": wanted.role_arn}
        return settings | {"Runtime": "python3.12", "CodeSha256": request["FunctionName"]}

    (finding,) = found(functions.configuration, functions=Client(get_function_configuration=configuration))
    assert (finding.check, finding.state) == ("function.package", State.FAILED)


@pytest.mark.parametrize(
    ("known", "state"), [(set(), State.SKIPPED), ({"other"}, State.WARNING), ({"digest"}, State.OK)]
)
def test_what_runs_is_compared_with_the_packages_of_this_machine(known: set[str], state: State) -> None:
    def configuration(**request: Any) -> Any:
        wanted = EXPECTED.functions[request["FunctionName"].removeprefix("tally-test-")]
        settings = {"Timeout": wanted.timeout_seconds, "MemorySize": wanted.memory_mb, "Role": wanted.role_arn}
        return settings | {"Runtime": "python3.12", "CodeSha256": "digest"}

    client = Client(get_function_configuration=configuration)
    findings = found(functions.configuration, functions=client, packages=lambda: known)
    assert doctor.worst(findings) is state


def test_a_package_has_the_digest_that_lambda_shows(tmp_path: Path) -> None:
    """SHA-256 in base64."""
    folder = tmp_path / ".chalice" / "deployments"
    folder.mkdir(parents=True)
    (folder / "one.zip").write_bytes(b"")
    assert functions.packages(tmp_path) == {"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}


def test_a_function_that_is_gone_is_named() -> None:
    client = Client(get_function_configuration=error("ResourceNotFoundException", "GetFunctionConfiguration"))
    findings = found(functions.configuration, functions=client)
    assert {one.check for one in findings if one.state is State.FAILED} == {"function.missing"}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.OK, ExitCode.OK),
        (State.SKIPPED, ExitCode.OK),
        (State.UNKNOWN, ExitCode.TO_LOOK_AT),
        (State.WARNING, ExitCode.TO_LOOK_AT),
        (State.FAILED, ExitCode.NOT_AS_HOPED),
    ],
)
def test_the_exit_status_says_the_worst(
    state: State, code: ExitCode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [ok("a", "b", "c"), Finding(check="d", subject="e", state=state, saw="f", action="do [this]")]
    stage = Stage(name="test", resources=Resources(table="", inbox_bucket=""))
    monkeypatch.setattr("tally.commands.doctor.find", lambda *_, **__: stage)
    monkeypatch.setattr("tally.doctor.examine", lambda *_, **__: findings)
    assert run_command(["doctor", "--stage", "test"]) is code
    assert "d: e: f -> do [this]" in capsys.readouterr().out
    assert run_command(["doctor", "--stage", "test", "--json"]) is code
    assert json.loads(capsys.readouterr().out)["findings"][1]["state"] == state.value


def _stage(clients: Mapping[str, Client]) -> Any:
    """Return what examine needs of a stage in AWS."""
    text = msgspec.json.encode(EXPECTED).decode()
    return SimpleNamespace(
        name="test",
        server=None,
        resources=Resources(table="t", inbox_bucket="b", expected=text),
        client=lambda service: clients.get(service) or Client(),
    )
