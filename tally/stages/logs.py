"""Log lines of a stage's functions: of one or all, of one batch, above a level, also as they come."""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from botocore.exceptions import ClientError

_OVERLAP_SECONDS = 30.0
"""A line may appear after lines that were written later: while following, so much is read again."""
_PLATFORM = ("START ", "END ", "REPORT ", "INIT_START ", "EXTENSION", "XRAY ")
_BAD_REPORTS = ("Status: timeout", "Status: error")


class Level(IntEnum):
    """The severity of a line."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a function's log; ``event_id`` tells it apart from all others of its function."""

    event_id: str
    at: datetime
    function: str
    level: Level
    text: str

    @classmethod
    def of(cls, function: str, event: dict[str, Any], event_id: str) -> "Line":
        """Return the line of an event of CloudWatch Logs."""
        text = event["message"].rstrip()
        return cls(
            event_id=event_id,
            at=datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
            function=function,
            level=level_of(text),
            text=text,
        )

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "at": self.at.isoformat(),
            "function": self.function,
            "level": self.level.name,
            "message": self.text,
        }


def level_of(text: str) -> Level:
    """Return the level of a line.

    Lambda's reports are INFO, unless they report a timeout or an error. Any other text that is not JSON is from a dying
    process or a job's print: ERROR, so that no level hides a dying process.
    """
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if isinstance(fields, dict):
        return Level.__members__.get(str(fields.get("level", "INFO")).upper(), Level.INFO)
    if text.startswith(_PLATFORM):
        return Level.ERROR if any(bad in text for bad in _BAD_REPORTS) else Level.INFO
    return Level.ERROR


@dataclass(slots=True)
class _EventIds:
    """Gives each event of one reading an id, which is the same in the next reading.

    An event may lack ``eventId``: the local AWS gives none to the functions' log events. Then it is named by its
    stream, millisecond, text and number: a function may log the same line twice at once.
    """

    _found: Counter[str] = field(default_factory=Counter)

    def of(self, event: dict[str, Any]) -> str:
        known: str | None = event.get("eventId")
        if known:
            return known
        same = f"{event.get('logStreamName', '')} {event['timestamp']} {event['message']}"
        self._found[same] += 1
        return f"{same} {self._found[same]}"


@dataclass(frozen=True, kw_only=True)
class Logs:
    """Reads the logs of a stage's functions; with ``batch`` only lines that name that batch."""

    client: Any
    stage: str
    functions: Sequence[str]
    batch: str = ""
    level: Level = Level.DEBUG
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _silent: set[str] = field(default_factory=set)

    @property
    def silent(self) -> list[str]:
        """The functions that had no log at the last reading."""
        return sorted(self._silent)

    def last(self, seconds: float, limit: int) -> list[Line]:
        """Return the last ``limit`` lines of the last ``seconds``, oldest first."""
        since = self.clock() - seconds
        found = [line for function in self.functions for line in deque(self._of(function, since), maxlen=limit)]
        return sorted(found, key=lambda line: line.at)[-limit:]

    def follow(self, shown: Sequence[Line], interval: float) -> Iterator[Line]:
        """Yield the lines that come after those ``shown``, as they come; it never ends by itself.

        Lines older than the first line shown were left out there, and are left out here.
        """
        first = shown[0].at.timestamp() if shown else self.clock()
        seen = {line.event_id: line.at.timestamp() for line in shown}
        since = first
        while True:
            since = max(since, max(seen.values(), default=first) - _OVERLAP_SECONDS)
            seen = {event_id: at for event_id, at in seen.items() if at >= since}
            for line in self._since(since):
                if line.event_id not in seen and line.at.timestamp() >= since:
                    seen[line.event_id] = line.at.timestamp()
                    yield line
            self.sleep(interval)

    def _since(self, since: float) -> list[Line]:
        """Return the lines since a time, oldest first."""
        found = [line for function in self.functions for line in self._of(function, since)]
        return sorted(found, key=lambda line: line.at)

    def _of(self, function: str, since: float) -> Iterator[Line]:
        request: dict[str, Any] = {
            "logGroupName": f"/aws/lambda/tally-{self.stage}-{function}",
            "startTime": int(since * 1000),
        }
        if self.batch:
            request["filterPattern"] = f'"{self.batch}"'
        try:
            ids = _EventIds()
            for page in self.client.get_paginator("filter_log_events").paginate(**request):
                for event in page["events"]:
                    line = Line.of(function, event, ids.of(event))
                    if line.level >= self.level and self.batch in line.text:
                        yield line
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            self._silent.add(function)
        else:
            self._silent.discard(function)
