"""The contest: every competing counter counts the same things, delivered as a queue would, under the same faults."""

import queue
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.chaos.counters.roster import COUNTERS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.chaos.counters.base import Counter
    from tests.chaos.faults import Rates

T = TypeVar("T")

TABLE = "chaos-counters"
_THREADS = 8
_MAX_DELIVERIES = 5
_POLLS = 20
"""How often a total that is dear to know is asked for in a run."""


class WorkerDiedError(Exception):
    """The worker of a delivery was killed; the queue delivers again."""


@dataclass(slots=True)
class Completions:
    """How often a counter said that all was counted, and how often of it nobody had begun to count some of it."""

    fired: int = 0
    early: int = 0


@dataclass(slots=True, kw_only=True)
class Score:
    """What came of one counter."""

    name: str
    remark: str
    things: int
    counted: int
    completions: Completions
    dead: int
    """Things whose every delivery failed."""
    kills: int

    @property
    def error(self) -> int:
        """By how much it is wrong: above zero it counted too much."""
        return self.counted - self.things


@dataclass(slots=True)
class _Delivery:
    thing: str
    number: int
    """Which delivery of how many different ones this was planned as; the seed of its fate."""
    tries: int = 0


@dataclass(slots=True, kw_only=True)
class _Run:
    """One counter's turn."""

    counter: "Counter"
    seed: int
    kills: float
    waiting: "queue.SimpleQueue[_Delivery]" = field(default_factory=queue.SimpleQueue)
    completions: Completions = field(default_factory=Completions)
    counted: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    """Things that may have been counted: a worker at least began to."""
    dead: list[str] = field(default_factory=list)
    killed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """Take deliveries until there are none; one that fails comes again, at the end of the queue."""
        while True:
            try:
                delivery = self.waiting.get_nowait()
            except queue.Empty:
                return
            delivery.tries += 1
            try:
                self._deliver(delivery)
            except (ClientError, BotoCoreError, TimeoutError, WorkerDiedError):
                if delivery.tries < _MAX_DELIVERIES:
                    self.waiting.put(delivery)
                else:
                    with self.lock:
                        self.dead.append(delivery.thing)

    def _deliver(self, delivery: _Delivery) -> None:
        fate = random.Random(f"{self.seed}/kill/{self.counter.name}/{delivery.number}/{delivery.tries}").random()
        self._die_if(fate < self.kills / 2)
        with self.lock:
            self.begun.add(delivery.thing)
        total = self.counter.count(delivery.thing)
        self._die_if(fate < self.kills)
        if total is None and self._may_ask(delivery):
            total = self.counter.total()
        self._fire_if(total == self.counter.expected)
        with self.lock:
            self.counted.add(delivery.thing)

    def poll(self) -> None:
        """Ask once more for a total that is dear to know, now that nothing is under way."""
        if not self.counter.total_is_cheap and not self.completions.fired:
            self._fire_if(_until_done(self.counter.total) == self.counter.expected)

    def _may_ask(self, delivery: _Delivery) -> bool:
        """Tell whether to ask for the total: a poller asks rarely, and stops once it is full."""
        every = max(1, self.counter.expected // _POLLS)
        return self.counter.total_is_cheap or (delivery.number % every == 0 and not self.completions.fired)

    def _fire_if(self, complete: bool) -> None:
        if not complete:
            return
        with self.lock:
            self.completions.fired += 1
            self.completions.early += len(self.begun) < self.counter.expected

    def _die_if(self, dies: bool) -> None:
        if dies:
            with self.lock:
                self.killed += 1
            raise WorkerDiedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Lets each counter have its turn; ``client`` makes a client through the proxy from a configuration."""

    operator: "DynamoDBClient"
    client: Callable[[Config], "DynamoDBClient"]
    seed: int
    rates: "Rates"
    things: int

    def __call__(self, on_turn: Callable[[str], None]) -> list[Score]:
        """Return the scores, in the order of the roster."""
        self._make_table()
        scores = []
        for kind in COUNTERS:
            on_turn(kind.name)
            scores.append(self._turn(kind))
        return scores

    def _turn(self, kind: "type[Counter]") -> Score:
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 3},  # as the functions have it
            connect_timeout=2,
            read_timeout=10,
            max_pool_connections=_THREADS,
            user_agent_extra=f"counter/{kind.name}",
            proxies={},
        )
        counter = kind(dynamodb=self.client(config), table=TABLE, expected=self.things)
        _until_done(counter.begin)
        run = _Run(counter=counter, seed=self.seed, kills=self.rates.kills)
        for delivery in self._deliveries():
            run.waiting.put(delivery)
        threads = [threading.Thread(target=run.work, name=f"{kind.name}-{number}") for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.poll()
        return Score(
            name=kind.name,
            remark=kind.remark,
            things=self.things,
            counted=kind(dynamodb=self.operator, table=TABLE, expected=self.things).total(),
            completions=run.completions,
            dead=len(set(run.dead) - run.counted),
            kills=run.killed,
        )

    def _deliveries(self) -> Iterable[_Delivery]:
        """Every thing once, and some of them a second time, at any later place; the same for each counter."""
        rng = random.Random(f"{self.seed}/deliveries")
        things = [f"thing-{number:06d}" for number in range(self.things)]
        order = [(float(place), thing) for place, thing in enumerate(things)]
        order += [
            (rng.uniform(place, self.things), thing)
            for place, thing in enumerate(things)
            if rng.random() < self.rates.duplicates
        ]
        return [_Delivery(thing, number) for number, (_, thing) in enumerate(sorted(order))]

    def _make_table(self) -> None:
        if TABLE in self.operator.list_tables()["TableNames"]:
            self.operator.delete_table(TableName=TABLE)
        attributes: Any = [("pk", "HASH"), ("sk", "RANGE")]
        self.operator.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in attributes],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in attributes],
        )


def _until_done(operation: Callable[[], T]) -> T:
    """Do, through whatever faults, what must be done before or after the contest."""
    for _ in range(_MAX_DELIVERIES * 4):
        try:
            return operation()
        except (ClientError, BotoCoreError):
            continue
    raise TimeoutError("all tries failed")
