# Each queue has an ARN of its own: with one shared mock default, a redrive aimed at itself would pass.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

override_resource {
  target = aws_sqs_queue.this[0]
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-work"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/tally-test-work"
  }
}

override_resource {
  target = aws_sqs_queue.dlq[0]
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
    condition = jsondecode(aws_sqs_queue.this[0].redrive_policy) == {
      deadLetterTargetArn = "arn:aws:sqs:us-east-1:123456789012:tally-test-work-dlq"
      maxReceiveCount     = 5
    }
    error_message = "The redrive policy must aim at the dead-letter queue, after 5 deliveries."
  }
}

run "shows_its_policies_before_there_is_a_queue" {
  command = plan

  assert {
    condition     = jsondecode(aws_sqs_queue.this[0].redrive_policy).deadLetterTargetArn == "${var.arn_prefix}:${aws_sqs_queue.dlq[0].name}"
    error_message = "A plan must show where dead letters go."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dlq[0].redrive_allow_policy).sourceQueueArns == ["${var.arn_prefix}:${aws_sqs_queue.this[0].name}"]
    error_message = "A plan must show whose dead letters are taken."
  }
}

run "takes_no_dead_letters_of_other_queues" {
  assert {
    condition = jsondecode(aws_sqs_queue.dlq[0].redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:us-east-1:123456789012:tally-test-work"]
    }
    error_message = "Only this queue may redrive to its dead-letter queue."
  }
}

