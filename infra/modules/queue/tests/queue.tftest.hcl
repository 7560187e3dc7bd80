# Each queue has an ARN of its own: with one shared mock default, a redrive aimed at itself would pass.
mock_provider "aws" {}

override_resource {
  target = aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-work"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/tally-test-work"
  }
}

override_resource {
  target = module.dlq.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-work-dlq"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/tally-test-work-dlq"
  }
}

variables {
  name                       = "tally-test-work"
  arn_prefix                 = "arn:aws:sqs:us-east-1:123456789012"
  consumer_timeout_seconds   = 60
  visibility_timeout_seconds = 360
}

run "redrives_to_its_own_dlq" {
  assert {
    condition = jsondecode(aws_sqs_queue.this.redrive_policy) == {
      deadLetterTargetArn = "arn:aws:sqs:us-east-1:123456789012:tally-test-work-dlq"
      maxReceiveCount     = 5
    }
    error_message = "The redrive policy must aim at the dead-letter queue, after 5 deliveries."
  }
}

run "takes_no_dead_letters_of_other_queues" {
  assert {
    condition = jsondecode(module.dlq.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:us-east-1:123456789012:tally-test-work"]
    }
    error_message = "Only this queue may redrive to its dead-letter queue."
  }
}

run "refuses_every_request_without_tls" {
  assert {
    condition = one([
      for s in jsondecode(aws_sqs_queue.this.policy).Statement : s
      if s.Effect == "Deny" && s.Condition.Bool["aws:SecureTransport"] == "false"
    ]).Resource == "arn:aws:sqs:us-east-1:123456789012:tally-test-work"
    error_message = "The policy must deny plain HTTP on this queue."
  }
}

run "lets_only_the_named_sender_send" {
  variables {
    allowed_sender = {
      service    = "events.amazonaws.com"
      source_arn = "arn:aws:events:us-east-1:123456789012:rule/bus/rule"
    }
  }

  assert {
    condition = [for s in jsondecode(aws_sqs_queue.this.policy).Statement : s if s.Effect == "Allow"] == [{
      Sid       = "AllowSender"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:us-east-1:123456789012:tally-test-work"
      Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:events:us-east-1:123456789012:rule/bus/rule" } }
    }]
    error_message = "One service, on behalf of one ARN, may send; nobody else."
  }
}

run "is_encrypted" {
  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled
    error_message = "Encryption must be on."
  }
}

run "accepts_visibility_of_exactly_six_timeouts" {
  command = plan

  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds == 360
    error_message = "6 x 60 is enough."
  }
}

run "rejects_visibility_shorter_than_six_timeouts" {
  command = plan

  variables {
    visibility_timeout_seconds = 359
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "rejects_visibility_over_12_hours" {
  command = plan

  variables {
    visibility_timeout_seconds = 43201
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "rejects_a_consumer_slower_than_lambda_allows" {
  command = plan

  variables {
    consumer_timeout_seconds   = 901
    visibility_timeout_seconds = 5406
  }

  expect_failures = [var.consumer_timeout_seconds]
}

run "rejects_fewer_than_five_deliveries" {
  command = plan

  variables {
    max_receive_count = 4
  }

  expect_failures = [var.max_receive_count]
}

run "rejects_a_dlq_that_forgets_before_its_source" {
  command = plan

  variables {
    message_retention_seconds     = 345600
    dlq_message_retention_seconds = 345600
  }

  expect_failures = [var.dlq_message_retention_seconds]
}

run "rejects_retention_under_a_minute" {
  command = plan

  variables {
    message_retention_seconds = 59
  }

  expect_failures = [var.message_retention_seconds]
}

run "rejects_messages_larger_than_the_provider_takes" {
  command = plan

  variables {
    max_message_size_bytes = 262145
  }

  expect_failures = [var.max_message_size_bytes]
}

run "rejects_a_name_without_room_for_the_suffix" {
  command = plan

  variables {
    name = join("", [for i in range(77) : "q"])
  }

  expect_failures = [var.name]
}

run "rejects_an_arn_prefix_of_another_service" {
  command = plan

  variables {
    arn_prefix = "arn:aws:sns:us-east-1:123456789012"
  }

  # The dead-letter queue checks it again.
  expect_failures = [var.arn_prefix]
}

run "hides_dead_letters_as_long_as_messages_by_default" {
  command = plan

  assert {
    condition     = output.dlq_visibility_timeout_seconds == 360
    error_message = "Without a setting of its own the dead-letter queue has the queue's."
  }
}

run "hides_dead_letters_for_six_timeouts_of_their_consumer" {
  command = plan

  variables {
    dlq_consumer_timeout_seconds   = 10
    dlq_visibility_timeout_seconds = 60
  }

  assert {
    condition     = output.dlq_visibility_timeout_seconds == 60 && output.visibility_timeout_seconds == 360
    error_message = "The dead-letter queue must have its own, the queue its own."
  }
}

run "rejects_dead_letters_visible_before_their_consumer_is_done" {
  command = plan

  variables {
    dlq_consumer_timeout_seconds   = 60
    dlq_visibility_timeout_seconds = 359
  }

  expect_failures = [var.dlq_visibility_timeout_seconds]
}

run "rejects_a_default_visibility_too_short_for_the_consumer_of_dead_letters" {
  command = plan

  variables {
    dlq_consumer_timeout_seconds = 61
  }

  expect_failures = [var.dlq_visibility_timeout_seconds]
}

run "rejects_dead_letters_hidden_over_12_hours" {
  command = plan

  variables {
    dlq_visibility_timeout_seconds = 43201
  }

  expect_failures = [var.dlq_visibility_timeout_seconds]
}

run "rejects_a_consumer_of_dead_letters_slower_than_lambda_allows" {
  command = plan

  variables {
    dlq_consumer_timeout_seconds   = 901
    dlq_visibility_timeout_seconds = 5406
  }

  expect_failures = [var.dlq_consumer_timeout_seconds]
}
