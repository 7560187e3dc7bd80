"""The commands about queues: what waits, and what could not be done; each thin."""

from dataclasses import dataclass, field
from typing import Any

import click
from botocore.exceptions import ClientError

from chalicelib.clock import utc_now
from tally.commands.options import command, find_stage
from tally.errors import ExitCode, OperatorError
from tally.output import Output
from tally.queues import dead as letters
from tally.queues.dead import DeadQueue, Letter
from tally.queues.depth import depth_of, oldest_seconds
from tally.queues.overview import overview, show
from tally.stages.expected import Expected
from tally.stages.stage import Stage

_BODY_CHARACTERS = 400


@command("queues")
def queues(*, output: Output, stage: str) -> None:
    """Show the messages in the stage's queues: visible, in flight, delayed, the oldest one's age, and dead letters.

    The age comes from CloudWatch: it is a minute or two late, and unknown on a local stage.
    """
    found = find_stage(stage)
    sqs = found.client("sqs")
    wanted = Expected.require(found.resources.expected, found.name)
    states = overview(sqs, wanted, [letters.copies(sqs, stage)], _Ages(output, found).of)
    show(output, states)
    output.result({"stage": stage, "queues": [state.as_json() for state in states]})


@command(
    "dead",
    click.argument("queue", required=False),
    click.option("--show", "shown", is_flag=True, help="Also show each dead letter; it stays in its queue."),
    click.option("--redrive", is_flag=True, help="Send the dead letters back to where they came from."),
    click.option(
        "--discard",
        metavar="LETTER",
        multiple=True,
        help="Delete the dead letter of this id, which --show prints; may be repeated.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(1, 1000),
        default=20,
        show_default=True,
        help="Show at most this many of each queue.",
    ),
)
def dead(
    *,
    output: Output,
    stage: str,
    queue: str | None,
    shown: bool,
    redrive: bool,
    discard: tuple[str, ...],
    limit: int,
) -> None:
    """Show the dead letters of one QUEUE or all: how many there are, and what to do about them.

    Safe to repeat: no row counts twice because its message came twice.
    """
    if shown + redrive + bool(discard) > 1:
        raise click.UsageError("--show, --redrive and --discard exclude each other")
    if discard and queue is None:
        raise click.UsageError("--discard needs QUEUE, the name of the queue that has the dead letter")
    found = find_stage(stage)
    sqs = found.client("sqs")
    looked_at = [_Looked(queue=each, waiting=_waiting(sqs, each)) for each in _chosen(found, sqs, queue)]
    for each in looked_at:
        _say_waiting(output, each)
        if shown and each.waiting:
            each.letters = letters.read(sqs, each.queue, limit)
            _say_letters(output, each.letters)
        elif redrive and each.waiting:
            _redrive(output, sqs, each)
        elif discard:
            _discard(output, sqs, each, set(discard))
    output.result({"stage": stage, "queues": [each.as_json() for each in looked_at]})


@dataclass(kw_only=True)
class _Looked:
    """A queue, and the action on its dead letters; ``waiting`` is None if it does not exist."""

    queue: DeadQueue
    waiting: int | None
    letters: list[Letter] = field(default_factory=list)
    redriven: int = 0
    discarded: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.queue.name,
            "url": self.queue.url,
            "waiting": self.waiting,
            "section": self.queue.section,
            "letters": [letter.as_json() for letter in self.letters],
            "redriven": self.redriven,
            "discarded": self.discarded,
        }


def _chosen(stage: Stage, sqs: Any, name: str | None) -> list[DeadQueue]:
    wanted = Expected.require(stage.resources.expected, stage.name)
    known = {queue.name: queue for queue in [*letters.dead_queues(wanted), letters.copies(sqs, stage.name)]}
    if name is None:
        return list(known.values())
    chosen = known.get(name) or known.get(f"{name}-dlq")
    if chosen is None:
        raise OperatorError(
            f"There is no queue {name} of dead letters", hint=f"name one of {', '.join(known)}.", code=ExitCode.USAGE
        )
    return [chosen]


def _waiting(sqs: Any, queue: DeadQueue) -> int | None:
    depth = depth_of(sqs, queue.url)
    return depth.total if depth else None


def _say_waiting(output: Output, looked: _Looked) -> None:
    name, waiting = looked.queue.name, looked.waiting
    if waiting is None:
        output.warn(f"{name} does not exist: `tally doctor` says what to do")
    elif not waiting:
        output.say(f"{name}: none")
    else:
        wait = "1 waits" if waiting == 1 else f"{waiting:,} wait"
        output.say(f"{name}: {wait}; docs/runbook.md, section {looked.queue.section}")


def _say_letters(output: Output, found: list[Letter]) -> None:
    for letter in found:
        known = letter.as_json()
        about = f", batch {known['batch']}" if known["batch"] else ""
        about += f", chunk {known['chunk']}" if known["chunk"] is not None else ""
        output.say(
            f"  {letter.id}: sent {known['sent_at'] or 'at an unknown time'}, received {letter.receives}x{about}"
        )
        if letter.why:
            output.say(f"    {letter.why}")
        cut = letter.body if len(letter.body) <= _BODY_CHARACTERS else f"{letter.body[:_BODY_CHARACTERS]} [...]"
        output.say(f"    {cut}")


def _redrive(output: Output, sqs: Any, looked: _Looked) -> None:
    queue, waiting = looked.queue, looked.waiting or 0
    if not queue.source_url:
        output.warn(f"{queue.name} has no redrive: {queue.instead}")
        return
    with output.progress(f"sending the dead letters of {queue.name}", waiting) as advance:
        # At most as many as waited at first: one that fails at once returns, and must not be sent for ever.
        looked.redriven = letters.send_again(sqs, queue, waiting, advance)
    left = waiting - looked.redriven
    output.say(f"  {looked.redriven:,} sent again" + (f", {left:,} are with `dead_letters` now" if left else ""))


def _discard(output: Output, sqs: Any, looked: _Looked, ids: set[str]) -> None:
    looked.discarded = sorted(letters.discard(sqs, looked.queue, ids, looked.waiting or 0))
    output.say(f"  {len(looked.discarded):,} discarded")
    missing = sorted(ids - set(looked.discarded))
    if missing:
        raise OperatorError(
            f"No dead letter {', '.join(missing)} in {looked.queue.name}",
            hint=f"`tally dead {looked.queue.name} --show` names them; one in flight comes back within minutes.",
            code=ExitCode.USAGE,
        )


class _Ages:
    """Asks CloudWatch for the age of messages, until it refuses."""

    def __init__(self, output: Output, stage: Stage) -> None:
        self._output = output
        self._cloudwatch = None if stage.server else stage.client("cloudwatch")

    def of(self, queue: str) -> float | None:
        if self._cloudwatch is None:
            return None
        try:
            return oldest_seconds(self._cloudwatch, queue, utc_now())
        except ClientError as error:
            self._output.warn(f"the age of messages is not known: {error}")
            self._cloudwatch = None
            return None


COMMANDS = [queues, dead]
