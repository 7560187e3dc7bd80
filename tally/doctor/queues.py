"""Checks of the queues: dead-letter queues, visibility timeouts, and waiting messages."""

import json
from collections.abc import Iterator

from tally.doctor.finding import Finding, failed, ok, warning
from tally.doctor.patient import Patient
from tally.queues.dead import dead_queues
from tally.queues.depth import Depth, attributes, name_of, oldest_seconds
from tally.stages.expected import Queue


def redrive(patient: Patient) -> Iterator[Finding]:
    """Check that every queue exists and sends what fails to its dead-letter queue."""
    for queue in patient.expected.queues.values():
        yield from _redrive(patient, queue)


def _redrive(patient: Patient, queue: Queue) -> Iterator[Finding]:
    name = name_of(queue.url)
    found = attributes(patient.clients["sqs"], queue.url)
    if found is None:
        yield failed("queue.missing", name, "there is no such queue", patient.apply)
        return
    policy = json.loads(found.get("RedrivePolicy") or "{}")
    visible = int(found["VisibilityTimeout"])
    wrong = False
    if attributes(patient.clients["sqs"], queue.dlq_url) is None:
        wrong = True
        yield failed("queue.dlq", name, f"its dead-letter queue {name_of(queue.dlq_url)} does not exist", patient.apply)
    elif policy.get("deadLetterTargetArn") != queue.dlq_arn:
        wrong = True
        to = policy.get("deadLetterTargetArn") or "nowhere"
        yield failed(
            "queue.dlq",
            name,
            f"what fails goes to {to}, not to {name_of(queue.dlq_url)}: its rows never end",
            patient.apply,
        )
    elif int(policy["maxReceiveCount"]) != queue.max_receive_count:
        wrong = True
        saw = f"a message is given up after {policy['maxReceiveCount']} deliveries, not {queue.max_receive_count}"
        yield warning("queue.receive_count", name, saw, patient.apply)
    if visible < queue.visibility_floor:
        wrong = True
        saw = f"a message comes back after {visible} s, while it is worked on for up to {queue.visibility_floor} s"
        yield failed("queue.visibility", name, saw, patient.apply)
    if not wrong:
        yield ok("queue", name, f"gives up after {queue.max_receive_count} deliveries, hides for {visible} s")


def backlog(patient: Patient) -> Iterator[Finding]:
    """Report the messages that wait in the queues, and for how long where AWS measures it."""
    for queue in patient.expected.queues.values():
        name = name_of(queue.url)
        found = attributes(patient.clients["sqs"], queue.url)
        if found is None:
            continue  # redrive reports it
        depth = Depth.of(found)
        age = 0.0
        if depth.visible and not patient.local:
            age = oldest_seconds(patient.clients["cloudwatch"], name, patient.now()) or 0.0
        saw = f"{depth.visible:,} waiting, {depth.in_flight + depth.delayed:,} worked on or delayed"
        if age > patient.expected.queue_age_seconds:
            yield warning(
                "queue.age", name, f"{saw}, the oldest for {age:,.0f} s", "docs/runbook.md, section queue-behind"
            )
        else:
            yield ok("queue.backlog", name, saw + (f", the oldest for {age:,.0f} s" if age else ""))


def dead_letters(patient: Patient) -> Iterator[Finding]:
    """Report the queues that have dead letters."""
    for queue in dead_queues(patient.expected):
        yield from _letters(patient, queue.url, queue.section)


def _letters(patient: Patient, url: str, section: str) -> Iterator[Finding]:
    found = attributes(patient.clients["sqs"], url)
    if found is None:
        yield failed("dead_letters.missing", name_of(url), "there is no such queue", patient.apply)
        return
    waiting = Depth.of(found).total
    if waiting:
        yield warning("dead_letters", name_of(url), f"{waiting:,} wait", f"docs/runbook.md, section {section}")
    else:
        yield ok("dead_letters", name_of(url), "none")
