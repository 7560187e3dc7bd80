"""The calls of each function are those that its role grants, without any AWS.

``make test-iam`` proves the same on a local AWS that refuses; this takes seconds.
"""

import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import app
from chalicelib import jobs, services
from chalicelib.files import source as source_module
from chalicelib.jobs import documents
from chalicelib.keys import Key, KeySource
from chalicelib.steps import unpack
from chalicelib.store.items import Outcome, number, text, timestamp
from tally.testing.configuration import INFRA, functions
from tally.testing.jobs import in_place
from tally.testing.memory_aws import LONG_AGO
from tally.testing.pipeline import Pipeline
from tests.iam.conftest import PoliciesOf
from tests.support.builders import message_event
from tests.support.calls import actions_of
from tests.support.correcting import corrected, written
from tests.support.policies import Statement
from tests.support.redriving import redrive
from tests.unit.test_app import TICK, Context

pytestmark = pytest.mark.terraform

_DLQ = "arn:aws:sqs:us-east-1:000000000000:tally-test-"
_PARTS = b"|".join(b"p%d: text" % part for part in range(documents.MAX_LIGHT_PARTS + 1))
DOCUMENTS = b"document_id,title,parts\nA,light,p: text\nB,heavy," + _PARTS + b"\nC,no part,\n"
CORRECTED_HEADER = "tally_line,tally_reason,office_id,user_count,contract_count\n"
OFFICES = b"office_id,user_count,contract_count\n" + b"".join(b"o%d,8,10\n" % office for office in range(40))

# By function and action. What Lambda and S3 ask for in a function's name, and what no history in memory calls.
UNCALLED = {
    "*/sqs:DeleteMessage": "Lambda polls the queue",
    "*/sqs:ReceiveMessage": "Lambda polls the queue",
    "*/sqs:GetQueueAttributes": "Lambda polls the queue",
    "*/dynamodb:DescribeStream": "Lambda polls the stream",
    "*/dynamodb:GetRecords": "Lambda polls the stream",
    "*/dynamodb:GetShardIterator": "Lambda polls the stream",
    "*/dynamodb:ListStreams": "Lambda polls the stream",
    "*/logs:CreateLogStream": "Lambda's runtime writes the logs",
    "*/logs:PutLogEvents": "Lambda's runtime writes the logs",
    "*/kms:Decrypt": "the services use a key of the customer's in the function's name",
    "*/kms:GenerateDataKey": "the services use a key of the customer's in the function's name",
    "*/s3:ListBucket": "S3 looks for it before it answers 404",
    "plan/sqs:SendMessage": "Lambda keeps what plan gave up on",
    "*/dynamodb:DescribeTable": "asked of a provisioned table only; tests of pacing call it",
    "*/lambda:ListEventSourceMappings": "asked when a part of a batch failed",
    "plan/lambda:InvokeFunction": "a plan whose time does not suffice; tests of resumed plans call it",
    "plan/s3:AbortMultipartUpload": "a bomb, or two plans that unpack at once; tests of unpack call it",
    "plan/s3:ListMultipartUploadParts": "a plan that continues an upload; tests of unpack call it",
    "process_heavy/dynamodb:GetItem": "whose lease it is, asked when it is taken",
    "process_heavy/dynamodb:DeleteItem": "a lease is given back when the row is to be tried again",
    "process_heavy/dynamodb:UpdateItem": "a row that waits for its next try is noted",
    "export/s3:AbortMultipartUpload": "a redrive in the middle of large results; tests of the writer call it",
    "save/sqs:SendMessage": "what a run had no time for, or waits for another saver; tests of save call it",
    "reconcile/events:PutEvents": "a batch whose event was lost",
    "reconcile/s3:GetObject": "a plan that died is continued",
    "reconcile/s3:GetObjectVersion": "a plan that died is continued, of an upload that another has replaced",
}


