"""Least privilege: every right that a function has is used, it has no other, and without one the work stands still.

The tests run in this order, on one stage; the last one looks at what all of them together have called.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from chalicelib.retry import Retry
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chains import Chain, Chains, Parent
from chalicelib.store.items import ChunkKey, Counts, Outcome, timestamp
from chalicelib.store.leases import Leases, SaverLease
from chalicelib.store.marker import RowOutcome
from chalicelib.store.saves import Saves
from chalicelib.store.table import Table
from chalicelib.transport.messages import ExportMessage, FinishedMessage, encode
from chalicelib.transport.uploads import Upload, event_of
from tests.e2e.account import ASKED_OF_ANYTHING, FRAGILE, REPOSITORY, Account
from tests.e2e.conftest import VARIABLES, wait_for
from tests.e2e.enforced import AFTER, CONTENT, FAILING, HEADER, REJECTED, Enforced
from tests.e2e.neighbour import Neighbour
from tests.e2e.roles import FUNCTIONS, Right, Roles
from tests.e2e.trail import Trail

pytestmark = pytest.mark.e2e

STAGE = "iam"
SUBJECT = f"repo:{REPOSITORY}:environment:{STAGE}"
# By function, sid and action. AWS itself asks for most of them in a function's name; the local AWS does not.
UNSEEN = {
    "*/PollOwnQueue/*": "Lambda receives and deletes the messages of the mapping",
    "dead_letters/PollDeadLetters/*": "Lambda receives and deletes the messages of the mappings",
    "*/PollStream/*": "Lambda reads the stream of the mapping",
    "*/PollListOfStreams/*": "Lambda looks for the stream of the mapping",
    "dead_letters/SendLettersAgain/*": "a letter that no worker began; unit tests send one to each",
    "plan/KeepFailedUploads/*": "Lambda sends what plan gave up on to its destination",
    "*/KeepFailedRecords/*": "Lambda sends what dispatch and settle gave up on to the mapping's destination",
    "*/WriteOwnLogs/*": "Lambda's runtime writes what the function prints",
    "*/TellMissingFromForbidden/*": "S3 looks for it when a key is not there, to answer 404 instead of 403",
    "*/ReadUpload/s3:GetObjectVersion": "the local trail tells no versions; a test above sees each of them refused",
    "*/ReadCorrections/s3:GetObjectVersion": "likewise; the same reader as for uploads",
    "export/WriteResults/s3:AbortMultipartUpload": "a redrive that overtakes an export; unit tests have one",
    "export/UploadForNextJob/s3:AbortMultipartUpload": "a redrive that overtakes a chain; unit tests have one",
    "plan/UnpackUpload/s3:ListMultipartUploadParts": "the local trail calls it reading; a test above sees it refused",
}
NO_NARROWER_RESOURCE = {
    "dynamodb:ListStreams": "AWS knows neither a resource nor a condition for it",
    "lambda:ListEventSourceMappings": "AWS knows neither a resource nor a condition for it",
}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Open an account that refuses what no policy allows, and close it at the end."""
    opened = Account.open(tmp_path_factory.mktemp("iam"), Path(__file__).resolve().parents[2])
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def deploy_role(account: Account) -> str:
    """Return the ARN of the role of infra/examples/deploy_role for the stage."""
    return account.make_role(STAGE)


@pytest.fixture(scope="module")
def enforced(account: Account, deploy_role: str) -> Enforced:
    """Deploy the stage as its pipeline does, with the rights of its role and no others."""
    pipeline = account.tally(STAGE, account.assume(deploy_role, SUBJECT))
    deployed = pipeline.run("deploy", "--yes", *VARIABLES, "--var", "results_table={}", *account.boundary())
    assert deployed.returncode == 0, f"{deployed.stdout}\n{deployed.stderr}"
    tally = account.tally(STAGE)
    made = Enforced(tally=tally, stage=tally.stage, roles=Roles.of(tally.stage))
    tally.ended(made.submit("first.csv", CONTENT))  # a worker that only starts must not look like one that fails
    made.hasten()
    return made


