"""Pacing: DynamoDB's size rules, and a share of its capacity that is waited for."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import pacers, services
from chalicelib.errors import ThrottledError
from chalicelib.settings import Trigger
from chalicelib.store.items import ChunkKey, binary, key
from chalicelib.store.ledger import Finished, Ledger, Seen
from chalicelib.store.pacing import Pacer, Share, item_size, write_units
from chalicelib.store.table import Put, Table, Update
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import RETENTION, RETRY, Requests, chunk_of, plant_ready, succeeded


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("item", "size"),
    [
        # The developer guide's own example: "the total size of that item is 23 bytes".
        ({"shirt-color": {"S": "R"}, "shirt-size": {"S": "M"}}, 23),
        ({"n": {"S": "é"}}, 1 + 2),  # UTF-8
        ({"n": {"N": "0"}}, 1 + 1),
        ({"n": {"N": "7"}}, 1 + 2),  # a byte for every two significant digits, and one
        ({"n": {"N": "1234"}}, 1 + 3),
        ({"n": {"N": "12345"}}, 1 + 4),
        ({"n": {"N": "-12345"}}, 1 + 5),
        ({"n": {"N": "00120000"}}, 1 + 2),  # leading and trailing zeroes are trimmed
        ({"n": {"N": "1.20"}}, 1 + 2),
        ({"n": {"N": "9" * 38}}, 1 + 20),
        ({"n": {"B": b"abc"}}, 1 + 3),  # the raw bytes
        ({"n": {"B": "YWJj"}}, 1 + 3),
        ({"n": {"BOOL": False}}, 1 + 1),
        ({"n": {"NULL": True}}, 1 + 1),
        ({"n": {"L": []}}, 1 + 3),  # three bytes, whatever is in it
        ({"n": {"M": {}}}, 1 + 3),
        ({"n": {"L": [{"S": "ab"}, {"S": "c"}]}}, 1 + 3 + 3 + 2),  # and one an element
        ({"n": {"M": {"k": {"S": "ab"}}}}, 1 + 3 + 3 + 1),
        ({"n": {"SS": ["ab", "c"]}}, 1 + 3),
        ({"n": {"NS": ["7", "12345"]}}, 1 + 6),
        ({"n": {"BS": [b"ab"]}}, 1 + 2),
    ],
)
def test_an_item_is_as_large_as_dynamodb_says(item: dict[str, Any], size: int) -> None:
    """Names and values, rule by rule."""
    assert item_size(item) == size


@pytest.mark.parametrize(
    ("size", "plain", "transactional"), [(0, 1, 2), (1, 1, 2), (1024, 1, 2), (1025, 2, 4), (3500, 4, 8)]
)
def test_a_unit_is_a_kibibyte_begun_and_a_transaction_takes_two(size: int, plain: int, transactional: int) -> None:
    """A standard write of 1,025 bytes costs two units, a transactional one four."""
    assert write_units(size) == plain
    assert write_units(size, transactional=True) == transactional


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.floats(0.1, 1000))
def test_a_paced_writer_never_has_more_than_has_accrued(writes: list[int], rate: float) -> None:
    """Of any sizes: after each wait, all that was written so far has come in at the rate."""
    time = Time()
    pacer = Pacer(units_per_second=lambda: rate, clock=time, sleep=time.sleep)
    begun, written = time.now, 0
    for units in writes:
        pacer.wait(units, float("inf"))
        written += units
        assert written <= (time.now - begun) * rate * 1.000001
    assert time.now - begun == pytest.approx(written / rate)


def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    """The queue delivers again; what was not written is not held against the next write."""
    time = Time()
    pacer = Pacer(units_per_second=lambda: 2.0, clock=time, sleep=time.sleep)
    with pytest.raises(ThrottledError, match=r"200 write units need 100 s at 2\.00 a second"):
        pacer.wait(200, 28)
    pacer.wait(10, 28)
    assert time.slept == [5.0]


CONCURRENCY = {"ingest": 20, "finish": 10, "dead_letters": 2}


class Described:
    """A table that says its capacity."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    def describe_table(self, **_: Any) -> dict[str, Any]:
        return {"Table": self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]}


def _share(client: Any, time: Time) -> Share:
    return Share(dynamodb=client, table="tally-test", share=0.2, retry=RETRY, clock=time)


def test_a_writer_has_its_share_of_whatever_the_table_has_by_now() -> None:
    """It may scale."""
    time = Time()
    share = _share(
        Described(
            {"ProvisionedThroughput": {"WriteCapacityUnits": 100}},
            {
                "ProvisionedThroughput": {"WriteCapacityUnits": 200},
                "BillingModeSummary": {"BillingMode": "PROVISIONED"},
            },
        ),
        time,
    )
    assert share.units_per_second() == 20
    assert share.units_per_second() == 20
    time.now += 61
    assert share.units_per_second() == 40


