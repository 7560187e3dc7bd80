"""The probes, in the order of their runs: the first upload must meet a stage that is seconds old."""

import gzip
import io
import json
import random
import tempfile
import time
from pathlib import Path

from rich.console import Console

from chalicelib.clock import utc_now
from chalicelib.steps.redrive import Redriver
from chalicelib.store.exports import Exports
from chalicelib.store.items import Counts
from tally.batch import cost
from tally.errors import OperatorError
from tally.exported.fetch import fetch, require_export
from tally.exported.verify import verify
from tally.output import Output
from tally.prove import bill, injected, mailbox
from tally.prove.probe import DisprovedError, Probe, RefusedError, World, csv

_PLAIN = ("number", "text")
_SILENT = Output(console=Console(file=io.StringIO()), as_json=False)
"""The probe reports what it saw; the progress of a fetch is not shown."""
_PARTS_ROWS = 160_000
"""Two parts of a multipart upload, of 8 MiB each, and a little more."""
_KEYS = (
    "with space.csv",
    "plus+and&.csv",
    "percent%20.csv",
    "ünï-日本.csv",
    "a=b,c;d.csv",
    "deep/er/file.csv",
    "no-suffix",
)


def _rows(count: int, text: str = "t") -> bytes:
    return csv(_PLAIN, [(number, text) for number in range(count)])


def _first(world: World) -> str:
    return world.counts(world.upload("prove_plain", "first.csv", _rows(1_500)), Counts(succeeded=1_500))


def _odd_keys(world: World) -> str:
    batches = [world.upload("prove_plain", name, _rows(3)) for name in _KEYS]
    for batch in batches:
        world.counts(batch, Counts(succeeded=3))
    return f"{len(batches)} keys, 3 rows each; recounts exact"


def _rejects(world: World) -> str:
    content = csv(_PLAIN, [(1, "a"), ("x", "b"), (3, "c")])
    return world.counts(world.upload("prove_plain", "bad.csv", content), Counts(succeeded=2, rejected=1))


def _overwritten(world: World) -> str:
    first = world.upload("prove_plain", "same.csv", _rows(4_000, "first"))
    second = world.upload("prove_plain", "same.csv", _rows(2_000, "second"))
    world.stage.s3.delete_object(Bucket=world.stage.resources.inbox_bucket, Key="inbox/prove_plain/same.csv")
    seen = world.counts(first, Counts(succeeded=4_000))
    world.counts(second, Counts(succeeded=2_000))
    return f"{seen}; likewise 2,000 of the second version"


def _gzip(world: World) -> str:
    noise = random.Random(1)
    rows = [(number, f"{noise.getrandbits(400):0100x}") for number in range(max(_PARTS_ROWS, 10 * world.rows))]
    content = gzip.compress(csv(_PLAIN, rows), compresslevel=1)
    batch = world.upload("prove_plain", "large.csv.gz", content)
    seen = world.counts(batch, Counts(succeeded=len(rows)))

    def continued() -> int:
        pages = world.stage.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/tally-{world.stage.name}-plan", filterPattern=f'"{batch}"'
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        invocations = sum(batch in line and "batch.planned" in line for line in lines)
        return invocations if invocations > 1 else 0

    invocations = world.wait(continued, "a second invocation in the logs of plan", seconds=60)
    return f"{seen}; planned by {invocations} invocations"


def _wide(world: World) -> str:
    noise = random.Random(2)
    rows = [(number, noise.randbytes(75_000).hex()) for number in range(20)]
    return world.counts(world.upload("prove_plain", "wide.csv", csv(_PLAIN, rows)), Counts(succeeded=20))


def _faults(world: World) -> str:
    seen = world.counts(world.upload("prove_faulty", "faults.csv", _rows(world.rows)), Counts(succeeded=world.rows))
    item = world.stage.dynamodb.get_item(TableName=world.stage.resources.table, Key=injected.KEY, ConsistentRead=True)
    met = {kind: int(item.get("Item", {}).get(kind, {"N": "0"})["N"]) for kind in injected.RATES}
    if missing := [kind for kind, count in met.items() if not count]:
        raise DisprovedError(f"{seen}; but no request met {', '.join(missing)}: the file has too few rows (--rows)")
    return f"{seen}; faults met: {', '.join(f'{count} {kind}' for kind, count in met.items())}"


def _upload_poison(world: World) -> str:
    rows = [(number, "poison" if number == 37 else "t") for number in range(100)]  # noqa: PLR2004  any row
    return world.upload("prove_poison", "poison.csv", csv(_PLAIN, rows))


def _poison(world: World) -> str:
    return world.counts(world.begun["poison"], Counts(succeeded=99, failed=1))


def _redrive(world: World) -> str:
    from_then = int(time.time()) + 20
    rows = [(number, from_then if number % 10 == 0 else 0) for number in range(1_000)]
    batch = world.upload("prove_later", "later.csv", csv(("number", "not_before"), rows))
    before = world.counts(batch, Counts(succeeded=900, failed=100))
    world.wait(lambda: time.time() > from_then, "the rows' time to come")
    taken = Redriver(table=world.table).redrive(batch, on_chunk=lambda: None)
    after = world.counts(batch, Counts(succeeded=1_000), attempt=2)
    return f"{before}; {taken.rows} redriven; {after}"