@pytest.fixture(scope="module")
def neighbour(enforced: Enforced) -> Neighbour:
    """Return what another stage of the same account has, whose name begins like this one's."""
    made = Neighbour(stage=enforced.stage, prefix=f"tally-{STAGE}-two")
    made.make(role_arn=enforced.stage.client("iam").get_role(RoleName=enforced.roles.name("plan"))["Role"]["Arn"])
    return made


@pytest.fixture(scope="module")
def paused(enforced: Enforced) -> str:
    """Return a batch that was paused and resumed at once: its rows come back after a minute."""
    with enforced.held("process", "process_heavy"):
        batch_id = enforced.submit("paused.csv", CONTENT)
        wait_for(lambda: enforced.waiting("work", "heavy"), what="rows to pause")
        enforced.tally.json("pause", batch_id)
    wait_for(lambda: enforced.waiting("work", "heavy", delayed=True), what="rows to be put back")
    enforced.tally.json("resume", batch_id)
    return batch_id


@pytest.mark.parametrize(
    "subject",
    [
        f"repo:{REPOSITORY}:ref:refs/heads/main",
        f"repo:{REPOSITORY}:environment:another",
        f"repo:{REPOSITORY}-fork:environment:{STAGE}",
    ],
)
def test_no_other_workflow_gets_the_role_that_deploys(account: Account, deploy_role: str, subject: str) -> None:
    """Only one of the repository's that runs in the environment."""
    with pytest.raises(ClientError, match="AccessDenied"):
        account.assume(deploy_role, subject)


def test_the_role_that_deploys_is_lent_no_action_that_it_has_not(account: Account, deploy_role: str) -> None:
    """What this account lets it do to anything its policies allow for what is its own."""
    assert set(ASKED_OF_ANYTHING) <= account.allowed(deploy_role)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_names_every_right_and_its_own_stage(enforced: Enforced, function: str) -> None:
    """No wildcard action; a resource is named by its ARN, of this stage, but where AWS has none; the sid says why."""
    statements = enforced.roles.policies[function]["Statement"]
    for statement in statements:
        assert set(statement) - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert re.fullmatch("([A-Z][a-z]+){2,}", statement["Sid"])
        assert not any("*" in action for action in statement["Action"])
        if statement["Resource"] == ["*"]:
            assert NO_NARROWER_RESOURCE.keys() >= set(statement["Action"])
            continue
        assert all(re.search(f"[:/]tally-{STAGE}(-|/|$)", resource) for resource in statement["Resource"])
    assert len({statement["Sid"] for statement in statements}) == len(statements)
    iam, role = enforced.stage.client("iam"), enforced.roles.name(function)
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == [role]
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    (trust,) = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "lambda.amazonaws.com"}, "sts:AssumeRole")


def test_a_stage_in_aws_lets_replaced_versions_and_what_was_unpacked_expire(enforced: Enforced) -> None:
    """Local stages have no such rules, so this stage alone shows that they apply, with the rights of its role."""
    stage = enforced.stage
    rules = stage.s3.get_bucket_lifecycle_configuration(Bucket=stage.resources.inbox_bucket)["Rules"]
    assert {rule["ID"]: rule["Status"] for rule in rules} == {
        "expire-noncurrent-versions": "Enabled",
        "abort-multipart-uploads": "Enabled",
        "expire-unpacked": "Enabled",
        "expire-results": "Enabled",
    }


def test_a_batch_runs_to_its_end_and_failed_rows_run_again(enforced: Enforced, paused: str) -> None:
    """Light and heavy rows, those that fail, one that is rejected; the end goes out over the bus, once an attempt."""
    batch_id = enforced.submit("whole.csv", CONTENT + FAILING)
    assert enforced.tally.ended(batch_id).counts == replace(AFTER, failed=2)
    enforced.tally.json("redrive", batch_id)
    assert enforced.tally.ended(batch_id, attempt=2).counts == replace(AFTER, failed=2)
    wait_for(lambda: _announced(enforced) >= {f"{batch_id}#1", f"{batch_id}#2"}, what="both completion events")


