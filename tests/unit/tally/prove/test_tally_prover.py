"""A run of `tally prove`: whose stage it refuses, what it deploys, and that the stage is gone afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from chalicelib import clients
from chalicelib.clock import utc_now
from tally.deploy.preflight import Account
from tally.errors import ExitCode, OperatorError
from tally.local.stack import LocalStack
from tally.output import Output
from tally.prove import bill, checkout, mailbox, report
from tally.prove.injected import Plan
from tally.prove.probe import DisprovedError, OnlyOnAwsError, Probe, Result, Verdict, World
from tally.prove.probes import PROBES
from tally.prove.prover import Prover
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace, exclusive, mirror
from tally.testing import environment
from tests.support.tables import make_table

REPO = Path(__file__).parents[4]
STAGE = Stage(name="prove", resources=Resources(table="t", inbox_bucket="b"))


class Local:
    """In place of a local AWS: what was brought up and taken down."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.down: list[str] = []


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Local:
    found = Local()

    def up(stack: LocalStack, _port: int | None) -> Stage:
        found.up.append(stack.name)
        return STAGE

    monkeypatch.setattr(LocalStack, "up", up)
    monkeypatch.setattr(LocalStack, "down", lambda stack: found.down.append(stack.name))
    return found


def prover(home: Path, name: str = "prove", **changes: Any) -> Prover:
    made: dict[str, Any] = {
        "workspace": Workspace(repo=REPO, home=home),
        "name": name,
        "on_aws": False,
        "output": Output.make(as_json=True),
        "environ": {},
        "variables": {},
        "confirm": lambda _question: True,
        "plan": Plan(seed=1),
    }
    return Prover(**(made | changes))


def probe(name: str, run: Any, begin: Any = None) -> Probe:
    return Probe(name=name, expected="it is so", run=run, begin=begin)


def raising(error: BaseException) -> Any:
    def run(_world: World) -> str:
        raise error

    return run


def verdicts(results: list[Result]) -> list[Verdict]:
    return [result.verdict for result in results]


@pytest.mark.parametrize("name", ["prod", "production", "prod-eu", "live"])
def test_a_stage_that_may_be_in_use_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="may be somebody's stage") as refused:
        prover(tmp_path, name)
    assert refused.value.code is ExitCode.USAGE


@pytest.mark.parametrize("trace", ["dev/outputs.json", "aws/dev.json"])
def test_a_stage_that_this_checkout_knows_is_refused(trace: str, tmp_path: Path) -> None:
    (tmp_path / trace).parent.mkdir()
    (tmp_path / trace).touch()
    with pytest.raises(OperatorError, match="There is a stage dev here already"):
        prover(tmp_path, "dev")


