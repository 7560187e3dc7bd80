"""Every policy that Terraform renders, compared with AWS's own table of actions, resources and condition keys."""

import json
from pathlib import Path

import pytest

from tally.testing.configuration import INFRA
from tests.iam.conftest import PoliciesOf
from tests.support.policies import faults, statements

pytestmark = pytest.mark.terraform

FOLDERS = (INFRA, INFRA / "examples" / "deploy_role", INFRA / "examples" / "operator_rights")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_aws_knows_every_action_with_its_resources_and_conditions(policies_of: PoliciesOf, folder: Path) -> None:
    """An action that AWS does not know grants nothing, and the call that needs it is refused."""
    policies = policies_of(folder)
    assert len(policies) > 20
    assert [fault for statement in policies for fault in faults(statement)] == []


def _faults(**statement: object) -> list[str]:
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "S", "Effect": "Allow", **statement}]}
    return [fault.removeprefix("p S: ") for found in statements("p", json.dumps(policy)) for fault in faults(found)]


QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
KEY = "arn:aws:kms:us-east-1:123456789012:key/*"


def test_a_right_as_aws_has_it_is_no_fault() -> None:
    """Also one for names that are not known yet, and one of those that AWS has no resource for."""
    assert _faults(Action=["sqs:SendMessage"], Resource=[QUEUE]) == []
    assert _faults(Action="s3:GetObject", Resource="arn:aws:s3:::bucket/inbox/*") == []
    assert _faults(Action="dynamodb:ListStreams", Resource="*") == []


def test_an_action_that_aws_does_not_have_is_found() -> None:
    assert _faults(Action="sqs:SendMessageBatch", Resource=QUEUE) == ["AWS knows no action sqs:SendMessageBatch"]


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("lambda:CreateEventSourceMapping", "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:*"),
        ("dynamodb:ListStreams", "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/*"),
        ("sqs:SendMessage", "*"),
        ("s3:GetObject", "arn:aws:s3:::bucket"),
    ],
)
def test_a_resource_that_an_action_does_not_take_is_found(action: str, resource: str) -> None:
    """The audit found the first two: a deployment, and both readers of the stream, would have been refused."""
    assert f"{action} takes none of {resource}" in _faults(Action=action, Resource=resource)


def test_a_resource_that_no_action_of_its_statement_takes_is_found() -> None:
    assert _faults(Action="sqs:SendMessage", Resource=[QUEUE, "arn:aws:s3:::b"]) == ["no action takes arn:aws:s3:::b"]


@pytest.mark.parametrize(
    ("action", "resource", "key"),
    [
        (
            "application-autoscaling:TagResource",
            "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/*",
            "application-autoscaling:service-namespace",
        ),
        ("kms:TagResource", KEY, "kms:RequestTag/Stage"),
        ("sqs:SendMessage", QUEUE, "aws:RequestTag/Stage"),
    ],
)
def test_a_condition_that_an_action_does_not_know_is_found(action: str, resource: str, key: str) -> None:
    """It is never true, so it grants nothing. The audit found the first."""
    condition = {"StringEquals": {key: ["v"]}}
    unknown = [f"{action} does not know the condition {key}"]
    assert _faults(Action=action, Resource=resource, Condition=condition) == unknown


def test_a_condition_with_a_name_of_the_callers_own_is_known() -> None:
    condition = {"StringEquals": {"aws:RequestTag/Stage": ["alpha"]}}
    assert _faults(Action="kms:TagResource", Resource=KEY, Condition=condition) == []


def test_a_policy_of_a_resource_is_compared_too() -> None:
    """It has a principal, and names no other resource than its own."""
    tls = {"Bool": {"aws:SecureTransport": "false"}}
    assert _faults(Principal="*", Action="sns:Publish", Resource="*", Condition=tls) == []
    assert _faults(Principal="*", Action="sns:Publsh", Resource="*") == ["AWS knows no action sns:Publsh"]


def test_the_folders_have_a_test_that_renders_their_policies() -> None:
    for folder in FOLDERS:
        assert Path(folder, "tests", "policies.tftest.hcl").is_file()
