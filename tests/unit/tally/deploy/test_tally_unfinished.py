"""Resources that a killed Terraform left are found under their planned names, and by their ids for an import."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tally.deploy.unfinished import Finder
from tally.testing.configuration import INFRA
from tally.tools.terraform import Resource

REGION = "us-east-1"


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Finder]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Finder(client=_client)


def _client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


def _planned(kind: str, **values: str) -> Resource:
    return Resource(address=f"{kind}.this", type=kind, values=values)


PLANNED = [
    _planned("aws_s3_bucket", bucket="tally-dev-inbox"),
    _planned("aws_dynamodb_table", name="tally-dev"),
    _planned("aws_iam_role", name="tally-dev-plan"),
    _planned("aws_cloudwatch_log_group", name="/aws/lambda/tally-dev-plan"),
    _planned("aws_cloudwatch_event_bus", name="tally-dev"),
    _planned("aws_sqs_queue", name="tally-dev-work"),
    _planned("aws_kms_alias", name="alias/tally-dev-alarms"),
]


def _make() -> None:
    """Make all of it, and neighbours whose names begin alike."""
    _client("s3").create_bucket(Bucket="tally-dev-inbox")
    _client("dynamodb").create_table(
        TableName="tally-dev",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    _client("iam").create_role(RoleName="tally-dev-plan", AssumeRolePolicyDocument="{}")
    for name in ("/aws/lambda/tally-dev-plan", "/aws/lambda/tally-dev-plan-two"):
        _client("logs").create_log_group(logGroupName=name)
    _client("events").create_event_bus(Name="tally-dev")
    _client("sqs").create_queue(QueueName="tally-dev-work")
    key = _client("kms").create_key()["KeyMetadata"]["KeyId"]
    _client("kms").create_alias(AliasName="alias/tally-dev-alarms", TargetKeyId=key)


def test_everything_that_aws_refuses_to_make_twice_is_found(finder: Finder) -> None:
    """Its age is told in aware time, but for a bucket's."""
    _make()
    found = finder.orphans(PLANNED)
    assert [one.identifier for one in found] == [
        "tally-dev-inbox",
        "tally-dev",
        "tally-dev-plan",
        "/aws/lambda/tally-dev-plan",
        "tally-dev",
        f"https://sqs.{REGION}.amazonaws.com/123456789012/tally-dev-work",
        "alias/tally-dev-alarms",
    ]
    dated = {one.address: one.created for one in found}
    assert dated.pop("aws_s3_bucket.this") is None
    assert all(created is None or created.tzinfo for created in dated.values())
    assert dated["aws_dynamodb_table.this"]


def test_what_does_not_exist_is_left_for_terraform_to_make(finder: Finder) -> None:
    _client("logs").create_log_group(logGroupName="/aws/lambda/tally-dev-plan-two")
    assert finder.orphans(PLANNED) == []


def test_what_may_be_made_twice_and_what_has_no_name_yet_are_not_looked_for(finder: Finder) -> None:
    """The name of the second follows from something that the plan makes first."""
    planned = [_planned("aws_sns_topic", name="tally-dev-alarms"), _planned("aws_lambda_event_source_mapping")]
    assert finder.orphans(planned) == []


def test_an_answer_that_is_no_answer_is_not_taken_for_absence(finder: Finder) -> None:
    """Without the right to look, a second copy could be planned."""

    def refuse(**_arguments: str) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    class Refusing:
        head_bucket = staticmethod(refuse)

    with pytest.raises(ClientError, match="Forbidden"):
        Finder(client=lambda _service: Refusing()).orphans(PLANNED)


def test_a_mapping_that_is_being_deleted_is_not_adopted() -> None:
    """Terraform would import what is gone a minute later."""
    mappings = [{"UUID": "old", "State": "Deleting"}, {"UUID": "new", "State": "Enabled"}]

    class Lambda:
        @staticmethod
        def list_event_source_mappings(**asked: str) -> dict[str, Any]:
            assert asked == {"EventSourceArn": "arn:queue", "FunctionName": "tally-dev-dead_letters"}
            return {"EventSourceMappings": mappings}

    finder = Finder(client=lambda _service: Lambda())
    planned = _planned(
        "aws_lambda_event_source_mapping", event_source_arn="arn:queue", function_name="tally-dev-dead_letters"
    )
    assert [one.identifier for one in finder.orphans([planned])] == ["new"]
    del mappings[1]
    assert finder.orphans([planned]) == []


def test_nothing_is_asked_that_the_deploy_role_may_not_ask(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline's deployment is cut short as well."""
    asked: set[str] = set()

    def client(service: str) -> Any:
        made = _client(service)
        made.meta.events.register("before-call", lambda model, **_: asked.add(f"{service}:{model.name}"))
        return made

    _make()
    assert len(Finder(client=client).orphans(PLANNED)) == len(finder.orphans(PLANNED))
    role = "".join(path.read_text(encoding="utf-8") for path in (INFRA / "examples" / "deploy_role").glob("*.tf"))
    # S3 asks for this one to answer HeadBucket; anyone may ask who he is.
    asked = {"s3:ListBucket" if one == "s3:HeadBucket" else one for one in asked} - {"sts:GetCallerIdentity"}
    assert len(asked) == len(PLANNED)
    assert {action for action in asked if f'"{action}"' not in role} == set()