def test_a_paused_batch_goes_on(enforced: Enforced, paused: str) -> None:
    """Its rows, light and heavy, were put back, and come again before the tests below take rights and messages away."""
    assert enforced.tally.ended(paused).counts == AFTER


def test_rejected_rows_are_read_again_and_corrected_ones_in_their_place(enforced: Enforced, tmp_path: Path) -> None:
    """From the upload, and from what an operator put into the bucket; the export reads that too."""
    batch_id = enforced.submit("corrected.csv", CONTENT)
    assert enforced.tally.ended(batch_id).counts == AFTER
    assert enforced.tally.json("redrive", batch_id, "--rejected")["redriven"] == 1
    assert enforced.tally.ended(batch_id, attempt=2).counts == AFTER
    path = tmp_path / "corrected.csv"
    for attempt, parts in ((3, "p: one|p: two"), (4, "p: one|q: two")):
        path.write_text(f"tally_line,document_id,title,parts\n4,C,no part,{parts}\n")
        assert enforced.tally.json("redrive", batch_id, "--from", str(path))["redriven"] == 1
        enforced.tally.ended(batch_id, attempt=attempt)
        folder = tmp_path / f"results-{attempt}"
        enforced.tally.json("results", batch_id, "-o", str(folder))
        assert enforced.tally.json("verify", str(folder))["whole"] is True
    assert enforced.tally.ended(batch_id, attempt=4).counts == Counts(succeeded=3)


def _announced(enforced: Enforced) -> set[str]:
    completions = enforced.peek(enforced.stage.resources.completions_queue_url)
    return {json.loads(completion)["detail"]["event_id"] for completion in completions}


@pytest.mark.parametrize(
    ("function", "right"),
    [
        ("plan", "s3:GetObject"),
        ("plan", "s3:PutObject"),
        ("dispatch", "sqs:SendMessageBatch"),
        ("ingest", "dynamodb:BatchWriteItem"),
        ("process", "dynamodb:BatchGetItem"),
        ("process_heavy", "dynamodb:PutItem"),
        ("finish", "dynamodb:PutItem"),
        ("settle", "dynamodb:UpdateItem"),
    ],
)
def test_without_one_right_the_batch_stands_still_and_says_why(enforced: Enforced, function: str, right: str) -> None:
    """The function's log names the right that it was refused; once that is back, the batch continues by itself."""
    with enforced.roles.without(function, right) as refused:
        batch_id = enforced.submit(f"without-{function}.csv.gz", gzip.compress(CONTENT))
        wait_for(refused, what=f"{function} to be refused {right}")
        assert enforced.stands_still(batch_id)
    assert enforced.tally.ended(batch_id).counts == AFTER


def test_a_row_that_dies_waits_in_its_dead_letter_queue_and_a_redrive_mends_it(enforced: Enforced) -> None:
    """The function runs it and may send nothing on until its message is a dead letter, which may not be counted."""
    with enforced.roles.without("process", "sqs:SendMessageBatch"):
        with enforced.roles.without("dead_letters", "dynamodb:PutItem") as refused:
            batch_id = enforced.submit("dead.csv", CONTENT)
            wait_for(refused, what="dead_letters to be refused")
            assert enforced.stands_still(batch_id)
        assert enforced.tally.ended(batch_id).counts == Counts(succeeded=1, failed=1, rejected=1)
    enforced.tally.json("redrive", batch_id)
    assert enforced.tally.ended(batch_id, attempt=2).counts == AFTER


