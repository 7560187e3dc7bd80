"""An obstacle that would stop a deployment half way stops it before its first change."""

import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from tally.deploy import preflight
from tally.errors import OperatorError
from tally.stages.workspace import Workspace
from tally.tools import terraform

JOB = "from chalicelib.rows import Row as Base\nclass Row(Base):\n    name: str\ndef process(row: Row) -> None: ...\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a checkout with a package of jobs that is the shipped one, but for the jobs."""
    monkeypatch.setattr(terraform, "require", lambda _environ: "1.11.4")
    (tmp_path / "infra").mkdir()
    shipped = Path(__file__).parents[4] / "app" / "chalicelib"
    for source in [*shipped.glob("*.py"), shipped / "jobs" / "__init__.py"]:
        copy = tmp_path / "app" / "chalicelib" / source.relative_to(shipped)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    return Workspace(repo=tmp_path, home=tmp_path / ".tally")


def _write(checkout: Workspace, name: str, content: str) -> None:
    (checkout.repo / "app" / "chalicelib" / "jobs" / f"{name}.py").write_text(content)


def test_the_jobs_of_the_checkout_are_loaded_and_named(checkout: Workspace) -> None:
    """Nothing is left beside them: bytecode would enter the package."""
    _write(checkout, "shelves", JOB)
    _write(checkout, "plants", JOB)
    assert str(preflight.require_jobs(checkout)) == "plants, shelves"
    assert not list((checkout.repo / "app").rglob("__pycache__"))


@pytest.mark.parametrize(
    ("content", "where", "why"),
    [
        ("x = 1\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("\ndef process(row:\n", 2, "SyntaxError: "),
        ("x = 1\n", 1, "FatalError: chalicelib/jobs/shelves.py must define Row"),
        (JOB.replace("def process(row: Row) -> None: ...\n", ""), 2, "must define Row, a subclass"),
        (f"{JOB}\nATTEMPTS = 0\n", 6, "ATTEMPTS must be a number"),
        (f"{JOB}FAILURE_LIMIT: str = 'many'\n", 5, "FAILURE_LIMIT must be"),
        (f"{JOB}CHUNK_ROWS = 0\n", 5, "CHUNK_ROWS must be"),
        (f"{JOB}heavy = 3\n", 5, "heavy a function of a row"),
        (f"{JOB}DELIMITER = 'ab'\n", 5, "DELIMITER"),
        (f"{JOB}THEN = 'shelves'\n", 5, "THEN is the job itself"),
        (f"{JOB}THEN = 'plants'\n", 5, "THEN is 'plants', and there is no such job"),
        (JOB.replace("name: str", "a: str\n    A: str"), 2, "two fields match the same column"),
        ("x = 1\nraise SystemExit(1)\n", 2, "SystemExit: 1"),
        ("import os\nos._exit(3)\n", 2, "SystemExit: 3"),
        (
            "import ctypes\nctypes.string_at(0)\n",
            2,
            "the interpreter ended with status -11: Fatal Python error: Segmentation fault",
        ),
        ("from chalicelib.jobs import _rates\n", 1, "ImportError: "),
    ],
)
def test_a_job_that_does_not_load_stops_a_deployment_with_file_and_line(
    checkout: Workspace, content: str, where: int, why: str
) -> None:
    _write(checkout, "shelves", content)
    with pytest.raises(OperatorError) as refused:
        preflight.require_jobs(checkout)
    said = str(refused.value)
    assert said.startswith(f"A job does not load: app/chalicelib/jobs/shelves.py:{where}: ")
    assert why in said
    assert "\n" not in said
    assert "app/requirements.txt" in refused.value.hint


def test_a_job_that_never_returns_is_named_with_the_line_where_it_is(checkout: Workspace) -> None:
    _write(checkout, "shelves", "x = 1\nwhile x:\n    pass\n")
    with pytest.raises(OperatorError, match=r"jobs/shelves\.py:[23]: importing it takes longer than 0.1 s"):
        preflight.require_jobs(checkout, seconds=0.1)


def test_the_line_is_that_of_the_helper_that_a_job_imports(checkout: Workspace) -> None:
    _write(checkout, "_rates", "x = 1\nRATES = 1 / 0\n")
    _write(checkout, "shelves", f"from chalicelib.jobs import _rates\n{JOB}")
    with pytest.raises(OperatorError, match=r"jobs/_rates\.py:2: ZeroDivisionError: division by zero"):
        preflight.require_jobs(checkout)


@pytest.mark.parametrize("name", ["shelves-2", "2shelves", "regale_ü"])
def test_a_file_whose_name_is_no_jobs_is_refused(checkout: Workspace, name: str) -> None:
    """Nobody would find it, and its files would be rejected."""
    _write(checkout, name, JOB)
    with pytest.raises(OperatorError, match=f"jobs/{name}\\.py:1: this is no job's name"):
        preflight.require_jobs(checkout)


def test_every_broken_job_is_named_at_once(checkout: Workspace) -> None:
    for name in ("plants", "shelves"):
        _write(checkout, name, "import no_such_module\n")
    _write(checkout, "tools", JOB)
    with pytest.raises(OperatorError, match=r"2 jobs do not load: .*plants\.py:1: .*; .*shelves\.py:1: "):
        preflight.require_jobs(checkout)


def test_jobs_that_hand_their_results_to_each_other_stop_a_deployment(checkout: Workspace) -> None:
    _write(checkout, "plants", f"{JOB}THEN = 'shelves'\n")
    _write(checkout, "shelves", f"{JOB}THEN = 'plants'\n")
    with pytest.raises(OperatorError) as refused:
        preflight.require_jobs(checkout)
    assert "plants.py:5: FatalError: jobs/plants.py: THEN leads back to the job" in str(refused.value)
    assert "shelves.py:5: FatalError: jobs/shelves.py: THEN leads back to the job" in str(refused.value)


def test_what_a_job_prints_is_not_taken_for_a_name(checkout: Workspace) -> None:
    _write(checkout, "shelves", f"print('hello, world')\n{JOB}")
    assert str(preflight.require_jobs(checkout)) == "shelves"


def test_the_tools_that_deploy_are_named(checkout: Workspace) -> None:
    assert str(preflight.require_tools(checkout, {})).startswith("Terraform 1.11.4, Chalice 1.")


def test_a_missing_chalice_says_how_it_is_installed(checkout: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(checkout.repo))
    with pytest.raises(OperatorError, match="chalice is missing: install the tools with `make venv`"):
        preflight.require_tools(checkout, {})


def test_a_state_that_was_not_saved_is_saved_first(checkout: Workspace) -> None:
    """Terraform would make a second time what that state has."""
    (checkout.repo / "infra" / "errored.tfstate").write_text("{}")
    with pytest.raises(OperatorError, match=r"state push errored\.tfstate"):
        preflight.require_tools(checkout, {})


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], None]:
    """Return what sets how AWS answers when it is asked who the caller is; no region is configured."""

    def answer(error: Exception | None) -> None:
        def ask() -> dict[str, Any]:
            if error:
                raise error
            return {"Account": "123456789012"}

        def client(_service: str, region_name: str) -> Any:
            assert region_name
            return SimpleNamespace(get_caller_identity=ask)

        monkeypatch.setattr(boto3, "Session", lambda: SimpleNamespace(region_name=None, client=client))

    return answer


