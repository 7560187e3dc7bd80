"""The queues: whether what fails is kept, whether a message comes back too early, and what waits."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta

from botocore.exceptions import ClientError

from tally.doctor.expected import Queue
from tally.doctor.finding import Finding, failed, ok, warning
from tally.doctor.measured import largest
from tally.doctor.patient import Patient

_ABSENT = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


def redrive(patient: Patient) -> Iterator[Finding]:
    """Check that every queue is there and hands what fails to its dead-letter queue."""
    for queue in patient.expected.queues.values():
        yield from _redrive(patient, queue)


def _redrive(patient: Patient, queue: Queue) -> Iterator[Finding]:
    name = _name(queue.url)
    found = _attributes(patient, queue.url)
    if found is None:
        yield failed("queue.missing", name, "there is no such queue", patient.apply)
        return
    policy = json.loads(found.get("RedrivePolicy") or "{}")
    visible = int(found["VisibilityTimeout"])
    wrong = False
    if _attributes(patient, queue.dlq_url) is None:
        wrong = True
        yield failed("queue.dlq", name, f"its dead-letter queue {_name(queue.dlq_url)} does not exist", patient.apply)
    elif policy.get("deadLetterTargetArn") != queue.dlq_arn:
        wrong = True
        to = policy.get("deadLetterTargetArn") or "nowhere"
        yield failed(
            "queue.dlq",
            name,
            f"what fails goes to {to}, not to {_name(queue.dlq_url)}: its rows never end",
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
    """Say what waits in the queues, and for how long where AWS measures it."""
    for queue in patient.expected.queues.values():
        name = _name(queue.url)
        found = _attributes(patient, queue.url)
        if found is None:
            continue  # said by redrive
        waiting, hidden = _waiting(found), _hidden(found)
        age = 0.0
        if waiting and not patient.local:
            window = timedelta(minutes=15)
            age = largest(patient, "AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": name}, window) or 0.0
        saw = f"{waiting:,} waiting, {hidden:,} worked on or delayed"
        if age > patient.expected.queue_age_seconds:
            yield warning(
                "queue.age", name, f"{saw}, the oldest for {age:,.0f} s", "docs/runbook.md, section queue-behind"
            )
        else:
            yield ok("queue.backlog", name, saw + (f", the oldest for {age:,.0f} s" if age else ""))


def dead_letters(patient: Patient) -> Iterator[Finding]:
    """Say where something waits that could not be done."""
    sections = {name: queue.dlq_url for name, queue in patient.expected.queues.items()}
    for name, url in sections.items():
        yield from _letters(
            patient, url, "completions-dead-letters" if name == "completions" else f"dead-letters-{name}"
        )
    for name, url in patient.expected.failure_queues.items():
        yield from _letters(patient, url, name)


def _letters(patient: Patient, url: str, section: str) -> Iterator[Finding]:
    found = _attributes(patient, url)
    if found is None:
        yield failed("dead_letters.missing", _name(url), "there is no such queue", patient.apply)
        return
    waiting = _waiting(found) + _hidden(found)
    if waiting:
        yield warning("dead_letters", _name(url), f"{waiting:,} wait", f"docs/runbook.md, section {section}")
    else:
        yield ok("dead_letters", _name(url), "none")


def _waiting(attributes: Mapping[str, str]) -> int:
    return int(attributes["ApproximateNumberOfMessages"])


def _hidden(attributes: Mapping[str, str]) -> int:
    names = ("ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
    return sum(int(attributes.get(name, 0)) for name in names)


def _attributes(patient: Patient, url: str) -> Mapping[str, str] | None:
    """Return the attributes of a queue, or None if there is no such queue."""
    try:
        answer = patient.clients["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        return None
    attributes: Mapping[str, str] = answer["Attributes"]
    return attributes


def _name(url: str) -> str:
    return url.rpartition("/")[2]
