"""tally prove: the faults are in its own deployment alone, and nothing is left of that whatever happens."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from rich.console import Console

from chalicelib import clients
from tally.errors import OperatorError
from tally.output import Output
from tally.prove import checkout, injected, report
from tally.prove.probe import DisprovedError, OnlyOnAwsError, Probe, Result, Verdict, World
from tally.prove.probes import PROBES
from tally.prove.prover import Prover
from tally.stages.workspace import Workspace, mirror

REPO = Path(__file__).resolve().parents[4]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return the repository with a home of its own."""
    return Workspace(repo=REPO, home=tmp_path / "home")


def test_no_other_deployment_carries_the_faults(tmp_path: Path) -> None:
    """What a deployment packages is app/, and neither the faults nor a call of them is there."""
    mirror(REPO / "app", tmp_path / "app")
    assert not list((tmp_path / "app").rglob("injected*")) + list((tmp_path / "app").rglob("prove_*"))
    assert "injected" not in (tmp_path / "app" / "app.py").read_text()
    assert clients.client.__module__ == "chalicelib.clients"  # to import the faults does not install them


def test_the_faults_are_installed_before_any_client_is_made(workspace: Workspace) -> None:
    own = checkout.make(workspace, workspace.home / "proving" / "prove")
    source = (own.repo / "app" / "app.py").read_text()
    assert source.count("install()") == 1
    assert source.index("install()") < source.index("from chalicelib.services")
    assert {job.stem for job in (own.repo / "app" / "chalicelib" / "jobs").glob("prove_*.py")} == {
        "prove_faulty",
        "prove_later",
        "prove_plain",
        "prove_poison",
    }
    assert checkout.make(workspace, workspace.home / "proving" / "prove") == own
    assert (own.repo / "app" / "app.py").read_text() == source


def test_an_app_without_a_place_for_the_faults_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """Otherwise the probes would pass for want of faults."""
    for name in ("infra", "app"):
        mirror(REPO / name, tmp_path / "repo" / name)
    (tmp_path / "repo" / "app" / "app.py").write_text("app = None\n")
    with pytest.raises(OperatorError, match="the faults have no place"):
        checkout.make(Workspace(repo=tmp_path / "repo", home=workspace.home), tmp_path / "root")


class Fake(Prover):
    """A prover whose stage is none; ``left`` says what is there."""

    left: list[str]

    def _deploy(self) -> Any:
        self.left.append("stage")
        return SimpleNamespace(server=object(), resources=SimpleNamespace(table="t", inbox_bucket="b"))

    def clean(self) -> bool:
        """Remove what is there."""
        there = bool(self.left)
        self.left.clear()
        return there


def _prover(workspace: Workspace, *, name: str = "prove", on_aws: bool = False, agrees: bool = True) -> Fake:
    output = Output(console=Console(file=io.StringIO()), as_json=False)
    made = Fake(
        workspace=workspace,
        name=name,
        on_aws=on_aws,
        output=output,
        environ={},
        variables={},
        confirm=lambda _: agrees,
    )
    object.__setattr__(made, "left", [])
    return made


def _probe(name: str, run: Callable[[World], str]) -> Probe:
    return Probe(name=name, expected="it holds", run=run)


def _raise(error: BaseException) -> Callable[[World], str]:
    def run(_world: World) -> str:
        raise error

    return run


@pytest.mark.parametrize("name", ["prod", "production", "prod-eu", "live"])
def test_a_stage_that_may_be_somebodys_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(OperatorError, match="may be somebody's stage"):
        _prover(workspace, name=name)


def test_a_stage_that_exists_is_refused(workspace: Workspace) -> None:
    """Its data would go with the proof."""
    (workspace.home / "mine").mkdir(parents=True)
    with pytest.raises(OperatorError, match="There is a stage mine already"):
        _prover(workspace, name="mine")


def test_nothing_is_deployed_to_aws_without_consent(workspace: Workspace) -> None:
    prover = _prover(workspace, on_aws=True, agrees=False)
    with pytest.raises(OperatorError, match="Nothing was deployed"):
        prover.run([_probe("a", lambda _: "")], rows=10, patience=1)
    assert prover.left == []


def test_each_probe_says_what_it_saw_and_one_that_breaks_hides_no_other(workspace: Workspace) -> None:
    prover = _prover(workspace)
    probes = [
        _probe("holds", lambda _: "10 rows"),
        _probe("fails", _raise(DisprovedError("9 rows"))),
        _probe("elsewhere", _raise(OnlyOnAwsError("no alarms here"))),
        _probe("breaks", _raise(KeyError("x"))),
        _probe("last", lambda _: "fine"),
    ]
    results = prover.run(probes, rows=10, patience=1)
    assert [(result.name, result.verdict, result.seen) for result in results] == [
        ("holds", Verdict.PASSED, "10 rows"),
        ("fails", Verdict.FAILED, "9 rows"),
        ("elsewhere", Verdict.ONLY_ON_AWS, "no alarms here"),
        ("breaks", Verdict.FAILED, "KeyError: 'x'"),
        ("last", Verdict.PASSED, "fine"),
    ]
    assert not report.passed(results)
    assert prover.left == []


