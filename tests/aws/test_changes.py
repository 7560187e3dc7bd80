"""Change sets, against moto and the local AWS: the conditions are DynamoDB's own functions."""

from typing import Any

import pytest

from chalicelib.changes import Change, ChangeSet
from chalicelib.retry import Retry
from chalicelib.table import Table
from tests.support.builders import in_turn
from tests.support.faults import Fault, FaultyClient

pytestmark = pytest.mark.parametrize("dynamodb", ["moto", "local AWS"], indirect=True)


def _changes(client: Any, **options: int) -> ChangeSet:
    table = Table(dynamodb=client, name="tally-test", retry=Retry(sleep=lambda _: None))
    return ChangeSet(table=table, pk="counter", sk="all", **options)


def _total(client: Any) -> int:
    item = _changes(client).table.get("counter", "all") or {"total": {"N": "0"}}
    return int(item["total"]["N"])


def test_a_change_is_applied_once(dynamodb: Any) -> None:
    """A second delivery finds its id."""
    changes = _changes(dynamodb)
    assert changes.add("one", {"total": 3}) is Change.APPLIED
    assert changes.add("one", {"total": 3}) is Change.DUPLICATE
    assert changes.add("two", {"total": 4}) is Change.APPLIED
    assert _total(dynamodb) == 7


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.ERROR_BEFORE])
def test_a_change_whose_answer_was_lost_is_applied_once(dynamodb: Any, fault: Fault) -> None:
    """The retry of a success that was not heard of runs into its own id."""
    assert _changes(FaultyClient(dynamodb, in_turn(fault))).add("one", {"total": 3}) is not Change.REFUSED
    assert _total(dynamodb) == 3


def test_a_full_set_refuses_before_it_grows_costly(dynamodb: Any) -> None:
    """What was applied stays applied, and is still known."""
    changes = _changes(dynamodb, most=2)
    assert [changes.add(name, {"total": 1}) for name in ("a", "b", "c", "a")] == [
        Change.APPLIED,
        Change.APPLIED,
        Change.REFUSED,
        Change.DUPLICATE,
    ]
    assert _total(dynamodb) == 2
