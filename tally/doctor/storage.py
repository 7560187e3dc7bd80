"""Checks of the inbox, the table and its stream."""

from collections.abc import Iterator
from datetime import timedelta

from botocore.exceptions import ClientError

from tally.doctor.finding import Finding, failed, ok, skipped, warning
from tally.doctor.patient import Patient
from tally.stages.measured import largest

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_VIEW = "NEW_AND_OLD_IMAGES"


def versioning(patient: Patient) -> Iterator[Finding]:
    """Check that the inbox keeps versions, so that a batch can read its own."""
    bucket = patient.expected.inbox_bucket
    status = patient.clients["s3"].get_bucket_versioning(Bucket=bucket).get("Status") or "off"
    if status != "Enabled":
        yield failed(
            "inbox.versioning",
            bucket,
            f"versioning is {status}: an upload over a file changes the rows of a batch under way",
            f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
        )
    else:
        yield ok("inbox.versioning", bucket, "enabled")


def encryption(patient: Patient) -> Iterator[Finding]:
    """Check that the inbox has a setting for encryption."""
    bucket, s3 = patient.expected.inbox_bucket, patient.clients["s3"]
    try:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ServerSideEncryptionConfigurationNotFoundError":
            raise
        rules = []
    algorithms = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
    if not any(algorithms):
        yield warning("inbox.encryption", bucket, "no default encryption is configured", patient.apply)
    else:
        yield ok("inbox.encryption", bucket, ", ".join(algorithms))


def public_access(patient: Patient) -> Iterator[Finding]:
    """Check that the inbox cannot be made public."""
    bucket, s3 = patient.expected.inbox_bucket, patient.clients["s3"]
    try:
        blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchPublicAccessBlockConfiguration":
            raise
        blocked = {}
    lacking = [name for name in _BLOCKS if not blocked.get(name)]
    if lacking:
        yield failed("inbox.public_access", bucket, f"not blocked: {', '.join(lacking)}", patient.apply)
    else:
        yield ok("inbox.public_access", bucket, "blocked")


def table(patient: Patient) -> Iterator[Finding]:
    """Check that the table exists, and that the functions read its present stream."""
    expected = patient.expected
    found = patient.clients["dynamodb"].describe_table(TableName=expected.table_name)["Table"]
    status = found["TableStatus"]
    if status not in {"ACTIVE", "UPDATING"}:
        yield failed("table.status", expected.table_name, f"its status is {status}", "wait, or restore it")
    else:
        yield ok("table.status", expected.table_name, status)
    stream = found.get("StreamSpecification") or {}
    if not stream.get("StreamEnabled"):
        yield failed(
            "stream.enabled",
            expected.table_name,
            "the table has no stream: what is written is not sent on, and batches stand still",
            f"{patient.apply}: the new stream is another one, and the mappings have to follow",
        )
    elif stream.get("StreamViewType") != _VIEW:
        yield failed(
            "stream.view",
            expected.table_name,
            f"the stream shows {stream.get('StreamViewType')}, not {_VIEW}",
            patient.apply,
        )
    elif found.get("LatestStreamArn") != expected.stream_arn:
        yield failed(
            "stream.arn",
            expected.table_name,
            f"the stream is {found.get('LatestStreamArn')}, the functions read {expected.stream_arn}",
            patient.apply,
        )
    else:
        yield ok("stream", expected.table_name, f"enabled, {_VIEW}")


def expiry(patient: Patient) -> Iterator[Finding]:
    """Check that old items expire."""
    name = patient.expected.table_name
    ttl = patient.clients["dynamodb"].describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if ttl.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
        status = ttl.get("TimeToLiveStatus", "off")
        yield warning("table.expiry", name, f"time to live is {status}: items are kept for good", patient.apply)
    else:
        yield ok("table.expiry", name, f"on {ttl.get('AttributeName')}")


def results_table(patient: Patient) -> Iterator[Finding]:
    """Check that the results table exists, if the stage should have one."""
    name = patient.expected.results_table_name
    if not name:
        return
    dynamodb = patient.clients["dynamodb"]
    try:
        status = dynamodb.describe_table(TableName=name)["Table"]["TableStatus"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        status = "gone"
    if status not in {"ACTIVE", "UPDATING"}:
        yield failed("results_table.status", name, f"it is {status}: results are not saved by key", patient.apply)
    else:
        yield ok("results_table.status", name, status)


def iterator_age(patient: Patient) -> Iterator[Finding]:
    """Check that the readers of the stream keep up with it."""
    most = patient.expected.iterator_age_seconds
    for handler in [mapping.function for mapping in patient.expected.mappings if mapping.stream]:
        name = patient.function(handler)
        if patient.local:
            yield skipped("stream.age", name, "the local AWS does not measure it")
            continue
        behind = largest(
            patient.clients["cloudwatch"],
            patient.now(),
            timedelta(minutes=15),
            namespace="AWS/Lambda",
            metric="IteratorAge",
            dimensions={"FunctionName": name},
        )
        seconds = (behind or 0) / 1000
        if seconds > most:
            yield warning(
                "stream.age", name, f"{seconds:,.0f} s behind the stream", "docs/runbook.md, section stream-behind"
            )
        else:
            yield ok(
                "stream.age", name, f"{seconds:,.0f} s behind the stream" if behind is not None else "no records lately"
            )
