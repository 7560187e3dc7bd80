mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_region" {
    defaults = { id = "us-east-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/r" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:q", url = "https://sqs.us-east-1.amazonaws.com/123456789012/q" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:t" }
  }

  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t" }
  }

  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:us-east-1:123456789012:function:f" }
  }
}

variables {
  name     = "reports"
  bus_name = "tally-prod"
  email    = "ops@example.com"
  package  = "function/on_completion.py"
}

run "gets_every_event_of_the_stage_unless_it_is_told_otherwise" {
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this.event_pattern) == {
      source      = ["tally"]
      detail-type = ["Batch Completed", "Batch Exported", "Batch Rejected", "Batch Stopped"]
    } && aws_cloudwatch_event_rule.this.event_bus_name == "tally-prod"
    error_message = "The rule must match Tally's events, on the stage's bus."
  }
}

run "gets_some_events_of_some_jobs" {
  variables {
    detail_types = ["Batch Exported"]
    jobs         = ["offices"]
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this.event_pattern) == {
      source      = ["tally"]
      detail-type = ["Batch Exported"]
      detail      = { job = ["offices"] }
    }
    error_message = "The rule must match only what was asked for."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.mail[0].event_pattern).detail == { job = ["offices"] }
    error_message = "The mails must be about the same jobs."
  }
}

run "keeps_what_cannot_be_delivered_or_handled" {
  assert {
    condition = (
      aws_cloudwatch_event_target.queue.dead_letter_config[0].arn == aws_sqs_queue.dlq.arn
      && aws_cloudwatch_event_target.mail[0].dead_letter_config[0].arn == aws_sqs_queue.dlq.arn
      && jsondecode(aws_sqs_queue.this.redrive_policy).deadLetterTargetArn == local.dlq_arn
    )
    error_message = "An event must never be dropped."
  }

  assert {
    condition     = contains(aws_lambda_event_source_mapping.this.function_response_types, "ReportBatchItemFailures")
    error_message = "One bad message must not bring the others of its batch back."
  }

  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds >= 6 * aws_lambda_function.this.timeout
    error_message = "A message must stay hidden for as long as its function may take."
  }
}

run "lets_its_own_rules_send_and_nobody_without_tls" {
  assert {
    condition = [for arn, policy in local.queue_policies : [
      for statement in jsondecode(policy).Statement : statement.Condition.ArnEquals["aws:SourceArn"] if statement.Effect == "Allow"
    ]] == [[["arn:aws:events:us-east-1:123456789012:rule/tally-prod/reports"]], [["arn:aws:events:us-east-1:123456789012:rule/tally-prod/reports", "arn:aws:events:us-east-1:123456789012:rule/tally-prod/reports-mail"]]]
    error_message = "Each queue must take the events of the rules that send to it, and of no other."
  }

  assert {
    condition = alltrue([for policy in [aws_sqs_queue.this.policy, aws_sqs_queue.dlq.policy, aws_sns_topic.mail[0].policy] : length([
      for statement in jsondecode(policy).Statement : statement
      if statement.Effect == "Deny" && statement.Principal == "*" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"
    ]) == 1])
    error_message = "Nothing may be sent without TLS."
  }
}

run "may_do_what_the_function_does_and_nothing_else" {
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Action])) == toset([
      "dynamodb:UpdateItem", "logs:CreateLogStream", "logs:PutLogEvents", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
    ])
    error_message = "The role must have no other right."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.this.policy, "\"Resource\":\"*\"")
    error_message = "Every right must be to something of its own."
  }
}

run "encrypts_with_a_customers_key_and_may_use_it" {
  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/1"
  }

  assert {
    condition = alltrue([for key in [
      aws_sqs_queue.this.kms_master_key_id, aws_sqs_queue.dlq.kms_master_key_id, aws_sns_topic.mail[0].kms_master_key_id,
      aws_dynamodb_table.handled.server_side_encryption[0].kms_key_arn, aws_cloudwatch_log_group.this.kms_key_id,
    ] : key == "arn:aws:kms:us-east-1:123456789012:key/1"])
    error_message = "One key must be for all."
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.this.policy, "kms:Decrypt")
    error_message = "The function must be able to read its queue."
  }
}

run "mails_nobody_without_an_address" {
  variables {
    email = null
  }

  assert {
    condition     = length(aws_sns_topic.mail) == 0 && length(aws_cloudwatch_event_rule.mail) == 0 && output.topic_arn == ""
    error_message = "Without email there must be no topic and no rule for it."
  }
}

run "rejects_an_event_that_there_is_not" {
  command = plan

  variables {
    detail_types = ["Batch Finished"]
  }

  expect_failures = [var.detail_types]
}

run "rejects_the_default_bus" {
  command = plan

  variables {
    bus_name = "default"
  }

  expect_failures = [var.bus_name]
}

run "rejects_to_forget_before_the_last_copy_can_come" {
  command = plan

  variables {
    remember_days = 14
  }

  expect_failures = [var.remember_days]
}

run "rejects_a_job_that_cannot_be_one" {
  command = plan

  variables {
    jobs = ["Not-A-Job"]
  }

  expect_failures = [var.jobs]
}
