"""The digest of a job's code, here and in a stage: nothing else changes it, and no deployment leaves a false one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tally.stages import job_code
from tally.stages.job_code import Standing


class Functions:
    """One function with tags, as Lambda has them."""

    exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)

    def __init__(self) -> None:
        self.tags: dict[str, str] = {"aws-chalice": "version=1"}

    def get_function(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "tally-test-process"
        return {"Configuration": {"FunctionArn": "arn"}, "Tags": dict(self.tags)}

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        return dict(self.get_function(FunctionName=FunctionName)["Configuration"])

    def tag_resource(self, *, Resource: str, Tags: dict[str, str]) -> None:  # noqa: N803
        assert Resource == "arn"
        assert all(len(value) <= 256 for value in Tags.values())
        self.tags |= Tags
        assert len(self.tags) <= 50

    def untag_resource(self, *, Resource: str, TagKeys: list[str]) -> None:  # noqa: N803
        assert Resource == "arn"
        for key in TagKeys:
            del self.tags[key]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return sources with two jobs, one of which imports a helper that imports another."""
    for name, content in {
        "chalicelib/__init__.py": "",
        "chalicelib/rows.py": "class Row: ...\n",
        "chalicelib/jobs/__init__.py": "",
        "chalicelib/jobs/plants.py": "from chalicelib.rows import Row\nfrom chalicelib.jobs._rates import RATES\n",
        "chalicelib/jobs/shelves.py": "from chalicelib import rows\n",
        "chalicelib/jobs/_rates.py": "from . import _units\nRATES = 1\n",
        "chalicelib/jobs/_units.py": "UNITS = 1\n",
    }.items():
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return tmp_path / "app"


def changed(app: Path, name: str, content: str) -> set[str]:
    """Change a file and return the jobs whose digests that changes."""
    before = job_code.digests(app)
    (app / "chalicelib" / name).write_bytes(content.encode())
    after = job_code.digests(app)
    return {job for job in before.keys() | after.keys() if before.get(job) != after.get(job)}


def test_a_digest_changes_with_the_job_and_with_all_that_it_imports(app: Path) -> None:
    assert set(job_code.digests(app)) == {"plants", "shelves"}
    assert changed(app, "jobs/shelves.py", "from chalicelib import rows\nATTEMPTS = 1\n") == {"shelves"}
    assert changed(app, "jobs/_rates.py", "from . import _units\nRATES = 2\n") == {"plants"}
    assert changed(app, "jobs/_units.py", "UNITS = 2\n") == {"plants"}
    assert changed(app, "rows.py", "class Row: x = 1\n") == {"plants", "shelves"}
    assert changed(app, "jobs/__init__.py", "x = 1\n") == set()
    assert changed(app, "jobs/tools.py", "") == {"tools"}
    assert changed(app, "jobs/tools.py", "def broken(:\n") == {"tools"}


def test_a_digest_is_the_same_in_every_checkout(app: Path, tmp_path: Path) -> None:
    """Elsewhere, and with the line ends of another system."""
    before = job_code.digests(app)
    for path in app.rglob("*.py"):
        copy = tmp_path / "elsewhere" / path.relative_to(app)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert job_code.digests(tmp_path / "elsewhere") == before


def test_a_job_that_is_a_package_has_one_digest(app: Path) -> None:
    (app / "chalicelib/jobs/tools").mkdir()
    assert changed(app, "jobs/tools/__init__.py", "from .parts import x\n") == {"tools"}
    assert changed(app, "jobs/tools/parts.py", "x = 1\n") == {"tools"}


def test_a_stage_says_which_jobs_it_runs(app: Path) -> None:
    functions: Any = Functions()
    assert job_code.deployed(functions, "test") is None
    job_code.note(functions, "test", job_code.digests(app))
    assert job_code.deployed(functions, "test") == job_code.digests(app)
    job_code.note(functions, "test", {})
    job_code.withdraw(functions, "test")
    assert job_code.deployed(functions, "test") is None
    assert list(functions.tags) == ["aws-chalice"]


def test_hundreds_of_jobs_fit_and_what_does_not_is_not_known(app: Path) -> None:
    """Never a deployment that fails for its tags."""
    functions: Any = Functions()
    found = {f"job_{number:04d}": "0" * 12 for number in range(1000)} | {"x" * 250: "0" * 12}
    job_code.note(functions, "test", found)
    said = job_code.deployed(functions, "test")
    assert said is not None
    assert said.pop("+") == "-"
    assert said.items() <= found.items()
    assert len(said) > 300
    assert job_code.compare("job_0999", found, {**said, "+": "-"}) is Standing.UNKNOWN


def test_a_job_that_was_edited_while_it_was_packaged_is_another_version(app: Path) -> None:
    functions: Any = Functions()
    job_code.note(functions, "test", {**job_code.digests(app), "plants": ""})
    said = job_code.deployed(functions, "test")
    assert job_code.compare("plants", job_code.digests(app), said) is Standing.DIFFERS
    assert job_code.compare("shelves", job_code.digests(app), said) is Standing.SAME


@pytest.mark.parametrize(
    "error",
    [ClientError({"Error": {"Code": "AccessDenied"}}, "GetFunction"), EndpointConnectionError(endpoint_url="http://x")],
)
def test_a_caller_who_may_not_see_the_functions_learns_nothing(error: Exception) -> None:
    def refuse(**_: Any) -> None:
        raise error

    functions: Any = SimpleNamespace(get_function=refuse)
    assert job_code.deployed(functions, "test") is None


def test_a_stage_without_functions_has_nothing_to_withdraw() -> None:
    def missing(**_: Any) -> None:
        raise LookupError

    functions: Any = SimpleNamespace(get_function=missing, exceptions=Functions.exceptions)
    job_code.withdraw(functions, "test")


@pytest.mark.parametrize(
    ("deployed", "standing"),
    [
        (None, Standing.UNKNOWN),
        ({}, Standing.MISSING),
        ({"shelves": "1"}, Standing.SAME),
        ({"shelves": "2", "plants": "1"}, Standing.DIFFERS),
    ],
)
def test_a_job_is_compared_alone(deployed: dict[str, str] | None, standing: Standing) -> None:
    assert job_code.compare("shelves", {"shelves": "1", "plants": "2"}, deployed) is standing
    assert job_code.compare("elsewhere", {"shelves": "1"}, deployed) is Standing.UNKNOWN