def test_a_chunk_that_ingest_may_not_write_is_given_up_and_read_by_a_redrive(enforced: Enforced) -> None:
    """Its letter is kept, and every row of it has an outcome until then."""
    with enforced.roles.without("ingest", "dynamodb:BatchWriteItem"):
        batch_id = enforced.submit("unwritten.csv", CONTENT)
        assert enforced.tally.ended(batch_id).counts == Counts(failed=3)
    wait_for(
        lambda: any(batch_id in letter for letter in enforced.peek(enforced.queue("dead-letters"))), what="the letter"
    )
    enforced.tally.json("redrive", batch_id)
    assert enforced.tally.ended(batch_id, attempt=2).counts == AFTER


def test_rows_that_raise_wait_for_their_next_try(enforced: Enforced) -> None:
    """That they wait is noted, of a light and of a heavy row."""
    batch_id = enforced.tally.submit("raising.csv", b"name\nlight\nheavy\n", job=FRAGILE)
    assert enforced.tally.ended(batch_id).counts == Counts(failed=2)


def test_a_cancelled_batch_ends_and_a_redrive_reads_it_after_all(enforced: Enforced) -> None:
    """The chunk that was never read is given up, and read when its failures are taken back."""
    with enforced.held("ingest"):
        batch_id = enforced.submit("cancelled.csv", CONTENT)
        wait_for(lambda: enforced.waiting("ingest"), what="a chunk")
        enforced.tally.json("cancel", batch_id)
    assert enforced.tally.ended(batch_id).counts == Counts(failed=3)
    enforced.tally.json("redrive", batch_id)
    assert enforced.tally.ended(batch_id, attempt=2).counts == AFTER


def test_a_damaged_gzip_leaves_no_parts_behind(enforced: Enforced) -> None:
    """It is cut off after parts of it were unpacked and stored."""
    packed = gzip.compress(HEADER + REJECTED * 2_000_000, compresslevel=1)
    batch = enforced.tally.ended(enforced.submit("cut.csv.gz", packed[:-100]))
    assert batch.status is BatchStatus.REJECTED
    assert "cut off" in batch.reason
    bucket = enforced.stage.resources.inbox_bucket
    assert "Uploads" not in enforced.stage.s3.list_multipart_uploads(Bucket=bucket)


def test_a_gzip_upload_is_unpacked_in_turns(enforced: Enforced) -> None:
    """None has the time for more than a part, and each has to see which are stored; the file is of no documents."""
    packed = gzip.compress(b"no,header\n" + b"1,2\n" * 5_000_000, compresslevel=1)
    with enforced.hurried("plan", seconds=20):
        with enforced.roles.without("plan", "s3:ListMultipartUploadParts") as refused:
            batch_id = enforced.submit("turns.csv.gz", packed)
            wait_for(refused, what="plan to be refused")
            assert enforced.stands_still(batch_id)
        batch = enforced.tally.ended(batch_id)
    assert batch.status is BatchStatus.REJECTED
    assert "document_id" in batch.reason


def test_a_plan_that_may_not_hand_over_is_continued_by_reconcile(enforced: Enforced) -> None:
    """Neither has the time for a hundred chunks and more: plan is refused to hand over, then each does."""
    rows = 501
    with (
        enforced.hurried("plan", "reconcile", seconds=20),
        enforced.told("plan", TALLY_CHUNK_ROWS="1"),
        enforced.told("reconcile", TALLY_RECONCILE_MINUTES="0"),
        enforced.held("dead_letters"),
    ):
        with enforced.roles.without("plan", "lambda:InvokeFunction") as refused:
            batch_id = enforced.submit("long.csv.gz", gzip.compress(HEADER + REJECTED * rows))
            wait_for(refused, what="plan to be refused")
            wait_for(lambda: enforced.waiting("plan-failures"), what="plan to give up")
            assert enforced.stands_still(batch_id)
        enforced.sweep_until(lambda: enforced.planned(batch_id), what="the whole plan")
    batch = enforced.tally.ended(batch_id)
    assert (batch.chunks, batch.counts) == (rows, Counts(rejected=rows))


