"""What can be explored, from where, and how far."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.model.replay import Tape
from tests.model.table import Item, Place

Message = tuple[str, int]
"""The body of a message, and how often it has been delivered, this delivery included."""


class System(Protocol):
    """What is explored."""

    @property
    def queues(self) -> Mapping[str, str]:
        """The handler of each queue by its URL; what is sent to any other queue is out of sight."""

    @property
    def consumers(self) -> Sequence[str]:
        """The handlers of the stream."""

    def deliver(self, handler: str, messages: Sequence[Message], tape: Tape) -> None:
        """Run the handler of a queue."""

    def consume(self, consumer: str, records: Sequence[Any], tape: Tape) -> None:
        """Run a handler of the stream."""

    def command(self, name: str, tape: Tape) -> None:
        """Run what an operator or the schedule starts."""

    def view(self, handler: str, position: int, item: Item) -> Item:
        """Return an item without what a handler does not use of it, that is its so manieth answer."""

    def writes_once(self, place: Place) -> bool:
        """Tell whether an item is the same however often it is written, and nobody reads it before it is there."""

    def violation(self, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> str:
        """Say what is wrong with a table, or with the step that led to it; empty if nothing is."""

    def unrest(self, table: Mapping[Place, Item], events: Collection[str]) -> str:
        """Say what is wrong with a table when nothing is on its way any more; empty if nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a schedule may hold of what need not happen.

    ``unheard`` counts calls that are applied and answered with a 500, or refused with a conflict; ``deaths``
    invocations that stop at a call; ``copies`` deliveries beyond the first, which may begin at any later time, also
    when the message has been deleted; ``dead_letters`` messages that go to their dead-letter queue. With ``together``
    all messages of a handler, or all stream records, may also come in one invocation.
    """

    unheard: int = 0
    deaths: int = 0
    copies: int = 0
    dead_letters: int = 0
    together: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where schedules begin: a table, messages on their way (queue URL and body), and what may start once.

    An ``outage`` is what the job meets outside, until it is over. Then ``commands`` may start that wait for its end;
    the ``schedule`` may at any time.
    """

    items: Mapping[Place, Item]
    messages: Sequence[tuple[str, str]] = ()
    schedule: Sequence[str] = ()
    commands: Sequence[str] = ()
    outage: Item | None = None
