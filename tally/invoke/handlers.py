"""The handlers of ``app.py``: their purpose, their events, and their samples."""

import ast
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from chalicelib.handlers import HANDLERS
from chalicelib.transport.messages import ChunkMessage, ExportMessage, FinishedMessage, SaveMessage, WorkMessage
from tally.errors import ExitCode, OperatorError
from tally.testing import configuration

SAMPLES = Path("tests/events")
"""In the repository: an event for each handler, ``HANDLER.json``, and rows for each job, ``JOB.csv`` for example."""

MESSAGES: dict[str, type[msgspec.Struct]] = {
    "ingest": ChunkMessage,
    "work": WorkMessage,
    "heavy": WorkMessage,
    "finished": FinishedMessage,
    "export": ExportMessage,
    "save": SaveMessage,
}
"""The content of each queue's messages, in words."""

FAILED_PLANS = "plan-failures"
DEAD_LETTERS = "dead_letters"
EXPORT = "export"
SAVE = "save"
_STREAM = "settle", "dispatch"
_DLQ = "-dlq"


class Source(StrEnum):
    """The service that calls a handler."""

    S3 = "S3"
    QUEUE = "queue"
    STREAM = "stream"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One handler; ``queues`` are those that it consumes."""

    name: str
    does: str
    source: Source
    queues: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """Its kind of event, in a few words."""
        match self.source:
            case Source.S3:
                return "an S3 event: objects that arrived under inbox/"
            case Source.STREAM:
                return "records of the table's stream"
            case Source.SCHEDULE:
                return "a scheduled event of EventBridge"
        kinds = dict.fromkeys(MESSAGES[name].__name__ for name in map(message_queue, self.queues) if name in MESSAGES)
        return f"an SQS event of {', '.join(self.queues)}: bodies are {' or '.join(kinds)}"

    @property
    def sample(self) -> Path:
        """Its sample event, from the repository's root."""
        return SAMPLES / f"{self.name}.json"


def message_queue(queue: str) -> str:
    """Return the queue whose messages are in a queue: itself, or the one that a dead-letter queue serves."""
    return queue.removesuffix(_DLQ)


def every(app: Path) -> dict[str, Handler]:
    """Return all handlers by name; each one's purpose is its docstring in ``app/app.py``."""
    tree = ast.parse((app / "app.py").read_text(encoding="utf-8"))
    documented = {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)}
    consumed = {function: queue for queue, function in configuration.queues().items()}
    dead = (*(f"{queue}{_DLQ}" for queue in configuration.queues()), FAILED_PLANS)
    found = {}
    for name in HANDLERS:
        queues = dead if name == DEAD_LETTERS else ((consumed[name],) if name in consumed else ())
        found[name] = Handler(name=name, does=documented[name], source=_source(name, queues), queues=queues)
    return found


def require(app: Path, name: str) -> Handler:
    """Return a handler; raises OperatorError if there is none of that name."""
    known = every(app)
    if name not in known:
        raise OperatorError(
            f"app/app.py has no handler {name!r}, it has {', '.join(known)}",
            hint="`tally invoke` says what each does.",
            code=ExitCode.USAGE,
        )
    return known[name]


def _source(name: str, queues: tuple[str, ...]) -> Source:
    if queues:
        return Source.QUEUE
    if name in _STREAM:
        return Source.STREAM
    return Source.S3 if name == "plan" else Source.SCHEDULE
