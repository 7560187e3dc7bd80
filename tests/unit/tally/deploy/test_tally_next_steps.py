"""After a deployment: commands that can be copied as they stand."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from tally.cli import tally
from tally.deploy import next_steps
from tally.deploy.next_steps import Options
from tally.stages.stage import Resources

RESOURCES = Resources(
    table="tally-dev",
    inbox_bucket="tally-dev-inbox-1",
    event_bus="tally-dev",
    completions_queue_url="https://sqs/1/tally-dev-completions",
    alarm_topic_arn="arn:aws:sns:eu-west-1:1:tally-dev-alarms",
)


def _lines(resources: Resources = RESOURCES, jobs: str = "offices, transactions", **variables: Any) -> list[str]:
    options = Options(stage="dev", variables=variables, var_files=[Path("/etc/dev.tfvars")])
    return list(next_steps.lines(options, resources, jobs=jobs))


def test_every_command_of_tally_is_one_with_its_options() -> None:
    """The file to submit is one that the line before has made."""
    commands = [line.split() for line in _lines() if line.startswith("  tally ")]
    assert [command[1] for command in commands] == ["doctor", "sample", "submit"]
    for _, name, *arguments in commands:
        if name == "submit":
            assert arguments[:3] == ["sample.csv", "--job", "transactions"]
            arguments[0] = __file__
        tally.commands[name].make_context(name, arguments)


def test_the_stages_own_names_are_in_the_commands() -> None:
    text = "\n".join(_lines())
    assert "s3://tally-dev-inbox-1/inbox/transactions/sample.csv" in text
    assert "--topic-arn arn:aws:sns:eu-west-1:1:tally-dev-alarms --protocol email" in text
    assert "--queue-url https://sqs/1/tally-dev-completions" in text


def test_a_checkout_without_the_sample_job_names_a_job_that_it_has() -> None:
    text = "\n".join(_lines(jobs="plants, shelves"))
    assert "tally submit YOUR_PLANTS.csv --job plants --stage dev --watch" in text
    assert "tally sample" not in text


def test_a_stage_without_alarms_says_how_it_gets_them() -> None:
    text = "\n".join(_lines(Resources(table="t", inbox_bucket="b")))
    assert "tally deploy --stage dev --var alarms=true" in text
    assert "sns subscribe" not in text


@pytest.mark.parametrize(
    ("value", "written"), [(True, "alarms=true"), ("a b", "alarms=a b"), ({"a": [1]}, 'alarms={"a": [1]}')]
)
def test_the_commands_that_it_equals_have_the_variables(value: object, written: str) -> None:
    applies = [line for line in _lines(alarms=value) if "terraform -chdir=infra apply" in line]
    assert len(applies) == 2
    arguments = ["-var-file=/etc/dev.tfvars", "-var", "stage=dev", "-var", written]
    assert shlex.split(applies[0]) == ["terraform", "-chdir=infra", "apply", *arguments]
