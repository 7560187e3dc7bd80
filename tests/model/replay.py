"""One invocation of a handler as a pure function: of its input, and of the answers that its calls got so far.

A handler runs against clients that replay recorded answers. When these run out, its next call is raised as ``Pending``:
that is where it stands. So an invocation is a point in a tree, to go on from it costs no thread, and to go back costs
nothing. What AWS does not do in one step is not one call here: a BatchGetItem or a Query is a read of one item after
the other, a SendMessageBatch one message after the other.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.errors import WorkerStop
from tally.testing.memory_dynamodb import client_error

Wire = dict[str, Any]


class Operation(StrEnum):
    """The calls that other invocations may come between."""

    GET = "get"  # one item
    NEXT = "next"  # the next item of a partition, by prefix and in order
    WRITE = "write"  # one write or one transaction
    SEND = "send"  # one message
    ANNOUNCE = "announce"  # one event
    ASK = "ask"  # what the job's own function meets outside


READS = frozenset({Operation.GET, Operation.NEXT, Operation.ASK})


@dataclass(frozen=True, slots=True)
class Call:
    """What an invocation asks next."""

    operation: Operation
    request: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that botocore raises."""

    response: Any


class Pending(WorkerStop):
    """The next call of an invocation whose answers have run out."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.call = call


@dataclass(slots=True)
class Tape:
    """The answers that an invocation got so far, and what of them still matters to it."""

    answers: Sequence[Any]
    trail: list[Hashable] = field(default_factory=list)
    """The answers, by their positions, or what has taken their place because it is all that is left of them."""
    position: int = 0
    forgets: bool = True

    def ask(self, operation: Operation, request: Any) -> Any:
        """Return the recorded answer to the next call, or raise the call if there is none."""
        if self.position == len(self.answers):
            raise Pending(Call(operation, _copied(request)))
        answer = self.answers[self.position]
        self.trail.append(freeze(answer))
        self.position += 1
        if isinstance(answer, Refused):
            raise ClientError(_copied(answer.response), "Operation")
        return _copied(answer)

    def forget(self, *kept: object) -> None:
        """Say that nothing matters any more of what was answered so far, but for this."""
        if self.forgets:
            self.trail[:] = [repr(kept)]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Say of the block's answers that none matters after it."""
        began = len(self.trail)
        yield
        if self.forgets:
            self.trail[began:] = ["done"]


@dataclass(frozen=True, slots=True)
class TapedDynamoDB:
    """A client of DynamoDB whose reads of many items are reads of one item after the other."""

    tape: Tape

    def get_item(self, *, Key: Wire, **_: Any) -> Wire:  # noqa: N803
        item = self.tape.ask(Operation.GET, _place(Key))
        return {"Item": item} if item else {}

    def batch_get_item(self, *, RequestItems: Wire) -> Wire:  # noqa: N803
        ((table, request),) = RequestItems.items()
        found = [self.tape.ask(Operation.GET, _place(key)) for key in request["Keys"]]
        return {"Responses": {table: [item for item in found if item]}, "UnprocessedKeys": {}}

    def query(self, *, ExpressionAttributeValues: Wire, **request: Any) -> Wire:  # noqa: N803
        values = {name.removeprefix(":"): value["S"] for name, value in ExpressionAttributeValues.items()}
        names = request.get("ExpressionAttributeNames", {})
        asked = [name for name in request.get("ProjectionExpression", "").split(", ") if name]
        wanted = [names.get(name, name) for name in asked]
        items: list[Wire] = []
        after = ""
        while item := self.tape.ask(Operation.NEXT, (values["pk"], values.get("prefix", ""), after)):
            items.append({name: item[name] for name in item if not wanted or name in wanted})
            after = item["sk"]["S"]
        return {"Items": items}

    def put_item(self, **request: Any) -> Wire:
        return self._write("put_item", request)

    def update_item(self, **request: Any) -> Wire:
        return self._write("update_item", request)

    def delete_item(self, **request: Any) -> Wire:
        return self._write("delete_item", request)

    def transact_write_items(self, **request: Any) -> Wire:
        return self._write("transact_write_items", request)

    def batch_write_item(self, *, RequestItems: Wire) -> Wire:  # noqa: N803
        ((table, requests),) = RequestItems.items()
        for request in requests:
            self._write("put_item", {"TableName": table, "Item": request["PutRequest"]["Item"]})
        return {"UnprocessedItems": {}}

    def _write(self, name: str, request: Wire) -> Wire:
        answer: Wire = self.tape.ask(Operation.WRITE, (name, request))
        return answer