def test_an_upload_that_plan_gave_up_on_is_planned_again(enforced: Enforced) -> None:
    """By dead_letters, which has its event from Lambda; plan could not even write that there is a batch."""
    with enforced.told("dead_letters", TALLY_RECONCILE_MINUTES="0"):
        with enforced.roles.without("dead_letters", "lambda:InvokeFunction") as refused:
            with enforced.roles.without("plan", "dynamodb:PutItem"):
                batch_id = enforced.submit("failed-plan.csv", CONTENT)
                wait_for(refused, what="dead_letters to be refused")
            assert enforced.tally.reader.batch(batch_id) is None
        assert enforced.tally.ended(batch_id).counts == AFTER


def test_lost_messages_wait_for_reconcile(enforced: Enforced) -> None:
    """Those of a chunk, then those of its rows, light and heavy; what is lost stays so while reconcile may not send."""
    with enforced.told("reconcile", TALLY_RECONCILE_MINUTES="0"), enforced.held("process", "process_heavy"):
        with enforced.held("ingest"):
            batch_id = enforced.submit("lost.csv", CONTENT)
            wait_for(lambda: enforced.waiting("ingest"), what="a chunk")
            enforced.lose("ingest")
            with enforced.roles.without("reconcile", "sqs:SendMessageBatch") as refused:
                enforced.sweep_until(refused, what="reconcile to be refused")
                assert enforced.stands_still(batch_id)
            enforced.sweep_until(lambda: enforced.waiting("ingest"), what="the chunk again")
        wait_for(lambda: enforced.waiting("work", "heavy"), what="rows")
        enforced.lose("work", "heavy")
        enforced.sweep_until(lambda: enforced.waiting("work", "heavy"), what="the rows again")
    assert enforced.tally.ended(batch_id).counts == AFTER


def test_an_upload_whose_event_was_lost_is_found_by_reconcile(enforced: Enforced) -> None:
    """In the list of the inbox, and nowhere else; the test above had the first sweep."""
    with enforced.told("reconcile", TALLY_RECONCILE_MINUTES="0"):
        with enforced.unnotified():
            batch_id = enforced.submit("lost-event.csv", CONTENT)
        with enforced.roles.without("reconcile", "s3:ListBucketVersions") as refused:
            with pytest.raises(AssertionError, match="s3:ListBucketVersions"):
                enforced.sweep_until(refused, what="reconcile to be refused")
            assert enforced.tally.reader.batch(batch_id) is None
        enforced.sweep_until(lambda: enforced.planned(batch_id), what="the plan")
    assert enforced.tally.ended(batch_id).counts == AFTER


def test_an_end_that_settle_may_not_announce_is_announced_by_reconcile(enforced: Enforced) -> None:
    """The batch has ended, and nobody but its table knows."""
    with (
        enforced.told("reconcile", TALLY_RECONCILE_MINUTES="0"),
        enforced.roles.without("settle", "events:PutEvents") as refused,
    ):
        batch_id = enforced.submit("unannounced.csv", CONTENT)
        wait_for(refused, what="settle to be refused")
        assert enforced.stands_still(batch_id)
        enforced.sweep_until(lambda: not enforced.stands_still(batch_id), what="the announcement")
    assert enforced.tally.ended(batch_id).counts == AFTER


def test_an_object_that_was_replaced_is_read_by_its_version(enforced: Enforced) -> None:
    """By the plan that comes again, by the one that reconcile begins, and by ingest; each needs the right to it."""
    version = "s3:GetObjectVersion"
    with enforced.roles.without("ingest", version) as ingest_refused:
        with (
            enforced.held("ingest"),
            enforced.told("reconcile", TALLY_RECONCILE_MINUTES="0"),
            enforced.roles.without("plan", "dynamodb:UpdateItem") as refused,
        ):
            batch_id = enforced.submit("replaced.csv", CONTENT)
            wait_for(refused, what="plan to be refused")
            batch = enforced.tally.reader.require(batch_id)
            enforced.stage.s3.delete_object(Bucket=batch.source.bucket, Key=batch.source.key)
            with enforced.roles.without("reconcile", version) as reconcile_refused:
                enforced.sweep_until(reconcile_refused, what="reconcile to be refused")
                assert not enforced.planned(batch_id)
            # Before it is planned: a second event of a planned batch reads nothing of the object.
            with enforced.roles.without("plan", version) as plan_refused:
                with pytest.raises(AssertionError, match=version):
                    enforced.invoke("plan", event_of(Upload(source=batch.source, size=batch.size)))
                assert plan_refused()
            enforced.sweep_until(lambda: enforced.planned(batch_id), what="the plan")
        wait_for(ingest_refused, what="ingest to be refused")
        assert enforced.stands_still(batch_id)
    assert enforced.tally.ended(batch_id).counts == AFTER


