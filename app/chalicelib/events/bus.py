"""The event bus: every event is put at least once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.errors import ThrottledError
from chalicelib.events.detail import SOURCE, Detail

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

    from chalicelib.retry import Retry

MAX_ENTRIES = 10
"""Of one PutEvents: EventBridge's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBus:
    """Puts events on one bus, by its name."""

    events: "EventBridgeClient"
    name: str
    retry: "Retry"

    def put(self, details: Sequence[Detail]) -> None:
        """Put at most ``MAX_ENTRIES`` events, each until EventBridge has taken it; raises ThrottledError.

        At least once: an answer that is lost puts it again, with the same ``event_id``, by which a subscriber tells.
        """
        entries: list[Any] = [
            {
                "Source": SOURCE,
                "DetailType": detail.TYPE,
                "Detail": msgspec.json.encode(detail).decode(),
                "EventBusName": self.name,
            }
            for detail in details
        ]
        self.retry(self._put, entries)

    def _put(self, entries: list[Any]) -> None:
        """Put what is left in ``entries`` and leave in it only what EventBridge did not take."""
        answer = self.events.put_events(Entries=entries)
        left = [entry for entry, result in zip(entries, answer["Entries"], strict=True) if "ErrorCode" in result]
        entries[:] = left
        if left:
            codes = sorted({result["ErrorCode"] for result in answer["Entries"] if "ErrorCode" in result})
            raise ThrottledError(f"{len(left)} events were not taken: {codes}")