def test_the_account_and_region_of_the_caller_are_named(sts: Callable[[Exception | None], None]) -> None:
    sts(None)
    assert str(preflight.require_account({"AWS_REGION": "eu-west-1"})) == "account 123456789012, region eu-west-1"
    with pytest.raises(OperatorError, match="No AWS region is set: set AWS_REGION"):
        preflight.require_account({})


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (NoCredentialsError(), "AWS does not accept your credentials .*aws sso login"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "GetCallerIdentity"), "credentials .*ExpiredToken.*renew"),
        (
            EndpointConnectionError(endpoint_url="https://sts.eu-wst-1"),
            "cannot be reached in region 'eu-wst-1'.*typing",
        ),
    ],
)
def test_credentials_and_a_region_that_are_wrong_say_what_to_do(
    sts: Callable[[Exception | None], None], error: Exception, what: str
) -> None:
    sts(error)
    with pytest.raises(OperatorError, match=what):
        preflight.require_account({"AWS_REGION": "eu-wst-1"})


KEYED = JOB + "\n\nKEY = 'NAME'\n"


def test_a_job_with_a_key_is_refused_on_a_stage_without_a_results_table(checkout: Workspace) -> None:
    """With its place, before anything is changed. Terraform is told too, for it alone reads files of variables."""
    _write(checkout, "plants", JOB)
    _write(checkout, "shelves", KEYED.replace("NAME", "name"))
    jobs = preflight.require_jobs(checkout)
    assert jobs.variables == {"jobs_with_key": ["shelves"]}
    for variables in ({}, {"results_table": None}):
        with pytest.raises(OperatorError, match=r"KEY needs a results table.*jobs/shelves\.py:\d+") as refused:
            jobs.require_results_table(variables)
        assert "--var 'results_table={}'" in refused.value.hint
    jobs.require_results_table({"results_table": {}})


def test_a_key_that_names_nothing_is_refused_with_its_line(checkout: Workspace) -> None:
    _write(checkout, "shelves", KEYED)
    line = KEYED.splitlines().index("KEY = 'NAME'") + 1
    with pytest.raises(OperatorError, match=rf"jobs/shelves\.py:{line}: FatalError: .*KEY is 'NAME', which is neither"):
        preflight.require_jobs(checkout)


def test_jobs_without_a_key_tell_terraform_nothing(checkout: Workspace) -> None:
    _write(checkout, "shelves", JOB)
    jobs = preflight.require_jobs(checkout)
    assert jobs.variables == {}
    jobs.require_results_table({})
