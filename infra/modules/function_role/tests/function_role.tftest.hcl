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

run "accepts_a_wildcard_resource_where_aws_has_no_narrower_one" {
  command = plan

  variables {
    statements = [{ sid = "SeeOwnMapping", actions = ["lambda:ListEventSourceMappings"], resources = ["*"] }]
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