@pytest.mark.parametrize(("function", "queue"), [("finish", "finished"), ("dead_letters", "finished-dlq")])
def test_what_is_counted_already_is_told_from_what_cannot_be_read(
    enforced: Enforced, function: str, queue: str
) -> None:
    """Of two messages one fails: only that one comes again, which the function knows from its own mapping.

    The other was counted: the refused update brings the chunk, without a right to read it.
    """
    batch_id = enforced.submit(f"again-{function}.csv", CONTENT)
    enforced.tally.ended(batch_id)
    again = RowOutcome(row=0, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(b"1"))
    late = FinishedMessage(batch=batch_id, chunk=0, generation=1, version=0, done=b"\0", outcomes=[again])
    answer = enforced.invoke(function, enforced.delivery(queue, encode(late), "no message of Tally's"))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert enforced.tally.reader.require(batch_id).counts == AFTER


def test_a_heavy_row_that_is_leased_is_put_back(enforced: Enforced) -> None:
    """Another worker has it for a few seconds; until then its message waits."""
    with enforced.held("process_heavy"):
        batch_id = enforced.submit("leased.csv", CONTENT)
        wait_for(lambda: enforced.waiting("heavy"), what="the heavy row")
        table = Table(dynamodb=enforced.stage.dynamodb, name=enforced.stage.resources.table, retry=Retry())
        assert Leases(table=table, owner="another", seconds=5).take(ChunkKey(batch_id, 0), 1)
    assert enforced.tally.ended(batch_id).counts == AFTER


def test_results_are_saved_by_key_once_no_other_saver_has_the_lease(enforced: Enforced) -> None:
    """The message is sent again meanwhile, each time to wait for some seconds."""
    table = Table(dynamodb=enforced.stage.dynamodb, name=enforced.stage.resources.table, retry=Retry())
    other = SaverLease(table=table, owner="another")
    wait_for(lambda: other.take(3600), what="the lease")  # a save of the tests above may have it for a moment
    batch_id = enforced.submit("saved.csv", CONTENT)
    batch = enforced.tally.ended(batch_id)
    found = Saves(table=table).find
    wait_for(lambda: found(batch_id, 1) and enforced.waiting("save", delayed=True), what="the message to be sent again")
    other.release()

    def saved() -> bool:
        save = found(batch_id, 1)
        return bool(save and save.saved_at and save.done.saved + save.done.superseded == batch.counts.succeeded)

    wait_for(saved, what="the save")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_reaches_nothing_of_another_stage(
    account: Account, enforced: Enforced, neighbour: Neighbour, function: str
) -> None:
    """Not even where the other's name begins with its own: what the account's owner may do is refused to the role."""
    credentials = enforced.roles.credentials(function)
    for service, call in neighbour.calls():
        call(account.client(service))
        with pytest.raises(ClientError, match=f"{enforced.roles.name(function)} is not authorized to perform"):
            call(account.client(service, credentials))