@pytest.mark.parametrize(
    "described",
    [
        {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}, "ProvisionedThroughput": {"WriteCapacityUnits": 0}},
        {},
    ],
)
def test_a_table_that_is_paid_by_request_is_not_waited_for(described: dict[str, Any]) -> None:
    """It has no capacity to share."""
    time = Time()
    pacer = Pacer(units_per_second=_share(Described(described), time).units_per_second, clock=time, sleep=time.sleep)
    pacer.wait(1_000_000, 0.1)
    assert time.slept == []


def test_writes_wait_for_what_their_items_cost() -> None:
    """Rows by the size of their items, a transaction twice, and a unit for what moves a counter."""
    time = Time()
    client: Any = Requests(MemoryDynamoDB())
    pacer = Pacer(units_per_second=lambda: 10.0, clock=time, sleep=time.sleep)
    table = Table(dynamodb=client, name="tally-test", retry=RETRY, pacer=pacer)
    table.write_all({**key("a", f"rows#{page}"), "data": binary(bytes(1_500))} for page in range(3))
    marker = Put(item={**key("a", "mark#1"), "data": binary(bytes(500))}, condition="attribute_not_exists(pk)")
    counter = Update(pk="a", sk="chunk", expression="ADD remaining :n", values={":n": {"N": "1"}})
    table.transact([marker, counter])
    assert time.slept == pytest.approx([0.6, 0.4])


def _services(share: float, units: int = 30) -> services.Services:
    capacity = Described({"ProvisionedThroughput": {"WriteCapacityUnits": units}})
    settings = msgspec.structs.replace(
        services.settings(),
        write_share=share,
        functions={name: Trigger(batch_size=1, maximum_concurrency=most) for name, most in CONCURRENCY.items()},
    )
    return services.Services(settings, RETRY, lambda _: capacity)


def test_only_the_writers_of_rows_are_paced_and_share_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan, a closing or a lease fits into what the share leaves."""
    monkeypatch.setattr(pacers, "_made", {})
    first, second = _services(0.5), _services(0.5)
    pacer = first.ledger.table.pacer
    assert pacer is not None
    assert first.ingester.table.pacer is second.finisher.ledger.table.pacer is pacer
    assert first.planner.table.pacer is first.settler.table.pacer is None
    assert _services(0).ledger.table.pacer is None


def test_a_function_with_several_queues_may_run_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """`maximum_concurrency` is of a mapping, and `dead_letters` has five: they are among those who share."""
    monkeypatch.setattr(pacers, "_made", {})
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "tally-test-finish")
    found = _services(0.5)
    more = {**found.settings.functions, "dead_letters": Trigger(batch_size=1, maximum_concurrency=2, mappings=5)}
    settings = msgspec.structs.replace(found.settings, functions=more)
    pacer = services.Services(settings, RETRY, found.client).ledger.table.pacer
    assert pacer is not None
    assert pacer.units_per_second() == pytest.approx(30 * 0.5 / 2 / (CONCURRENCY["finish"] + 5 * 2))


def test_a_paced_transaction_counts_no_more_than_a_message_holds() -> None:
    """Ten messages of one chunk come together; all at once they would never fit into the function's time."""
    time, rng, chunk = Time(), random.Random(1), ChunkKey("offices-1", 0)
    dynamodb = MemoryDynamoDB()
    client: Any = Requests(dynamodb)
    plant_ready(dynamodb, chunk, 10)
    seen = Seen.of(chunk_of(dynamodb, chunk))
    pacer = Pacer(units_per_second=lambda: 20.0, clock=time, sleep=time.sleep)
    table = Table(dynamodb=client, name="tally-test", retry=RETRY, pacer=pacer)
    # What does not compress: 200 KB of hexadecimal digits are 100 KB.
    outcomes = [Finished(1, succeeded(row, f'"{rng.randbytes(100_000).hex()}"')) for row in range(10)]
    Ledger(table=table, retention=RETENTION).record(chunk, outcomes, seen)
    assert chunk_of(dynamodb, chunk).counts.succeeded == 10
    assert max(time.slept) <= 516 / 20


def test_rows_and_their_outcomes_have_a_half_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one of the two queues up behind the other. All that may run at once take the share, and no more."""
    taken = {}
    for function, most in CONCURRENCY.items():
        monkeypatch.setattr(pacers, "_made", {})
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", f"tally-test-{function}")
        pacer = _services(0.5).ledger.table.pacer
        assert pacer is not None
        taken[function] = most * pacer.units_per_second()
    assert taken["finish"] + taken["dead_letters"] == pytest.approx(taken["ingest"])
    assert sum(taken.values()) == pytest.approx(0.5 * 30)