def _results(world: World) -> str:
    content = csv(_PLAIN, [(number, "t") for number in range(world.rows)] + [("x", "rejected")])
    ended = world.end(world.upload("prove_plain", "results.csv", content))
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name) / "results", Path(name) / "results.csv"
        source.write_bytes(content)
        try:
            export = require_export(
                Exports(table=world.table), ended, None, timeout=world.patience, clock=world.clock, sleep=world.sleep
            )
            fetched = fetch(_SILENT, world.stage.s3, world.stage.resources.inbox_bucket, export, folder)
            found = verify(folder, source)
        except OperatorError as error:
            raise DisprovedError(str(error)) from error
    if found.problems:
        raise DisprovedError(f"{len(found.problems)} problems, of which the first is: {found.problems[0]}")
    return f"{found.rows:,} rows in {fetched.files} files, each once and in order, as in the file that was uploaded"


def _events(world: World) -> str:
    wanted, seen = set(world.ended), set[str]()
    sqs, url = world.stage.client("sqs"), world.stage.resources.completions_queue_url
    if not url:
        raise DisprovedError("the stage has no queue of completions")

    def all_there() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            seen.add(json.loads(message["Body"])["detail"]["event_id"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return wanted <= seen

    world.wait(all_there, f"{len(wanted)} events", seconds=90)
    return f"{len(wanted)} attempts ended, {len(wanted & seen)} of them announced"


def _throttled(world: World) -> str:
    world.require_aws("the local AWS starts as many functions as there is work, whatever is reserved")
    functions, name = world.stage.functions, f"tally-{world.stage.name}-process"
    try:
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    except functions.exceptions.InvalidParameterValueException as error:
        raise RefusedError(f"the account's quota leaves nothing to reserve: {error}") from error
    try:
        batch = world.upload("prove_plain", "throttled.csv", _rows(world.rows))
        return world.counts(batch, Counts(succeeded=world.rows))
    finally:
        functions.delete_function_concurrency(FunctionName=name)


def _alarm(world: World) -> str:
    cloudwatch = world.stage.client("cloudwatch")
    alarms = [
        alarm
        for page in cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"tally-{world.stage.name}-")
        for alarm in page["MetricAlarms"]
    ]
    topic = world.stage.resources.alarm_topic_arn
    silent = [alarm["AlarmName"] for alarm in alarms if topic not in alarm["AlarmActions"]]
    if not alarms or silent:
        raise DisprovedError(f"{len(alarms)} alarms, of which {', '.join(silent) or 'none'} tell the topic nothing")
    name = alarms[0]["AlarmName"]
    with mailbox.subscribed(world.stage, topic) as url:
        sqs = world.stage.client("sqs")

        def told() -> bool:
            # A subscription may take effect late, and the alarm's own metric sets it back.
            for state in ("OK", "ALARM"):
                cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="tally prove")
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=10)
            return any(name in message["Body"] for message in answer.get("Messages", []))

        world.wait(told, "the alarm to reach a queue that is subscribed to its topic", seconds=120)
    return f"{len(alarms)} alarms name the topic; {name} was raised and reached a queue subscribed to it"


def _bill(world: World) -> str:
    world.require_aws("the local AWS measures no units")
    world.sleep(60 - time.time() % 60)  # CloudWatch measures whole minutes
    ended = world.end(world.upload("prove_plain", "bill.csv", _rows(world.rows)))
    expected = cost.of(world.stage, ended, utc_now()).write_units
    return bill.compare(world, ended, expected)


PROBES = (
    Probe(name="first-upload", expected="a stage that is seconds old takes its first file whole", run=_first),
    Probe(name="odd-keys", expected="keys with spaces, signs, other alphabets and folders are found", run=_odd_keys),
    Probe(name="rejected-rows", expected="a row that is none is rejected alone", run=_rejects),
    Probe(
        name="overwritten",
        expected="a file that is replaced, then deleted, in mid-batch is processed as uploaded, both versions",
        run=_overwritten,
    ),
    Probe(name="wide-rows", expected="rows of 150 kB each are stored and counted", run=_wide),
    Probe(name="gzip", expected="a gzip file is unpacked by one invocation after another, and counted", run=_gzip),
    Probe(
        name="faults",
        expected="lost answers, errors, throttles, duplicates and dead workers change no count",
        run=_faults,
    ),
    Probe(
        name="poison",
        expected="a row that kills its worker fails alone, through the dead-letter queue",
        run=_poison,
        begin=_upload_poison,
    ),
    Probe(name="redrive", expected="failed rows run again, and are counted once", run=_redrive),
    Probe(
        name="results", expected="results are files that have every row once, in the order of the file", run=_results
    ),
    Probe(name="throttled", expected="one worker at a time loses no row and fails none", run=_throttled),
    Probe(name="bill", expected="AWS measures the write units that `tally cost` says, within a fifth", run=_bill),
    Probe(name="events", expected="every attempt that ended was announced on the bus", run=_events),
    Probe(name="alarm", expected="every alarm names the topic, and one reaches who is subscribed to it", run=_alarm),
)
