"""The whole system on a local AWS: real Terraform, a real Chalice deployment, real Lambda processes."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, encode
from tests.e2e.conftest import STAGE, VARIABLES, Tally, wait_for

pytestmark = pytest.mark.e2e
ROWS = 2_000


def _clients(tally: Tally) -> tuple[Any, Any]:
    server = tally.stage.server
    assert server is not None
    session = tally.stage.session
    return tuple(session.client(name, endpoint_url=server.endpoint) for name in ("sqs", "dynamodbstreams"))  # type: ignore[return-value]


def _settings(tally: Tally) -> Any:
    environment = tally.stage.functions.get_function_configuration(FunctionName=f"tally-{STAGE}-plan")["Environment"]
    return {name: environment["Variables"][name] for name in ("TALLY_QUEUES", "TALLY_STREAM_ARN", "TALLY_INBOX_BUCKET")}


def _queue_urls(tally: Tally) -> dict[str, str]:
    return {name: queue["url"] for name, queue in json.loads(_settings(tally)["TALLY_QUEUES"]).items()}


def _waiting(tally: Tally) -> int:
    sqs, _ = _clients(tally)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(value)
        for url in _queue_urls(tally).values()
        for value in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
    )


def _settled_down(tally: Tally) -> None:
    wait_for(lambda: _waiting(tally) == 0, what="the queues to be empty")


def _stream_records(tally: Tally) -> Iterator[dict[str, Any]]:
    """Yield all that the table's stream still holds."""
    _, streams = _clients(tally)
    arn = _settings(tally)["TALLY_STREAM_ARN"]
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = streams.get_records(ShardIterator=iterator)
            yield from answer["Records"]
            iterator = answer.get("NextShardIterator") if answer["Records"] else None


def _for_lambda(value: Any) -> str:
    """Return what JSON does not know as it is in an event of Lambda: binary attributes are base64."""
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _invoke(tally: Tally, handler: str, event: dict[str, Any]) -> None:
    answer = tally.stage.functions.invoke(
        FunctionName=f"tally-{STAGE}-{handler}", Payload=json.dumps(event, default=_for_lambda).encode()
    )
    assert "FunctionError" not in answer, answer["Payload"].read()


def _completion_events(tally: Tally) -> list[dict[str, Any]]:
    """Take every completion event that is waiting."""
    sqs, _ = _clients(tally)
    url = tally.stage.resources.completions_queue_url
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.fixture(scope="module")
def demo(tally: Tally) -> dict[str, Any]:
    """Run the demo once; its batch is what the tests below replay."""
    done = tally.run("demo", "--no-ui", "--rows", str(ROWS), "--json", *VARIABLES)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_demo_counts_every_row_exactly(tally: Tally, demo: dict[str, Any]) -> None:
    """Rows in the file = succeeded + failed + rejected, as the sample's maker knows them, and the audit holds."""
    batch = tally.ended(demo["id"])
    assert batch.rows == batch.expected_rows == ROWS
    assert batch.counts.total == ROWS
    assert batch.counts.failed > 0
    assert batch.counts.rejected > 0
    assert tally.json("audit", batch.id)["exact"] is True


def test_what_the_demo_cost_is_told_from_the_logs_of_every_function(tally: Tally, demo: dict[str, Any]) -> None:
    """Each function names the batches that it works for, and the invocation by which Lambda reports its time."""
    cost = tally.json("status", demo["id"])["cost"]
    assert {"plan", "dispatch", "ingest", "process", "finish", "settle"} <= set(cost["functions"])
    assert all(each["gb_seconds"] > 0 for each in cost["functions"].values())
    assert cost["work_messages"]["estimated"] is False
    assert cost["write_units_per_row"] <= 0.12


def test_terraform_has_nothing_to_change_after_the_last_apply(tally: Tally) -> None:
    """Adoption leaves no drift: the next plan is empty."""
    plan = tally.tool("terraform", "plan", "-detailed-exitcode", "-input=false", "-no-color", folder="infra")
    assert plan.returncode == 0, f"{plan.stdout}\n{plan.stderr}"


