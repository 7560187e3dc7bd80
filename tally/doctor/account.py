"""Checks of the account: that it is the stage's own, and that its quotas suffice."""

from collections.abc import Iterator

from tally.deploy.quotas import LEAST_MAXIMUM, Concurrency
from tally.doctor.finding import Finding, failed, ok, unknown, warning
from tally.doctor.patient import Patient


def credentials(patient: Patient) -> Iterator[Finding]:
    """Compare the account and region of the caller with those of the stage."""
    caller = patient.clients["sts"].get_caller_identity()
    expected, region = patient.expected, patient.clients["lambda"].meta.region_name
    subject = str(caller["Arn"])
    if caller["Account"] != expected.account_id:
        yield failed(
            "account.credentials",
            subject,
            f"the credentials are of account {caller['Account']}, the stage is in {expected.account_id}",
            "take credentials of that account (AWS_PROFILE)",
        )
    elif region != expected.region:
        yield failed(
            "account.region",
            subject,
            f"the region is {region}, the stage is in {expected.region}",
            f"set AWS_REGION={expected.region}",
        )
    else:
        yield ok("account.credentials", subject, f"account {expected.account_id}, region {region}")


def quotas(patient: Patient) -> Iterator[Finding]:
    """Compare the concurrency that the mappings may use with that of the account."""
    limit = patient.clients["lambda"].get_account_settings()["AccountLimit"]
    free = int(limit["UnreservedConcurrentExecutions"])
    queues = [mapping for mapping in patient.expected.mappings if mapping.stream is None]
    maxima = {mapping.function: mapping.maximum_concurrency or LEAST_MAXIMUM for mapping in queues}
    concurrency = Concurrency(maxima=maxima, quota=free)
    unlimited = sorted({mapping.function for mapping in queues if not mapping.maximum_concurrency})
    beyond = f", and more of {', '.join(unlimited)}, which have no maximum" if unlimited else ""
    saw = f"{concurrency.wanted} functions may run at once{beyond}, of {free} that the account has unreserved"
    if concurrency.finding:
        yield warning("account.concurrency", "Lambda", saw, concurrency.advice)
    else:
        yield ok("account.concurrency", "Lambda", saw)


def expectation(why: str) -> Finding:
    """Return that Terraform's output ``expected`` is missing."""
    return unknown(
        "account.expectation",
        "Terraform",
        why,
        "run doctor from the checkout that deployed the stage, with `terraform init` done in infra/, or deploy again",
    )
