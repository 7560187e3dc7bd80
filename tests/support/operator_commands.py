"""What an operator calls: each command and page of `tally` on a stage in memory, through the SDK's own clients."""

import io
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boto3
import msgspec
from botocore import xform_name
from botocore.response import StreamingBody

from tally.stages import expected
from tally.stages.stage import Resources, Stage
from tally.testing.configuration import functions, queues
from tally.testing.environment import VARIABLES
from tally.testing.pipeline import Pipeline
from tests.support.calls import actions_of

ACCOUNT, REGION, STAGE = "000000000000", "us-east-1", "test"
PREFIX = f"tally-{STAGE}"
_SQS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{PREFIX}-"
_LAMBDA = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
_TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{PREFIX}-alarms"
_STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{PREFIX}/stream/1"
_FAILURES = ("plan-failures", "stream-failures")
Call = tuple[str, str]
"""An IAM action, and the resource that it is asked for on."""


def _expected() -> str:
    """Return Terraform's output ``expected`` of a stage that has everything."""
    names = (*queues(), "completions")
    made = expected.Expected(
        account_id=ACCOUNT,
        region=REGION,
        table_name=PREFIX,
        stream_arn=_STREAM,
        inbox_bucket="inbox",
        alarm_topic_arn=_TOPIC,
        reconcile_minutes=5,
        queue_age_seconds=900,
        iterator_age_seconds=900,
        functions={
            name: expected.Function(
                timeout_seconds=60,
                memory_mb=512,
                role_arn=f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-{name}",
                statements=[expected.Statement(sid="S", actions=["s3:GetObject"], resources=["arn:aws:s3:::inbox/*"])],
            )
            for name in functions()
        },
        mappings=[
            expected.Mapping(
                function=name,
                source_arn=_STREAM,
                batch_size=1,
                window_seconds=0,
                maximum_concurrency=None,
                filters=[],
                stream=expected.StreamReader(
                    parallelization_factor=1, maximum_retry_attempts=1, on_failure_arn=f"{_SQS}stream-failures"
                ),
            )
            for name in ("dispatch", "settle")
        ],
        queues={
            name: expected.Queue(
                url=_url(name),
                dlq_url=_url(f"{name}-dlq"),
                dlq_arn=f"{_SQS}{name}-dlq",
                max_receive_count=5,
                visibility_floor=60,
            )
            for name in names
        },
        failure_queues={name: _url(name) for name in _FAILURES},
        results_table_name=f"{PREFIX}-results",
    )
    return msgspec.json.encode(made).decode()


def _url(queue: str) -> str:
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{PREFIX}-{queue}"