def test_replaying_everything_changes_no_total(tally: Tally, demo: dict[str, Any]) -> None:
    """The S3 event, every message of every queue and the whole stream come a second time."""
    before = tally.ended(demo["id"])
    sqs, _ = _clients(tally)
    urls = _queue_urls(tally)
    source = before.source
    found = {"key": source.key, "versionId": source.version_id, "eTag": source.etag, "size": before.size}
    _invoke(tally, "plan", {"Records": [{"s3": {"bucket": {"name": source.bucket}, "object": found}}]})
    chunks = tally.reader.chunks(before)
    for chunk in chunks.values():
        names: dict[str, Any] = {"batch": before.id, "chunk": chunk.key.number}
        sqs.send_message(QueueUrl=urls["ingest"], MessageBody=encode(ChunkMessage(**names)))
        work = WorkMessage(**names, generation=chunk.generation)
        sqs.send_message(QueueUrl=urls["work"], MessageBody=encode(work))
        # As a worker knew the chunk that had read it before any row was counted.
        outcomes = [outcome for _, outcome in tally.reader.outcomes(chunk.key)]
        finished = FinishedMessage(**names, generation=chunk.generation, version=1, done=b"", outcomes=outcomes)
        sqs.send_message(QueueUrl=urls["finished"], MessageBody=encode(finished))
    stream = [record for record in _stream_records(tally) if before.id in record["dynamodb"]["Keys"]["pk"]["S"]]
    # Planned, read, counted and closed.
    assert len(stream) >= 4 * len(chunks)
    for begin in range(0, len(stream), 500):
        for handler in ("settle", "dispatch"):
            _invoke(tally, handler, {"Records": stream[begin : begin + 500]})
    _settled_down(tally)
    after = tally.ended(before.id)
    assert after == before
    assert tally.json("audit", before.id)["exact"] is True
    events = [event["detail"] for event in _completion_events(tally) if event["detail"]["batch_id"] == before.id]
    assert {event["event_id"] for event in events} == {f"{before.id}#1"}
    assert {event["rows"] for event in events} == {ROWS}


def test_a_row_is_shown_by_its_line_with_its_cells_and_result(tally: Tally, demo: dict[str, Any]) -> None:
    """And the same by its name; no row begins at the header or past the end."""
    row = tally.json("row", demo["id"], "--line", "2")
    assert (row["id"], row["outcome"], row["tries"]) == ("0:0", "succeeded", 1)
    assert row["result"]["id"] == row["cells"]["transaction_id"]
    assert tally.json("row", demo["id"], "--row", "0:0") == row
    for line in ("1", "1000000"):
        none = tally.run("row", demo["id"], "--line", line)
        assert none.returncode == 2
        assert "has no row at line" in none.stderr


@pytest.mark.parametrize(
    ("name", "content", "job", "status", "reason"),
    [
        ("nojob.csv", b"a,b\n1,2\n", "nothing", BatchStatus.REJECTED, "no job 'nothing'"),
        ("empty.csv", b"", "offices", BatchStatus.REJECTED, "the object is empty"),
        ("twice.csv", b"office_id,office_id\n", "offices", BatchStatus.REJECTED, "column 2 repeats 'office_id'"),
        ("bare.csv", b"office_id,user_count,contract_count\n", "offices", BatchStatus.COMPLETED, ""),
    ],
)
def test_a_file_without_rows_ends_with_a_reason(
    tally: Tally, name: str, content: bytes, job: str, status: BatchStatus, reason: str
) -> None:
    """Nobody has to look into logs to learn what became of an upload."""
    batch = tally.ended(tally.submit(name, content, job=job))
    assert batch.status is status
    assert reason in batch.reason
    listed = {entry["id"]: entry for entry in tally.json("list")}
    assert listed[batch.id]["status"] == status
    assert reason in listed[batch.id]["reason"]


