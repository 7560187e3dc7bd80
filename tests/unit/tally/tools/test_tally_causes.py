"""Refusals of the tools and of AWS, in their words, become their meaning and what to do."""

import pytest

from tally.tools.causes import explain, failure

LOCKED = """
Error: Error acquiring the state lock

Error message: resource temporarily unavailable
Lock Info:
  ID:        81b8bed6-bf42-7143-690a-98cb12de7695
  Path:      terraform.tfstate
  Operation: OperationTypeApply
  Who:       root@vm
  Version:   1.11.4
  Created:   2026-11-26 01:17:07.729614124 +0000 UTC
  Info:
"""
API = (
    "operation error IAM: CreateRole, https response error StatusCode: {status}, RequestID: 1, api error {code}: {text}"
)


def _api(status: int, code: str, text: str = "") -> str:
    return f"Error: creating IAM Role (tally-dev-plan): {API.format(status=status, code=code, text=text)}"


def test_a_lock_that_was_left_says_whose_it_is_since_when_and_how_it_is_freed() -> None:
    assert explain(LOCKED) == (
        "Terraform's state is locked by root@vm since 2026-11-26 01:17:07 UTC. Wait if that deployment still works. If "
        "it was killed, free the state with `terraform -chdir=infra force-unlock "
        "81b8bed6-bf42-7143-690a-98cb12de7695`, with the stage's workspace selected"
    )


ROLE = "arn:aws:iam::1:role/tally-dev-plan"


@pytest.mark.parametrize(
    ("where", "named"),
    [
        (f" on resource: {ROLE} because no policy allows it", f"iam:CreateRole on {ROLE}."),
        (" because no identity-based policy allows it", "iam:CreateRole."),
    ],
)
def test_a_missing_right_says_who_lacks_which_and_where(where: str, named: str) -> None:
    who = "arn:aws:sts::1:assumed-role/pipeline/me"
    text = _api(403, "AccessDenied", f"User: {who} is not authorized to perform: iam:CreateRole{where}")
    assert explain(text).startswith(f"User: {who} has no right to {named}")
    assert "infra/examples/deploy_role" in explain(text)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (_api(403, "ExpiredToken", "The security token included in the request is expired"), "have expired. Renew"),
        ("The SSO session associated with this profile has expired or is otherwise invalid", "have expired. Renew"),
        ("Error: No valid credential sources found", "does not accept your credentials"),
        (_api(403, "InvalidClientTokenId", "The security token is invalid"), "does not accept your credentials"),
        (_api(403, "AccessDenied", "Access Denied"), "lack a right, which the message below names"),
        (_api(409, "EntityAlreadyExists", "Role exists"), "`tally deploy --adopt` takes over what exists"),
        ("ResourceInUseException: Table already exists: tally-dev", "`tally deploy --adopt`"),
        ("BucketAlreadyOwnedByYou", "`tally deploy --adopt`"),
        (
            "An error occurred (ResourceConflictException) ... ResourceConflictException: The event source arn",
            "--adopt",
        ),
        ("BucketAlreadyExists: The requested bucket name", "Another AWS account has a bucket"),
        ("Error: Instance cannot be destroyed", "`tally deploy` repairs Chalice's record"),
        ("Error: Backend initialization required, please run", "init -migrate-state"),
        ("Error: Failed to query available provider packages", "cannot get its AWS provider"),
        ("Error: Value for undeclared variable", "A Terraform variable has a wrong name or value"),
        ("dial tcp: lookup sts.eu-wst-1.amazonaws.com: no such host", "Check AWS_REGION"),
        ('Could not connect to the endpoint URL: "https://lambda.eu-wst-1', "Check AWS_REGION"),
        (_api(409, "LimitExceeded", "Cannot exceed quota for RolesPerAccount"), "under Service Quotas"),
        (_api(400, "Throttling", "Rate exceeded"), "Wait a minute"),
        ("The role defined for the function cannot be assumed by Lambda.", "Wait a minute"),
        ("ResourceConflictException: The operation cannot be performed at this time. An update is in progress", "Wait"),
        ("Error: Failed to save state\n\nThe state has been saved to errored.tfstate", "state push errored.tfstate"),
        ("InvalidParameterValueException: Could not unzip uploaded file", "Remove app/.chalice/deployments"),
        ("ModuleNotFoundError: No module named 'pandas'", "does not load: No module named 'pandas'"),
        ("OSError: [Errno 28] No space left on device", "disk of this machine is full"),
    ],
)
def test_a_known_refusal_is_explained(text: str, meaning: str) -> None:
    explained = explain(text)
    assert meaning in explained
    assert not explained.endswith(".")


def test_what_is_not_known_is_not_guessed() -> None:
    assert explain("Error: something that nobody has seen") == ""
    assert failure(1, "Error: something that nobody has seen") == "Correct what it says below"


def test_a_tool_that_was_killed_has_no_error_to_correct() -> None:
    """Its earlier output says nothing about its end."""
    assert failure(-9, "Creating... Throttling").startswith("Something killed it (signal 9)")
