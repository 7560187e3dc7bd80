"""What would stop a deployment half way stops it before its first change."""

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
    assert preflight.require_jobs(checkout) == "plants, shelves"
    assert not list((checkout.repo / "app").rglob("__pycache__"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def process(row:\n", "SyntaxError: "),
        ("x = 1\n", "FatalError: chalicelib/jobs/shelves.py must define Row"),
        (f"{JOB}ATTEMPTS = 0\n", "ATTEMPTS must be a number"),
        ("raise SystemExit(1)\n", "no reason given"),
    ],
)
def test_a_job_that_does_not_load_stops_a_deployment(checkout: Workspace, content: str, why: str) -> None:
    _write(checkout, "shelves", content)
    with pytest.raises(OperatorError) as refused:
        preflight.require_jobs(checkout)
    assert why in str(refused.value)
    assert "app/requirements.txt" in str(refused.value)
    assert "\n" not in str(refused.value)


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