@dataclass(frozen=True, slots=True)
class TapedSQS:
    """A client of SQS. Delays are left out: a message may come at any time after it was sent."""

    tape: Tape

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> Wire:  # noqa: N803
        for entry in Entries:
            self.tape.ask(Operation.SEND, (QueueUrl, entry["MessageBody"]))
        return {"Failed": []}

    def send_message(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> None:  # noqa: N803
        self.tape.ask(Operation.SEND, (QueueUrl, MessageBody))

    def change_message_visibility(self, **_: Any) -> None:
        """Do nothing: a message may come at any time."""


@dataclass(frozen=True, slots=True)
class TapedEvents:
    """A client of EventBridge."""

    tape: Tape

    def put_events(self, *, Entries: list[dict[str, str]]) -> Wire:  # noqa: N803
        for entry in Entries:
            self.tape.ask(Operation.ANNOUNCE, entry["Detail"])
        return {"Entries": [{"EventId": "1"} for _ in Entries]}


UNHEARD = Refused(client_error("InternalServerError", 500).response)
"""The call was applied, or not: nobody knows."""
THROTTLED = Refused(client_error("ThrottlingException").response)


def conflict(call: Call) -> Refused:
    """Return what a write gets that meets a running transaction: nothing of it was applied."""
    name, request = call.request
    if name != "transact_write_items":
        return Refused(client_error("TransactionConflictException").response)
    reasons = [{"Code": "TransactionConflict"} for _ in request["TransactItems"]]
    return Refused(client_error("TransactionCanceledException", CancellationReasons=reasons).response)


class Interned:
    """Gives each value a small number; equal values have the same."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, value: Any) -> int:
        """Return the number of a value, a new one if it was not seen before."""
        frozen = freeze(value)
        found = self._numbers.get(frozen)
        if found is None:
            found = self._numbers[frozen] = len(self.values)
            self.values.append(value)
        return found


def freeze(value: Any) -> Hashable:
    """Return something hashable that is equal for equal values of JSON, bytes included."""
    if isinstance(value, Mapping):
        return ("map", *sorted((name, freeze(part)) for name, part in value.items()))
    if isinstance(value, list | tuple):
        return ("list", *map(freeze, value))
    if isinstance(value, Call):
        return (value.operation, freeze(value.request))
    if isinstance(value, Refused):
        return ("refused", freeze(value.response))
    if isinstance(value, bytearray):
        return bytes(value)
    frozen: Hashable = value
    return frozen


@dataclass(frozen=True, slots=True)
class Node:
    """Where an invocation stands: before a call, or at its end."""

    root: int
    answers: tuple[int, ...]
    call: int | None
    has_read: bool
    """Whether its last call was a read."""
    error: str = ""
    """What the handler raised; at its end only."""


@dataclass(slots=True)
class Scripts:
    """The trees of all invocations; each step of each is computed once.

    Invocations that have forgotten what makes them different stand at the same place. A refused call that is made again
    unchanged leads back to where it was made: the retry code keeps nothing but the number of its attempts, which is far
    above what a bound allows.
    """

    run: Callable[[Any, Tape], None]
    """Runs a handler to its end or its next call."""
    view: Callable[[Any, int, Any], Any]
    """Returns what an invocation makes of its so manieth answer: answers that it makes the same of are one."""
    entries: Interned = field(default_factory=Interned)
    calls: Interned = field(default_factory=Interned)
    answers: Interned = field(default_factory=Interned)
    nodes: list[Node] = field(default_factory=list)
    _roots: dict[int, int] = field(default_factory=dict)
    _steps: dict[tuple[int, int], int] = field(default_factory=dict)
    _known: dict[Hashable, int] = field(default_factory=dict)

    def root(self, entry: Any) -> int:
        """Return where an invocation stands that has just been started with ``entry``."""
        number = self.entries.number(entry)
        found = self._roots.get(number)
        if found is None:
            found = self._roots[number] = self._add(number, (), None)
        return found

    def step(self, node: int, answer: int) -> int:
        """Return where an invocation stands after one more answer."""
        key = node, answer
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._step(node, answer)
        return found

    def _step(self, node: int, answer: int) -> int:
        before = self.nodes[node]
        value = self.answers.values[answer]
        seen = self.answers.number(self.view(self.entries.values[before.root], len(before.answers), value))
        if seen != answer:
            return self.step(node, seen)
        found = self._add(before.root, (*before.answers, answer), node)
        return node if isinstance(value, Refused) and self.nodes[found].call == before.call else found

    def _add(self, root: int, answers: tuple[int, ...], parent: int | None) -> int:
        tape = Tape([self.answers.values[answer] for answer in answers])
        call, error = None, ""
        try:
            self.run(self.entries.values[root], tape)
        except Pending as pending:
            call = self.calls.number(pending.call)
        except Exception as raised:  # noqa: BLE001  the explorer says where that is a violation
            error = f"{type(raised).__name__}: {raised}"
        before = self.nodes[parent].call if parent is not None else None
        has_read = before is not None and self.calls.values[before].operation in READS
        key = root, call, error, bool(answers), has_read, tuple(tape.trail) if call is not None else ()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.nodes)
            self.nodes.append(Node(root, answers, call, has_read, error))
        return found


def _copied(value: Any) -> Any:
    """Return a copy of JSON: a handler may change what it was given, or has sent."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    if isinstance(value, tuple):
        return tuple([_copied(part) for part in value])
    return value


def _place(key: Wire) -> tuple[str, str]:
    return key["pk"]["S"], key["sk"]["S"]
