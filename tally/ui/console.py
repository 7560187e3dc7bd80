"""What all pages of a console share: the stage, twice, what may be done and shown, and what was read already."""

import secrets
import shlex
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

from tally.batch.reader import Reader
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tally.ui.batch_feed import BatchFeed
from tally.ui.budget import Gate, paced
from tally.ui.list_feed import ListFeed
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
    gate: Gate = field(default_factory=Gate)
    stopped: threading.Event = field(default_factory=threading.Event)
    _feeds: OrderedDict[str, BatchFeed] = field(default_factory=OrderedDict)

    @cached_property
    def watched(self) -> Stage:
        """The stage as pages read it."""
        return paced(self.stage, self.gate, self.stopped)

    @cached_property
    def list_feed(self) -> ListFeed:
        """What is known of all batches."""
        return ListFeed(reader=self._reader(self.watched))

    @cached_property
    def stage_feed(self) -> StageFeed:
        """What is known of the stage itself."""
        return StageFeed(stage=self.watched)

    @property
    def at(self) -> str:
        """What a command needs so that it is about this stage."""
        return f" --stage {shlex.quote(self.stage.name)}"

    @property
    def reader(self) -> Reader:
        """The reader of actions."""
        return self._reader(self.stage)

    def feed(self, batch_id: str) -> BatchFeed:
        """Return what is known of a batch; the same for all who look at it."""
        feed = self._feeds.pop(batch_id, None) or BatchFeed(reader=self._reader(self.watched), batch_id=batch_id)
        self._feeds[batch_id] = feed
        while len(self._feeds) > _MAX_FEEDS:
            self._feeds.popitem(last=False)
        return feed

    def _reader(self, stage: Stage) -> Reader:
        return Reader(dynamodb=stage.dynamodb, table=stage.resources.table)
