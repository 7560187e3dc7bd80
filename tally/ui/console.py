"""What all pages of a console share: the stage, twice, what may be done and shown, and what was read already."""

import secrets
import shlex
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

from chalicelib.clock import utc_now
from chalicelib.store.batch import Batch
from tally.batch import cost as costing
from tally.batch.cost import Cost
from tally.batch.reader import Reader
from tally.stages.gate import Gate
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tally.ui.batch_feed import BatchFeed
from tally.ui.budget import MAX_REQUESTS_A_SECOND, paced
from tally.ui.list_feed import ListFeed
from tally.ui.queue_feed import QueueFeed
from tally.ui.stage_feed import StageFeed

_MAX_FEEDS = 16
"""Batches of which what was read is kept."""


@dataclass(kw_only=True)
class Console:
    """One console of one stage.

    What is looked at is read through ``watched``, a few requests a second; an action that an operator asked for takes
    what it needs, through ``stage``.
    """

    stage: Stage
    workspace: Workspace
    read_only: bool = False
    show_data: bool = False
    dark: bool | None = None
    """What the operator has chosen; None leaves it to the system."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    gate: Gate = field(default_factory=lambda: Gate(MAX_REQUESTS_A_SECOND))
    stopped: threading.Event = field(default_factory=threading.Event)
    costs: dict[tuple[str, int], float] = field(default_factory=dict)
    """Dollars of batches that have ended, by id and attempt, as far as somebody asked for them."""
    generation: int = 0
    """How often another stage took the place of the one before: what was read of that one is forgotten."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _feeds: OrderedDict[str, BatchFeed] = field(default_factory=OrderedDict)

    @cached_property
    def watched(self) -> Stage:
        """The stage as pages read it."""
        return paced(self.stage, self.gate, self.stopped)

    @cached_property
    def list_feed(self) -> ListFeed:
        """What is known of all batches."""
        return ListFeed(reader=_watcher(self.watched))

    @cached_property
    def stage_feed(self) -> StageFeed:
        """What is known of the stage itself."""
        return StageFeed(stage=self.watched)

    @cached_property
    def queue_feed(self) -> QueueFeed:
        """What is known of the queues that batches go through."""
        return QueueFeed(stage=self.watched)

    @property
    def at(self) -> str:
        """What a command needs so that it is about this stage."""
        return f" --stage {shlex.quote(self.stage.name)}"

    @property
    def reader(self) -> Reader:
        """The reader of actions."""
        return Reader(dynamodb=self.stage.dynamodb, table=self.stage.resources.table)

    def cost(self, batch: Batch) -> Cost:
        """Return what a batch has cost so far, from its chunks and logs; the list of batches has it from then on."""
        found = costing.of(self.stage, batch, utc_now())
        if batch.status.final:
            self.costs[batch.id, batch.attempt] = sum(found.dollars.values())
        return found

    def feed(self, batch_id: str) -> BatchFeed:
        """Return what is known of a batch; the same for all who look at it."""
        feed = self._feeds.pop(batch_id, None) or BatchFeed(
            reader=_watcher(self.watched), batch_id=batch_id, queues=self.queue_feed
        )
        self._feeds[batch_id] = feed
        while len(self._feeds) > _MAX_FEEDS:
            self._feeds.popitem(last=False)
        return feed

    def probe(self, stage: Stage) -> Reader:
        """Return a reader of another stage, as pages would read it."""
        return _watcher(paced(stage, self.gate, self.stopped))

    def use(self, old: Stage, new: Stage) -> None:
        """Let a stage take the place of an old one, unless another has by now; the pages of the old one load again."""
        with self._lock:
            if self.stage is not old:
                return
            self.stage = new
            for known in ("watched", "list_feed", "queue_feed", "stage_feed"):
                self.__dict__.pop(known, None)
            self._feeds.clear()
            self.generation += 1


def _watcher(stage: Stage) -> Reader:
    """Return a reader that does not try again: a page does, and says meanwhile what is wrong."""
    return Reader(dynamodb=stage.dynamodb, table=stage.resources.table, patient=False)