def test_the_role_that_deploys_reaches_nothing_else(
    account: Account, enforced: Enforced, neighbour: Neighbour, deploy_role: str
) -> None:
    """Neither another stage's, nor its own rights, nor what its stage processes; and it destroys no data."""
    credentials = account.assume(deploy_role, SUBJECT)
    own, role = neighbour.calls(), deploy_role.rpartition("/")[2]
    inbox, table = enforced.stage.resources.inbox_bucket, enforced.stage.resources.table
    allow = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    boundary = account.boundary()[1].partition("=")[2]
    more: list[tuple[str, Callable[[Any], object]]] = [
        *neighbour.deployment(),
        ("iam", lambda client: client.put_role_policy(RoleName=role, PolicyName="more", PolicyDocument=allow)),
        ("iam", lambda client: client.update_assume_role_policy(RoleName=role, PolicyDocument=allow)),
        ("iam", lambda client: client.delete_role_permissions_boundary(RoleName=enforced.roles.name("plan"))),
        ("iam", lambda client: client.create_policy_version(PolicyArn=boundary, PolicyDocument=allow)),
        ("s3", lambda client: client.get_object(Bucket=inbox, Key="inbox/documents/whole.csv")),
        ("dynamodb", lambda client: client.scan(TableName=table)),
        ("dynamodb", lambda client: client.delete_table(TableName=table)),
        ("sqs", lambda client: client.receive_message(QueueUrl=enforced.queue("work"))),
        ("lambda", lambda client: client.invoke(FunctionName=enforced.roles.name("plan"), InvocationType="DryRun")),
    ]
    for service, call in [*own, *more]:
        with pytest.raises(ClientError, match=f"{role}/.* is not authorized to perform"):
            call(account.client(service, credentials))


def test_results_become_a_file_of_the_next_job(enforced: Enforced) -> None:
    """``export`` may write to that folder of the inbox. No job here says ``THEN``, so it is decided by hand."""
    stage = enforced.stage
    parent = enforced.submit("chained.csv", CONTENT)
    enforced.tally.ended(parent)
    decided = Chain(batch_id=parent, attempt=1, then="documents", depth=1, decided_at=timestamp(datetime.now(UTC)))
    begun = stage.s3.create_multipart_upload(
        Bucket=stage.resources.inbox_bucket, Key=decided.key, ChecksumAlgorithm="CRC32"
    )
    table = Table(dynamodb=stage.dynamodb, name=stage.resources.table, retry=Retry())
    Chains(table=table).decide(replace(decided, upload_id=begun["UploadId"]))
    asked = encode(ExportMessage(batch=parent, attempt=1, chain=True))
    stage.client("sqs").send_message(QueueUrl=enforced.queue("export"), MessageBody=asked)
    child = wait_for(lambda: enforced.tally.json("status", parent, "--no-cost")["child"], what="the child")
    ended = enforced.tally.ended(child)
    assert ended.parent == Parent(batch_id=parent, attempt=1, depth=1)
    assert ended.status is BatchStatus.REJECTED  # documents are CSV
    (right,) = [each for each in enforced.roles.granted() if each.path == "export/UploadForNextJob/s3:PutObject"]
    trail = Trail(cloudtrail=stage.client("cloudtrail"), since=enforced.began)
    assert trail.shows(enforced.roles.key("export"), right)


def test_every_right_is_used(enforced: Enforced) -> None:
    """Of all that the roles grant the tests above have left nothing unused, but for what is listed with its reason."""
    trail = Trail(cloudtrail=enforced.stage.client("cloudtrail"), since=enforced.began)
    keys = {function: enforced.roles.key(function) for function in FUNCTIONS}
    granted = enforced.roles.granted()
    table = next(right.resource for right in granted if right.action == "dynamodb:PutItem")
    surplus = Right(function="plan", sid="Surplus", action="dynamodb:Scan", resource=table)  # what must be found
    unused = {right for right in [*granted, surplus] if not trail.shows(keys[right.function], right)}
    excused = {pattern: {right for right in granted if fnmatchcase(right.path, pattern)} for pattern in UNSEEN}
    assert [pattern for pattern, rights in excused.items() if not rights or rights - unused] == []
    assert unused - set().union(*excused.values()) == {surplus}
