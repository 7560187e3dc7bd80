"""The rights of operators: the module that makes policies of them is about every function and every queue."""

import json

import pytest

from tally.commands.help import ENTRIES
from tally.testing.configuration import INFRA, functions, local, queues
from tools.operator_rights import PLACES, RIGHTS

MODULE = INFRA / "examples" / "operator_rights" / "main.tf"
LISTED = json.loads(RIGHTS.read_text(encoding="utf-8"))


def test_operators_have_rights_on_every_function_and_every_queue_of_the_stage() -> None:
    """The module says their names again, for its folder stands alone."""
    assert set(local("stage_functions", MODULE)) == set(functions())
    assert set(local("stage_queues", MODULE)) == set(queues())


def test_every_resource_of_the_list_is_known_to_terraform_and_to_the_page() -> None:
    named = {name for right in LISTED for name in right["resources"]}
    assert named == PLACES.keys() == local("resources", MODULE).keys()


@pytest.mark.parametrize("right", LISTED, ids=lambda right: right["sid"])
def test_a_right_names_commands_that_there_are(right: dict[str, list[str]]) -> None:
    assert right["commands"]
    assert {command.partition(" ")[0] for command in right["commands"]} <= {*ENTRIES, "all"}
