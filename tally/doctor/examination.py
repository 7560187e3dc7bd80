"""Examine a stage: every check runs by itself, so that a check that fails to run hides no other."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from tally.doctor import account, alarms, batches, functions, queues, roles, storage, triggers
from tally.doctor.finding import Finding, State, unknown, worst
from tally.doctor.patient import SERVICES, Check, Patient
from tally.stages.expected import Expected
from tally.stages.stage import Stage

_WORKERS = 8
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "AccessDeniedFault",
}


@dataclass(frozen=True, slots=True)
class Group:
    """A check, and the name to report it under if it cannot be made."""

    name: str
    check: Check


_CREDENTIALS = Group("account.credentials", account.credentials)

GROUPS = (
    Group("account.concurrency", account.quotas),
    Group("mapping", triggers.mappings),
    Group("inbox.notification", triggers.notification),
    Group("schedule", triggers.schedule),
    Group("function", functions.configuration),
    Group("function.invocation", functions.invocation),
    Group("role.right", roles.rights),
    Group("inbox.versioning", storage.versioning),
    Group("inbox.encryption", storage.encryption),
    Group("inbox.public_access", storage.public_access),
    Group("table", storage.table),
    Group("table.expiry", storage.expiry),
    Group("results_table", storage.results_table),
    Group("stream.age", storage.iterator_age),
    Group("queue", queues.redrive),
    Group("queue.backlog", queues.backlog),
    Group("dead_letters", queues.dead_letters),
    Group("alarms.subscriber", alarms.subscribers),
    Group("alarms.alarm", alarms.alarms),
    Group("batch.standing", batches.standing),
)


def examine(
    stage: Stage,
    *,
    packages: Callable[[], Collection[str]] = tuple,
    progress: Callable[[int], None] = lambda _done: None,
) -> list[Finding]:
    """Return the findings of every check, in the order of ``GROUPS``; changes nothing.

    Never raises AWS's errors: a check that cannot be made is a finding of its own. Credentials of another account end
    the examination, because all else would be about another stage. ``progress`` is called after every check. Raises
    OperatorError if another version of Tally has deployed the stage.
    """
    expected = Expected.read(stage.resources.expected)
    if expected is None:
        return [account.expectation("it is not known here what the stage should be like")]
    patient = Patient(
        stage=stage.name,
        local=stage.server is not None,
        expected=expected,
        clients={service: stage.client(service) for service in SERVICES},
        packages=packages,
    )
    findings = run(_CREDENTIALS, patient)
    progress(1)
    if worst(findings) in {State.FAILED, State.UNKNOWN}:
        return findings
    return findings + run_all(GROUPS, patient, progress)


def run_all(groups: Sequence[Group], patient: Patient, progress: Callable[[int], None]) -> list[Finding]:
    """Return the findings of groups of checks, in their order; they run at the same time."""

    def one(group: Group) -> list[Finding]:
        try:
            return run(group, patient)
        finally:
            progress(1)

    with ThreadPoolExecutor(_WORKERS) as pool:
        return [finding for found in pool.map(one, groups) for finding in found]


def run(group: Group, patient: Patient) -> list[Finding]:
    """Return the findings of a group; those made before an error stay."""
    return list(_guarded(group, patient))


def _guarded(group: Group, patient: Patient) -> Iterator[Finding]:
    subject = f"tally-{patient.stage}"
    try:
        yield from group.check(patient)
    except ClientError as error:
        code, operation = error.response["Error"]["Code"], error.operation_name
        if code in _DENIED:
            why = f"you have no right to call {operation}"
            yield unknown(group.name, subject, why, "ask for that right, or have somebody run doctor who has it")
        else:
            yield unknown(
                group.name, subject, f"AWS answered {error}", "run doctor again; if it stays so, look at that resource"
            )
    except BotoCoreError as error:
        yield unknown(group.name, subject, f"AWS could not be asked: {error}", "check credentials, region and network")
    except Exception as error:  # noqa: BLE001  an unforeseen error of one check must not hide the others
        why = f"the check itself failed: {type(error).__name__}: {error}"
        yield unknown(group.name, subject, why, "report this")