def test_a_stage_that_somebody_else_deployed_to_the_account_is_refused_before_anything_is_touched(
    tmp_path: Path, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a remote state a deployment would change it, and the end of the run destroy it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with mock_aws():
        make_table(boto3.client("dynamodb", region_name="us-east-1"), "tally-team")
        made = prover(tmp_path, "team", on_aws=True, account=lambda _environ: Account(id="1", region="us-east-1"))
        with pytest.raises(OperatorError, match="There is a stage team in account 1"):
            made.run(PROBES, rows=100, patience=1)
    assert not (tmp_path / "proving" / "team").exists()


def test_nothing_is_deployed_to_an_account_without_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    with mock_aws():
        made = prover(tmp_path, on_aws=True, confirm=no, account=lambda _environ: Account(id="1", region="us-east-1"))
        with pytest.raises(OperatorError, match="Nothing was deployed"):
            made.run(PROBES, rows=100, patience=1)
    assert "account 1" in asked[0]
    assert "minutes" in asked[0]
    assert "dollar" in asked[0]
    assert not made.workspace.proving("prove").exists()


def test_a_probe_that_fails_or_breaks_does_not_hide_the_others(tmp_path: Path, local: Local) -> None:
    results = prover(tmp_path).run(
        [
            probe("disproved", raising(DisprovedError("one row is lost"))),
            probe("broken", raising(ValueError("no such thing"))),
            probe("elsewhere", raising(OnlyOnAwsError("no alarms here"))),
            probe("fine", lambda _world: "all there"),
        ],
        rows=100,
        patience=1,
    )
    assert verdicts(results) == [Verdict.FAILED, Verdict.FAILED, Verdict.ONLY_ON_AWS, Verdict.PASSED]
    assert results[1].seen == "ValueError: no such thing"
    assert (local.up, local.down) == (["prove"], ["prove"])
    assert not (tmp_path / "proving" / "prove").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_the_stage_is_removed(number: int, tmp_path: Path, local: Local) -> None:
    def interrupted(_world: World) -> str:
        signal.raise_signal(number)
        return "never"

    # As in a terminal: a shell starts what runs in the background with Ctrl-C ignored.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)
    try:
        results = prover(tmp_path).run(
            [probe("first", lambda _: "there"), probe("second", interrupted), probe("third", raising(ValueError()))],
            rows=100,
            patience=1,
        )
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
    assert verdicts(results) == [Verdict.PASSED, Verdict.NOT_RUN, Verdict.NOT_RUN]
    assert local.down == ["prove"]


def test_a_deployment_that_fails_leaves_nothing(tmp_path: Path, local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStack, "up", raising_up)
    with pytest.raises(OperatorError, match="no Terraform"):
        prover(tmp_path).run([], rows=100, patience=1)
    assert local.down == ["prove"]
    assert not (tmp_path / "proving" / "prove").exists()


def raising_up(_stack: LocalStack, _port: int | None) -> Stage:
    raise OperatorError("no Terraform")


def test_what_a_killed_run_has_left_is_removed_by_clean_and_by_the_next_run(tmp_path: Path, local: Local) -> None:
    checkout.make(Workspace(repo=REPO, home=tmp_path), tmp_path / "proving" / "prove", Plan(seed=1))
    assert prover(tmp_path).clean()
    assert not prover(tmp_path).clean()
    checkout.make(Workspace(repo=REPO, home=tmp_path), tmp_path / "proving" / "prove", Plan(seed=1))
    prover(tmp_path).run([], rows=100, patience=1)
    assert local.down == ["prove"] * 3


def test_a_clean_up_that_fails_says_how_it_is_continued(
    tmp_path: Path, local: Local, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(_stack: LocalStack) -> None:
        raise OperatorError("no credentials any more")

    monkeypatch.setattr(LocalStack, "down", down)
    with pytest.raises(OperatorError, match="no credentials"):
        prover(tmp_path).run([], rows=100, patience=1)
    assert "`tally prove --clean --stage prove` removes it" in capsys.readouterr().err
    assert (tmp_path / "proving" / "prove").exists()


def test_a_second_run_does_not_remove_the_stage_of_the_first(tmp_path: Path, local: Local) -> None:
    lock = tmp_path / "proving" / "prove.lock"
    with exclusive(lock, what="a test", say=print), pytest.raises(OperatorError, match="Another tally"):
        prover(tmp_path).clean()
    assert local.down == []


def test_the_stage_of_a_run_is_no_stage_of_the_workspace(tmp_path: Path) -> None:
    """`tally down --all` takes down what is listed."""
    (tmp_path / "proving" / "prove").mkdir(parents=True)
    assert Workspace(repo=REPO, home=tmp_path).local_stages() == []


def test_what_takes_minutes_begins_after_the_first_probe_and_before_the_second(tmp_path: Path, local: Local) -> None:
    order: list[str] = []

    def note(what: str) -> Any:
        def run(_world: World) -> str:
            order.append(what)
            return what

        return run

    slow = probe("slow", lambda world: note(f"end of {world.begun['slow']}")(world), begin=note("upload"))
    prover(tmp_path).run([probe("a", note("a")), probe("b", note("b")), slow], rows=100, patience=1)
    assert order == ["a", "upload", "b", "end of upload"]


def test_a_slow_probe_alone_is_begun_too(tmp_path: Path, local: Local) -> None:
    slow = probe("slow", lambda world: world.begun["slow"], begin=lambda _world: "id")
    (result,) = prover(tmp_path).run([slow], rows=100, patience=1)
    assert (result.verdict, result.seen) == (Verdict.PASSED, "id")


def test_the_copy_has_the_faults_their_plan_and_the_jobs_of_the_probes(tmp_path: Path) -> None:
    own = checkout.make(Workspace(repo=REPO, home=tmp_path), tmp_path / "proving" / "p", Plan(seed=3))
    library = own.repo / "app" / "chalicelib"
    source = (own.repo / "app" / "app.py").read_text(encoding="utf-8")
    assert source.count("install()") == 1
    assert checkout.make(Workspace(repo=REPO, home=tmp_path), tmp_path / "proving" / "p", Plan(seed=3)) == own
    assert (own.repo / "app" / "app.py").read_text(encoding="utf-8") == source
    assert '"seed": 3' in (library / "injected.json").read_text(encoding="utf-8")
    assert {path.stem for path in (library / "jobs").glob("prove_*.py")} == {
        "prove_faulty", "prove_later", "prove_plain", "prove_poison"
    }  # fmt: skip


def test_every_client_of_the_copy_meets_the_faults(tmp_path: Path) -> None:
    """No module has taken the function that makes clients before the faults were put into it."""
    own = checkout.make(Workspace(repo=REPO, home=tmp_path), tmp_path / "proving" / "p", Plan(seed=3))
    program = """
import sys
import app
from chalicelib import clients, injected
library = {name: module for name, module in sys.modules.items() if name.startswith("chalicelib")}
taken = {name: module.client for name, module in library.items() if hasattr(module, "client")}
print(*sorted(name for name, client in taken.items() if client is not clients.client))
print(clients.client.__module__, len(taken) > 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=own.repo / "app",
        env=environment.VARIABLES | {"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.splitlines() == ["", "chalicelib.injected True"]


def test_no_other_deployment_can_carry_a_fault(tmp_path: Path) -> None:
    """A deployment copies or packs ``app/``: no file of it, and none of its requirements, names the faults."""
    mirror(REPO / "app", tmp_path / "app")
    files = [path for path in (tmp_path / "app").rglob("*") if path.is_file()]
    assert [path for path in files if path.stem == "injected" or path.stem.startswith("prove")] == []
    assert clients.client.__module__ == "chalicelib.clients"  # to import the faults does not install them
    words = (b"chalicelib.injected", b"import injected", b"tally.prove", b"install()")
    assert [path for path in files if any(word in path.read_bytes() for word in words)] == []


def test_an_app_without_a_place_for_the_faults_is_refused(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "app" / "chalicelib" / "jobs").mkdir(parents=True)
    for name in ("app.py", "chalicelib/jobs/__init__.py"):
        (tmp_path / "app" / name).write_text("app = None\n", encoding="utf-8")
    with pytest.raises(OperatorError, match="before which the faults are put: put such a line back"):
        checkout.make(Workspace(repo=tmp_path, home=tmp_path / "home"), tmp_path / "root", Plan(seed=1))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield Stage(name="prove", resources=Resources(table="t", inbox_bucket="b", region="us-east-1"))


def test_a_mailbox_gets_what_its_topic_says_and_is_gone_afterwards(stage: Stage) -> None:
    sns, sqs = stage.client("sns"), stage.client("sqs")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    with mailbox.subscribed(stage, topic) as url:
        sns.publish(TopicArn=topic, Message="too hot")
        (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "too hot" in message["Body"]
    assert sns.list_subscriptions()["Subscriptions"] == []
    assert "QueueUrls" not in sqs.list_queues()


def test_the_mailbox_of_a_killed_run_is_removed_and_none_is_no_error(stage: Stage) -> None:
    sqs = stage.client("sqs")
    sqs.create_queue(QueueName="tally-prove-prove-mailbox")
    mailbox.remove(stage)
    mailbox.remove(stage)
    assert "QueueUrls" not in sqs.list_queues()


def test_a_batch_that_never_ends_disproves() -> None:
    moments = iter(range(1_000))
    world = World(stage=STAGE, rows=1, patience=3, clock=lambda: next(moments), sleep=lambda _seconds: None)
    with pytest.raises(DisprovedError, match="waited 3 s for Godot"):
        world.wait(lambda: None, "Godot")


def test_a_quota_that_leaves_no_concurrency_to_reserve_is_no_failure(
    tmp_path: Path, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    (throttled,) = [probe for probe in PROBES if probe.name == "throttled"]
    functions = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
    refused: Any = {"Error": {"Code": "InvalidParameterValueException", "Message": "below its minimum value"}}

    def put(**_asked: Any) -> None:
        raise functions.exceptions.InvalidParameterValueException(refused, "PutFunctionConcurrency")

    monkeypatch.setattr(functions, "put_function_concurrency", put)
    monkeypatch.setitem(STAGE.__dict__, "functions", functions)
    (found,) = prover(tmp_path).run([throttled], rows=100, patience=1)
    assert (found.verdict, "below its minimum value" in found.seen) == (Verdict.REFUSED, True)


def test_every_probe_has_a_name_of_its_own_and_the_first_upload_is_first() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert names[0] == "first-upload"


class Measured:
    """In place of CloudWatch: what it has measured so far."""

    def __init__(self, *sums: float) -> None:
        self.sums = iter(sums)

    def get_metric_statistics(self, **_asked: Any) -> dict[str, Any]:
        return {"Datapoints": [{"Sum": next(self.sums)}, {"Sum": 10.0}]}


def billed(monkeypatch: pytest.MonkeyPatch, *sums: float) -> str:
    """Return the verdict on a batch of 1,000 units, each reading of CloudWatch a minute after the other."""
    measured = Measured(*sums)
    monkeypatch.setattr(Stage, "client", lambda _stage, _service: measured)
    moments = iter(range(0, 6_000, 60))
    world = World(stage=STAGE, rows=1, patience=3, clock=lambda: next(moments), sleep=lambda _seconds: None)
    batch = SimpleNamespace(created_at="2026-03-01T12:00:30+00:00", completed_at="2026-03-01T12:01:10+00:00")
    return bill.compare(world, batch, 1_000)  # type: ignore[arg-type]


def test_a_bill_waits_until_aws_has_measured_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert billed(monkeypatch, 0, 300, 1_040) == "1,050 write units measured, 1,000 said (+5%)"


@pytest.mark.parametrize("sum_", [500, 1_500])
def test_a_bill_that_differs_disproves(sum_: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DisprovedError, match="1,000 expected"):
        billed(monkeypatch, *[sum_] * 100)


def result(verdict: Verdict, seen: str = "it") -> Result:
    return Result(name="n", expected="e", seen=seen, verdict=verdict, seconds=1.04)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([Verdict.PASSED, Verdict.ONLY_ON_AWS], True),
        ([Verdict.PASSED, Verdict.REFUSED], True),
        ([Verdict.ONLY_ON_AWS, Verdict.REFUSED], False),
        ([Verdict.PASSED, Verdict.FAILED], False),
        ([Verdict.PASSED, Verdict.NOT_RUN], False),
        ([], False),
    ],
)
def test_a_run_passes_when_all_that_could_be_probed_passed(made: list[Verdict], expected: bool) -> None:
    assert report.passed([result(verdict) for verdict in made]) is expected


def test_the_report_is_one_row_a_probe_whatever_was_seen(tmp_path: Path) -> None:
    report.write(tmp_path / "r.md", "prove", "In AWS", [result(Verdict.FAILED, "a|b\nc")], utc_now())
    assert (tmp_path / "r.md").read_text(encoding="utf-8").splitlines()[-1] == "| n | e | a\\|b c | failed | 1.0 |"
