"""The queues of dead letters: their names, their messages, and what to do about them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec

from tally.stages.expected import Expected

_HIDDEN_SECONDS = 60
"""How long dead letters are hidden from others while they are read; they return even if this process is killed."""
_MAX_ENTRIES = 10
_ENTRY = {"StringValue", "BinaryValue", "DataType"}
"""The fields of a message's attribute that SQS takes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadQueue:
    """A queue of dead letters; ``section`` is its section of docs/runbook.md.

    Its dead letters can be sent again to ``source_url``; if that is empty, ``instead`` says what to do.
    """

    name: str
    url: str
    section: str
    source_url: str = ""
    instead: str = ""


def dead_queues(expected: Expected) -> list[DeadQueue]:
    """Return the queues in which a dead letter is work that was not done."""
    found = [
        DeadQueue(
            name=f"{name}-dlq",
            url=queue.dlq_url,
            section="completions-dead-letters" if name == "completions" else f"dead-letters-{name}",
            source_url=queue.url,
        )
        for name, queue in expected.queues.items()
    ]
    instead = {
        "plan-failures": "`dead_letters` has each upload planned again by itself; `tally invoke plan` does so now",
        "stream-failures": "they name places in the stream: `tally audit --repair ID` sends what they asked for",
    }
    return found + [
        DeadQueue(name=name, url=url, section=name, instead=instead.get(name, "see the runbook"))
        for name, url in expected.failure_queues.items()
    ]


def copies(sqs: Any, stage: str) -> DeadQueue:
    """Return the queue with copies of the dead letters that `dead_letters` has handled."""
    return DeadQueue(
        name="dead-letters",
        url=sqs.get_queue_url(QueueName=f"tally-{stage}-dead-letters")["QueueUrl"],
        section="dead-letters",
        instead="its dead letters are copies, their rows have failed: `tally redrive ID` runs those again",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter; ``receipt`` deletes it while it is hidden."""

    id: str
    receipt: str
    body: str
    sent_at: datetime | None = None
    receives: int = 0
    group: str = ""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, message: dict[str, Any]) -> "Letter":
        """Return the dead letter of an SQS message."""
        system = message.get("Attributes", {})
        sent = system.get("SentTimestamp")
        return cls(
            id=message["MessageId"],
            receipt=message["ReceiptHandle"],
            body=message["Body"],
            sent_at=datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None,
            receives=int(system.get("ApproximateReceiveCount", 0)),
            group=system.get("MessageGroupId", ""),
            attributes={
                name: {part: value for part, value in attribute.items() if part in _ENTRY}
                for name, attribute in message.get("MessageAttributes", {}).items()
            },
        )

    @property
    def contents(self) -> dict[str, Any]:
        """Its JSON object, empty if its body is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return {}

    @property
    def why(self) -> str:
        """The reason for the dead letter, if Lambda, EventBridge or `dead_letters` has noted one; else empty."""
        answer = self.contents.get("responsePayload")
        said = str(answer.get("errorMessage") or "") if isinstance(answer, dict) else ""
        texts = {name: str(attribute.get("StringValue", "")) for name, attribute in self.attributes.items()}
        named = [texts.get("ERROR_CODE", ""), texts.get("ERROR_MESSAGE", ""), said]
        return ": ".join(part for part in named if part) or (f"from {texts['queue']}" if "queue" in texts else "")

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        contents = self.contents
        return {
            "id": self.id,
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "receives": self.receives,
            "batch": contents.get("batch") if isinstance(contents.get("batch"), str) else None,
            "chunk": contents.get("chunk") if isinstance(contents.get("chunk"), int) else None,
            "why": self.why,
            "body": self.body,
        }


def read(sqs: Any, queue: DeadQueue, limit: int) -> list[Letter]:
    """Return up to ``limit`` dead letters of a queue, and leave them in it.

    They are hidden while they are read, so that each is read once, and then shown again.
    """
    letters = list(chain.from_iterable(_received(sqs, queue, limit)))
    _show_again(sqs, queue, letters)
    return letters


def send_again(sqs: Any, queue: DeadQueue, most: int, sent: Callable[[int], None] = lambda _count: None) -> int:
    """Send up to ``most`` dead letters back to their source, and return how many.

    A crash after sending a dead letter and before deleting it sends it twice; no row counts twice for that.
    """
    count = 0
    for letter in chain.from_iterable(_received(sqs, queue, most)):
        request: dict[str, Any] = {"QueueUrl": queue.source_url, "MessageBody": letter.body}
        if letter.attributes:
            request["MessageAttributes"] = letter.attributes
        if letter.group:
            request["MessageGroupId"] = letter.group
        sqs.send_message(**request)
        sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=letter.receipt)
        count += 1
        sent(1)
    return count


def discard(sqs: Any, queue: DeadQueue, ids: set[str], most: int) -> set[str]:
    """Delete the dead letters of these ids, looking at up to ``most``, and return the ids found."""
    found: set[str] = set()
    others: list[Letter] = []
    for group in _received(sqs, queue, most):
        for letter in group:
            if letter.id in ids:
                sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=letter.receipt)
                found.add(letter.id)
            else:
                others.append(letter)
        if found == ids:
            break
    _show_again(sqs, queue, others)
    return found


def _received(sqs: Any, queue: DeadQueue, most: int) -> Iterator[list[Letter]]:
    """Yield dead letters, each once and up to ``most``; the caller deletes or shows them again."""
    seen: set[str] = set()
    while len(seen) < most:
        answer = sqs.receive_message(
            QueueUrl=queue.url,
            MaxNumberOfMessages=min(_MAX_ENTRIES, most - len(seen)),
            VisibilityTimeout=_HIDDEN_SECONDS,
            WaitTimeSeconds=1,  # asks all of SQS's servers; without it some letters are not seen
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        letters = [Letter.of(message) for message in answer.get("Messages", []) if message["MessageId"] not in seen]
        if not letters:
            return
        seen.update(letter.id for letter in letters)
        yield letters


def _show_again(sqs: Any, queue: DeadQueue, letters: Sequence[Letter]) -> None:
    """Make dead letters visible again after reading; one for which that fails returns by itself."""
    for start in range(0, len(letters), _MAX_ENTRIES):
        entries = [
            {"Id": str(position), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
            for position, letter in enumerate(letters[start : start + _MAX_ENTRIES])
        ]
        sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
