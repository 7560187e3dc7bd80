"""The role that a pipeline deploys with: no kind of resource comes into the stage without a right to make it.

The local AWS does not ask for every right, so that deploying there with the role does not show each that is missing.
"""

import re

import pytest

from tally.testing.configuration import INFRA, functions, local, queues

RIGHTS = INFRA / "examples" / "deploy_role" / "rights.tf"
MADE_BY = {
    "aws_appautoscaling_policy": "application-autoscaling:PutScalingPolicy",
    "aws_appautoscaling_target": "application-autoscaling:RegisterScalableTarget",
    "aws_cloudwatch_dashboard": "cloudwatch:PutDashboard",
    "aws_cloudwatch_event_bus": "events:CreateEventBus",
    "aws_cloudwatch_event_rule": "events:PutRule",
    "aws_cloudwatch_event_target": "events:PutTargets",
    "aws_cloudwatch_log_group": "logs:CreateLogGroup",
    "aws_cloudwatch_metric_alarm": "cloudwatch:PutMetricAlarm",
    "aws_dynamodb_table": "dynamodb:CreateTable",
    "aws_iam_role": "iam:CreateRole",
    "aws_iam_role_policy": "iam:PutRolePolicy",
    "aws_kms_alias": "kms:CreateAlias",
    "aws_kms_key": "kms:CreateKey",
    "aws_lambda_event_source_mapping": "lambda:CreateEventSourceMapping",
    "aws_lambda_function_event_invoke_config": "lambda:PutFunctionEventInvokeConfig",
    "aws_lambda_function_recursion_config": "lambda:PutFunctionRecursionConfig",
    "aws_s3_bucket": "s3:CreateBucket",
    "aws_s3_bucket_lifecycle_configuration": "s3:PutLifecycleConfiguration",
    "aws_s3_bucket_logging": "s3:PutBucketLogging",
    "aws_s3_bucket_ownership_controls": "s3:PutBucketOwnershipControls",
    "aws_s3_bucket_policy": "s3:PutBucketPolicy",
    "aws_s3_bucket_public_access_block": "s3:PutBucketPublicAccessBlock",
    "aws_s3_bucket_server_side_encryption_configuration": "s3:PutEncryptionConfiguration",
    "aws_s3_bucket_versioning": "s3:PutBucketVersioning",
    "aws_sns_topic": "sns:CreateTopic",
    "aws_sqs_queue": "sqs:CreateQueue",
}


def test_what_makes_each_kind_of_resource_is_known() -> None:
    """A new kind is a new right: name it here, and give it to the role with what reads and changes it."""
    files = [*INFRA.glob("*.tf"), *INFRA.glob("modules/*/*.tf")]
    kinds = {kind for path in files for kind in re.findall(r'^resource "(\w+)"', path.read_text(), re.MULTILINE)}
    assert kinds == MADE_BY.keys()


@pytest.mark.parametrize("action", MADE_BY.values())
def test_the_role_may_make_each_kind_of_resource(action: str) -> None:
    assert f'"{action}"' in RIGHTS.read_text()


def test_the_role_is_for_every_function_and_every_queue_of_the_stage() -> None:
    """It says their names again, for its folder stands alone."""
    assert set(local("stage_functions", RIGHTS)) == set(functions())
    assert set(local("stage_queues", RIGHTS)) == set(queues())