def test_an_interrupt_leaves_no_stage_and_says_which_probes_were_not_run(workspace: Workspace) -> None:
    prover = _prover(workspace)
    probes = [_probe("a", lambda _: "seen"), _probe("b", _raise(KeyboardInterrupt())), _probe("c", lambda _: "")]
    results = prover.run(probes, rows=10, patience=1)
    assert [result.verdict for result in results] == [Verdict.PASSED, Verdict.NOT_RUN, Verdict.NOT_RUN]
    assert not report.passed(results)
    assert prover.left == []


def test_a_batch_that_never_ends_disproves(workspace: Workspace) -> None:
    """No probe waits for ever."""
    moments = iter(range(1_000))
    world = World(stage=Any, rows=1, patience=3, clock=lambda: next(moments), sleep=lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(DisprovedError, match="waited 3 s for Godot"):
        world.wait(lambda: None, "Godot")


def _request(body: bytes | str = b"", url: str = "http://127.0.0.1/") -> Any:
    return SimpleNamespace(body=body, url=url)


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the faults did: what was passed on, and what was counted."""
    did: list[str] = []
    monkeypatch.setattr(injected, "_pass_on", lambda _: did.append("passed on"))
    monkeypatch.setattr(injected, "_count", did.append)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "tally-prove-process")
    return did


def _fate(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(injected, "_luck", SimpleNamespace(choices=lambda *_: [kind]))


def test_requests_about_other_jobs_meet_no_fault(monkeypatch: pytest.MonkeyPatch, met: list[str]) -> None:
    """The other probes would see them otherwise."""
    _fate(monkeypatch, "error_before")
    assert injected._meet(_request(b"batch#prove_plain-1"), "before-send.dynamodb.PutItem") is None
    assert met == []
    assert injected._meet(_request(url="http://s3/b/inbox/prove_faulty/a.csv"), "before-send.s3.GetObject") is not None


@pytest.mark.parametrize(
    ("kind", "did", "status"),
    [("error_before", [], 500), ("throttled", [], 400), ("error_after", ["passed on"], 500)],
)
def test_an_error_comes_before_or_after_aws_did_it(
    monkeypatch: pytest.MonkeyPatch, met: list[str], kind: str, did: list[str], status: int
) -> None:
    _fate(monkeypatch, kind)
    answer = injected._meet(_request(b"batch#prove_faulty-1"), "before-send.dynamodb.PutItem")
    assert answer is not None
    assert (answer.status_code, answer.content.startswith(b"{")) == (status, True)
    assert met == [kind, *did]


def test_an_answer_is_lost_after_aws_did_it(monkeypatch: pytest.MonkeyPatch, met: list[str]) -> None:
    """The SDK takes it for a broken connection, and tries again."""
    _fate(monkeypatch, "answer_lost")
    with pytest.raises(ConnectionClosedError):
        injected._meet(_request(b"batch#prove_faulty-1"), "before-send.dynamodb.PutItem")
    assert met == ["answer_lost", "passed on"]


def test_a_request_is_sent_twice(monkeypatch: pytest.MonkeyPatch, met: list[str]) -> None:
    _fate(monkeypatch, "sent_twice")
    assert injected._meet(_request(b"batch#prove_faulty-1"), "before-send.sqs.SendMessageBatch") is None
    assert met == ["sent_twice", "passed on"]


@pytest.mark.parametrize(("kind", "did"), [("killed_before", []), ("killed_after", ["passed on"])])
def test_a_worker_dies_before_or_after(
    monkeypatch: pytest.MonkeyPatch, met: list[str], kind: str, did: list[str]
) -> None:
    def die(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr("os._exit", die)
    _fate(monkeypatch, kind)
    with pytest.raises(SystemExit):
        injected._meet(_request(b"batch#prove_faulty-1"), "before-send.sqs.SendMessageBatch")
    assert met == [kind, *did]


@pytest.mark.parametrize(
    ("kind", "function", "event"),
    [
        ("killed_after", "plan", "before-send.dynamodb.PutItem"),
        ("throttled", "process", "before-send.sqs.SendMessageBatch"),
    ],
)
def test_a_fault_that_would_prove_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch, met: list[str], kind: str, function: str, event: str
) -> None:
    """Lambda would deliver a killed plan's event minutes later, and SQS answers in another format."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", f"tally-prove-{function}")
    _fate(monkeypatch, kind)
    assert injected._meet(_request(b"prove_faulty"), event) is None
    assert met == []


def test_the_report_is_a_table_of_markdown(tmp_path: Path) -> None:
    found = Result(name="a", expected="b|c", seen="two\nlines", verdict=Verdict.PASSED, seconds=1.25)
    report.write(tmp_path / "r.md", "prove", "On a local AWS", [found], datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert (tmp_path / "r.md").read_text() == (
        "# Proof of stage prove\n\nOn a local AWS, 2026-03-01 12:00 UTC.\n\n"
        "| probe | expected | seen | verdict | seconds |\n|---|---|---|---|---|\n"
        "| a | b\\|c | two lines | passed | 1.2 |\n"
    )


def test_what_could_not_be_tried_at_all_is_no_proof() -> None:
    only = Result(name="a", expected="b", seen="c", verdict=Verdict.ONLY_ON_AWS, seconds=0)
    assert not report.passed([only])


def test_every_probe_has_a_name_of_its_own_and_the_first_upload_is_first() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert names[0] == "first-upload"
