"""Settings from the environment, and errors that say how to get them."""

import os

import msgspec
import pytest

from chalicelib.errors import SettingsError
from chalicelib.settings import Queue, ResultsTable, Settings, Trigger

NAMES = [f"TALLY_{field.name.upper()}" for field in msgspec.structs.fields(Settings) if field.required]


@pytest.fixture
def environ() -> dict[str, str]:
    """Give the environment of a function, as tests/conftest.py makes it."""
    return {name: os.environ[name] for name in NAMES}


def test_settings_have_the_types_that_they_are_used_as(environ: dict[str, str]) -> None:
    """Environment variables are all text."""
    settings = Settings.from_env(environ)
    assert settings.table == "tally-test"
    assert settings.chunk_rows == 4
    assert settings.retention_days == 30
    assert settings.queues["work"] == Queue(
        url="http://127.0.0.1/work", arn="arn:aws:sqs:us-east-1:000000000000:tally-test-work"
    )
    assert settings.functions["process"] == Trigger(batch_size=10)


def test_a_trigger_says_all_that_a_decorator_can(environ: dict[str, str]) -> None:
    """Batch size, window and concurrency are Chalice's; the rest is Terraform's."""
    environ["TALLY_FUNCTIONS"] = (
        '{"process": {"batch_size": 50, "maximum_batching_window_seconds": 1, "maximum_concurrency": 20}}'
    )
    trigger = Settings.from_env(environ).functions["process"]
    assert trigger == Trigger(batch_size=50, maximum_batching_window_seconds=1, maximum_concurrency=20)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named_with_the_way_to_get_it(
    environ: dict[str, str], name: str, value: str | None
) -> None:
    """An unknown --stage deploys without settings: the first thing to fail must say so."""
    del environ[name]
    if value is not None:
        environ[name] = value
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)
    assert str(raised.value).startswith(f"{name} not set: ")
    assert "terraform -chdir=infra output -raw chalice_config" in str(raised.value)


def test_all_missing_variables_are_named_at_once() -> None:
    """Nobody wants to find them one by one."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({})
    assert str(raised.value).startswith(", ".join(NAMES))


def test_a_stage_may_have_a_results_table(environ: dict[str, str]) -> None:
    """Without one the settings have none."""
    assert Settings.from_env(environ).results_table is None
    environ["TALLY_RESULTS_TABLE"] = '{"name": "r", "write_share": 0.95, "retention_days": 400}'
    assert Settings.from_env(environ).results_table == ResultsTable(name="r", write_share=0.95, retention_days=400)


@pytest.mark.parametrize("name", ["TALLY_QUEUES", "TALLY_FUNCTIONS", "TALLY_RESULTS_TABLE"])
def test_a_variable_that_is_not_json_is_named(environ: dict[str, str], name: str) -> None:
    """Shells eat quotes."""
    environ[name] = "{ingest: {}}"
    with pytest.raises(SettingsError, match=f"{name} is not JSON"):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("TALLY_QUEUES", "[]", r"\$\.queues"),
        ("TALLY_QUEUES", '{"work": {"url": "u"}}', "arn"),
        ("TALLY_FUNCTIONS", '{"process": {}}', "batch_size"),
        ("TALLY_RESULTS_TABLE", '{"name": "r", "write_share": 2}', r"\$\.results_table"),
        ("TALLY_CHUNK_ROWS", "many", r"\$\.chunk_rows"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(environ: dict[str, str], name: str, value: str, where: str) -> None:
    """The message says which setting and what was expected of it."""
    environ[name] = value
    with pytest.raises(SettingsError, match=f"^TALLY_.*{where}"):
        Settings.from_env(environ)
