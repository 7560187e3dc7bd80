mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  name       = "tally-test-failures"
  arn_prefix = "arn:aws:sqs:us-east-1:123456789012"
}

run "refuses_every_request_without_tls" {
  assert {
    condition = one([
      for s in jsondecode(aws_sqs_queue.this.policy).Statement : s
      if s.Effect == "Deny" && s.Condition.Bool["aws:SecureTransport"] == "false"
    ]).Resource == "arn:aws:sqs:us-east-1:123456789012:tally-test-failures"
    error_message = "The policy must deny plain HTTP on this queue."
  }
}

run "is_encrypted_and_keeps_messages_for_14_days" {
  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled && aws_sqs_queue.this.message_retention_seconds == 1209600
    error_message = "Encryption is on, retention is the longest SQS has."
  }
}

run "serves_no_queue_as_dead_letter_queue_by_default" {
  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_allow_policy) == { redrivePermission = "denyAll" }
    error_message = "Without sources the queue must deny redrive."
  }
}

run "serves_only_the_named_queues" {
  variables {
    source_queue_arns = ["arn:aws:sqs:us-east-1:123456789012:tally-test-work"]
  }

  assert {
    condition = jsondecode(aws_sqs_queue.this.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:us-east-1:123456789012:tally-test-work"]
    }
    error_message = "Only the named source may redrive here."
  }
}

run "lets_no_service_send_by_default" {
  assert {
    condition     = alltrue([for s in jsondecode(aws_sqs_queue.this.policy).Statement : s.Effect == "Deny"])
    error_message = "Without allowed_sender the policy must allow nothing."
  }
}

run "rejects_a_name_sqs_would_refuse" {
  command = plan

  variables {
    name = "tally.test"
  }

  expect_failures = [var.name]
}

run "rejects_an_arn_prefix_of_another_service" {
  command = plan

  variables {
    arn_prefix = "arn:aws:sns:us-east-1:123456789012"
  }

  expect_failures = [var.arn_prefix]
}

run "rejects_retention_over_14_days" {
  command = plan

  variables {
    message_retention_seconds = 1209601
  }

  expect_failures = [var.message_retention_seconds]
}

run "rejects_a_visibility_timeout_over_12_hours" {
  command = plan

  variables {
    visibility_timeout_seconds = 43201
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "rejects_a_visibility_timeout_shorter_than_six_runs_of_the_consumer" {
  command = plan

  variables {
    consumer_timeout_seconds   = 60
    visibility_timeout_seconds = 359
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "hides_a_message_for_six_runs_of_the_consumer" {
  command = plan

  variables {
    consumer_timeout_seconds   = 60
    visibility_timeout_seconds = 360
  }

  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds == 360
    error_message = "The timeout must be the one given."
  }
}

run "rejects_a_consumer_that_runs_longer_than_lambda_allows" {
  command = plan

  variables {
    consumer_timeout_seconds   = 901
    visibility_timeout_seconds = 43200
  }

  expect_failures = [var.consumer_timeout_seconds]
}

run "rejects_a_sender_that_is_no_service_principal" {
  command = plan

  variables {
    allowed_sender = { service = "*", source_arn = "*" }
  }

  expect_failures = [var.allowed_sender]
}

run "rejects_more_sources_than_sqs_takes" {
  command = plan

  variables {
    source_queue_arns = [for i in range(11) : "arn:aws:sqs:us-east-1:123456789012:q${i}"]
  }

  expect_failures = [var.source_queue_arns]
}

run "encrypts_with_the_customers_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition     = aws_sqs_queue.this.kms_master_key_id == "arn:aws:kms:us-east-1:123456789012:key/customer"
    error_message = "The key must be the one given."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }

  assert {
    condition     = output.name == "example-failures"
    error_message = "The example must plan by itself."
  }
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}
