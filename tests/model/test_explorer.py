"""The explorer itself: what it leaves out makes no difference, and it finds what is wrong with other protocols."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chalicelib.errors import CancelledError
from tests.model.chaining import ASK, Chaining, to_be_chained
from tests.model.configuration import ONE, OUTAGE
from tests.model.explorer import Explored, Explorer
from tests.model.protocol import Tally, content, planned, ready, to_ingest, to_process
from tests.model.replay import Tape, TapedDynamoDB
from tests.model.saving import MINUTES, Saving, to_be_saved, to_save
from tests.model.system import Bounds, Message, Start
from tests.model.table import Item, Place
from tests.support.builders import RETRY

_READY = Start(items=ready(ONE), messages=[to_process(0)])


@pytest.mark.parametrize(
    ("start", "bounds"),
    [
        (Start(items=planned(ONE), messages=[to_ingest(0)]), Bounds(copies=1, unheard=1)),
        (replace(_READY, commands=["redrive"], outage=OUTAGE), Bounds()),
        (replace(_READY, schedule=["repair"]), Bounds()),
        (replace(_READY, commands=["redrive"], outage=OUTAGE), Bounds(deaths=1)),
    ],
    ids=["deliveries", "redrive", "repair", "deaths"],
)
def test_what_is_left_out_makes_no_difference(start: Start, bounds: Bounds) -> None:
    """With reads at any time, and nothing forgotten, the same tables are reached."""
    some = Tally(content=content(ONE), flaky=frozenset({"A"}), forgets=True)
    every = replace(some, forgets=False)
    assert Explorer(some, start, bounds).tables() == Explorer(every, start, bounds, lazy_reads=False).tables()


@pytest.mark.parametrize(
    ("system", "start"),
    [
        (Saving, replace(to_be_saved(ONE), messages=to_save("a"), schedule=MINUTES[:1])),
        (Chaining, replace(to_be_chained(ONE), commands=[ASK], outage=OUTAGE)),
    ],
    ids=["saver", "chainers"],
)
def test_what_savers_and_chainers_forget_makes_no_difference(system: type[Tally], start: Start) -> None:
    """With nothing forgotten the same tables are reached."""
    some = system(content=content(ONE))
    assert Explorer(some, start, Bounds()).tables() == Explorer(replace(some, forgets=False), start, Bounds()).tables()


@dataclass(frozen=True, slots=True)
class Counter:
    """A handler that counts its messages: blindly, by what it has read, or with a guard."""

    how: str
    queues: Mapping[str, str] = field(default_factory=lambda: {"queue": "count"})
    consumers: Sequence[str] = ()

    def deliver(self, handler: str, messages: Sequence[Message], tape: Tape) -> None:
        dynamodb = TapedDynamoDB(tape)
        table, key = {"TableName": "tally-test"}, {"pk": {"S": "counter"}, "sk": {"S": "x"}}
        for body, _ in messages:
            was = int(dynamodb.get_item(Key=key)["Item"]["n"]["N"])
            request: dict[str, Any] = {**table, "Key": key, "UpdateExpression": "SET n = :next"}
            values = {":next": {"N": str(was + 1)}}
            if self.how == "guarded":
                request["ConditionExpression"] = "n = :was"
                values[":was"] = {"N": str(was)}
            if self.how == "marked":
                request |= {"UpdateExpression": "ADD n :next"}
                values = {":next": {"N": "1"}}
            update = {**request, "ExpressionAttributeValues": values}
            try:
                if self.how != "marked":
                    RETRY(dynamodb.update_item, **update)
                    return
                marker = {"pk": {"S": "marker"}, "sk": {"S": body}}
                put = {**table, "Item": marker, "ConditionExpression": "attribute_not_exists(pk)"}
                RETRY(dynamodb.transact_write_items, TransactItems=[{"Put": put}, {"Update": update}])
            except CancelledError:
                return

    def consume(self, consumer: str, records: Sequence[Any], tape: Tape) -> None:
        """Have no stream."""

    def command(self, name: str, tape: Tape) -> None:
        """Have no commands."""

    def view(self, handler: str, position: int, item: Item) -> Item:
        return item

    def writes_once(self, place: Place) -> bool:
        return False

    def violation(self, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> str:
        return "counts twice" if int(after["counter", "x"]["n"]["N"]) > 2 else ""

    def unrest(self, table: Mapping[Place, Item], events: Collection[str]) -> str:
        return "" if int(table["counter", "x"]["n"]["N"]) == 2 else "loses a message"


def _count(how: str, bounds: Bounds) -> Explored:
    items = {("counter", "x"): {"pk": {"S": "counter"}, "sk": {"S": "x"}, "n": {"N": "0"}}}
    start = Start(items=items, messages=[("queue", "a"), ("queue", "b")])
    return Explorer(Counter(how), start, bounds).explore()


def test_an_update_that_another_overtakes_is_found() -> None:
    """The first worker reads, the second counts, the first writes what it makes of what it has read."""
    explored = _count("blind", Bounds())
    assert explored.violation == "loses a message"
    assert len(explored.schedule) == 4


def test_a_delivery_more_is_found() -> None:
    """A third delivery counts one of the two messages again."""
    assert _count("blind", Bounds(copies=1)).violation
    assert _count("guarded", Bounds(copies=1)).violation


def test_an_answer_that_was_not_heard_is_found() -> None:
    """A guard by value refuses what was applied, and what was never applied: nobody can tell."""
    assert _count("guarded", Bounds()).violation == "loses a message"


def test_markers_hold_against_all_of_it() -> None:
    """Whatever is unheard, dies or comes again."""
    explored = _count("marked", Bounds(copies=2, unheard=1, deaths=1))
    assert not explored.violation
    assert explored.complete