def _letter(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the only dead letter of a queue."""
    name = request["QueueUrl"].rpartition("/")[2]
    return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": "{}"}]}


_DEPTH = {"ApproximateNumberOfMessages": "1", "VisibilityTimeout": "360", "RedrivePolicy": "{}"}
_RULE = {"Name": f"{PREFIX}-reconcile-event", "State": "ENABLED", "ScheduleExpression": "rate(5 minutes)"}
_ANSWERS: Mapping[str, Any] = {
    "cloudwatch:DescribeAlarms": {},
    "cloudwatch:GetMetricData": {"MetricDataResults": []},
    "cloudwatch:GetMetricStatistics": {"Datapoints": []},
    "dynamodb:DescribeTable": {"Table": {"TableStatus": "ACTIVE"}},
    "dynamodb:DescribeTimeToLive": {"TimeToLiveDescription": {}},
    "events:ListRules": {"Rules": [_RULE]},
    "events:ListTargetsByRule": {"Targets": []},
    "iam:SimulatePrincipalPolicy": {"EvaluationResults": []},
    "lambda:GetAccountSettings": {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}},
    "lambda:GetFunction": {},
    "lambda:GetFunctionConfiguration": {"Environment": {"Variables": VARIABLES | {"TALLY_EXPORT": "true"}}},
    "lambda:GetPolicy": {"Policy": "{}"},
    "lambda:ListEventSourceMappings": {"EventSourceMappings": []},
    "logs:FilterLogEvents": {"events": []},
    "s3:GetBucketEncryption": {"ServerSideEncryptionConfiguration": {"Rules": []}},
    "s3:GetBucketNotificationConfiguration": {},
    "s3:GetBucketVersioning": {},
    "s3:GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {}},
    "sns:ListSubscriptionsByTopic": {"Subscriptions": []},
    "sqs:ChangeMessageVisibilityBatch": {},
    "sqs:DeleteMessage": {},
    "sqs:GetQueueAttributes": {"Attributes": _DEPTH},
    "sqs:GetQueueUrl": lambda request: {"QueueUrl": _url(request["QueueName"].removeprefix(f"{PREFIX}-"))},
    "sqs:ReceiveMessage": _letter,
    "sqs:SendMessage": {},
    "sts:GetCallerIdentity": {"Account": ACCOUNT, "Arn": "arn", "UserId": "u"},
}


@dataclass
class Operator:
    """A stage whose clients are the SDK's: what they call is kept by command, and answered from memory."""

    pipeline: Pipeline
    command: str = ""
    called: dict[str, set[Call]] = field(default_factory=lambda: defaultdict(set))
    operations: set[str] = field(default_factory=set)
    """The client's methods, as ``service.method``."""

    def stage(self) -> Stage:
        """Return the stage, in AWS as far as `tally` knows."""
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        session.events.register("before-parameter-build.*.*", self._asked)
        answer: Any = self._called  # the stubs do not know that what a handler returns here is the answer
        session.events.register("before-call.*.*", answer)
        resources = Resources(
            table=PREFIX,
            inbox_bucket="inbox",
            alarm_topic_arn=_TOPIC,
            region=REGION,
            expected=_expected(),
            results_table=f"{PREFIX}-results",
        )
        stage = Stage(name=STAGE, resources=resources)
        vars(stage)["session"] = session
        return stage

    @staticmethod
    def _asked(params: Any, context: dict[str, Any], **_: Any) -> None:
        context["asked"] = params

    def _called(self, model: Any, context: dict[str, Any], **_: Any) -> tuple[Any, Any]:
        service, operation = model.service_model.service_name, xform_name(model.name)
        request: Any = context["asked"]
        self.operations.add(f"{service}.{operation}")
        for action in actions_of(service, operation, request):
            self.called[self.command].add((action, resource_of(service, operation, request)))
        return SimpleNamespace(status_code=200, headers={}), self._answer(service, model.name, request)

    def _answer(self, service: str, operation: str, request: Any) -> Any:
        known = _ANSWERS.get(f"{service}:{operation}")
        if known is not None:
            return known(request) if callable(known) else known
        memory = {
            "s3": self.pipeline.s3,
            "dynamodb": self.pipeline.dynamodb,
            "sqs": self.pipeline.sqs,
            "events": self.pipeline.events,
            "lambda": self.pipeline.lambda_,
        }[service]
        asked = dict(request)
        if service == "s3" and hasattr(asked.get("Body"), "read"):
            asked["Body"] = asked["Body"].read()
        if operation == "GetObject":
            asked.setdefault("Range", "bytes=0-1000000000")
        answer = getattr(memory, xform_name(operation))(**asked)
        if operation == "GetObject":
            body = answer["Body"].read()
            return answer | {"Body": StreamingBody(io.BytesIO(body), len(body))}
        return answer or {}


def resource_of(service: str, operation: str, request: Mapping[str, Any]) -> str:
    """Return the ARN that IAM is asked about for a call; ``*`` where AWS has no resource for it."""
    named: Callable[[], str] | None = {
        "dynamodb": lambda: _table_of(request),
        "s3": lambda: _object_of(request),
        "sqs": lambda: f"{_SQS}{_queue_of(request)}",
        "logs": lambda: f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{request['logGroupName']}:*",
        "sns": lambda: request["TopicArn"],
        "iam": lambda: request["PolicySourceArn"],
    }.get(service)
    if named:
        return named()
    if "FunctionName" in request:
        return f"{_LAMBDA}{request['FunctionName']}"
    if operation == "put_events":
        return f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{request['Entries'][0]['EventBusName']}"
    if operation == "list_targets_by_rule":
        return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{request['Rule']}"
    return "*"


def _table_of(request: Mapping[str, Any]) -> str:
    name = request.get("TableName")
    if name is None and "RequestItems" in request:
        (name,) = request["RequestItems"]
    if name is None:
        ((each, *_),) = [list(action.values()) for action in request["TransactItems"][:1]]
        name = each["TableName"]
    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}{index}"


def _object_of(request: Mapping[str, Any]) -> str:
    bucket = f"arn:aws:s3:::{PREFIX}-inbox-{ACCOUNT}"
    return f"{bucket}/{request['Key']}" if "Key" in request else bucket


def _queue_of(request: Mapping[str, Any]) -> str:
    name = request.get("QueueName") or request["QueueUrl"].rpartition("/")[2]
    return str(name).removeprefix(f"{PREFIX}-")