run "refuses_every_request_without_tls" {
  assert {
    condition = one([
      for s in jsondecode(aws_sqs_queue.this[0].policy).Statement : s
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
    condition = [for s in jsondecode(aws_sqs_queue.this[0].policy).Statement : s if s.Effect == "Allow"] == [{
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
    condition     = aws_sqs_queue.this[0].sqs_managed_sse_enabled && aws_sqs_queue.dlq[0].sqs_managed_sse_enabled
    error_message = "Encryption must be on, of both."
  }
}

run "accepts_visibility_of_exactly_six_timeouts" {
  command = plan

  assert {
    condition     = aws_sqs_queue.this[0].visibility_timeout_seconds == 360
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

run "encrypts_both_with_the_customers_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition     = aws_sqs_queue.this[0].kms_master_key_id == "arn:aws:kms:us-east-1:123456789012:key/customer" && aws_sqs_queue.dlq[0].kms_master_key_id == "arn:aws:kms:us-east-1:123456789012:key/customer"
    error_message = "The queue and its dead-letter queue must have the same key."
  }
}

run "gives_the_sender_of_messages_their_dead_letters_too" {
  command = plan

  variables {
    allowed_sender = { service = "events.amazonaws.com", source_arn = "arn:aws:events:us-east-1:123456789012:rule/bus/rule" }
  }

  assert {
    condition     = [for s in jsondecode(aws_sqs_queue.dlq[0].policy).Statement : [s.Resource, s.Condition.ArnEquals["aws:SourceArn"]] if s.Effect == "Allow"] == [["arn:aws:sqs:us-east-1:123456789012:tally-test-work-dlq", "arn:aws:events:us-east-1:123456789012:rule/bus/rule"]]
    error_message = "What it cannot deliver it must be able to leave there."
  }
}

run "refuses_dead_letters_without_tls" {
  command = plan

  assert {
    condition     = one([for s in jsondecode(aws_sqs_queue.dlq[0].policy).Statement : s.Resource if s.Effect == "Deny" && s.Condition.Bool["aws:SecureTransport"] == "false"]) == "arn:aws:sqs:us-east-1:123456789012:tally-test-work-dlq"
    error_message = "The policy must deny plain HTTP on the dead-letter queue."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }

  assert {
    condition     = output.dlq_name == "example-work-dlq"
    error_message = "The example must plan by itself."
  }
}

run "accepts_a_window_on_top_of_six_timeouts" {
  command = plan

  variables {
    consumer_batch_size        = 100
    consumer_window_seconds    = 5
    visibility_timeout_seconds = 365
  }

  assert {
    condition     = aws_sqs_queue.this[0].visibility_timeout_seconds == 365
    error_message = "6 x 60 + 5 is enough."
  }
}

run "rejects_visibility_that_leaves_no_time_for_the_window" {
  command = plan

  variables {
    consumer_window_seconds = 1
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "rejects_a_batch_over_ten_without_a_window" {
  command = plan

  variables {
    consumer_batch_size = 11
  }

  expect_failures = [var.consumer_batch_size]
}

run "rejects_a_batch_over_10000" {
  command = plan

  variables {
    consumer_batch_size        = 10001
    consumer_window_seconds    = 5
    visibility_timeout_seconds = 365
  }

  expect_failures = [var.consumer_batch_size]
}

run "rejects_a_window_over_five_minutes" {
  command = plan

  variables {
    consumer_window_seconds    = 301
    visibility_timeout_seconds = 661
  }

  expect_failures = [var.consumer_window_seconds]
}

run "accepts_a_message_as_long_as_its_consumer_runs" {
  command = plan

  variables {
    longest_message_seconds = 60
  }

  assert {
    condition     = aws_sqs_queue.this[0].visibility_timeout_seconds >= 60
    error_message = "It is hidden for as long."
  }
}

run "rejects_a_message_longer_than_its_consumer_runs" {
  command = plan

  variables {
    longest_message_seconds = 61
  }

  expect_failures = [var.longest_message_seconds]
}

run "rejects_retention_shorter_than_visibility" {
  command = plan

  variables {
    message_retention_seconds = 360
  }

  expect_failures = [var.message_retention_seconds]
}

run "rejects_dead_letters_kept_longer_than_sqs_does" {
  command = plan

  variables {
    dlq_message_retention_seconds = 1209601
  }

  expect_failures = [var.dlq_message_retention_seconds]
}

run "rejects_a_sender_that_is_no_service_principal" {
  command = plan

  variables {
    allowed_sender = { service = "*", source_arn = "*" }
  }

  expect_failures = [var.allowed_sender]
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "leaves_existing_queues_as_they_are" {
  command = plan

  variables {
    existing = true
    dlq_name = "orders-dead"
  }

  override_data {
    target = data.aws_sqs_queue.this[0]
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-work", url = "https://sqs.us-east-1.amazonaws.com/123456789012/tally-test-work" }
  }

  override_data {
    target = data.aws_sqs_queue.dlq[0]
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:orders-dead", url = "https://sqs.us-east-1.amazonaws.com/123456789012/orders-dead" }
  }

  assert {
    condition     = length(aws_sqs_queue.this) == 0 && length(aws_sqs_queue.dlq) == 0
    error_message = "Nothing must be made."
  }

  assert {
    condition     = output.arn == "arn:aws:sqs:us-east-1:123456789012:tally-test-work" && output.dlq_arn == "arn:aws:sqs:us-east-1:123456789012:orders-dead" && output.dlq_name == "orders-dead"
    error_message = "The outputs must be those of the queues that are there."
  }
}

run "names_the_dead_letter_queue_as_told" {
  command = plan

  variables {
    dlq_name = "tally-test-dead"
  }

  # The first runs made it under its default name.
  assert {
    condition     = aws_sqs_queue.dlq[0].name == "tally-test-dead"
    error_message = "The name must be the one given."
  }
}

run "checks_what_is_said_of_existing_queues" {
  command = plan

  variables {
    existing                   = true
    visibility_timeout_seconds = 359
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "rejects_the_queue_as_its_own_dead_letter_queue" {
  command = plan

  variables {
    dlq_name = "tally-test-work"
  }

  expect_failures = [var.dlq_name]
}

run "rejects_a_name_of_dead_letters_that_sqs_would_refuse" {
  command = plan

  variables {
    dlq_name = "dead letters"
  }

  expect_failures = [var.dlq_name]
}