def test_bad_rows_of_every_kind_leave_the_good_ones_alone(tally: Tally) -> None:
    """Each has a reason with its line; a large row is processed, one too large for an item is not."""
    large, too_large = b"L" * 300_000, b"X" * 390_000
    content = (
        b'\xef\xbb\xbfoffice_id,user_count,contract_count\r\nA,1,2\r\n\r\n"B\n2",3,4\r\nC,x,1\r\nD,1\r\n,,\r\n\xe9,1,1\r\n'
        + large + b",1,1\r\n" + too_large + b",1,1\r\nE,0,9"
    )  # fmt: skip
    batch = tally.ended(tally.submit("mixed.csv", content))
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.counts == Counts(succeeded=3, failed=1, rejected=5)
    # The job got the large row; what it returns of it does not fit into a message.
    (failed,) = tally.json("rows", batch.id, "--outcome", "failed")
    assert "result is too large" in failed["reason"]
    reasons = [row["reason"] for row in tally.json("rows", batch.id, "--outcome", "rejected")]
    assert [reason.split(":")[0] for reason in reasons] == [
        "line 6, column 2 'user_count'", "line 7", "line 8", "line 9, column 1 'office_id'", "line 11",
    ]  # fmt: skip


def test_an_object_deleted_before_ingest_fails_its_rows_and_the_batch_still_ends(tally: Tally) -> None:
    """While the queue's mapping is off the version is deleted; what could be read of it is known from the plan."""
    functions = tally.stage.functions
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"tally-{STAGE}-ingest")["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        batch_id = tally.submit("gone.csv", b"office_id,user_count,contract_count\n" + b"A,1,2\n" * 700)
        planned = wait_for(lambda: _planned(tally, batch_id), what="the plan")
        tally.stage.s3.delete_object(
            Bucket=planned.source.bucket, Key=planned.source.key, VersionId=planned.source.version_id
        )
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    batch = tally.ended(batch_id)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.counts == Counts(failed=700)
    assert tally.json("audit", batch_id)["exact"] is True


def _planned(tally: Tally, batch_id: str) -> Any:
    batch = tally.reader.batch(batch_id)
    return batch if batch and batch.chunks is not None else None


def test_an_object_overwritten_after_its_upload_is_read_as_it_was(tally: Tally) -> None:
    """Each version is a batch of its own, and reads name the version."""
    header = b"office_id,user_count,contract_count\n"
    first = tally.submit("same.csv", header + b"A,1,1\n" * 600)
    second = tally.submit("same.csv", header + b"A,1,1\n")
    assert first != second
    assert tally.ended(first).counts == Counts(succeeded=600)
    assert tally.ended(second).counts == Counts(succeeded=1)


NARROW = """
from chalicelib import rows

class Row(rows.Row):
    size: int

def process(row):
    return row.size
"""


def test_rejected_rows_are_read_again_once_the_job_is_corrected_and_deployed(tally: Tally) -> None:
    """Those that fit run, the others stay rejected, and every row is counted once."""
    tally.deploy_job("sizes", NARROW)
    batch_id = tally.submit("day.csv", b"size\n1\ntwo\n3\n4,5\n", job="sizes")
    assert tally.ended(batch_id).counts == Counts(succeeded=2, rejected=2)
    tally.deploy_job("sizes", NARROW.replace("size: int", "size: int | str"))
    assert tally.json("redrive", batch_id, "--rejected")["redriven"] == 2
    batch = tally.ended(batch_id, attempt=2)
    assert (batch.counts, batch.attempt) == (Counts(succeeded=3, rejected=1), 2)
    assert [row["result"] for row in tally.json("rows", batch_id, "--outcome", "succeeded")] == [1, "two", 3]
    assert tally.json("audit", batch_id)["exact"] is True


def test_a_further_chalice_deploy_leaves_terraform_nothing_to_change(tally: Tally) -> None:
    """Chalice sets what its decorators say and keeps the rest."""
    tally.deploy_job("further", "from chalicelib.jobs.offices import Row as Row, process as process\n")
    test_terraform_has_nothing_to_change_after_the_last_apply(tally)


def test_the_stage_is_up_to_date_within_a_health_check_when_nothing_changed(tally: Tally) -> None:
    """A second ``up`` neither applies nor deploys."""
    again = tally.run("up", *VARIABLES)
    assert again.returncode == 0
    assert "is up and current" in again.stdout + again.stderr
    assert "terraform apply" not in again.stdout + again.stderr
