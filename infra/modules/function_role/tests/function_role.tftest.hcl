mock_provider "aws" {
  mock_resource "aws_cloudwatch_log_group" {
    defaults = {
      arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/tally-test-plan"
    }
  }
}

variables {
  function_name = "tally-test-plan"
  statements = [
    {
      sid       = "PassOnWork"
      actions   = ["sqs:SendMessage"]
      resources = ["arn:aws:sqs:us-east-1:123456789012:tally-test-work"]
    },
  ]
}

run "allows_what_is_listed_and_its_own_logs_only" {
  assert {
    condition = jsondecode(aws_iam_role_policy.this.policy).Statement == [
      {
        Sid      = "PassOnWork"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = ["arn:aws:sqs:us-east-1:123456789012:tally-test-work"]
      },
      {
        Sid      = "WriteOwnLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/tally-test-plan:*"]
      },
    ]
    error_message = "The policy must hold the given statements and the own log group, nothing else."
  }
}

run "allows_no_more_than_the_condition_of_a_statement" {
  command = plan

  variables {
    statements = [
      {
        sid       = "ListInbox"
        actions   = ["s3:ListBucketVersions"]
        resources = ["arn:aws:s3:::inbox"]
        condition = { StringEquals = { "s3:prefix" = ["inbox/"] } }
      },
    ]
  }

  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.this.policy).Statement : s.Condition if s.Sid == "ListInbox"] == [{ StringEquals = { "s3:prefix" = ["inbox/"] } }]
    error_message = "The condition must be in the policy as it was given."
  }
}

run "is_assumed_by_lambda_only" {
  assert {
    condition     = [for s in jsondecode(aws_iam_role.this.assume_role_policy).Statement : s.Principal] == [{ Service = "lambda.amazonaws.com" }]
    error_message = "Only Lambda may assume the role."
  }
}

run "keeps_the_logs_where_lambda_writes_them" {
  assert {
    condition     = output.log_group_name == "/aws/lambda/tally-test-plan" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "The log group must be the function's, with an end."
  }
}

run "rejects_a_wildcard_action" {
  command = plan

  variables {
    statements = [{ sid = "Any", actions = ["*"], resources = ["arn:aws:sqs:us-east-1:123456789012:q"] }]
  }

  expect_failures = [var.statements]
}

run "rejects_a_wildcard_within_an_action" {
  command = plan

  variables {
    statements = [{ sid = "Any", actions = ["sqs:*"], resources = ["arn:aws:sqs:us-east-1:123456789012:q"] }]
  }

  expect_failures = [var.statements]
}

run "rejects_a_wildcard_resource" {
  command = plan

  variables {
    statements = [{ sid = "Any", actions = ["lambda:ListEventSourceMappings", "sqs:SendMessage"], resources = ["*"] }]
  }

  expect_failures = [var.statements]
}

run "rejects_a_wildcard_resource_for_what_takes_a_stream" {
  command = plan

  variables {
    statements = [{ sid = "ReadStreams", actions = ["dynamodb:ListStreams", "dynamodb:DescribeStream"], resources = ["*"] }]
  }

  expect_failures = [var.statements]
}

run "accepts_a_wildcard_resource_where_aws_has_no_narrower_one" {
  command = plan

  variables {
    statements = [
      { sid = "SeeOwnMapping", actions = ["lambda:ListEventSourceMappings"], resources = ["*"] },
      { sid = "ListStreams", actions = ["dynamodb:ListStreams"], resources = ["*"] },
    ]
  }
}

run "rejects_a_sid_aws_would_refuse" {
  command = plan

  variables {
    statements = [{ sid = "pass-on", actions = ["sqs:SendMessage"], resources = ["arn:aws:sqs:us-east-1:123456789012:q"] }]
  }

  expect_failures = [var.statements]
}

run "rejects_a_sid_used_twice" {
  command = plan

  variables {
    statements = [
      { sid = "PassOn", actions = ["sqs:SendMessage"], resources = ["arn:aws:sqs:us-east-1:123456789012:a"] },
      { sid = "PassOn", actions = ["sqs:SendMessage"], resources = ["arn:aws:sqs:us-east-1:123456789012:b"] },
    ]
  }

  expect_failures = [var.statements]
}

run "rejects_a_statement_without_a_resource" {
  command = plan

  variables {
    statements = [{ sid = "PassOn", actions = ["sqs:SendMessage"], resources = [] }]
  }

  expect_failures = [var.statements]
}

run "rejects_a_retention_cloudwatch_does_not_offer" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

run "rejects_a_function_name_too_long_for_lambda" {
  command = plan

  variables {
    function_name = join("", [for i in range(65) : "f"])
  }

  expect_failures = [var.function_name]
}

run "may_use_the_customers_key_through_services_only" {
  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this.policy).Statement : s if s.Sid == "UseKeyThroughServices"] == [{
      Sid       = "UseKeyThroughServices"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = ["arn:aws:kms:us-east-1:123456789012:key/customer"]
      Condition = { StringLike = { "kms:ViaService" = ["dynamodb.*.amazonaws.com", "s3.*.amazonaws.com", "sqs.*.amazonaws.com"] } }
    }]
    error_message = "The function may read and write what the key encrypts, and do nothing else with it."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == "arn:aws:kms:us-east-1:123456789012:key/customer"
    error_message = "The logs must be encrypted with it too."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }
}

run "rejects_a_sid_of_the_modules_own" {
  command = plan

  variables {
    statements = [{ sid = "WriteOwnLogs", actions = ["sqs:SendMessage"], resources = ["arn:aws:sqs:us-east-1:123456789012:q"] }]
  }

  expect_failures = [var.statements]
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "is_bounded_when_told" {
  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
    error_message = "The role must carry the caller's boundary."
  }
}

run "rejects_a_boundary_that_is_no_policy" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}