class Calls:
    """The calls that each function has made, as IAM actions."""

    def __init__(self) -> None:
        self.by_function: dict[str, set[str]] = defaultdict(set)
        self.function = ""

    def handler(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Return the handler, whose calls are noted under its name."""

        def noted(event: Any, context: Any) -> Any:
            self.function = name
            return handler(event, context)

        return noted

    def client(self, service: str, client: Any) -> Any:
        """Return the client, whose calls are noted."""
        return _Noted(self, service, client)

    def note(self, service: str, operation: str, request: Mapping[str, Any]) -> None:
        """Note a call."""
        self.by_function[self.function].update(actions_of(service, operation, request))


class _Noted:
    def __init__(self, calls: Calls, service: str, client: Any) -> None:
        self._calls, self._service, self._client = calls, service, client

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def noted(**request: Any) -> Any:
            self._calls.note(self._service, operation, request)
            return call(**request)

        return noted


@pytest.fixture(scope="module")
def calls() -> Iterator[dict[str, set[str]]]:
    """Return what each function calls in a history that reaches all of its ways."""
    noted = Calls()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "PART_BYTES", 100)
        patch.setattr(source_module, "BLOCK_BYTES", 64)
        exporting = msgspec.structs.replace(services.settings(), export=True)
        patch.setattr(services, "settings", lambda: exporting)
        pipeline = Pipeline(patch)
        for name, client in list(pipeline.clients.items()):
            pipeline.clients[name] = noted.client(name, client)
        for name in functions():
            patch.setattr(app, name, noted.handler(name, getattr(app, name)))
        with in_place(replace(jobs.require("offices"), key=Key(name="office_id", source=KeySource.ROW))):
            _live(pipeline)
        yield noted.by_function


def _live(pipeline: Pipeline) -> None:
    """Plain, gzip and replaced uploads, heavy and rejected rows, dead letters, what stands still and what was lost."""
    pipeline.upload("inbox/offices/replaced.csv", OFFICES, "v1")
    pipeline.upload("inbox/offices/replaced.csv", OFFICES, "v2")
    pipeline.upload("inbox/documents/day.csv", DOCUMENTS)
    pipeline.upload("inbox/offices/day.csv.gz", gzip.compress(OFFICES, mtime=0))
    pipeline.upload("inbox/offices/small.csv.gz", gzip.compress(OFFICES[:60], mtime=0))
    pipeline.deliver("upload", again=True)
    pipeline.drain()
    for queue in ("ingest", "work", "finished"):
        pipeline.upload(f"inbox/offices/{queue}.csv", OFFICES[:60])
        while not pipeline.waiting(queue):
            for what in pipeline.work():
                assert pipeline.deliver(what)
        app.dead_letters(message_event(pipeline.waiting(queue).pop(0), arn=f"{_DLQ}{queue}-dlq"), Context())
        pipeline.drain()
    pipeline.upload("inbox/offices/failed.csv", OFFICES)
    failure = message_event(json.dumps({"requestPayload": pipeline.uploads.pop()}), arn=f"{_DLQ}plan-failures")
    app.dead_letters(failure, Context())
    (note,) = [key for key in pipeline.dynamodb.items if key[1].startswith("plan#")]
    pipeline.dynamodb.items[note]["noted_at"] = text(timestamp(LONG_AGO))
    app.dead_letters(failure, Context())
    pipeline.deliver("upload")
    pipeline.deliver("dispatch")
    pipeline.waiting("ingest").clear()
    app.reconcile(TICK, Context())
    for key, item in pipeline.dynamodb.items.items():
        if key[1] == "watch":
            item["since"] = number(int(item["since"]["N"]) - 5 * 60)
    pipeline.dynamodb.items["stage", "inbox"]["since"] = text(timestamp(LONG_AGO))
    pipeline.upload("inbox/offices/lost.csv", OFFICES)
    pipeline.uploads.clear()
    pipeline.s3.modified["inbox/offices/lost.csv", "v1"] = datetime.now(UTC) - timedelta(minutes=20)
    app.reconcile(TICK, Context())
    pipeline.drain()
    _correct(pipeline)


def _correct(pipeline: Pipeline) -> None:
    """Have a rejected row read from a file of corrections, and one more from the upload, by the job as it is now."""
    batch = pipeline.upload("inbox/offices/wrong.csv", b"office_id,user_count,contract_count\nA,x,2\nB,y,2\n")
    pipeline.drain()
    with tempfile.TemporaryDirectory() as folder:
        corrected(pipeline, batch, written(Path(folder), "2,,A,1,2", header=CORRECTED_HEADER))
    pipeline.drain()
    assert redrive(pipeline, batch, outcome=Outcome.REJECTED) == 1
    pipeline.drain()


@pytest.fixture(scope="module")
def granted(policies_of: PoliciesOf) -> dict[str, set[str]]:
    """Return the actions that each function's role grants."""
    found: dict[str, set[str]] = defaultdict(set)
    for statement in policies_of(INFRA):
        if (function := _function(statement)) and not statement.of_resource:
            found[function].update(statement.actions)
    return found


def _function(statement: Statement) -> str:
    return next((name for name in functions() if statement.where.startswith(f'module.role["{name}"]')), "")


def missing(calls: Mapping[str, set[str]], granted: Mapping[str, set[str]]) -> list[str]:
    """Return what functions call that their roles do not grant."""
    return sorted(f"{name}/{action}" for name in calls for action in calls[name] - granted.get(name, set()))


def unused(calls: Mapping[str, set[str]], granted: Mapping[str, set[str]]) -> list[str]:
    """Return what roles grant that their functions do not call, without what has its reason."""
    left = {(name, action) for name in granted for action in granted[name] - calls.get(name, set())}
    return sorted(
        f"{name}/{action}" for name, action in left if not {f"{name}/{action}", f"*/{action}"} & UNCALLED.keys()
    )


def test_every_call_of_a_function_is_granted_by_its_role(
    calls: dict[str, set[str]], granted: dict[str, set[str]]
) -> None:
    assert set(calls) == set(functions()) == set(granted)
    assert missing(calls, granted) == []


def test_every_right_of_a_role_is_called_or_has_its_reason(
    calls: dict[str, set[str]], granted: dict[str, set[str]]
) -> None:
    assert unused(calls, granted) == []


def test_no_reason_is_for_what_is_called_or_not_granted(
    calls: dict[str, set[str]], granted: dict[str, set[str]]
) -> None:
    """A reason that has outlived its right would hide the next one."""
    open_rights = {
        f"{left}/{action}"
        for name in granted
        for action in granted[name] - calls.get(name, set())
        for left in (name, "*")
    }
    assert sorted(UNCALLED.keys() - open_rights) == []


def test_a_right_that_is_missing_is_found() -> None:
    assert missing({"plan": {"s3:GetObject"}}, {"plan": {"s3:PutObject"}}) == ["plan/s3:GetObject"]


def test_a_version_of_an_object_is_a_right_of_its_own() -> None:
    """S3 asks for GetObjectVersion, and not for GetObject, once a version is named."""
    noted = Calls()
    noted.note("s3", "get_object", {"Key": "k", "VersionId": "v1"})
    assert noted.by_function[""] == {"s3:GetObjectVersion"}


def test_a_right_that_nothing_calls_is_found() -> None:
    assert unused({"plan": set()}, {"plan": {"s3:PutObject", "logs:PutLogEvents"}}) == ["plan/s3:PutObject"]
